# SPDX-License-Identifier: Apache-2.0
"""Imports as rows: claimed with their image, taken, and written step by step by whoever has them.

Each function is one transaction. Nothing of an import is decided outside of them, so whoever takes
one up finds either the state before a step or the one after it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.context import RequestContext
from glance_lite.db import images as image_rows
from glance_lite.db import import_notes as notes
from glance_lite.db import operations as protocol
from glance_lite.db import riders, rows, sealing, staging, tables, usage
from glance_lite.db.clock import db_now
from glance_lite.errors import Conflict, Gone
from glance_lite.imports.jobs import (
    DONE,
    FAILED_STORES,
    IMPORTING_TO,
    JOB,
    LOCK,
    STAGE_HOST,
    WAITING,
    Copy,
    NewJob,
    Progress,
    Running,
    Step,
)
from glance_lite.imports.values import Job
from glance_lite.model import FAILED_UPLOAD, WITH_DATA, Image, Operation, Reservation
from glance_lite.notify import events
from glance_lite.process import Process

operations = tables.operations.c
jobs = tables.jobs.c
copies = tables.copies.c

#: How many that wait are looked at in one go.
AT_A_TIME = 50


# --- asking for one


def claim(
    connection: Connection, ctx: RequestContext, process: Process, image_id: str, new: NewJob
) -> Operation:
    """The lock, the status, the task and the rows. `Conflict`, `LimitExceeded`."""
    image = rows.fetch_locked(connection, ctx, image_id)
    if image.status != new.status:
        raise Conflict(f'An image in status {image.status} cannot be imported to this way')
    if not image.disk_format or not image.container_format:
        raise Conflict('disk_format and container_format must be set before an import')
    task_id = notes.insert_task(connection, ctx, image, new)
    notes.lock(connection, image, task_id)
    staged = staging.consume(connection, image.id, new.staged)
    serial = protocol.insert(connection, ctx, process, image_id, kind=JOB, state=WAITING)
    name = f'{image_id}-{serial}'
    mine = sa.update(tables.operations).where(operations.serial == serial)
    connection.execute(mine.values(name=name))
    if new.status not in WITH_DATA:
        with usage.counted(connection, image_id, image.owner):
            protocol.change_image(connection, image_id, new.status, status='importing')
    _check_room(connection, image, new, serial)
    stores = new.stores if new.several else ()
    _show(connection, image, stores, ())
    gone = [one for one in (STAGE_HOST, FAILED_UPLOAD) if one in image.properties]
    image_rows.remove_properties(connection, image_id, gone, rows.utcnow())
    _insert(connection, ctx, image, new, serial, task_id, staged)
    notes.announce(connection, new.request.riders, task_id, image_id, events.CLAIMED)
    return Operation(serial, image_id, name, image, kind=JOB, state=WAITING)


def _check_room(connection: Connection, image: Image, new: NewJob, serial: int) -> None:
    """Whether it would fit; each copy takes its own room when it is begun."""
    size = (image.size or 0) * len(new.stores)
    asked = [
        dataclasses.replace(one, amount=size) if isinstance(one, Reservation) else one
        for one in new.request.riders
        if not isinstance(one, Reservation) or one.counter == 'size'
    ]
    riders.claim(connection, asked, riders.Ride(image.id, serial))
    riders.end(connection, serial)


def _insert(
    connection: Connection,
    ctx: RequestContext,
    image: Image,
    new: NewJob,
    serial: int,
    task_id: str,
    staged: str | None,
) -> None:
    asked = new.request.riders
    wanted = {
        # A url may hold a credential.
        'fields': sealing.seal(connection, f'json:{json.dumps(dict(new.fields))}'),
        'all': new.request.all_must_succeed,
        'several': new.several,
        'project': ctx.project_id,
        'user': ctx.user_id,
        'roles': list(ctx.roles),
        'staged': staged and sealing.seal(connection, staged),
        'status': new.status,
        'hours': new.hours,
        'riders': [dataclasses.asdict(one) for one in asked if isinstance(one, Reservation)],
        'events': [one.note() for one in asked if isinstance(one, events.Event)],
    }
    connection.execute(
        sa.insert(tables.jobs).values(
            serial=serial,
            task_id=task_id,
            image_id=image.id,
            method=new.request.method,
            wanted=json.dumps(wanted),
            steps=json.dumps({'over': {}, 'notes': {}, 'before': {}}),
            percent=0,
            created=db_now(),
        )
    )
    for store in new.stores:
        row = {'job': serial, 'image_id': image.id, 'store': store, 'state': WAITING}
        connection.execute(sa.insert(tables.copies).values(**row))


# --- who does it


_JOB = sa.select(
    operations.serial,
    operations.image_id,
    operations.name,
    operations.state,
    jobs.task_id,
    jobs.method,
    jobs.wanted,
    jobs.steps,
    jobs.created,
    db_now().label('now'),
).join_from(tables.operations, tables.jobs, jobs.serial == operations.serial)


def waiting(connection: Connection) -> tuple[Operation, ...]:
    """Those that nobody has; of their images nothing is read.

    Those of projects with the fewest under way come first, then the oldest.
    """
    taken = tables.operations.alias()
    busy = (
        sa.select(sa.func.count())
        .where(
            taken.c.kind == JOB,
            taken.c.state != WAITING,
            sa.func.coalesce(taken.c.project, '') == sa.func.coalesce(operations.project, ''),
        )
        .scalar_subquery()
    )
    found = _JOB.where(operations.kind == JOB, operations.state == WAITING)
    found = found.order_by(busy, operations.serial).limit(AT_A_TIME)
    return tuple(_operation(connection, row, None) for row in connection.execute(found).fetchall())


def take(connection: Connection, process: Process, found: Operation) -> Operation | None:
    """Make one that waits ours."""
    mine = {'started': db_now(), **dataclasses.asdict(process)}
    taken = protocol.take(connection, found, **mine)
    if taken is None:
        return None
    loaded = rows.load(connection, found.image_id, None)
    row = connection.execute(_JOB.where(operations.serial == found.serial)).first()
    if row is None:
        protocol.end(connection, taken)
        return None
    note = json.loads(row.wanted)
    if loaded is None or not _is_ours(loaded[0], row.task_id, note['status']):
        # A Glance beside us has deleted it, or taken the lock.
        notes.end_task(connection, row.task_id, 'failure', notes.GONE, hours=note['hours'])
        forget(connection, found.serial)
        staging.leave(connection, taken, staged_url(connection, note))
        return None
    notes.begin_task(connection, row.task_id)
    notes.announce(connection, notes.events_of(note), row.task_id, None, events.BEGUN)
    return _operation(connection, row, loaded[0])


def _is_ours(image: Image, task_id: str, status: str) -> bool:
    during = WITH_DATA if status in WITH_DATA else ('importing', *WITH_DATA)
    return image.status in during and image.properties.get(LOCK) == task_id


def staged_url(connection: Connection, note: Mapping[str, Any]) -> str | None:
    """What a client has staged for an import."""
    sealed = note['staged']
    return sealing.unseal(connection, sealed) if sealed else None


def _operation(connection: Connection, row: Any, image: Image | None) -> Operation:
    note, steps = json.loads(row.wanted), json.loads(row.steps)
    chosen = sa.select(tables.copies).where(copies.job == row.serial).order_by(copies.id)
    found = connection.execute(chosen).fetchall()
    job = Job(
        row.serial,
        row.task_id,
        image,  # type: ignore[arg-type]  # of one that is only found nothing is asked
        row.method,
        json.loads(sealing.unseal(connection, note['fields']).removeprefix('json:')),
        tuple(one.store for one in found),
        note['all'],
        note['project'],
        note['user'],
        tuple(note['roles']),
    )
    running = Running(
        job,
        tuple(Copy(one.store, one.state, one.reason) for one in found),
        steps['over'],
        steps['notes'],
        note['several'],
        staged_url(connection, note),
        (row.now - row.created).total_seconds(),
    )
    return Operation(
        row.serial, row.image_id, row.name, image, kind=JOB, state=row.state, job=running
    )


def forget(connection: Connection, serial: int) -> None:
    """The rows beside the operation, and what it has reserved."""
    connection.execute(sa.delete(tables.jobs).where(jobs.serial == serial))
    connection.execute(sa.delete(tables.copies).where(copies.job == serial))
    riders.end(connection, serial)


# --- while it is done


@dataclasses.dataclass
class Held:
    """An import that we hold, with its image, both locked."""

    image: Image
    note: dict[str, Any]
    steps: dict[str, Any]
    task_id: str

    @property
    def status(self) -> str:
        """The status that the image had."""
        return str(self.note['status'])

    @property
    def reservations(self) -> list[Reservation]:
        """The limits of the project, and what they count."""
        return [Reservation(**one) for one in self.note['riders']]

    @property
    def events(self) -> list[events.Event]:
        return notes.events_of(self.note)


def hold(connection: Connection, taken: Operation) -> Held:
    """Lock both; a sign of life. `Gone`: taken over, or deleted."""
    if connection.dialect.name != 'sqlite':
        rows.LOCK.rows(connection, {'id': taken.image_id})
    loaded = rows.load(connection, taken.image_id, None)
    if loaded is None:
        raise Gone('The image was deleted while it was imported')
    alive = sa.update(tables.operations).where(protocol.held(taken))
    if not connection.execute(alive.values(heartbeat=db_now())).rowcount:
        raise Gone('The import was taken over, or the image deleted')
    row = connection.execute(sa.select(tables.jobs).where(jobs.serial == taken.serial)).first()
    if row is None:
        raise Gone('The import is over')
    image, note = loaded[0], json.loads(row.wanted)
    if not _is_ours(image, row.task_id, note['status']):
        raise Gone('The image was taken by somebody else')
    return Held(image, note, json.loads(row.steps), row.task_id)


def tell(connection: Connection, taken: Operation, progress: Progress) -> None:
    """How far it is, for whoever looks at the task."""
    found = hold(connection, taken)
    values: dict[str, Any] = {'percent': progress.percent}
    if progress.step is not None:
        found.steps['notes'][progress.step] = dict(progress.note or {})
        values['steps'] = json.dumps(found.steps)
    connection.execute(sa.update(tables.jobs).where(jobs.serial == taken.serial).values(**values))
    notes.tell_task(connection, found.task_id, progress)


def finish_step(connection: Connection, taken: Operation, step: Step) -> Operation:
    """What a step has made; the operation with the image as it then is."""
    found = hold(connection, taken)
    image = found.image
    found.steps['over'][step.name] = step.file
    found.steps['notes'].pop(step.name, None)
    before = found.steps['before']
    for name in step.fields:
        before.setdefault('fields', {}).setdefault(name, getattr(image, name))
    for name in step.properties:
        before.setdefault('properties', {}).setdefault(name, image.properties.get(name))
    values = dict(step.fields)
    if step.size is not None:
        values['size'] = step.size
    with usage.counted(connection, image.id, image.owner):
        protocol.change_image(connection, image.id, image.status, **values)
    room = [one for one in found.reservations if one.counter == 'staged']
    riders.claim(connection, room, riders.Ride(image.id, None, step.size))
    image_rows.insert_properties(connection, image.id, step.properties, rows.utcnow())
    mine = sa.update(tables.jobs).where(jobs.serial == taken.serial)
    connection.execute(mine.values(steps=json.dumps(found.steps)))
    loaded = rows.load(connection, image.id, None)
    row = connection.execute(_JOB.where(operations.serial == taken.serial)).one()
    return _operation(connection, row, loaded[0] if loaded else image)


# --- what is shown on the image


def _show(
    connection: Connection, image: Image, adding: tuple[str, ...], failing: tuple[str, ...]
) -> None:
    """The two lists of stores, as Glance writes them: they stay when they are empty."""
    before = {name: _names(image, name) for name in (IMPORTING_TO, FAILED_STORES)}
    show(
        connection,
        image.id,
        before[IMPORTING_TO] | set(adding),
        before[FAILED_STORES] - set(adding) | set(failing),
    )


def show(connection: Connection, image_id: str, to: set[str], failed: set[str]) -> None:
    """Write the two lists."""
    lists = {IMPORTING_TO: ','.join(sorted(to)), FAILED_STORES: ','.join(sorted(failed))}
    image_rows.insert_properties(connection, image_id, lists, rows.utcnow())


def _names(image: Image, name: str) -> set[str]:
    return {store for store in (image.properties.get(name) or '').split(',') if store}


def done_with(
    connection: Connection, image: Image, store: str, several: bool, failed: bool = False
) -> None:
    """One store less to which data is copied."""
    if several:
        to, failures = _names(image, IMPORTING_TO) - {store}, _names(image, FAILED_STORES)
        show(connection, image.id, to, failures | {store} if failed else failures - {store})


def set_copy(connection: Connection, serial: int, store: str, **values: Any) -> None:
    """What has become of the copy in one store."""
    mine = sa.update(tables.copies).where(copies.job == serial, copies.store == store)
    connection.execute(mine.values(**values))


def copies_of(connection: Connection, serial: int, state: str = DONE) -> list[Any]:
    """Those rows of copies that are in a state."""
    chosen = sa.select(tables.copies).where(copies.job == serial, copies.state == state)
    return list(connection.execute(chosen.order_by(copies.id)).fetchall())
