# SPDX-License-Identifier: Apache-2.0
"""``/v2/metadefs/namespaces``: namespaces of metadata definitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import webob

from glance_lite.api import http
from glance_lite.api.v2 import metaschemas, query
from glance_lite.api.v2.associations import read_association, show_association
from glance_lite.api.v2.attributes import check_many
from glance_lite.api.v2.definitions import NAMESPACES, TIMES, body, paging, present, times
from glance_lite.api.v2.objects import read_object, show_object
from glance_lite.api.v2.properties import read_nameless
from glance_lite.api.v2.tags import read_tag
from glance_lite.errors import Invalid
from glance_lite.metadefs.model import VISIBILITIES, Definition, Namespace, NamespaceQuery
from glance_lite.metadefs.properties import shown

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.operations import Operations

READ_ONLY = ('self', 'schema', *TIMES)

#: Part of a body -> kind, and how one of it is read.
_LISTS: dict[str, tuple[str, Callable[[dict[str, Any]], Definition]]] = {
    'resource_type_associations': ('resource_type', read_association),
    'objects': ('object', read_object),
    'tags': ('tag', read_tag),
}


def attributes(given: dict[str, Any]) -> Namespace:
    """A namespace without its contents. `Invalid`, `LimitExceeded`."""
    for part in (*_LISTS, 'properties'):
        check_many(given.get(part), part)
    metaschemas.check_namespace(given)
    name = given['namespace']
    if not name or '/' in name:
        # No path would lead to it.
        raise Invalid('The name of a namespace must not be empty, and have no slash')
    return Namespace(
        name,
        given.get('display_name'),
        given.get('description'),
        given.get('visibility', 'private'),
        given.get('protected', False),
        given.get('owner'),
    )


def contents(given: dict[str, Any]) -> dict[str, tuple[Definition, ...]]:
    """Kind -> what a body has of it. `Invalid`."""
    found: dict[str, tuple[Definition, ...]] = {}
    for part, (kind, read) in _LISTS.items():
        if part in given:
            found[kind] = tuple(read(one) for one in given[part])
    if 'properties' in given:
        found['property'] = tuple(
            read_nameless(name, one) for name, one in given['properties'].items()
        )
    return found


def view(found: Namespace, linked: bool = True, prefix: str = '') -> dict[str, Any]:
    """A namespace and what is known to be in it; the links of its objects if `linked`."""
    name = found.namespace
    shown_namespace = present(
        namespace=name,
        display_name=found.display_name,
        description=found.description,
        visibility=found.visibility,
        protected=found.protected,
        owner=found.owner,
        **times(found),
        self=f'{NAMESPACES}/{name}',
        schema='/v2/schemas/metadefs/namespace',
    )
    place = name if linked else None
    shows: dict[str, tuple[str, Callable[[Any], Any]]] = {
        'resource_type': ('resource_type_associations', show_association),
        'object': ('objects', lambda one: show_object(one, place, prefix)),
        'tag': ('tags', lambda one: {'name': one.name}),
    }
    for kind, definitions in found.contents.items():
        if kind == 'property':
            shown_namespace['properties'] = _by_name(definitions, prefix)
        else:
            part, show = shows[kind]
            shown_namespace[part] = [show(one) for one in definitions]
    return shown_namespace


def _by_name(properties: Iterable[Any], prefix: str) -> dict[str, Any]:
    return {prefix + one.name: shown(one.schema) for one in properties}


def _prefix(found: Namespace, resource_type: str | None) -> str:
    """What stands before the names of properties on resources of that type."""
    associations: Iterable[Any] = found.contents.get('resource_type', ())
    for one in associations:
        if one.name == resource_type:
            return one.prefix or ''
    return ''


class Namespaces:
    """Namespaces, with and without what is in them."""

    def __init__(self, chain: Operations, conf: cfg.ConfigOpts) -> None:
        self._chain = chain
        self._endpoint: str | None = conf.public_endpoint
        self._default: int = conf.limit_param_default
        self._largest: int = conf.api_limit_max

    def index(self, request: webob.Request) -> webob.Response:
        pairs = http.query(request)
        page = self._chain.list_namespaces(http.context(request), self._query(dict(pairs)))
        first, following = query.links(NAMESPACES, pairs, page.marker if page.full else None)
        answer: dict[str, Any] = {'namespaces': [view(one) for one in page.namespaces]}
        answer['first'] = first
        if following:
            answer['next'] = following
        answer['schema'] = '/v2/schemas/metadefs/namespaces'
        return http.json_answer(answer)

    def _query(self, single: dict[str, str]) -> NamespaceQuery:
        """`Invalid`."""
        visibility = _visibility(single)
        types = single.get('resource_types')
        return NamespaceQuery(
            paging(single, self._largest, default=self._default),
            visibility,
            None if types is None else tuple(types.split(',')),
        )

    def show(self, request: webob.Request, namespace: str) -> webob.Response:
        single = dict(http.query(request))
        _visibility(single)
        found = self._chain.get_namespace(http.context(request), namespace)
        return http.json_answer(view(found, prefix=_prefix(found, single.get('resource_type'))))

    def create(self, request: webob.Request) -> webob.Response:
        given = body(request, READ_ONLY)
        new = attributes(given).replace(contents=contents(given))
        made = self._chain.create_namespace(http.context(request), new)
        answer = http.json_answer(view(made, linked=False), 201)
        base = http.base_url(request, self._endpoint)
        answer.headerlist.append(('Location', f'{base}{NAMESPACES}/{quote(made.namespace)}'))
        return answer

    def update(self, request: webob.Request, namespace: str) -> webob.Response:
        new = attributes(body(request, READ_ONLY))
        changed = self._chain.update_namespace(http.context(request), namespace, new)
        return http.json_answer(view(changed))

    def delete(self, request: webob.Request, namespace: str) -> webob.Response:
        self._chain.delete_namespace(http.context(request), namespace)
        return http.no_content()


def _visibility(single: dict[str, str]) -> str | None:
    """`Invalid`."""
    visibility = single.get('visibility')
    if visibility is not None and visibility not in VISIBILITIES:
        raise Invalid(f'visibility must be one of {", ".join(VISIBILITIES)}')
    return visibility
