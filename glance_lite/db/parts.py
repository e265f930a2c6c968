# SPDX-License-Identifier: Apache-2.0
"""The copies of an import, and its end: all of it is there, or nothing is.

The bytes of a copy have an operation row of their own while they are written, as those of any copy
have, so that whoever sweeps it removes them. It ends with the location.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.context import RequestContext
from glance_lite.db import copies as copying
from glance_lite.db import images as image_rows
from glance_lite.db import import_notes as notes
from glance_lite.db import jobs, riders, rows, staging, tables, usage
from glance_lite.db import operations as protocol
from glance_lite.errors import Gone, StoreError
from glance_lite.imports.jobs import DONE, FAILED, FAILED_STORES, JOB
from glance_lite.model import (
    FAILED_UPLOAD,
    WITH_DATA,
    Image,
    Operation,
    Stored,
)
from glance_lite.notify import events
from glance_lite.process import Process

operations = tables.operations.c
locations = tables.image_locations.c

#: The status of an image while data comes to it: it may have data already.
RECEIVING = ('importing', *WITH_DATA)


def claim(
    connection: Connection, ctx: RequestContext, process: Process, taken: Operation, store: str
) -> Operation:
    """A copy is being written to a store. `LimitExceeded`, `Gone`."""
    found = jobs.hold(connection, taken)
    image = found.image
    serial = protocol.insert(connection, ctx, process, image.id, kind=copying.KIND, store=store)
    name = protocol.set_name(connection, image.id, serial, store)
    room = [
        dataclasses.replace(one, amount=image.size or 0)
        for one in found.reservations
        if one.counter == 'size'
    ]
    riders.claim(connection, room, riders.Ride(image.id, serial))
    told = (
        [_of_store(one, store) for one in found.events] if found.note['several'] else found.events
    )
    notes.announce(connection, told, found.task_id, image.id, events.BEGUN, 'image.prepare')
    return Operation(serial, image.id, name, image, kind=copying.KIND, store=store)


def _of_store(event: events.Event, store: str) -> events.Event:
    return dataclasses.replace(event, more={**event.more, 'backend': store})


def commit(connection: Connection, taken: Operation, part: Operation, stored: Stored) -> Image:
    """The location; the image is active now if one store is enough. `Gone`, `StoreError`."""
    found = jobs.hold(connection, taken)
    image, all_needed = found.image, found.note['all']
    values: dict[str, Any] = {}
    if image.os_hash_value is None:
        values = {name: getattr(stored, name) for name in image_rows.OF_DATA}
        if stored.virtual_size is None:
            del values['virtual_size']
    elif stored.os_hash_value and stored.os_hash_value != image.os_hash_value:
        raise StoreError('The copies of the image are not the same')
    became_active = image.status == 'importing' and not all_needed
    if became_active:
        values['status'] = 'active'
    with usage.counted(connection, image.id, image.owner):
        if not protocol.change_image(connection, image.id, *RECEIVING, **values):
            raise Gone('The image was deleted while it was imported')
        if not protocol.end(connection, part):
            raise Gone('The copy took too long and was given up')
        number = protocol.insert_location(connection, image.id, stored)
    riders.end(connection, part.serial)
    jobs.set_copy(connection, taken.serial, str(part.store), state=DONE, location=number)
    jobs.done_with(connection, image, str(part.store), found.note['several'])
    named = ['image.upload', *(['image.activate'] if became_active else [])]
    notes.announce(connection, found.events, found.task_id, image.id, events.PLACED, *named)
    loaded = rows.load(connection, image.id, None)
    assert loaded is not None  # it is locked
    return loaded[0]


def fail(connection: Connection, taken: Operation, store: str, reason: str) -> Operation:
    """One store will have no copy; the others may."""
    found = jobs.hold(connection, taken)
    jobs.set_copy(connection, taken.serial, store, state=FAILED, reason=reason[:1000])
    jobs.done_with(connection, found.image, store, found.note['several'], failed=True)
    return taken


# --- the end


def commit_job(connection: Connection, taken: Operation) -> Operation:
    """All is there. `Gone`."""
    found = jobs.hold(connection, taken)
    image = found.image
    became_active = image.status == 'importing'
    with usage.counted(connection, image.id, image.owner):
        status = 'active' if became_active else image.status
        protocol.change_image(connection, image.id, image.status, status=status)
    notes.unlock(connection, image.id)
    failed = jobs.copies_of(connection, taken.serial, FAILED)
    message = '; '.join(f'{one.store}: {one.reason}' for one in failed)
    result = {'image_id': image.id}
    notes.end_task(connection, found.task_id, 'success', message, result, found.note['hours'])
    about = (found.task_id, image.id)
    if became_active:
        notes.announce(connection, found.events, *about, events.PLACED, 'image.activate')
    notes.announce(connection, found.events, *about, events.DONE)
    jobs.forget(connection, taken.serial)
    return staging.leave(connection, taken, taken.job.staged if taken.job else None)


def abort_job(connection: Connection, taken: Operation, reason: str) -> Operation | None:
    """Nothing of it was. None, and nothing, if it is not ours any more."""
    try:
        found = jobs.hold(connection, taken)
    except Gone:
        return None
    image, now = found.image, rows.utcnow()
    mine = {one.location for one in jobs.copies_of(connection, taken.serial)}
    removed = tuple(one for one in image.locations if one.id in mine)
    with usage.counted(connection, image.id, image.owner):
        if removed:
            connection.execute(
                sa.update(tables.image_locations)
                .where(locations.id.in_([one.id for one in removed]))
                .values(status='deleted', deleted=True, deleted_at=now, updated_at=now)
            )
        _restore(connection, found, reason)
    failed = {one.store for one in jobs.copies_of(connection, taken.serial, FAILED)}
    shown = {one for one in (image.properties.get(FAILED_STORES) or '').split(',') if one}
    jobs.show(connection, image.id, set(), shown | failed if found.note['several'] else shown)
    notes.unlock(connection, image.id)
    notes.end_task(connection, found.task_id, 'failure', reason, hours=found.note['hours'])
    notes.announce(connection, found.events, found.task_id, image.id, events.FAILED)
    jobs.forget(connection, taken.serial)
    return staging.leave(connection, taken, taken.job.staged if taken.job else None, removed)


def _restore(connection: Connection, found: jobs.Held, reason: str) -> None:
    """The image as it was before the import; what was copied to it is off already."""
    image, now = found.image, rows.utcnow()
    if image.status != 'importing':
        protocol.change_image(connection, image.id, image.status)
        return
    before = found.steps['before']
    values = {**dict.fromkeys(image_rows.OF_DATA), **before.get('fields', {})}
    protocol.change_image(connection, image.id, 'importing', status='queued', **values)
    properties = before.get('properties', {})
    gone = [name for name, value in properties.items() if value is None]
    image_rows.remove_properties(connection, image.id, gone, now)
    back = {name: value for name, value in properties.items() if value is not None}
    told = {**back, FAILED_UPLOAD: reason[:1000]}
    image_rows.insert_properties(connection, image.id, told, now)


def cancel(connection: Connection, process: Process, image_id: str) -> tuple[Operation, ...]:
    """The image is gone, and so is what was to be imported to it."""
    left = list(staging.cancel(connection, process, image_id))
    mine = sa.select(tables.jobs).where(tables.jobs.c.image_id == image_id)
    for row in connection.execute(mine).fetchall():
        note = json.loads(row.wanted)
        name = f'{image_id}-{row.serial}'
        found = Operation(row.serial, image_id, name, kind=JOB)
        taken = staging.taken_from(connection, found, process)
        notes.end_task(connection, row.task_id, 'failure', notes.GONE, hours=note['hours'])
        notes.announce(connection, notes.events_of(note), row.task_id, None, events.FAILED)
        jobs.forget(connection, row.serial)
        left.append(staging.leave(connection, taken, jobs.staged_url(connection, note)))
    return tuple(left)
