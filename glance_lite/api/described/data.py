# SPDX-License-Identifier: Apache-2.0
"""``/v2/images/{id}/file`` and stores."""

from __future__ import annotations

from glance_lite.api.described import (
    CHAIN,
    NO_CONTENT,
    OBJECT,
    OCTETS,
    TEXT,
    Answer,
    Described,
    Parameter,
    found,
    ref,
)

OF_DATA = {
    'ETag': 'The multihash of the data',
    'Accept-Ranges': 'That parts can be had',
    'Content-MD5': 'MD5 of the whole data',
}
STORE = {
    'type': 'object',
    'properties': {
        'id': TEXT,
        'description': TEXT,
        'default': {'enum': ['true']},
        'read-only': {'enum': ['true']},
    },
    'required': ['id'],
}
HEALTH = {
    'type': 'object',
    'properties': {
        'state': {'enum': ['closed', 'open', 'half-open']},
        'problem': TEXT,
        'since': TEXT,
        'retry_after': {'type': 'integer', 'minimum': 0},
    },
    'required': ['state'],
}
DETAIL = {
    **STORE,
    'properties': {
        **STORE['properties'],  # type: ignore[dict-item]
        'type': {'type': ['string', 'null']},
        'weight': {'type': 'integer'},
        'properties': OBJECT,
        'health': HEALTH,
    },
    'required': ['id', 'type', 'weight', 'properties', 'health'],
}

SCHEMAS = {
    name: {
        'type': 'object',
        'properties': {'stores': {'type': 'array', 'items': items}},
        'required': ['stores'],
        'additionalProperties': False,
    }
    for name, items in (('Stores', STORE), ('StoresInDetail', DETAIL))
}

HANDLERS = {
    'download': Described(
        'Download the data, or a part of it',
        {
            200: Answer('All of it', {}, OCTETS, OF_DATA),
            204: Answer('There is no data'),
            206: Answer('A part', {}, OCTETS, {**OF_DATA, 'Content-Range': 'Which part it is'}),
        },
        (*CHAIN, 416),
        (Parameter('prefer', 'Ids of stores to try first, separated by commas'),),
        (
            Parameter('Range', 'One range of bytes: ``bytes=0-99``, ``bytes=100-``, ``bytes=-5``'),
            Parameter('If-Range', 'Only if the data is that of this ETag'),
        ),
    ),
    'upload': Described(
        'Upload the data',
        NO_CONTENT,
        (*CHAIN, 409, 410, 413, 415),
        headers=(
            Parameter('x-image-meta-store', 'Id of the store that takes it'),
            Parameter('x-openstack-image-size', 'Its size in bytes'),
        ),
        body={OCTETS: {}},
    ),
    'delete_from_store': Described('Remove the copy in one store', NO_CONTENT, (*CHAIN, 409)),
    'list_stores': Described('The stores', found(ref('Stores')), (404,)),
    'list_stores_detail': Described(
        'The stores, with their settings', found(ref('StoresInDetail')), CHAIN
    ),
}
