# SPDX-License-Identifier: Apache-2.0
"""``/v2/metadefs/namespaces/{namespace}/objects``."""

from __future__ import annotations

from glance_lite.api.described import COUNT, TEXT, Parameter, definitions, ref
from glance_lite.api.v2 import metaschemas

SCHEMAS = {
    'Object': definitions.shown(
        metaschemas.OBJECT,
        'name',
        instead={
            'required': definitions.array(TEXT),
            'properties': definitions.by_name(ref('NamelessProperty')),
        },
    ),
    'Objects': definitions.exactly(
        {'objects': definitions.array(ref('Object')), 'schema': TEXT}, 'objects', 'schema'
    ),
    'NewObject': definitions.sent(
        metaschemas.OBJECT, properties=definitions.by_name(ref('NewNamelessProperty'))
    ),
}

#: They must make sense, and all objects are shown.
LOOKED_AT = (
    Parameter('limit', 'Without effect', {**COUNT, 'minimum': 1}),
    Parameter('sort_dir', 'Without effect', definitions.SORT_DIR.schema),
    Parameter('visibility', 'Without effect', {'enum': ['public', 'private', 'shared']}),
)

HANDLERS = definitions.handlers(
    'Object', 'Objects', 'index', 'create', 'clear', 'show', 'update', 'delete', index=LOOKED_AT
)
