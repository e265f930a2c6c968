# SPDX-License-Identifier: Apache-2.0
"""Metadata definitions for the conformance kit of layers: what is given and what is answered."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from glance_lite.metadefs.model import (
    Association,
    Definition,
    Namespace,
    NamespacePage,
    NamespaceQuery,
    Object,
    Paging,
    Property,
    Tag,
)

if TYPE_CHECKING:
    from glance_lite.context import RequestContext

MOMENT = datetime.datetime(2026, 4, 1, 12, 0, 0)
SCHEMA = {'title': 'Colour', 'type': 'string', 'enum': ['red', 'green']}


def make_namespace(name: str = 'colours', owner: str | None = 'alpha', **fields: Any) -> Namespace:
    """A public namespace with one of each kind in it."""
    times: dict[str, Any] = {'created_at': MOMENT, 'updated_at': MOMENT}
    contents: dict[str, tuple[Definition, ...]] = {
        'resource_type': (Association('OS::Glance::Image', 'hw_', **times),),
        'object': (Object('wall', 'A wall', ('colour',), {'colour': SCHEMA}, **times),),
        'tag': (Tag('bright', **times),),
        'property': (Property('colour', SCHEMA, **times),),
    }
    values: dict[str, Any] = {
        'display_name': 'Colours',
        'description': 'What walls are painted in',
        'visibility': 'public',
        'owner': owner,
        'contents': contents,
        **times,
    }
    return Namespace(name, **{**values, **fields})


def _namespace(name: str, ctx: RequestContext, asked: dict[str, Any]) -> Namespace:
    new = asked.get('new')
    given = new.namespace if isinstance(new, Namespace) else asked.get('namespace', 'colours')
    return make_namespace(given, ctx.project_id)


def _definition(name: str, ctx: RequestContext, asked: dict[str, Any]) -> Definition:
    new = asked.get('new')
    if isinstance(new, Definition):
        return new.replace(created_at=MOMENT, updated_at=MOMENT)
    return make_namespace().contents[asked['kind']][0].replace(name=asked['item'])


def _definitions(name: str, ctx: RequestContext, asked: dict[str, Any]) -> tuple[Any, ...]:
    return asked['tags'] if 'tags' in asked else make_namespace().contents[asked['kind']]


#: What an operation gives -> how the recorder makes one.
ANSWERS: dict[str, Callable[[str, RequestContext, dict[str, Any]], Any]] = {
    'Namespace': _namespace,
    'NamespacePage': lambda name, ctx, asked: NamespacePage([make_namespace()], False, None),
    'Definition': _definition,
    'tuple[Definition, ...]': _definitions,
    'tuple[Association, ...]': lambda name, ctx, asked: (Association('OS::Glance::Image'),),
}

#: What an operation gives -> its type.
TYPES: dict[str, type | tuple[type, ...]] = {
    'Namespace': Namespace,
    'NamespacePage': NamespacePage,
    'Definition': Definition,
    'tuple[Definition, ...]': tuple,
    'tuple[Association, ...]': tuple,
}

#: Parameter of an operation -> what the kit gives for it, for an id that is this call's own.
ARGUMENTS: dict[str, Callable[[str], Any]] = {
    'namespace': lambda call_id: call_id,
    'kind': lambda call_id: 'tag',
    'item': lambda call_id: 'bright',
    'paging': lambda call_id: Paging(),
    'tags': lambda call_id: (Tag('dark'), Tag('pale')),
    'append': lambda call_id: False,
}

#: The same where a parameter of one name is of several types: operation -> parameter -> value.
ARGUMENTS_OF: dict[str, dict[str, Callable[[str], Any]]] = {
    'list_namespaces': {'query': lambda call_id: NamespaceQuery()},
    'create_namespace': {'new': make_namespace},
    'update_namespace': {'new': lambda call_id: Namespace(call_id, description='new')},
    'add_definition': {'new': lambda call_id: Tag('dark')},
    'update_definition': {'new': lambda call_id: Tag('darker')},
}
