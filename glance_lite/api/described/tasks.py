# SPDX-License-Identifier: Apache-2.0
"""``/v2/tasks`` and the tasks of an image."""

from __future__ import annotations

from typing import Any

from glance_lite.api.described import (
    CHAIN,
    COUNT,
    JSON,
    NOTHING,
    OBJECT,
    TEXT,
    Answer,
    Described,
    Parameter,
    found,
    ref,
)
from glance_lite.api.v2.tasks import FILTERS, SORT_KEYS
from glance_lite.tasks import STATUSES, TYPES

TIME = {'type': 'string', 'format': 'date-time'}
MAYBE = {'type': ['string', 'null']}
MAYBE_OBJECT = {'type': ['object', 'null']}
KINDS = {'type': {'enum': list(TYPES)}, 'status': {'enum': list(STATUSES)}}
SUMMARY: dict[str, Any] = {
    'id': TEXT, **KINDS, 'owner': TEXT, 'created_at': TIME, 'updated_at': TIME, 'self': TEXT,
    'schema': TEXT,
}  # fmt: skip
WHOLE = {**SUMMARY, 'input': MAYBE_OBJECT, 'result': MAYBE_OBJECT, 'message': TEXT}
RECORD = {
    'id': TEXT, **KINDS, 'owner': TEXT, 'expires_at': MAYBE, 'created_at': TEXT,
    'updated_at': TEXT, 'deleted_at': MAYBE, 'deleted': {'type': 'boolean'}, 'image_id': MAYBE,
    'request_id': MAYBE, 'user_id': MAYBE, 'input': MAYBE_OBJECT, 'result': MAYBE_OBJECT,
    'message': MAYBE,
}  # fmt: skip


def _exactly(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        'type': 'object',
        'properties': {**required, **optional},
        'required': list(required),
        'additionalProperties': False,
    }


SCHEMAS = {
    'Task': _exactly(WHOLE, expires_at=TIME, image_id=TEXT, request_id=TEXT, user_id=TEXT),
    'Tasks': _exactly(
        {
            'tasks': {'type': 'array', 'items': _exactly(SUMMARY, expires_at=TIME)},
            'first': TEXT,
            'schema': TEXT,
        },
        next=TEXT,
    ),
    'ImageTasks': _exactly({'tasks': {'type': 'array', 'items': _exactly(RECORD)}}),
    'NewTask': {
        'type': 'object',
        'properties': {'type': KINDS['type'], 'input': OBJECT},
        'required': ['type', 'input'],
    },
}

LIST = (
    Parameter('limit', 'Tasks in a page; 0 gives none', COUNT),
    Parameter('marker', 'Id of the task after which the page begins'),
    Parameter('sort_key', 'What to sort by', {'enum': list(SORT_KEYS)}),
    Parameter('sort_dir', 'In which direction', {'enum': ['asc', 'desc']}),
    *(Parameter(name, 'The value', KINDS.get(name, TEXT)) for name in FILTERS),
)

HANDLERS = {
    'index': Described('List tasks', found(ref('Tasks'), 'A page of tasks'), (403, 503), LIST),
    'create': Described(
        'Ask for a task. Nobody carries it out: it fails at once.',
        {201: Answer('The task', ref('Task'), headers={'Location': 'Where the task is'})},
        (403, 413, 503),
        body={JSON: ref('NewTask')},
    ),
    'show': Described('Show a task', found(ref('Task')), CHAIN),
    'delete': Described('Never: tasks go when they expire', NOTHING, (403, 405, 503)),
    'of_image': Described(
        'What was done with an image in the background', found(ref('ImageTasks')), (404, 503)
    ),
}
