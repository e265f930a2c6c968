# SPDX-License-Identifier: Apache-2.0
"""``/v2/info``."""

from __future__ import annotations

from glance_lite.api.described import COUNT, TEXT, Described, found, ref

SCHEMAS = {
    'ImportMethods': {
        'type': 'object',
        'properties': {
            'import-methods': {
                'type': 'object',
                'properties': {
                    'description': TEXT,
                    'type': {'const': 'array'},
                    'value': {'type': 'array', 'items': TEXT},
                },
                'required': ['description', 'type', 'value'],
            }
        },
        'required': ['import-methods'],
        'additionalProperties': False,
    },
    'Usage': {
        'type': 'object',
        'properties': {
            'usage': {
                'type': 'object',
                'additionalProperties': {
                    'type': 'object',
                    'properties': {'usage': COUNT, 'limit': {'type': 'integer', 'minimum': -1}},
                    'required': ['usage', 'limit'],
                    'additionalProperties': False,
                },
            }
        },
        'required': ['usage'],
        'additionalProperties': False,
    },
}

HANDLERS = {
    'import_methods': Described('The methods of import', found(ref('ImportMethods'))),
    'usage': Described('What the project uses of its limits', found(ref('Usage')), (503,)),
}
