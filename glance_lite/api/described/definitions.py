# SPDX-License-Identifier: Apache-2.0
"""What is said alike of all metadata definitions.

Bodies are described by the schemas that the service checks them by. What is answered may be older
than those, or come from a file, so of it only the types are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from glance_lite.api.described import (
    CHAIN,
    COUNT,
    JSON,
    NO_CONTENT,
    Answer,
    Described,
    Parameter,
    Schema,
    found,
    ref,
)
from glance_lite.api.v2.query import SORT_DIRECTIONS

CHANGED = (*CHAIN, 409, 413)

LIMIT = Parameter('limit', 'How many at most', COUNT)
SORT_DIR = Parameter('sort_dir', 'In which direction', {'enum': list(SORT_DIRECTIONS)})

#: Words of a schema that hold for what is answered as well.
_HOLD = ('type', 'format', 'description', 'enum')


def exactly(properties: Mapping[str, Schema], *required: str) -> dict[str, Any]:
    """An object with these and no others."""
    return {
        'type': 'object',
        'properties': dict(properties),
        'required': list(required),
        'additionalProperties': False,
    }


def array(items: Schema) -> dict[str, Any]:
    return {'type': 'array', 'items': items}


def by_name(items: Schema) -> dict[str, Any]:
    """Name -> one of them."""
    return {'type': 'object', 'additionalProperties': items}


def inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """With its definitions in place of references to them."""
    if isinstance(schema, list):
        return [inlined(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if '$ref' in schema:
        return inlined(definitions[schema['$ref'].rpartition('/')[2]], definitions)
    return {name: inlined(one, definitions) for name, one in schema.items()}


def sent(document: Mapping[str, Any], **instead: Schema) -> dict[str, Any]:
    """A body that a document describes, without what only the service writes.

    `instead` are attributes that are looked at by more than the document.
    """
    properties = {
        name: instead.get(name) or inlined(one, document.get('definitions', {}))
        for name, one in document['properties'].items()
        if not one.get('readOnly')
    }
    return exactly(properties, *document['required'])


def shown(
    document: Mapping[str, Any],
    *required: str,
    but: tuple[str, ...] = (),
    instead: Mapping[str, Schema] = MappingProxyType({}),
) -> dict[str, Any]:
    """An answer with the attributes of a document; `but`: without these."""
    properties = {}
    for name, one in document['properties'].items():
        whole = inlined(one, document.get('definitions', {}))
        told = {word: whole[word] for word in _HOLD if word in whole}
        properties[name] = instead.get(name) or told
    return exactly({name: one for name, one in properties.items() if name not in but}, *required)


def handlers(one: str, several: str, *names: str, **query: tuple[Parameter, ...]) -> dict[str, Any]:
    """The handlers of a kind by their names; `one` and `several` are those of its schemas."""
    what, all_of_them = one.lower(), several.lower()
    body = {JSON: ref(f'New{one}')}
    everything = {
        'index': Described(
            f'The {all_of_them} of a namespace', found(ref(several)), CHAIN, query.get('index', ())
        ),
        'create': Described(f'Add one of the {all_of_them}', added(ref(one)), CHANGED, body=body),
        'clear': Described(f'Remove all {all_of_them}', NO_CONTENT, CHAIN),
        'show': Described(f'One {what}', found(ref(one)), CHAIN, query.get('show', ())),
        'update': Described(
            f'Replace one of the {all_of_them}', found(ref(one), 'As it is now'), CHANGED, body=body
        ),
        'delete': Described(f'Remove one of the {all_of_them}', NO_CONTENT, CHAIN),
    }
    return {name: everything[name] for name in names}


def added(schema: Schema, **headers: str) -> Mapping[int, Answer]:
    """201 with a body."""
    return {201: Answer('It is added', schema, headers=headers)}
