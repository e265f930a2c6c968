# SPDX-License-Identifier: Apache-2.0
"""The commit protocol: an upload or a delete is claimed, then committed or aborted.

A row in ``gl_operations`` says who works on an image since when, and keeps what a recovery
needs. The row goes in the same transaction that ends the operation, so as long as it is there
nothing has been decided, and once it is gone (or taken by a sweeper) whoever claimed it has
lost it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import socket
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from glance_lite.context import RequestContext
from glance_lite.db import images as image_rows
from glance_lite.db import riders, rows, tables
from glance_lite.errors import Conflict, Gone, ImageNotFound
from glance_lite.model import Image, Operation, Stored

if TYPE_CHECKING:
    from glance_lite.stream import Upload

images = tables.images.c
operations = tables.operations.c
failures = tables.failures.c

RUNNING = 'running'


class db_now(GenericFunction[Any]):
    """The database's own clock, naive UTC: processes on several hosts must agree."""

    type = sa.DateTime()
    inherit_cache = True
    name = 'gl_now'


@compiles(db_now, 'sqlite')
def _now_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


@compiles(db_now, 'postgresql')
def _now_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    return "timezone('utc', clock_timestamp())"


@compiles(db_now, 'mysql')
def _now_mysql(element: Any, compiler: Any, **kw: Any) -> str:
    return 'UTC_TIMESTAMP()'


@dataclasses.dataclass(frozen=True)
class Process:
    """Which process on which host since which boot: a dead one is recognised at once."""

    host: str
    boot_id: str
    pid: int

    @classmethod
    def this(cls) -> Process:
        boot = pathlib.Path('/proc/sys/kernel/random/boot_id')
        boot_id = boot.read_text().strip() if boot.exists() else ''
        return cls(socket.gethostname(), boot_id, os.getpid())


def insert(
    connection: Connection, ctx: RequestContext, process: Process, image_id: str, **values: Any
) -> int:
    """A new operation row; its serial."""
    row = {
        'image_id': image_id,
        'name': image_id,
        'project': ctx.owner,
        'user_id': ctx.user_id,
        'state': RUNNING,
        **dataclasses.asdict(process),
        **values,
    }
    insert = sa.insert(tables.operations).values(started=db_now(), heartbeat=db_now(), **row)
    key = connection.execute(insert).inserted_primary_key
    assert key is not None
    return int(key[0])


def take(connection: Connection, serial: int) -> bool:
    """Remove our own operation row; False when a sweeper has it."""
    mine = sa.and_(operations.serial == serial, operations.state == RUNNING)
    return bool(connection.execute(sa.delete(tables.operations).where(mine)).rowcount)


def _change_image(connection: Connection, image_id: str, *before: str, **values: Any) -> bool:
    """Write to a live image that has one of the statuses; whether there was one."""
    change = sa.update(tables.images).where(
        images.id == image_id, images.deleted == sa.false(), images.status.in_(before)
    )
    values = {'updated_at': rows.utcnow(), **values}
    return bool(connection.execute(change.values(**values)).rowcount)


# --- uploads


def claim_upload(
    connection: Connection,
    ctx: RequestContext,
    process: Process,
    image_id: str,
    source: Upload,
    store: str | None,
) -> Operation:
    """queued -> saving. `Conflict`: another has it, it has data, or its formats are unset."""
    image = rows.fetch_locked(connection, ctx, image_id)
    if image.status != 'queued':
        raise Conflict(f'An image in status {image.status} takes no data')
    if not image.disk_format or not image.container_format:
        raise Conflict('disk_format and container_format must be set before data is sent')
    size = {} if source.size is None else {'size': source.size}
    if not _change_image(connection, image_id, 'queued', status='saving', **size):
        raise Conflict('The image has just been changed by somebody else')
    serial = insert(connection, ctx, process, image_id, kind='upload', store=store)
    name = image_id
    fence = sa.select(failures.fenced).where(failures.image_id == image_id)
    if connection.execute(fence).scalar():
        # Whoever was swept may wake up and write under the old name: that must not be ours.
        name = f'{image_id}-{serial}'
        connection.execute(
            sa.update(tables.operations).where(operations.serial == serial).values(name=name)
        )
    riders.claim(connection, source.riders, riders.Ride(image_id, serial))
    return Operation(serial, image.replace(status='saving', **size), name)


def confirm_upload(connection: Connection, claim: Operation, source: Upload) -> None:
    """All bytes are in and none is released yet. `Gone`, `LimitExceeded`."""
    alive = (
        sa.update(tables.operations)
        .where(operations.serial == claim.serial, operations.state == RUNNING)
        .values(heartbeat=db_now())
    )
    if not connection.execute(alive).rowcount:
        raise Gone('The upload took too long and was given up')
    status = sa.select(images.status).where(
        images.id == claim.image.id, images.deleted == sa.false()
    )
    if connection.execute(status).scalar() != 'saving':
        raise Gone('The image was deleted during the upload')
    ride = riders.Ride(claim.image.id, claim.serial, source.count)
    riders.confirm(connection, source.riders, ride)


def commit_upload(connection: Connection, claim: Operation, stored: Stored) -> Image:
    """saving -> active, with its location. `Gone`: deleted, or the claim was swept."""
    image_id = claim.image.id
    now = rows.utcnow()
    active = _change_image(
        connection,
        image_id,
        'saving',
        status='active',
        updated_at=now,
        **{name: getattr(stored, name) for name in image_rows.OF_DATA},
    )
    if not active:
        raise Gone('The image was deleted during the upload')
    if not take(connection, claim.serial):
        raise Gone('The upload took too long and was given up')
    metadata = dict(stored.metadata)
    if stored.store is not None:
        metadata['store'] = stored.store
    connection.execute(
        sa.insert(tables.image_locations).values(
            image_id=image_id,
            value=stored.url,
            meta_data=json.dumps(metadata),
            status='active',
            created_at=now,
            updated_at=now,
            deleted=False,
        )
    )
    riders.end(connection, claim.serial)
    connection.execute(sa.delete(tables.failures).where(failures.image_id == image_id))
    found = rows.load(connection, image_id, None)
    if found is None:
        raise ImageNotFound(image_id)
    return found[0]


def abort_upload(connection: Connection, claim: Operation, reason: str) -> None:
    """saving -> queued, with a reason to read. Nothing if the claim was swept meanwhile."""
    if take(connection, claim.serial):
        _give_back(connection, claim.image.id, claim.serial, reason, fenced=False)


def _give_back(
    connection: Connection, image_id: str, serial: int, reason: str, fenced: bool
) -> None:
    riders.end(connection, serial)
    nothing = dict.fromkeys(image_rows.OF_DATA)
    if not _change_image(connection, image_id, 'saving', status='queued', **nothing):
        return  # deleted by somebody: there is nobody to tell
    note = {'reason': reason[:1000], 'at': db_now()}
    if fenced:
        note['fenced'] = True
    known = sa.update(tables.failures).where(failures.image_id == image_id).values(**note)
    if not connection.execute(known).rowcount:
        new = sa.insert(tables.failures)
        connection.execute(new.values(image_id=image_id, **{'fenced': False, **note}))


def sweep_upload(connection: Connection, serial: int, taken_by: Process, reason: str) -> str | None:
    """Take a dead upload away from its owner; the name under which bytes may lie, or None.

    From here on the owner's confirm and commit raise `Gone`, the image is queued again and the
    next upload has a name of its own. The row stays, for whoever removes the bytes.
    """
    mine = sa.and_(operations.serial == serial, operations.state == RUNNING)
    state = f'swept by {taken_by.host}:{taken_by.pid}'[:20]
    take = sa.update(tables.operations).where(mine, operations.kind == 'upload')
    if not connection.execute(take.values(state=state, heartbeat=db_now())).rowcount:
        return None
    row = connection.execute(
        sa.select(operations.image_id, operations.name).where(operations.serial == serial)
    ).one()
    _give_back(connection, row.image_id, serial, reason, fenced=True)
    return str(row.name)


def failure(connection: Connection, image_id: str) -> str | None:
    """Why the last upload of a queued image came to nothing."""
    reason = sa.select(failures.reason).where(failures.image_id == image_id)
    return connection.execute(reason).scalar()
