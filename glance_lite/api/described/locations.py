# SPDX-License-Identifier: Apache-2.0
"""``/v2/images/{id}/locations``."""

from __future__ import annotations

from glance_lite.api.described import CHAIN, JSON, OBJECT, TEXT, Answer, Described, found, ref
from glance_lite.api.v2.locations import SCHEMA

SCHEMAS = {
    'Location': {
        'type': 'object',
        'properties': {'url': TEXT, 'metadata': OBJECT},
        'required': ['url', 'metadata'],
        'additionalProperties': False,
    },
    'Locations': {'type': 'array', 'items': ref('Location')},
    'NewLocation': {'type': 'object', **SCHEMA},
}

HANDLERS = {
    'index': Described('Where the data of an image is', found(ref('Locations')), CHAIN),
    'create': Described(
        'Register data that lies somewhere already',
        {202: Answer('The data is looked at; the image is active when that is done')},
        (*CHAIN, 409, 413),
        body={JSON: ref('NewLocation')},
    ),
}
