# SPDX-License-Identifier: Apache-2.0
"""``/v2/metadefs/namespaces/{namespace}/properties``."""

from __future__ import annotations

from typing import Any

from glance_lite.api.described import TEXT, Parameter, Schema, definitions, ref
from glance_lite.api.v2 import metaschemas
from glance_lite.metadefs.properties import ATTRIBUTES

#: A file may have said null of anything.
_TEXT: Schema = {'type': ['string', 'null']}
_TEXTS: Schema = {'type': ['array', 'null'], 'items': _TEXT}
_WHOLE: Schema = {'type': ['integer', 'null']}
_TRUTH: Schema = {'type': ['boolean', 'null']}
_NO_TEXT: dict[str, Schema] = {
    'operators': _TEXTS,
    'enum': _TEXTS,
    'minimum': _WHOLE,
    'maximum': _WHOLE,
    'minLength': _WHOLE,
    'maxLength': _WHOLE,
    'minItems': _WHOLE,
    'maxItems': _WHOLE,
    'readonly': _TRUTH,
    'confidential': _TRUTH,
    'uniqueItems': _TRUTH,
    'additionalItems': _TRUTH,
    'items': {
        'type': ['object', 'null'],
        'properties': {'type': TEXT, 'enum': {'type': 'array', 'items': _TEXT}},
        'required': ['type'],
        'additionalProperties': False,
    },
}
_SHOWN = {name: _NO_TEXT.get(name, _TEXT) for name in ATTRIBUTES}


def _sent(document: dict[str, Any]) -> dict[str, Any]:
    """Of the schema's attributes only those that can be kept."""
    kept = {name: one for name, one in document['properties'].items() if name in ATTRIBUTES}
    return definitions.sent({**document, 'properties': kept})


SCHEMAS = {
    'Property': definitions.exactly({**_SHOWN, 'name': TEXT}, 'name'),
    'NamelessProperty': definitions.exactly(_SHOWN),
    'Properties': definitions.exactly(
        {'properties': definitions.by_name(ref('NamelessProperty'))}, 'properties'
    ),
    'NewProperty': _sent(metaschemas.PROPERTY),
    'NewNamelessProperty': _sent(metaschemas.NAMELESS),
}

BY_TYPE = Parameter('resource_type', 'The name has the prefix it has on resources of this type')

HANDLERS = definitions.handlers(
    'Property', 'Properties', 'index', 'create', 'clear', 'show', 'update', 'delete',
    show=(BY_TYPE,),
)  # fmt: skip
