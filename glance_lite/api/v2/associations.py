# SPDX-License-Identifier: Apache-2.0
"""``/v2/metadefs/resource_types`` and the types that a namespace is associated with."""

from __future__ import annotations

from typing import Any

import webob

from glance_lite.api import http
from glance_lite.api.v2 import metaschemas
from glance_lite.api.v2.definitions import Definitions, present, times
from glance_lite.metadefs.model import Association


def read_association(given: dict[str, Any]) -> Association:
    """`Invalid`."""
    metaschemas.check_resource_type(given)
    return Association(given['name'], given.get('prefix'), given.get('properties_target'))


def show_association(one: Association) -> dict[str, Any]:
    return present(
        name=one.name,
        prefix=one.prefix,
        properties_target=one.properties_target,
        **times(one),
    )


class Associations(Definitions):
    """Associations of a namespace with types of resources."""

    kind = 'resource_type'

    def read(self, given: dict[str, Any]) -> Association:
        return read_association(given)

    def view(self, namespace: str, one: Association) -> dict[str, Any]:
        return show_association(one)

    def collection(self, namespace: str, found: tuple[Association, ...]) -> dict[str, Any]:
        return {'resource_type_associations': [show_association(one) for one in found]}

    def types(self, request: webob.Request) -> webob.Response:
        found = self._chain.list_resource_types(http.context(request))
        return http.json_answer({'resource_types': [show_association(one) for one in found]})
