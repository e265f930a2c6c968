# SPDX-License-Identifier: Apache-2.0
"""``/v2/images/{id}/members``."""

from __future__ import annotations

from glance_lite.api.described import CHAIN, JSON, NO_CONTENT, TEXT, Described, found, ref
from glance_lite.model import MEMBER_STATUSES

STATUS = {'enum': list(MEMBER_STATUSES)}
TIME = {'type': 'string', 'format': 'date-time'}

SCHEMAS = {
    'Member': {
        'type': 'object',
        'properties': {
            'member_id': TEXT,
            'image_id': TEXT,
            'status': STATUS,
            'created_at': TIME,
            'updated_at': TIME,
            'schema': TEXT,
        },
        'required': ['member_id', 'image_id', 'status', 'created_at', 'updated_at', 'schema'],
        'additionalProperties': False,
    },
    'Members': {
        'type': 'object',
        'properties': {'members': {'type': 'array', 'items': ref('Member')}, 'schema': TEXT},
        'required': ['members', 'schema'],
        'additionalProperties': False,
    },
    'NewMember': {
        'type': 'object',
        'properties': {'member': {'type': 'string', 'minLength': 1, 'maxLength': 255}},
        'required': ['member'],
    },
    'MemberStatus': {'type': 'object', 'properties': {'status': STATUS}, 'required': ['status']},
}

HANDLERS = {
    'index': Described('With whom the image is shared', found(ref('Members')), CHAIN),
    'create': Described(
        'Share the image with a project',
        found(ref('Member'), 'It is shared'),
        (*CHAIN, 409, 413),
        body={JSON: ref('NewMember')},
    ),
    'show': Described('One membership', found(ref('Member')), CHAIN),
    'update': Described(
        'Accept or reject',
        found(ref('Member'), 'The membership as it is now'),
        (*CHAIN, 413),
        body={JSON: ref('MemberStatus')},
    ),
    'delete': Described('Stop sharing with a project', NO_CONTENT, CHAIN),
}
