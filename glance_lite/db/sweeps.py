# SPDX-License-Identifier: Apache-2.0
"""Operations that their process did not end: finding them, and taking them over."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.db import copies, imports, removals, riders, rows, tables
from glance_lite.db import operations as protocol
from glance_lite.db.clock import db_now
from glance_lite.imports.jobs import JOB, STAGED
from glance_lite.model import Image, Operation
from glance_lite.process import Process, is_gone

operations = tables.operations.c
failures = tables.failures.c
images = tables.images.c

#: What an owner is told whose upload was given up by others.
GIVEN_UP = 'The upload was broken off: the server that took it stopped, or was silent for too long'


def refresh(connection: Connection, held: Mapping[int, str]) -> None:
    """A sign of life for operations (serial -> state) of this process."""
    mine = sa.update(tables.operations).where(
        operations.serial.in_(list(held)), operations.state.in_(set(held.values()))
    )
    connection.execute(mine.values(heartbeat=db_now()))


#: Whether staged data may be wanted: a Glance beside us may have deleted or imported the image.
_NEEDS_STAGED = (
    sa.select(images.id)
    .where(
        images.id == operations.image_id,
        images.deleted == sa.false(),
        images.status.in_(('uploading', 'importing')),
    )
    .exists()
)

#: Few: those under way, and those whose store is away.
_ALL = (
    sa.select(
        operations.serial,
        operations.image_id,
        operations.name,
        operations.kind,
        operations.store,
        operations.state,
        operations.heartbeat,
        operations.host,
        operations.boot_id,
        operations.pid,
        operations.started,
        db_now().label('now'),
    )
    .where(
        sa.or_(
            operations.state.not_in((imports.WAITING, imports.SUSPENDED, STAGED)),
            sa.and_(operations.state == STAGED, ~_NEEDS_STAGED),
        )
    )
    .order_by(operations.serial)
)


def under_way(connection: Connection) -> list[Any]:
    """All operations, for `abandoned`."""
    return list(connection.execute(_ALL).fetchall())


def abandoned(found: Iterable[Any], here: Process, expiry: float) -> tuple[Operation, ...]:
    """Those whose process is gone, or has given no sign of life for `expiry` seconds."""
    return tuple(
        Operation(
            row.serial,
            row.image_id,
            row.name,
            kind=row.kind,
            store=row.store,
            state=row.state,
            heartbeat=row.heartbeat,
        )
        for row in found
        if (row.now - row.heartbeat).total_seconds() > expiry
        or (
            here.knows(Process(row.host, row.boot_id, row.pid))
            and is_gone(row.pid, (row.now - row.started).total_seconds())
        )
    )


def take_over(connection: Connection, here: Process, found: Operation) -> Operation | None:
    """Take an abandoned operation from whoever had it, by compare-and-set; None if it cannot be.

    From here on the confirm and commit of the other raise `Gone`. An upload's image is queued
    again, and the next upload has a name of its own. The row stays for whoever removes the bytes:
    us, so it has our process now, and if we end, it is abandoned again. An import is nobody's: it
    waits for whoever takes it.
    """
    if found.kind in (imports.KIND, JOB):
        imports.wait_again(connection, found)
        return None
    if connection.dialect.name != 'sqlite':
        rows.LOCK.rows(connection, {'id': found.image_id})  # in the order that a commit has
    loaded = rows.load(connection, found.image_id, None)
    image = loaded[0] if loaded else None
    running = found.state == protocol.RUNNING
    if found.kind in protocol.DURING and not running and _written_by_others(connection, image):
        return None
    left = protocol.take(connection, found, started=db_now(), **dataclasses.asdict(here))
    if left is None:
        return None
    if left.kind == protocol.GRANT:
        return left
    if left.kind in (*protocol.DURING, copies.KIND):
        of = sa.select(images.owner).where(images.id == left.image_id)
        left = dataclasses.replace(left, image=image, owner=connection.execute(of).scalar())
    if left.kind == copies.KIND:
        riders.end(connection, left.serial)
        return left
    if left.kind not in protocol.DURING:
        kept = sa.select(operations.kept).where(operations.serial == left.serial)
        note = connection.execute(kept).scalar_one()
        locations, notices = removals.noted(connection, note)
        return dataclasses.replace(left, locations=locations, notices=notices)
    if running:
        protocol.give_back(connection, left, GIVEN_UP)
        if image is not None:
            _fence(connection, left.image_id)
    return left


def _written_by_others(connection: Connection, image: Image | None) -> bool:
    """Whether somebody who has no row here, a Glance, may be writing under the image's name."""
    if image is None or image.status not in ('saving', 'uploading', 'importing'):
        return False
    running = sa.select(operations.serial).where(
        operations.image_id == image.id, operations.state == protocol.RUNNING
    )
    return connection.execute(running).first() is None


def _fence(connection: Connection, image_id: str) -> None:
    note = {'reason': GIVEN_UP, 'at': db_now(), 'fenced': True}
    known = sa.update(tables.failures).where(failures.image_id == image_id).values(**note)
    if not connection.execute(known).rowcount:
        connection.execute(sa.insert(tables.failures).values(image_id=image_id, **note))
