# SPDX-License-Identifier: Apache-2.0
"""``/v2/images/{id}/stage`` and ``/import``: refusals only."""

from __future__ import annotations

from glance_lite.api.described import JSON, NOTHING, OBJECT, OCTETS, TEXT, Described, ref

SCHEMAS = {
    'Import': {
        'type': 'object',
        'properties': {
            'method': {**OBJECT, 'properties': {'name': TEXT}, 'required': ['name']},
            'stores': {'type': ['array', 'null'], 'items': TEXT},
            'all_stores': {'type': 'boolean'},
            'all_stores_must_succeed': {'type': 'boolean'},
        },
        'required': ['method'],
    }
}

HANDLERS = {
    'stage': Described(
        'Send data for an import. No method that takes it is available.',
        NOTHING,
        (404,),
        body={OCTETS: {}},
    ),
    'start': Described(
        'Import data into an image. No method is available.',
        NOTHING,
        (413,),
        body={JSON: ref('Import')},
    ),
}
