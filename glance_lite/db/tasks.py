# SPDX-License-Identifier: Apache-2.0
"""Tasks: their rows, and what of them a caller may see.

A task whose time is over is not there for anybody, whether its row has been marked as deleted or
not: a read writes nothing.
"""

from __future__ import annotations

import datetime
import json
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.context import RequestContext
from glance_lite.db import paging, riders, rows, tables
from glance_lite.errors import Invalid, LimitExceeded, NotFound
from glance_lite.tasks import NewTask, Task, TaskPage, TaskQuery

tasks = tables.tasks.c
info = tables.task_info.c

_FIELDS: dict[str, Any] = {
    name: tasks[name]
    for name in (
        'id', 'type', 'status', 'owner', 'expires_at', 'image_id', 'request_id', 'user_id',
        'created_at', 'updated_at',
    )
}  # fmt: skip

#: Bytes that the text columns of ``task_info`` hold on every engine.
LARGEST_TEXT = 65535

#: Characters of ``request_id`` and ``user_id``.
LONGEST_ID = 64

#: Why a task ends as soon as it begins.
NOT_DONE = 'This version of the service keeps tasks but does not carry them out.'


def create(connection: Connection, ctx: RequestContext, task: NewTask, hours: int) -> Task:
    """A task that has failed: nobody here would do it, so nobody shall wait for it.

    `hours` is how long it is kept. `Invalid`: the caller has no project. `LimitExceeded`.
    """
    if ctx.owner is None:
        raise Invalid('A task belongs to a project, and this identity has none')
    text = json.dumps(dict(task.input))
    if len(text) > LARGEST_TEXT:
        raise LimitExceeded(f'The input of a task may have {LARGEST_TEXT} bytes at most')
    now = rows.utcnow()
    values: dict[str, Any] = {
        'id': str(uuid.uuid4()),
        'type': task.type,
        'status': 'failure',
        'owner': ctx.owner,
        'expires_at': now + datetime.timedelta(hours=hours),
        'image_id': None,
        'request_id': ctx.request_id[:LONGEST_ID],
        'user_id': (ctx.user_id or '')[:LONGEST_ID] or None,
        'created_at': now,
        'updated_at': now,
    }
    connection.execute(sa.insert(tables.tasks).values(deleted=False, **values))
    connection.execute(
        sa.insert(tables.task_info).values(task_id=values['id'], input=text, message=NOT_DONE)
    )
    made = Task(**values, input=task.input, message=NOT_DONE)
    riders.announce(connection, ctx.riders, made)
    return made


def load(connection: Connection, task_id: str) -> Task | None:
    """A task whoever asks, for what is told of it."""
    found = connection.execute(sa.select(*_FIELDS.values()).where(tasks.id == task_id)).first()
    return None if found is None else _task(found)


def get(connection: Connection, ctx: RequestContext, task_id: str) -> Task:
    found = connection.execute(_whole().where(tasks.id == task_id, *_seen(ctx))).first()
    if found is None:
        raise NotFound(f'No task found with ID {task_id}')
    return _task(found)


def of_image(connection: Connection, ctx: RequestContext, image_id: str) -> tuple[Task, ...]:
    """`ImageNotFound` for whom the image is not there."""
    rows.fetch(connection, ctx, image_id)
    wanted = _whole().where(tasks.image_id == image_id, *_seen(ctx))
    found = connection.execute(wanted.order_by(tasks.created_at, tasks.id)).fetchall()
    return tuple(map(_task, found))


def list_tasks(connection: Connection, ctx: RequestContext, wanted: TaskQuery) -> TaskPage:
    """Two statements at most: the marker's place and the page."""
    order = [_FIELDS[name] for name in dict.fromkeys((wanted.sort_key, 'created_at', 'id'))]
    query = sa.select(*_FIELDS.values()).where(
        *_seen(ctx), *(_FIELDS[name] == value for name, value in wanted.equal.items())
    )
    if wanted.marker is not None:
        place = _place(connection, ctx, wanted.marker, order)
        query = query.where(paging.behind(order, place, wanted.ascending))
    backend = connection.dialect.name
    keys = [paging.key(column, wanted.ascending, backend, column.nullable) for column in order]
    if wanted.limit <= 0:
        return TaskPage((), False)
    found = connection.execute(query.order_by(*keys).limit(wanted.limit)).fetchall()
    return TaskPage(tuple(map(_task, found)), len(found) >= wanted.limit)


def expire(connection: Connection) -> int:
    """Mark as deleted what nobody sees any more."""
    now = rows.utcnow()
    gone = sa.update(tables.tasks).where(tasks.deleted == sa.false(), tasks.expires_at <= now)
    return connection.execute(gone.values(deleted=True, deleted_at=now, updated_at=now)).rowcount


# --- what is there


def _mine(ctx: RequestContext) -> list[Any]:
    return [] if ctx.is_admin else [tasks.owner == (ctx.owner or '')]


def _seen(ctx: RequestContext) -> list[Any]:
    alive = sa.or_(tasks.expires_at.is_(None), tasks.expires_at > rows.utcnow())
    return [tasks.deleted == sa.false(), alive, *_mine(ctx)]


def _whole() -> sa.Select[Any]:
    both = tables.tasks.outerjoin(tables.task_info, info.task_id == tasks.id)
    return sa.select(*_FIELDS.values(), info.input, info.result, info.message).select_from(both)


def _task(row: Any) -> Task:
    values = dict(row._mapping)
    for name in ('input', 'result'):
        if name in values:
            values[name] = _object(values[name])
    for name in ('created_at', 'updated_at', 'expires_at'):
        if values[name] is not None:
            values[name] = values[name].replace(tzinfo=None)
    values['updated_at'] = values['updated_at'] or values['created_at']
    return Task(**values)


def _object(text: str | None) -> Any:
    """JSON that somebody wrote into a row; None where it is none."""
    try:
        value = json.loads(text or 'null')
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


# --- pages


def _place(
    connection: Connection, ctx: RequestContext, marker: str, order: list[Any]
) -> tuple[Any, ...]:
    """Where in the order a task is. It may have gone since the page before was read."""
    found = connection.execute(sa.select(*order).where(tasks.id == marker, *_mine(ctx))).first()
    if found is None:
        raise Invalid(f'The marker {marker} is not a task that can be listed')
    return tuple(found)
