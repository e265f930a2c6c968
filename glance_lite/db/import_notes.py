# SPDX-License-Identifier: Apache-2.0
"""What Glance knows of an import: the task that tells of it, and the lock on its image."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy.engine import Connection

from glance_lite.context import RequestContext
from glance_lite.db import images as image_rows
from glance_lite.db import riders, rows, tables
from glance_lite.db import tasks as task_rows
from glance_lite.errors import Conflict
from glance_lite.guarded import redact
from glance_lite.imports.jobs import LOCK, NewJob, Progress
from glance_lite.model import Image
from glance_lite.notify.events import Event

tasks = tables.tasks.c
info = tables.task_info.c

#: For how long a task that is not ours can be read after its end, as in Glance.
HOURS = 48
#: How long a lock of Glance's is believed after the last sign of its task, which has begun or not.
BELIEVED = {'pending': datetime.timedelta(minutes=120)}
BELIEVED_BEGUN = datetime.timedelta(minutes=60)

GONE = 'The image was deleted'


# --- the lock


def lock(connection: Connection, image: Image, task_id: str) -> None:
    """Take it, as Glance does, so that it and we keep each other out. `Conflict`."""
    holder = image.properties.get(LOCK)
    if holder is not None:
        _check_stale(connection, holder)
        _end_stale(connection, holder)
        image_rows.remove_properties(connection, image.id, [LOCK], rows.utcnow())
    p, now = tables.image_properties.c, rows.utcnow()
    gone = sa.update(tables.image_properties).where(
        p.image_id == image.id, p.name == LOCK, p.deleted == sa.true()
    )
    back = gone.values(value=task_id, deleted=False, deleted_at=None, updated_at=now)
    if connection.execute(back).rowcount:
        return
    new = {'image_id': image.id, 'name': LOCK, 'value': task_id, 'deleted': False}
    try:
        with connection.begin_nested():
            connection.execute(
                sa.insert(tables.image_properties).values(created_at=now, updated_at=now, **new)
            )
    except db_exc.DBDuplicateEntry:
        raise Conflict('Another import of the image has just begun') from None


def _check_stale(connection: Connection, holder: str) -> None:
    """Whether a lock is one that somebody has left. `Conflict`: it is not."""
    ours = sa.select(tables.jobs.c.serial).where(tables.jobs.c.task_id == holder)
    if connection.execute(ours).first() is not None:
        raise Conflict('The image has an import under way')
    query = sa.select(tasks.status, tasks.updated_at).where(tasks.id == holder)
    task = connection.execute(query).first()
    if task is None:
        return
    age = rows.utcnow() - task.updated_at.replace(tzinfo=None)
    if age < BELIEVED.get(task.status, BELIEVED_BEGUN):
        raise Conflict('The image has an import under way')


def _end_stale(connection: Connection, holder: str) -> None:
    """Say of a task that nobody carries it out any more."""
    open_task = sa.select(tasks.id).where(
        tasks.id == holder, tasks.status.in_(('pending', 'processing'))
    )
    if connection.execute(open_task).first() is not None:
        end_task(connection, holder, 'failure', 'Expired lock preempted')


def unlock(connection: Connection, image_id: str) -> None:
    """Of an image that we hold."""
    image_rows.remove_properties(connection, image_id, [LOCK], rows.utcnow())


# --- the task


def insert_task(connection: Connection, ctx: RequestContext, image: Image, new: NewJob) -> str:
    """A task that waits; its id. It shows what was asked for, without credentials."""
    task_id, now = str(uuid.uuid4()), rows.utcnow()
    asked = new.request
    connection.execute(
        sa.insert(tables.tasks).values(
            id=task_id,
            type='api_image_import',
            status='pending',
            owner=ctx.owner or image.owner or '',
            image_id=image.id,
            request_id=(ctx.request_id or '')[: task_rows.LONGEST_ID],
            user_id=(ctx.user_id or '')[: task_rows.LONGEST_ID],
            created_at=now,
            updated_at=now,
            deleted=False,
        )
    )
    fields = {
        name: redact(value) if isinstance(value, str) and '://' in value else value
        for name, value in new.fields.items()
    }
    request = {
        'method': {'name': asked.method, **fields},
        'all_stores': asked.all_stores,
        'all_stores_must_succeed': asked.all_must_succeed,
    }
    told = {
        'image_id': image.id,
        'import_req': request,
        'backend': list(new.stores) if new.several else [None],
    }
    connection.execute(
        sa.insert(tables.task_info).values(task_id=task_id, input=json.dumps(told), message='')
    )
    return task_id


def begin_task(connection: Connection, task_id: str) -> None:
    """Somebody does it."""
    change = sa.update(tables.tasks).where(tasks.id == task_id, tasks.status == 'pending')
    connection.execute(change.values(status='processing', updated_at=rows.utcnow()))


def tell_task(connection: Connection, task_id: str, progress: Progress) -> None:
    """How far it is."""
    change = sa.update(tables.tasks).where(tasks.id == task_id)
    connection.execute(change.values(updated_at=rows.utcnow()))
    told = sa.update(tables.task_info).where(info.task_id == task_id)
    message = f'{progress.percent} percent: {progress.what}'
    result = json.dumps({'percent': progress.percent})
    connection.execute(told.values(message=message, result=result))


def end_task(
    connection: Connection,
    task_id: str,
    status: str,
    message: str,
    result: Mapping[str, Any] | None = None,
    hours: int = HOURS,
) -> None:
    """It is over, and can be read for so many hours."""
    now = rows.utcnow()
    expires = now + datetime.timedelta(hours=hours)
    change = sa.update(tables.tasks).where(tasks.id == task_id)
    connection.execute(change.values(status=status, expires_at=expires, updated_at=now))
    told = sa.update(tables.task_info).where(info.task_id == task_id)
    values = {'message': message[:4000], 'result': json.dumps(dict(result)) if result else None}
    connection.execute(told.values(**values))


# --- events


def events_of(note: Mapping[str, Any]) -> list[Event]:
    """Those that ride on an import."""
    return [Event(**one) for one in note['events']]


def announce(
    connection: Connection,
    riding: Iterable[Any],
    task_id: str,
    image_id: str | None,
    when: str,
    *names: str,
) -> None:
    """Tell of the task, and of the image if there is one; only events of these names, if any."""
    chosen = [one for one in riding if isinstance(one, Event) and (not names or one.name in names)]
    if not riders.tells(chosen, when):
        return
    told: list[Any] = [task_rows.load(connection, task_id)]
    if image_id is not None:
        told += (rows.load(connection, image_id, None) or ())[:1]
    riders.announce(connection, chosen, *told, when=when)
