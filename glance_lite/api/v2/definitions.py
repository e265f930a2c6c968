# SPDX-License-Identifier: Apache-2.0
"""``/v2/metadefs/namespaces/{namespace}/...``: what all kinds of definitions have in common.

A kind brings how a body of it is read and how it is shown; the handlers are here. `read_*` and
`show_*` serve bodies of whole namespaces as well.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import webob

from glance_lite.api import http
from glance_lite.api.v2.query import SORT_DIRECTIONS, whole_number
from glance_lite.errors import Forbidden, Invalid
from glance_lite.metadefs.model import Definition, Paging

if TYPE_CHECKING:
    from glance_lite.operations import Operations

NAMESPACES = '/v2/metadefs/namespaces'

#: Attributes that the service finds out, of anything that has no link of its own.
TIMES = ('created_at', 'updated_at')


def body(request: webob.Request, read_only: tuple[str, ...]) -> dict[str, Any]:
    """A JSON object without what only the service writes. `Invalid`, `Forbidden`."""
    found = http.json_object(request)
    for name in read_only:
        if name in found:
            raise Forbidden(f'Attribute {name} is read-only')
    return found


def present(**fields: Any) -> dict[str, Any]:
    """Without what is None."""
    return {name: value for name, value in fields.items() if value is not None}


def times(one: Any) -> dict[str, str]:
    return {name: _time(getattr(one, name)) for name in TIMES if getattr(one, name) is not None}


def _time(value: datetime.datetime) -> str:
    return value.isoformat() + 'Z'


def paging(
    single: Mapping[str, str], largest: int | None = None, *, least: int = 0, default: int | None
) -> Paging:
    """Which part of a list, from the query. `Invalid`."""
    direction = single.get('sort_dir', 'desc')
    if direction not in SORT_DIRECTIONS:
        raise Invalid('A sort direction is asc or desc')
    limit = default
    if single.get('limit') is not None:
        limit = whole_number('limit', single['limit'])
        if limit < least:
            raise Invalid(f'limit must be at least {least}')
    if limit is not None:
        # More is what no database counts to.
        limit = min(limit, largest if largest is not None else 2**31 - 1)
    key = single.get('sort_key', 'created_at')
    return Paging(key, direction == 'asc', single.get('marker'), limit)


class Definitions:
    """Definitions of one kind in a namespace."""

    kind: ClassVar[str]
    read_only: ClassVar[tuple[str, ...]] = TIMES

    def __init__(self, chain: Operations) -> None:
        self._chain = chain

    def read(self, given: dict[str, Any]) -> Definition:
        """The body of one. `Invalid`."""
        raise AssertionError

    def view(self, namespace: str, one: Any) -> dict[str, Any]:
        """One as clients see it."""
        raise AssertionError

    def collection(self, namespace: str, found: tuple[Any, ...]) -> dict[str, Any]:
        """All of them."""
        raise AssertionError

    def paging(self, request: webob.Request) -> Paging:
        return Paging()

    def _answer(self, namespace: str, one: Definition, status: int = 200) -> webob.Response:
        return http.json_answer(self.view(namespace, one), status)

    def index(self, request: webob.Request, namespace: str) -> webob.Response:
        wanted = self.paging(request)
        ctx = http.context(request)
        found = self._chain.list_definitions(ctx, namespace, self.kind, wanted)
        return http.json_answer(self.collection(namespace, found))

    def show(self, request: webob.Request, namespace: str, item: str) -> webob.Response:
        found = self._chain.get_definition(http.context(request), namespace, self.kind, item)
        return self._answer(namespace, found)

    def create(self, request: webob.Request, namespace: str) -> webob.Response:
        new = self.read(body(request, self.read_only))
        made = self._chain.add_definition(http.context(request), namespace, new)
        return self._answer(namespace, made, 201)

    def update(self, request: webob.Request, namespace: str, item: str) -> webob.Response:
        new = self.read(body(request, self.read_only))
        changed = self._chain.update_definition(http.context(request), namespace, item, new)
        return self._answer(namespace, changed)

    def delete(self, request: webob.Request, namespace: str, item: str) -> webob.Response:
        self._chain.delete_definition(http.context(request), namespace, self.kind, item)
        return http.no_content()

    def clear(self, request: webob.Request, namespace: str) -> webob.Response:
        self._chain.clear_namespace(http.context(request), namespace, self.kind)
        return http.no_content()
