# SPDX-License-Identifier: Apache-2.0
"""``/v2/metadefs/namespaces/{namespace}/properties``: properties by themselves."""

from __future__ import annotations

from typing import Any, cast

import webob

from glance_lite.api import http
from glance_lite.api.v2 import metaschemas
from glance_lite.api.v2.definitions import Definitions
from glance_lite.errors import Invalid, NotFound
from glance_lite.metadefs.model import LONGEST_NAME, Association, Property
from glance_lite.metadefs.properties import shown, written


def read_nameless(name: str, given: Any) -> Property:
    """A property whose name stands before it. `Invalid`."""
    if len(name) > LONGEST_NAME:
        raise Invalid(f'The name of a property may have {LONGEST_NAME} characters at most')
    metaschemas.check_nameless(given)
    return Property(name, written(given))


class Properties(Definitions):
    """Properties of a namespace."""

    kind = 'property'

    def read(self, given: dict[str, Any]) -> Property:
        metaschemas.check_property(given)
        return Property(given['name'], written(given))

    def view(self, namespace: str, one: Property) -> dict[str, Any]:
        return {**shown(one.schema), 'name': one.name}

    def collection(self, namespace: str, found: tuple[Property, ...]) -> dict[str, Any]:
        return {'properties': {one.name: shown(one.schema) for one in found}}

    def show(self, request: webob.Request, namespace: str, item: str) -> webob.Response:
        resource_type = dict(http.query(request)).get('resource_type')
        name = item
        if resource_type:
            name = self._bare(request, namespace, item, resource_type)
        found = self._chain.get_definition(http.context(request), namespace, self.kind, name)
        return self._answer(namespace, found)

    def _bare(self, request: webob.Request, namespace: str, item: str, resource_type: str) -> str:
        """The name without the prefix that it has on resources of that type. `NotFound`."""
        ctx = http.context(request)
        found = self._chain.get_definition(ctx, namespace, Association.kind, resource_type)
        prefix = cast(Association, found).prefix
        if not prefix or not item.startswith(prefix):
            raise NotFound(f'On {resource_type}, {item} is no property of this namespace')
        return item[len(prefix) :]
