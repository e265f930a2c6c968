# SPDX-License-Identifier: Apache-2.0
"""Deleting: the rows first, with a note of what they were, then the bytes.

If a store turns out to need the data (`InUse`), the rows are brought back from the note.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.context import RequestContext
from glance_lite.db import images as image_rows
from glance_lite.db import imports, operations, rows, sealing, tables
from glance_lite.errors import Conflict, Forbidden, NotFound
from glance_lite.model import Location, Operation
from glance_lite.process import Process

images = tables.images.c
locations = tables.image_locations.c

#: Soft-deleted with their image and, after an abort, brought back with it.
_WITH_IMAGE = (tables.image_properties, tables.image_tags, tables.image_members)


def claim_delete(
    connection: Connection, ctx: RequestContext, process: Process, image_id: str
) -> Operation:
    """The image and all its rows become deleted. `Forbidden`: protected. `Conflict`."""
    image = rows.fetch_locked(connection, ctx, image_id)
    if image.protected:
        raise Forbidden(f'The image {image_id} is protected')
    image_rows.check_transition(image.status, 'deleted')
    now = rows.utcnow()
    gone: dict[str, Any] = {'deleted': True, 'deleted_at': now, 'updated_at': now}
    kept: dict[str, Any] = {'status': image.status, 'rows': {}}
    connection.execute(
        sa.update(tables.images).where(images.id == image_id).values(status='deleted', **gone)
    )
    # Placeholders that Glance's imports leave are no data, but rows of the image all the same.
    connection.execute(
        sa.update(tables.image_locations)
        .where(locations.image_id == image_id, locations.deleted == sa.false())
        .values(status='deleted', **gone)
    )
    for table in _WITH_IMAGE:
        live = sa.and_(table.c.image_id == image_id, table.c.deleted == sa.false())
        if image.locations:
            ids = connection.execute(sa.select(table.c.id).where(live)).scalars().all()
            kept['rows'][table.name] = list(ids)
        connection.execute(sa.update(table).where(live).values(**gone))
    connection.execute(sa.delete(tables.failures).where(tables.failures.c.image_id == image_id))
    if imports.may_be_under_way(image):
        imports.cancel(connection, image, for_good=not image.locations)
    if not image.locations:
        return Operation(0, image_id, image_id, kind='delete')
    return operations.note_removal(connection, ctx, process, image, image.locations, 'delete', kept)


def claim_location(
    connection: Connection,
    ctx: RequestContext,
    process: Process,
    image_id: str,
    location_id: int,
) -> Operation:
    """Take one location off. `Conflict`: not active. `Forbidden`: the last. `NotFound`."""
    image = rows.fetch_locked(connection, ctx, image_id)
    if image.status != 'active':
        raise Conflict(f'A copy of an image in status {image.status} cannot be removed')
    chosen = tuple(found for found in image.locations if found.id == location_id)
    if not chosen:
        raise NotFound('The image has no such location')
    if len(image.locations) == 1:
        raise Forbidden('The last copy of an image cannot be removed; delete the image instead')
    now = rows.utcnow()
    connection.execute(
        sa.update(tables.image_locations)
        .where(locations.id == location_id, locations.deleted == sa.false())
        .values(status='deleted', deleted=True, deleted_at=now, updated_at=now)
    )
    touch = sa.update(tables.images).where(images.id == image_id)
    connection.execute(touch.values(updated_at=now))
    return operations.note_removal(connection, ctx, process, image, chosen, 'location', {})


def noted(connection: Connection, kept: str) -> tuple[Location, ...]:
    """The locations whose bytes are to go, from the note of a claim."""
    return tuple(
        Location(found['id'], sealing.unseal(connection, found['url']), found['metadata'])
        for found in json.loads(kept)['locations']
    )


def commit_delete(connection: Connection, claim: Operation) -> None:
    """The bytes are gone: so is the note. A claim without data has none (serial 0)."""
    if claim.serial and operations.end(connection, claim) and claim.kind == 'delete':
        imports.end_all(connection, claim.image_id)


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
    now = rows.utcnow()
    back: dict[str, Any] = {'deleted': False, 'deleted_at': None, 'updated_at': now}
    restored = sa.update(tables.images).where(images.id == claim.image_id)
    if row.kind == 'delete':
        restored = restored.where(images.deleted == sa.true(), images.status == 'deleted')
        values = {'status': kept['status'], **back}
    else:
        restored = restored.where(images.deleted == sa.false())
        values = {'updated_at': now}
    if not connection.execute(restored.values(**values)).rowcount:
        return
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
    imports.resume(connection, claim.image_id)
