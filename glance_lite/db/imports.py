# SPDX-License-Identifier: Apache-2.0
"""Images whose data lies in a store already: the rows of its registration.

What is left to be done (look at it, hash it) is an operation row in state `WAITING`, which any
process may take. Whoever has taken it may be killed: it waits again then. It goes with the image.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.context import RequestContext
from glance_lite.db import images as image_rows
from glance_lite.db import operations as protocol
from glance_lite.db import riders, rows, sealing, tables, usage
from glance_lite.db import tasks as task_rows
from glance_lite.db.clock import db_now
from glance_lite.errors import Conflict, Gone, Invalid
from glance_lite.guarded import redact
from glance_lite.model import (
    FAILED_UPLOAD,
    WITH_DATA,
    Changes,
    Digests,
    Image,
    NewLocation,
    Operation,
    Relocation,
    Reservation,
)
from glance_lite.notify.events import BEGUN, CLAIMED, DONE, FAILED, PLACED, Event
from glance_lite.process import Process

images = tables.images.c
locations = tables.image_locations.c
operations = tables.operations.c

KIND = 'import'
#: Nobody has it; nobody may take it, because the image is being deleted.
WAITING, SUSPENDED = 'waiting', 'suspended'

#: How many a project may have under way in all processes: servers that trickle hold up their own
#: project only.
PER_PROJECT = 2

#: How long a task can be read after its end, as in Glance.
KEPT = datetime.timedelta(hours=48)

GONE = 'The image was deleted'


# --- the old way: a patch


def relocate(
    connection: Connection,
    ctx: RequestContext,
    process: Process,
    image_id: str,
    changes: Changes,
    relocation: Relocation,
) -> Operation:
    """Change an image with its locations. `Conflict`, `LimitExceeded`."""
    before = rows.fetch_locked(connection, ctx, image_id)
    # What is in quarantine is not shown, and no step names it.
    if tuple(found.id for found in before.locations if found.good) != relocation.expected:
        raise Conflict('The locations of the image have just been changed by somebody else')
    sealing.check_readable(found for found in before.locations if found.id in relocation.drop)
    with usage.counted(connection, image_id, *image_rows.owners(before, changes)):
        image = image_rows.change(connection, before, changes)
        now = rows.utcnow()
        _delete_rows(connection, relocation.drop | relocation.remove, now)
        for new in relocation.add:
            _insert_row(connection, image_id, new.url, new.metadata, now)
        if not changes.fields:
            touch = sa.update(tables.images).where(images.id == image_id)
            connection.execute(touch.values(updated_at=now))
    more = len(relocation.add) - len(relocation.drop | relocation.remove)
    size = max(0, more) * (image.size or 0)
    riders.claim(connection, changes.riders, riders.Ride(image_id, None, size))
    loaded = rows.load(connection, image_id, None)
    assert loaded is not None  # it is locked
    riders.announce(connection, changes.riders, loaded[0])
    removed = tuple(found for found in before.locations if found.id in relocation.remove)
    if not removed:
        return Operation(0, image_id, image_id, loaded[0], kind='location')
    noted = protocol.note_removal(connection, ctx, process, image_id, removed, 'location', {})
    return dataclasses.replace(noted, image=loaded[0])


def _insert_row(
    connection: Connection,
    image_id: str,
    url: str,
    metadata: Mapping[str, Any],
    now: datetime.datetime,
) -> None:
    connection.execute(
        sa.insert(tables.image_locations).values(
            image_id=image_id,
            value=sealing.seal(connection, url),
            meta_data=json.dumps(dict(metadata)),
            status='active',
            created_at=now,
            updated_at=now,
            deleted=False,
        )
    )


def _delete_rows(connection: Connection, ids: frozenset[int], now: datetime.datetime) -> None:
    if ids:
        connection.execute(
            sa.update(tables.image_locations)
            .where(locations.id.in_(sorted(ids)))
            .values(status='deleted', deleted=True, deleted_at=now, updated_at=now)
        )


# --- the new way: an operation that waits


def claim(
    connection: Connection,
    ctx: RequestContext,
    process: Process,
    image_id: str,
    new: NewLocation,
    store: str,
) -> None:
    """queued -> importing. `Conflict`, `Invalid`."""
    image = rows.fetch_locked(connection, ctx, image_id)
    if image.status != 'queued':
        raise Conflict(f'An image in status {image.status} takes no location')
    if not image.disk_format or not image.container_format:
        raise Invalid('disk_format and container_format must be set before a location is added')
    with usage.counted(connection, image_id, image.owner):
        _set(connection, image_id, ('queued',), status='importing')
    riders.claim(connection, new.riders, riders.Ride(image_id))
    if FAILED_UPLOAD in image.properties:
        image_rows.remove_properties(connection, image_id, [FAILED_UPLOAD], rows.utcnow())
    kept = {
        'url': sealing.seal(connection, new.url),
        'metadata': dict(new.metadata),
        'validation': dict(new.validation),
        'riders': [dataclasses.asdict(one) for one in new.riders if isinstance(one, Reservation)],
        'task': _insert_task(connection, ctx, image, new),
    }
    events = [one.note() for one in new.riders if isinstance(one, Event)]
    if events:
        kept['events'] = events
    note = json.dumps(kept)
    protocol.insert(
        connection, ctx, process, image_id, kind=KIND, store=store, state=WAITING, kept=note
    )
    _announce(connection, note, image_id, CLAIMED)


def take(connection: Connection, process: Process) -> Operation | None:
    """One that waits, made ours; None if there is none."""
    project = sa.func.coalesce(operations.project, '')
    busy = (
        sa.select(project)
        .where(operations.kind == KIND, operations.state.not_in((WAITING, SUSPENDED)))
        .group_by(project)
        .having(sa.func.count() >= PER_PROJECT)
    )
    waiting = (
        sa.select(operations.serial, operations.image_id, operations.store, operations.kept)
        .where(operations.kind == KIND, operations.state == WAITING, project.not_in(busy))
        .order_by(operations.serial)
        .limit(8)
    )
    for row in connection.execute(waiting).fetchall():
        found = Operation(
            row.serial, row.image_id, row.image_id, kind=KIND, store=row.store, state=WAITING
        )
        mine = {'started': db_now(), **dataclasses.asdict(process)}
        taken = protocol.take(connection, found, **mine)
        if taken is None:
            continue
        loaded = rows.load(connection, row.image_id, None)
        if loaded is None or loaded[0].status not in ('importing', *WITH_DATA):
            # A Glance beside us has deleted it.
            _end_task(connection, row.kept, 'failure', GONE)
            _announce(connection, row.kept, None, FAILED)
            protocol.end(connection, taken)
            continue
        _begin_task(connection, row.kept)
        _announce(connection, row.kept, None, BEGUN)
        return dataclasses.replace(taken, image=loaded[0], new=_noted(connection, row.kept))
    return None


def wait_again(connection: Connection, found: Operation) -> None:
    """Give an import that was broken off to whoever takes it, unless it is not as it was found."""
    back = sa.update(tables.operations).where(
        protocol.held(found), operations.heartbeat == found.heartbeat
    )
    connection.execute(back.values(state=WAITING, heartbeat=db_now()))


def _noted(connection: Connection, kept: str) -> NewLocation:
    note = json.loads(kept)
    riding = tuple(Reservation(**one) for one in note['riders'])
    url = sealing.unseal(connection, note['url'])
    return NewLocation(url, note['metadata'], note['validation'], riding)


def _kept(connection: Connection, taken: Operation) -> str:
    """The note of an operation that we hold; the row is ours until the end. `Gone`."""
    alive = sa.update(tables.operations).where(protocol.held(taken))
    if not connection.execute(alive.values(heartbeat=db_now())).rowcount:
        raise Gone('The registration was taken over, or the image deleted')
    kept = sa.select(operations.kept).where(operations.serial == taken.serial)
    return str(connection.execute(kept).scalar_one())


def _live(connection: Connection, image_id: str) -> Image:
    if connection.dialect.name != 'sqlite':
        rows.LOCK.rows(connection, {'id': image_id})
    loaded = rows.load(connection, image_id, None)
    if loaded is None:
        raise Gone('The image was deleted meanwhile')
    return loaded[0]


def place(
    connection: Connection, taken: Operation, size: int, active: bool, algorithm: str | None
) -> Operation:
    """Write the location, unless that was done before. `Gone`, `LimitExceeded`."""
    assert taken.new is not None
    image = _live(connection, taken.image_id)
    kept = _kept(connection, taken)
    new = taken.new
    fresh = all(found.url != new.url for found in image.locations)
    with usage.counted(connection, image.id, image.owner):
        if fresh:
            _insert_row(connection, image.id, new.url, new.metadata, rows.utcnow())
            _set(connection, image.id, ('importing',), size=size, os_hash_algo=algorithm)
        if active:
            _set(connection, image.id, ('importing',), status='active')
    if fresh:
        riders.claim(connection, new.riders, riders.Ride(image.id, None, size))
    _announce(connection, kept, image.id, PLACED)
    return dataclasses.replace(taken, image=_live(connection, image.id))


def is_held(connection: Connection, taken: Operation) -> bool:
    row = sa.select(operations.serial).where(protocol.held(taken))
    return connection.execute(row).first() is not None


def commit(connection: Connection, taken: Operation, digests: Digests) -> None:
    """importing or active -> active, with what was found out. `Gone`."""
    image = _live(connection, taken.image_id)
    kept = _kept(connection, taken)
    protocol.end(connection, taken)
    found = {name: value for name, value in dataclasses.asdict(digests).items() if value}
    # One that was deactivated while it was hashed stays so.
    status = 'active' if image.status == 'importing' else image.status
    with usage.counted(connection, image.id, image.owner):
        _set(connection, image.id, (image.status,), status=status, **found)
    _end_task(connection, kept, 'success', f'Location added to image {image.id}')
    _announce(connection, kept, image.id, DONE)


def abort(connection: Connection, taken: Operation, reason: str) -> None:
    """Give it up. Nothing where it is not ours any more."""
    try:
        image = _live(connection, taken.image_id)
        kept = _kept(connection, taken)
    except Gone:
        return
    protocol.end(connection, taken)
    _end_task(connection, kept, 'failure', reason)
    with usage.counted(connection, image.id, image.owner):
        queued = _take_back(connection, image)
    if queued:
        told = {FAILED_UPLOAD: reason[:1000]}
        image_rows.insert_properties(connection, image.id, told, rows.utcnow())
    _announce(connection, kept, image.id, FAILED)


def _take_back(connection: Connection, image: Image) -> bool:
    """Whether the image has no data now; one that is active stays so, without a hash."""
    if image.status != 'importing':
        if image.os_hash_value is None:
            _set(connection, image.id, (image.status,), os_hash_algo=None)
        return False
    _delete_rows(connection, frozenset(found.id for found in image.locations), rows.utcnow())
    nothing = dict.fromkeys(image_rows.OF_DATA)
    _set(connection, image.id, ('importing',), status='queued', **nothing)
    return True


# --- the image is deleted meanwhile


def cancel(connection: Connection, image: Image, for_good: bool) -> None:
    """Stop what is under way for an image; not `for_good` it can be resumed."""
    if for_good:
        end_all(connection, image.id)
    else:
        mine = sa.update(tables.operations).where(_of(image.id))
        connection.execute(mine.values(state=SUSPENDED))


def end_all(connection: Connection, image_id: str) -> None:
    """The image is gone, and so is what was to be done for it."""
    found = connection.execute(sa.select(operations.kept).where(_of(image_id))).fetchall()
    for (kept,) in found:
        _end_task(connection, kept, 'failure', GONE)
        _announce(connection, kept, None, FAILED)
    if found:
        connection.execute(sa.delete(tables.operations).where(_of(image_id)))


def _of(image_id: str) -> Any:
    return sa.and_(operations.image_id == image_id, operations.kind == KIND)


def may_be_under_way(image: Image) -> bool:
    """PERF: nearly every image has its hash, and nothing need be asked."""
    return image.status == 'importing' or image.os_hash_value is None


def resume(connection: Connection, image_id: str) -> None:
    mine = sa.update(tables.operations).where(_of(image_id), operations.state == SUSPENDED)
    connection.execute(mine.values(state=WAITING, heartbeat=db_now()))


def _set(connection: Connection, image_id: str, before: tuple[str, ...], **values: Any) -> None:
    protocol.change_image(connection, image_id, *before, **values)


# --- what is told of it


def _announce(connection: Connection, kept: str, image_id: str | None, when: str) -> None:
    """Tell of the task, and of the image if there is one, by the events that ride in the note."""
    note = json.loads(kept)
    events = [Event(**one) for one in note.get('events', ())]
    if not riders.tells(events, when):
        return
    told: list[Any] = [task_rows.load(connection, note['task'])]
    if image_id is not None:
        told += (rows.load(connection, image_id, None) or ())[:1]
    riders.announce(connection, events, *told, when=when)


# --- the task that tells of it


def _insert_task(
    connection: Connection, ctx: RequestContext, image: Image, new: NewLocation
) -> str:
    """A row in ``tasks`` and one in ``task_info``; the id. Of the url without credentials."""
    task_id = str(uuid.uuid4())
    now = rows.utcnow()
    connection.execute(
        sa.insert(tables.tasks).values(
            id=task_id,
            type='location_import',
            status='pending',
            owner=ctx.owner or image.owner or '',
            image_id=image.id,
            request_id=(ctx.request_id or '')[:64],
            user_id=(ctx.user_id or '')[:64],
            created_at=now,
            updated_at=now,
            deleted=False,
        )
    )
    told = {
        'image_id': image.id,
        'loc_url': redact(new.url),
        'validation_data': dict(new.validation),
    }
    connection.execute(
        sa.insert(tables.task_info).values(task_id=task_id, input=json.dumps(told), message='')
    )
    return task_id


def _begin_task(connection: Connection, kept: str) -> None:
    _change_task(connection, json.loads(kept)['task'], status='processing')


def _end_task(connection: Connection, kept: str, status: str, message: str) -> None:
    task_id = json.loads(kept)['task']
    _change_task(connection, task_id, status=status, expires_at=rows.utcnow() + KEPT)
    told = sa.update(tables.task_info).where(tables.task_info.c.task_id == task_id)
    connection.execute(told.values(message=message))


def _change_task(connection: Connection, task_id: str, **values: Any) -> None:
    change = sa.update(tables.tasks).where(tables.tasks.c.id == task_id)
    connection.execute(change.values(updated_at=rows.utcnow(), **values))
