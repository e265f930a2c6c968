# SPDX-License-Identifier: Apache-2.0
"""Deleting: the rows first, with a note of what they were, then the bytes.

If a store turns out to need the data (`InUse`), the rows are brought back from the note.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.context import RequestContext
from glance_lite.db import images as image_rows
from glance_lite.db import imports, operations, outbox, parts, riders, rows, sealing, tables, usage
from glance_lite.db.clock import db_now
from glance_lite.errors import Conflict, Forbidden, ImageNotFound, NotFound
from glance_lite.imports.jobs import LOCK
from glance_lite.model import (
    DEFERRED,
    QUARANTINED,
    WITH_DATA,
    Image,
    Location,
    Operation,
    status_when_deleted,
)
from glance_lite.notify.events import Notice
from glance_lite.process import Process

images = tables.images.c
locations = tables.image_locations.c

#: How many that are due are looked at in one go: others may be quicker.
AT_A_TIME = 8
#: After which time one whose data could not go is tried again.
AGAIN = datetime.timedelta(minutes=5)

#: Soft-deleted with their image and, after an abort, brought back with it.
_WITH_IMAGE = (tables.image_properties, tables.image_tags, tables.image_members)


def claim_delete(
    connection: Connection,
    ctx: RequestContext,
    process: Process,
    image_id: str,
    later: bool = False,
) -> Operation:
    """The image and all its rows become deleted. `Forbidden`: protected. `Conflict`.

    `later`: if it may have data it is `DEFERRED`, as Glance writes it, and nothing is to be
    removed now. Whether it has locations is not asked: it may have some that were deferred.
    """
    image = rows.fetch_locked(connection, ctx, image_id)
    if image.protected:
        raise Forbidden(f'The image {image_id} is protected')
    status = status_when_deleted(image.status, later)
    image_rows.check_transition(image.status, status)
    removed = image.locations if status == 'deleted' else ()
    kept: dict[str, Any] = {'status': image.status, 'rows': {}}
    with usage.counted(connection, image_id, image.owner):
        now = _hide(connection, image_id, status, kept['rows'] if removed else None)
    connection.execute(sa.delete(tables.failures).where(tables.failures.c.image_id == image_id))
    if imports.may_be_under_way(image):
        imports.cancel(connection, image, for_good=not removed)
    gone_image = image.replace(status=status, updated_at=now.replace(microsecond=0))
    notices = riders.notices(ctx.riders, gone_image)
    left = parts.cancel(connection, process, image_id) if _may_have_jobs(image) else ()
    if not removed:
        outbox.write(connection, notices)
        return Operation(0, image_id, image_id, kind='delete', left=left)
    noted = operations.note_removal(
        connection, ctx, process, image_id, removed, 'delete', kept, notices
    )
    return dataclasses.replace(noted, left=left)


def _may_have_jobs(image: Image) -> bool:
    """PERF: nearly no image has one, and nothing need be asked."""
    return image.status in ('uploading', 'importing') or LOCK in image.properties


def _hide(
    connection: Connection, image_id: str, status: str, kept: dict[str, list[int]] | None
) -> datetime.datetime:
    """All rows of the image become deleted, itself with this status.

    `kept` gets the ids of those that may come back. Gives the time that is in the rows.
    """
    now = rows.utcnow()
    gone: dict[str, Any] = {'deleted': True, 'deleted_at': now, 'updated_at': now}
    connection.execute(
        sa.update(tables.images).where(images.id == image_id).values(status=status, **gone)
    )
    # Placeholders that Glance's imports leave are no data, but rows of the image all the same.
    connection.execute(
        sa.update(tables.image_locations)
        .where(locations.image_id == image_id, locations.deleted == sa.false())
        .values(
            status=sa.case(
                (locations.status.in_(('active', QUARANTINED)), status), else_='deleted'
            ),
            **gone,
        )
    )
    for table in _WITH_IMAGE:
        live = sa.and_(table.c.image_id == image_id, table.c.deleted == sa.false())
        if kept is not None:
            ids = connection.execute(sa.select(table.c.id).where(live)).scalars().all()
            kept[table.name] = list(ids)
        connection.execute(sa.update(table).where(live).values(**gone))
    return now


def take_deferred(
    connection: Connection, ctx: RequestContext, process: Process, age: float
) -> Operation | None:
    """One that was deferred `age` seconds ago, ours to remove its data; None if there is none.

    From here on it cannot be restored. A Glance beside us finds it by its status, as we do.
    """
    now = rows.utcnow()
    due = (
        sa.select(images.id)
        .where(
            images.deleted == sa.true(),
            images.status == DEFERRED,
            images.deleted_at <= now - datetime.timedelta(seconds=age),
            images.updated_at <= now,  # see `_defer_again`
        )
        .order_by(images.deleted_at, images.id)
        .limit(AT_A_TIME)
    )
    for image_id in connection.execute(due).scalars().all():
        with usage.counted(connection, image_id):
            ours = _change_deferred(
                connection, image_id, DEFERRED, status='deleted', updated_at=now
            )
        if not ours:
            continue
        removed = _deferred_locations(connection, image_id)
        if not sealing.are_readable(removed):
            # The others must not wait for this one.
            _defer_again(connection, image_id, now)
            continue
        if not removed:
            return Operation(0, image_id, image_id, kind='delete')
        connection.execute(
            sa.update(tables.image_locations)
            .where(locations.id.in_([found.id for found in removed]))
            .values(status='deleted', deleted_at=now, updated_at=now)
        )
        kept = {'status': DEFERRED}
        return operations.note_removal(connection, ctx, process, image_id, removed, 'delete', kept)
    return None


def _change_deferred(connection: Connection, image_id: str, before: str, **values: Any) -> bool:
    """Compare-and-set on the status of an image that is deleted."""
    change = sa.update(tables.images).where(
        images.id == image_id, images.deleted == sa.true(), images.status == before
    )
    return bool(connection.execute(change.values(**values)).rowcount)


def _deferred_locations(connection: Connection, image_id: str) -> tuple[Location, ...]:
    wanted = (
        sa.select(locations.id, locations.value, locations.meta_data)
        .where(locations.image_id == image_id, locations.status == DEFERRED)
        .order_by(locations.id)
    )
    return tuple(
        Location(row.id, sealing.unseal(connection, row.value), rows.metadata(row.meta_data))
        for row in connection.execute(wanted)
    )


def restore(connection: Connection, image_id: str) -> Image:
    """A deferred image is active again, with all that was deleted with it.

    `ImageNotFound`. `Conflict`: it is not deferred, or its data is being removed.
    """
    row = connection.execute(
        sa.select(images.status, images.deleted_at).where(images.id == image_id).with_for_update()
    ).first()
    if row is None:
        raise ImageNotFound(image_id)
    back: dict[str, Any] = {'deleted': False, 'deleted_at': None, 'updated_at': rows.utcnow()}
    with usage.counted(connection, image_id):
        if not _change_deferred(connection, image_id, DEFERRED, status='active', **back):
            raise Conflict(f'The image {image_id} is {row.status}, and not {DEFERRED}')
        connection.execute(
            sa.update(tables.image_locations)
            .where(locations.image_id == image_id, locations.status == DEFERRED)
            .values(status='active', **back)
        )
        for table in _WITH_IMAGE:
            # What was deleted before the image stays so. Glance writes its time first.
            with_it = sa.and_(table.c.image_id == image_id, table.c.deleted_at >= row.deleted_at)
            connection.execute(sa.update(table).where(with_it).values(**back))
    loaded = rows.load(connection, image_id, None)
    if loaded is None:
        raise ImageNotFound(image_id)
    return loaded[0]


def claim_location(
    connection: Connection,
    ctx: RequestContext,
    process: Process,
    image_id: str,
    location_id: int,
) -> Operation:
    """Take one location off. `Conflict`: no data. `Forbidden`: the last. `NotFound`."""
    image = rows.fetch_locked(connection, ctx, image_id)
    if image.status not in WITH_DATA:
        raise Conflict(f'A copy of an image in status {image.status} cannot be removed')
    chosen = tuple(found for found in image.locations if found.id == location_id)
    if not chosen:
        raise NotFound('The image has no such location')
    if not any(found.good for found in image.locations if found.id != location_id):
        raise Forbidden('The last copy of an image cannot be removed; delete the image instead')
    now = rows.utcnow()
    with usage.counted(connection, image_id, image.owner):
        connection.execute(
            sa.update(tables.image_locations)
            .where(locations.id == location_id, locations.deleted == sa.false())
            .values(status='deleted', deleted=True, deleted_at=now, updated_at=now)
        )
        touch = sa.update(tables.images).where(images.id == image_id)
        connection.execute(touch.values(updated_at=now))
    riders.announce(connection, ctx.riders, image.replace(updated_at=now.replace(microsecond=0)))
    return operations.note_removal(connection, ctx, process, image_id, chosen, 'location', {})


def noted(connection: Connection, kept: str) -> tuple[tuple[Location, ...], tuple[Notice, ...]]:
    """The locations whose bytes are to go, and what is told then, from the note of a claim."""
    note = json.loads(kept)
    found = (
        Location(one['id'], sealing.unseal(connection, one['url']), one['metadata'])
        for one in note['locations']
    )
    return tuple(found), tuple(Notice(message) for message in note.get('notices', ()))


def commit_delete(connection: Connection, claim: Operation) -> None:
    """The bytes are gone: so is the note. A claim without data has none (serial 0)."""
    if claim.serial and operations.end(connection, claim):
        outbox.write(connection, claim.notices)
        if claim.kind == 'delete':
            imports.end_all(connection, claim.image_id)


def leave_delete(connection: Connection, claim: Operation) -> None:
    """The bytes go later, but the image is gone, and that is told now."""
    mine = operations.held(claim)
    row = connection.execute(sa.select(tables.operations.c.kept, db_now()).where(mine)).first()
    if row is None:
        return
    note, now = row
    left = {name: value for name, value in json.loads(note).items() if name != 'notices'}
    values: dict[str, Any] = {'kept': json.dumps(left)}
    if claim.needed:
        # So long nobody thinks that it was broken off: there may be thousands of them, for years.
        values['heartbeat'] = now + AGAIN
    if connection.execute(sa.update(tables.operations).where(mine).values(**values)).rowcount:
        outbox.write(connection, claim.notices)


def abort_delete(connection: Connection, claim: Operation) -> None:
    """Bring back what `claim_delete` or `claim_location` took, unless somebody has purged it.

    Of the locations only those of `claim` come back: what is removed is removed.
    """
    if not claim.serial:
        return
    row = connection.execute(
        sa.select(tables.operations.c.kind, tables.operations.c.kept).where(
            tables.operations.c.serial == claim.serial
        )
    ).first()
    if row is None or not operations.end(connection, claim):
        return
    kept = json.loads(row.kept)
    with usage.counted(connection, claim.image_id):
        if not _bring_back(connection, claim, row.kind, kept):
            return
    imports.resume(connection, claim.image_id)


def _bring_back(connection: Connection, claim: Operation, kind: str, kept: dict[str, Any]) -> bool:
    """Whether the image is there again."""
    now = rows.utcnow()
    if kept.get('status') == DEFERRED:
        if _defer_again(connection, claim.image_id, now):
            connection.execute(
                sa.update(tables.image_locations)
                .where(locations.id.in_([found.id for found in claim.locations]))
                .values(status=DEFERRED, updated_at=now)
            )
        return False
    back: dict[str, Any] = {'deleted': False, 'deleted_at': None, 'updated_at': now}
    restored = sa.update(tables.images).where(images.id == claim.image_id)
    if kind == 'delete':
        restored = restored.where(images.deleted == sa.true(), images.status == 'deleted')
        values = {'status': kept['status'], **back}
    else:
        restored = restored.where(images.deleted == sa.false())
        values = {'updated_at': now}
    if not connection.execute(restored.values(**values)).rowcount:
        return False
    ids = [found.id for found in claim.locations]
    connection.execute(
        sa.update(tables.image_locations)
        .where(locations.id.in_(ids))
        .values(status='active', **back)
    )
    for table in _WITH_IMAGE:
        chosen = kept.get('rows', {}).get(table.name)
        if chosen:
            connection.execute(sa.update(table).where(table.c.id.in_(chosen)).values(**back))
    return True


def _defer_again(connection: Connection, image_id: str, now: datetime.datetime) -> bool:
    """Its data could not go. It stays deleted, and is not tried before its time of change."""
    later = now + AGAIN
    return _change_deferred(connection, image_id, 'deleted', status=DEFERRED, updated_at=later)
