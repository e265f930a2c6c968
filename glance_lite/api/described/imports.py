# SPDX-License-Identifier: Apache-2.0
"""``/v2/images/{id}/stage`` and ``/import``."""

from __future__ import annotations

from glance_lite.api.described import (
    CHAIN,
    JSON,
    NO_CONTENT,
    OBJECT,
    OCTETS,
    TEXT,
    Answer,
    Described,
    Parameter,
    ref,
)

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
        'Send data for an import by glance-direct',
        NO_CONTENT,
        (*CHAIN, 409, 410, 413, 415),
        headers=(Parameter('x-openstack-image-size', 'Its size in bytes'),),
        body={OCTETS: {}},
    ),
    'start': Described(
        'Import data into an image',
        {202: Answer('It is done in the background; image and task tell what becomes of it')},
        (*CHAIN, 409, 413, 502, 504),
        headers=(Parameter('x-image-meta-store', 'Id of the store that takes it'),),
        body={JSON: ref('Import')},
    ),
}
