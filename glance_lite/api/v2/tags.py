# SPDX-License-Identifier: Apache-2.0
"""``/v2/metadefs/namespaces/{namespace}/tags``: words to tag with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import webob
from oslo_utils import strutils

from glance_lite.api import http
from glance_lite.api.v2 import metaschemas
from glance_lite.api.v2.attributes import check_many
from glance_lite.api.v2.definitions import Definitions, body, paging, times
from glance_lite.errors import Invalid
from glance_lite.metadefs.model import Paging, Tag


def check_visibility(single: Mapping[str, str]) -> None:
    """A filter that filters nothing here, and must make sense."""
    if single.get('visibility', '') not in ('', 'public', 'private', 'shared'):
        raise Invalid('visibility must be one of public, private, shared')


def read_tag(given: dict[str, Any]) -> Tag:
    """`Invalid`."""
    metaschemas.check_tag(given)
    return Tag(given['name'])


class Tags(Definitions):
    """Tags of a namespace."""

    kind = 'tag'

    def read(self, given: dict[str, Any]) -> Tag:
        return read_tag(given)

    def view(self, namespace: str, one: Tag) -> dict[str, Any]:
        return {'name': one.name, **times(one)}

    def collection(self, namespace: str, found: tuple[Tag, ...]) -> dict[str, Any]:
        return {'tags': [{'name': one.name} for one in found]}

    def paging(self, request: webob.Request) -> Paging:
        # An empty limit or marker is none at all.
        pairs = http.query(request)
        single = {name: value for name, value in pairs if value or name not in ('limit', 'marker')}
        check_visibility(single)
        return paging(single, default=None)

    def add(self, request: webob.Request, namespace: str, item: str) -> webob.Response:
        new = read_tag({'name': item})
        made = self._chain.add_definition(http.context(request), namespace, new)
        return self._answer(namespace, made, 201)

    def create_several(self, request: webob.Request, namespace: str) -> webob.Response:
        given = body(request, self.read_only)
        check_many(given.get('tags'), 'tags')
        metaschemas.check_tags(given)
        tags = tuple(Tag(one['name']) for one in given['tags'])
        append = strutils.bool_from_string(request.headers.get('X-Openstack-Append'))
        made = self._chain.set_tags(http.context(request), namespace, tags, append)
        return http.json_answer(self.collection(namespace, cast(tuple[Tag, ...], made)), 201)
