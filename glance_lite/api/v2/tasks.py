# SPDX-License-Identifier: Apache-2.0
"""``/v2/tasks``: what is done in the background, for administrators; and the tasks of one image."""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING, Any

import webob

from glance_lite.api import faults, http
from glance_lite.api.v2 import query
from glance_lite.api.v2.schemas import TASK, Checker
from glance_lite.errors import Invalid
from glance_lite.tasks import STATUSES, TYPES, NewTask, TaskQuery

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.operations import Operations
    from glance_lite.tasks import Task

PATH = '/v2/tasks'
RULE = 'tasks_api_access'

SORT_KEYS = (
    'id', 'type', 'status', 'owner', 'expires_at', 'image_id', 'request_id', 'user_id',
    'created_at', 'updated_at',
)  # fmt: skip
FILTERS = ('id', 'type', 'status', 'owner', 'image_id', 'request_id', 'user_id')

#: Where an import may say its data comes from.
SCHEMES = ('http', 'https')

check_new = Checker(
    {**TASK, 'additionalProperties': False, 'required': ['type', 'input']}, 'The task'
)


class Tasks:
    """Task resources. Who may not use them learns so before anything else."""

    def __init__(self, chain: Operations, conf: cfg.ConfigOpts) -> None:
        self._chain = chain
        self._endpoint: str | None = conf.public_endpoint
        self._default: int = conf.limit_param_default
        self._largest: int = conf.api_limit_max

    def _admit(self, request: webob.Request) -> None:
        self._chain.admit(http.context(request), RULE, None)

    def index(self, request: webob.Request) -> webob.Response:
        """A page of tasks."""
        self._admit(request)
        pairs = http.query(request)
        page = self._chain.list_tasks(http.context(request), self._query(dict(pairs)))
        marker = page.tasks[-1].id if page.full else None
        first, following = query.links(PATH, pairs, marker)
        body: dict[str, Any] = {'tasks': [summary(task) for task in page.tasks], 'first': first}
        if following:
            body['next'] = following
        body['schema'] = '/v2/schemas/tasks'
        return http.json_answer(body)

    def _query(self, values: dict[str, str]) -> TaskQuery:
        limit = query.whole_number('limit', values.get('limit', str(self._default)))
        if limit < 0:
            raise Invalid('limit must not be negative')
        for name, known in (('type', TYPES), ('status', STATUSES)):
            if values.get(name) and values[name] not in known:
                raise Invalid(f'{name} is one of {", ".join(known)}')
        sort_key = values.get('sort_key', 'created_at')
        if sort_key not in SORT_KEYS:
            raise Invalid(f'Tasks are sorted by {", ".join(SORT_KEYS)}')
        direction = values.get('sort_dir', 'desc')
        if direction not in query.SORT_DIRECTIONS:
            raise Invalid('sort_dir is asc or desc')
        return TaskQuery(
            {name: values[name] for name in FILTERS if name in values},
            sort_key,
            direction == 'asc',
            values.get('marker'),
            min(limit, self._largest),
        )

    def create(self, request: webob.Request) -> webob.Response:
        """A new task; what nobody here carries out has failed already."""
        self._admit(request)
        body = http.json_object(request)
        check_new(body)
        if body['type'] == 'import':
            _check_import(body['input'] or {})
        if body['input'] is None:
            raise Invalid('The input of a task must be an object')
        new = NewTask(body['type'], body['input'])
        task = self._chain.create_task(http.context(request), new)
        answer = http.json_answer(whole(task), 201)
        base = http.base_url(request, self._endpoint)
        answer.headerlist.append(('Location', f'{base}{PATH}/{task.id}'))
        return answer

    def show(self, request: webob.Request, task_id: str) -> webob.Response:
        """One task, with what it was given and what came of it."""
        return http.json_answer(whole(self._chain.get_task(http.context(request), task_id)))

    def delete(self, request: webob.Request, task_id: str) -> webob.Response:
        """Never: tasks go when their time is over."""
        self._admit(request)
        message = 'Tasks are not deleted by clients: they go when they expire'
        return faults.fault(request, 405, message, {'Allow': 'GET'})

    def of_image(self, request: webob.Request, image_id: str) -> webob.Response:
        """The tasks of one image."""
        found = self._chain.list_image_tasks(http.context(request), image_id)
        return http.json_answer({'tasks': [record(task) for task in found]})


def _check_import(given: dict[str, Any]) -> None:
    source = given.get('import_from')
    match = re.match(r'([A-Za-z][A-Za-z0-9+.-]*)://', source) if isinstance(source, str) else None
    if match is None or match[1].lower() not in SCHEMES:
        raise Invalid(f'import_from must be a url that begins with {" or ".join(SCHEMES)}')


# --- tasks as clients see them


def _time(value: datetime.datetime) -> str:
    return value.replace(microsecond=0).isoformat() + 'Z'


def _exact(value: datetime.datetime | None) -> str | None:
    return value.strftime('%Y-%m-%dT%H:%M:%S.%f') if value else None


def summary(task: Task) -> dict[str, Any]:
    """A task in a list."""
    view = {
        'id': task.id,
        'type': task.type,
        'status': task.status,
        'owner': task.owner,
        'created_at': _time(task.created_at),
        'updated_at': _time(task.updated_at),
        'self': f'{PATH}/{task.id}',
        'schema': '/v2/schemas/task',
    }
    if task.expires_at:
        view['expires_at'] = _time(task.expires_at)
    return view


def whole(task: Task) -> dict[str, Any]:
    """A task by itself."""
    view = {**summary(task), 'input': task.input, 'result': task.result}
    view['message'] = task.message or ''
    for name in ('image_id', 'request_id', 'user_id'):
        if getattr(task, name):
            view[name] = getattr(task, name)
    return view


def record(task: Task) -> dict[str, Any]:
    """A task among those of its image: the row as it is."""
    return {
        'id': task.id,
        'type': task.type,
        'status': task.status,
        'owner': task.owner,
        'expires_at': _exact(task.expires_at),
        'created_at': _exact(task.created_at),
        'updated_at': _exact(task.updated_at),
        'deleted_at': None,
        'deleted': False,
        'image_id': task.image_id,
        'request_id': task.request_id,
        'user_id': task.user_id,
        'input': task.input,
        'result': task.result,
        'message': task.message,
    }
