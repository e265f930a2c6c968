# SPDX-License-Identifier: Apache-2.0
"""``/v2/metadefs/namespaces/{namespace}/objects``: groups of properties."""

from __future__ import annotations

from typing import Any

import webob

from glance_lite.api import http
from glance_lite.api.v2 import metaschemas
from glance_lite.api.v2.definitions import NAMESPACES, Definitions, paging, present, times
from glance_lite.api.v2.tags import check_visibility
from glance_lite.errors import Invalid
from glance_lite.metadefs.model import Object, Paging
from glance_lite.metadefs.properties import shown, written


def read_object(given: dict[str, Any]) -> Object:
    """`Invalid`."""
    metaschemas.check_object(given)
    properties = given.get('properties')
    if properties is not None:
        for one in properties.values():
            metaschemas.check_nameless(one)
        properties = {name: written(one) for name, one in properties.items()}
    required = given.get('required')
    if required is not None and any(',' in name for name in required):
        raise Invalid('The name of a property that is required must have no comma')
    return Object(
        given['name'],
        given.get('description'),
        None if required is None else tuple(required),
        properties,
    )


def show_object(one: Object, namespace: str | None, prefix: str = '') -> dict[str, Any]:
    """As clients see it; without links when it is not known where it is."""
    required, properties = one.required, one.properties
    found = present(
        name=one.name,
        description=one.description,
        required=None if required is None else [prefix + name for name in required],
        properties=None
        if properties is None
        else {prefix + name: shown(schema) for name, schema in properties.items()},
        **times(one),
    )
    if namespace is not None:
        found['self'] = f'{NAMESPACES}/{namespace}/objects/{one.name}'
        found['schema'] = '/v2/schemas/metadefs/object'
    return found


class Objects(Definitions):
    """Objects of a namespace."""

    kind = 'object'
    read_only = ('self', 'schema', *Definitions.read_only)

    def read(self, given: dict[str, Any]) -> Object:
        return read_object(given)

    def view(self, namespace: str, one: Object) -> dict[str, Any]:
        return show_object(one, namespace)

    def collection(self, namespace: str, found: tuple[Object, ...]) -> dict[str, Any]:
        views = [self.view(namespace, one) for one in found]
        return {'objects': views, 'schema': 'v2/schemas/metadefs/objects'}

    def paging(self, request: webob.Request) -> Paging:
        """Looked at and not followed: all objects are shown."""
        single = dict(http.query(request))
        check_visibility(single)
        paging(single, least=1, default=None)
        return Paging()
