# SPDX-License-Identifier: Apache-2.0
"""The commit protocol: an upload or a delete is claimed, then committed or aborted.

A row in ``gl_operations`` says who works on an image since when, and keeps what a recovery
needs. The row of a success goes in the same transaction as the success, so as long as it is
there in state `RUNNING` nothing has been decided. Whoever gives an upload up, its owner or a
sweeper, writes a state of its own into the row first; from then on nobody else can commit, and
the row stays until the bytes are gone.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite import model
from glance_lite.context import RequestContext
from glance_lite.db import images as image_rows
from glance_lite.db import riders, rows, sealing, tables, usage
from glance_lite.db.clock import db_now
from glance_lite.errors import Conflict, Gone, ImageNotFound, Invalid
from glance_lite.imports.jobs import JOB, STAGE, UNSTAGE
from glance_lite.model import FAILED_UPLOAD, Image, Location, Operation, Stored
from glance_lite.notify.events import CLAIMED, FAILED
from glance_lite.process import Process

if TYPE_CHECKING:
    from glance_lite.notify.events import Notice
    from glance_lite.stream import Upload

images = tables.images.c
operations = tables.operations.c
failures = tables.failures.c

RUNNING = model.RUNNING
#: The kind of an operation that tells stores who may read what they hold.
GRANT = 'grant'
#: Kind of an operation that brings data -> the status of the image meanwhile.
DURING = {'upload': 'saving', STAGE: 'uploading'}


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


def end(connection: Connection, claim: Operation) -> bool:
    """Remove the row of an operation we hold; False when somebody else has it."""
    return bool(connection.execute(sa.delete(tables.operations).where(held(claim))).rowcount)


def held(claim: Operation) -> Any:
    return sa.and_(operations.serial == claim.serial, operations.state == claim.state)


def take(connection: Connection, found: Operation, **values: Any) -> Operation | None:
    """Make an operation ours alone, by compare-and-set; None when somebody else was quicker."""
    state = f'swept {secrets.token_hex(6)}'
    mine = sa.update(tables.operations).where(held(found))
    if found.heartbeat is not None:
        mine = mine.where(operations.heartbeat == found.heartbeat)
    if not connection.execute(mine.values(state=state, heartbeat=db_now(), **values)).rowcount:
        return None
    return dataclasses.replace(found, state=state, heartbeat=None)


def change_image(connection: Connection, image_id: str, *before: str, **values: Any) -> bool:
    """Write to a live image that has one of the statuses; whether there was one."""
    change = sa.update(tables.images).where(
        images.id == image_id, images.deleted == sa.false(), images.status.in_(before)
    )
    values = {'updated_at': rows.utcnow(), **values}
    return bool(connection.execute(change.values(**values)).rowcount)


def note_removal(
    connection: Connection,
    ctx: RequestContext,
    process: Process,
    image_id: str,
    removed: tuple[Location, ...],
    kind: str,
    kept: dict[str, Any],
    notices: Sequence[Notice] = (),
) -> Operation:
    """An operation row that keeps what is to be removed and told, beside what `kept` says."""
    sealing.check_readable(removed)
    kept['locations'] = [
        {
            'id': found.id,
            'url': sealing.seal(connection, found.url),
            'metadata': dict(found.metadata),
        }
        for found in removed
    ]
    if notices:
        kept['notices'] = [dict(notice.message) for notice in notices]
    serial = insert(connection, ctx, process, image_id, kind=kind, kept=json.dumps(kept))
    return Operation(
        serial, image_id, image_id, locations=removed, kind=kind, notices=tuple(notices)
    )


def claim_grant(
    connection: Connection, ctx: RequestContext, process: Process, image_id: str
) -> Operation:
    """A note that stores are to be told who may read an image's data, as it then is."""
    serial = insert(connection, ctx, process, image_id, kind=GRANT)
    return Operation(serial, image_id, image_id, kind=GRANT)


# --- uploads

_ID: sa.BindParameter[str] = sa.bindparam('id', type_=sa.String)
#: Why an upload must not use the image's id as its name: an old one was swept, or is not yet over.
_FENCES = sa.union_all(
    sa.select(failures.image_id).where(failures.image_id == _ID, failures.fenced == sa.true()),
    sa.select(operations.image_id).where(
        operations.image_id == _ID,
        operations.serial != sa.bindparam('mine', type_=sa.BigInteger),
    ),
)


def claim_upload(
    connection: Connection,
    ctx: RequestContext,
    process: Process,
    image_id: str,
    source: Upload,
    store: str | None,
    kind: str = 'upload',
) -> Operation:
    """queued -> saving, uploading. `Conflict`: another has it, it has data. `Invalid`: formats."""
    image = rows.fetch_locked(connection, ctx, image_id)
    status = DURING[kind]
    if image.status != 'queued':
        raise Conflict(f'An image in status {image.status} takes no data')
    if kind == 'upload' and not (image.disk_format and image.container_format):
        raise Invalid('disk_format and container_format must be set before data is sent')
    size = {} if source.size is None else {'size': source.size}
    now = rows.utcnow()
    with usage.counted(connection, image_id, image.owner):
        if not change_image(connection, image_id, 'queued', status=status, updated_at=now, **size):
            raise Conflict('The image has just been changed by somebody else')
    serial = insert(connection, ctx, process, image_id, kind=kind, store=store)
    name = set_name(connection, image_id, serial)
    properties = dict(image.properties)
    if FAILED_UPLOAD in properties:
        del properties[FAILED_UPLOAD]
        image_rows.remove_properties(connection, image_id, [FAILED_UPLOAD], now)
    room = riders.claim(connection, source.riders, riders.Ride(image_id, serial))
    claimed = image.replace(
        status=status, updated_at=now.replace(microsecond=0), properties=properties, **size
    )
    riders.announce(connection, source.riders, claimed, when=CLAIMED)
    return Operation(serial, image_id, name, claimed, kind=kind, store=store, room=room)


#: The same for a copy in one store of an import: what lies in others, or is staged, is no matter.
_FENCES_OF_STORE = sa.union_all(
    sa.select(failures.image_id).where(failures.image_id == _ID, failures.fenced == sa.true()),
    sa.select(operations.image_id).where(
        operations.image_id == _ID,
        operations.serial != sa.bindparam('mine', type_=sa.BigInteger),
        operations.kind.not_in((JOB, STAGE, UNSTAGE)),
        sa.or_(
            operations.store.is_(None),
            operations.store == sa.bindparam('store', type_=sa.String),
        ),
    ),
)


def set_name(connection: Connection, image_id: str, serial: int, store: str | None = None) -> str:
    """What the driver is told as the name of the data of a new operation.

    `store`: of an import, which writes to several.
    """
    # Whoever was swept may wake up and write under the old name, and as long as there is a row
    # something under the old name may be removed: it must not be ours.
    mine = {'id': image_id, 'mine': serial}
    fences = _FENCES
    if store is not None:
        mine['store'], fences = store, _FENCES_OF_STORE
    if not connection.execute(fences, mine).first():
        return image_id
    name = f'{image_id}-{serial}'
    connection.execute(
        sa.update(tables.operations).where(operations.serial == serial).values(name=name)
    )
    return name


def extend_upload(connection: Connection, claim: Operation, source: Upload) -> int | None:
    """More bytes have come than there was room for; how many may come. `Gone`, `LimitExceeded`."""
    ride = riders.Ride(claim.image_id, claim.serial, source.count)
    room = riders.extend(connection, source.riders, ride)
    # After the project's row, as in a commit.
    _check_alive(connection, claim)
    return room


def confirm_upload(connection: Connection, claim: Operation, source: Upload) -> None:
    """All bytes are in and none is released yet. `Gone`, `LimitExceeded`."""
    _check_alive(connection, claim)
    ride = riders.Ride(claim.image_id, claim.serial, source.count)
    riders.confirm(connection, source.riders, ride)


def _check_alive(connection: Connection, claim: Operation) -> None:
    alive = sa.update(tables.operations).where(held(claim)).values(heartbeat=db_now())
    if not connection.execute(alive).rowcount:
        raise Gone('The upload took too long and was given up')
    status = sa.select(images.status).where(
        images.id == claim.image_id, images.deleted == sa.false()
    )
    if connection.execute(status).scalar() != DURING[claim.kind]:
        raise Gone('The image was deleted during the upload')


def commit_upload(
    connection: Connection, claim: Operation, source: Upload, stored: Stored
) -> Image:
    """saving -> active, with its location. `Gone`: deleted, or the claim was swept."""
    with usage.counted(connection, claim.image_id):
        _commit(connection, claim, stored)
    riders.end(connection, claim.serial)
    connection.execute(sa.delete(tables.failures).where(failures.image_id == claim.image_id))
    found = rows.load(connection, claim.image_id, None)
    if found is None:
        raise ImageNotFound(claim.image_id)
    riders.announce(connection, source.riders, found[0])
    return found[0]


def _commit(connection: Connection, claim: Operation, stored: Stored) -> None:
    image_id = claim.image_id
    now = rows.utcnow()
    active = change_image(
        connection,
        image_id,
        'saving',
        status='active',
        updated_at=now,
        **{name: getattr(stored, name) for name in image_rows.OF_DATA},
    )
    if not active:
        raise Gone('The image was deleted during the upload')
    if not end(connection, claim):
        raise Gone('The upload took too long and was given up')
    insert_location(connection, image_id, stored)


def insert_location(connection: Connection, image_id: str, stored: Stored) -> int:
    """The row of data that has just been stored; its id."""
    now = rows.utcnow()
    metadata = dict(stored.metadata)
    if stored.store is not None:
        metadata['store'] = stored.store
    key = connection.execute(
        sa.insert(tables.image_locations).values(
            image_id=image_id,
            value=sealing.seal(connection, stored.url),
            meta_data=json.dumps(metadata),
            status='active',
            created_at=now,
            updated_at=now,
            deleted=False,
        )
    ).inserted_primary_key
    assert key is not None
    return int(key[0])


def abort_upload(
    connection: Connection, claim: Operation, source: Upload, reason: str
) -> Operation | None:
    """saving -> queued, with a reason to read. None, and nothing, if it is not ours any more.

    The row stays, taken by ourselves, until the bytes are gone: should we not get so far, a
    sweeper does.
    """
    left = take(connection, claim)
    if left is not None:
        give_back(connection, left, reason)
        if riders.tells(source.riders, FAILED):
            found = rows.load(connection, claim.image_id, None)
            told = f'Failed to upload image data for image {claim.image_id}: {reason}'
            image = () if found is None else found[:1]
            riders.announce(connection, source.riders, told, *image, when=FAILED)
    return left


def give_back(connection: Connection, left: Operation, reason: str) -> None:
    nothing = dict.fromkeys(image_rows.OF_DATA)
    with usage.counted(connection, left.image_id):
        during = DURING[left.kind]
        queued = change_image(connection, left.image_id, during, status='queued', **nothing)
    riders.end(connection, left.serial)
    # Unless it was deleted by somebody, when there is nobody to tell.
    if queued:
        told = {FAILED_UPLOAD: reason[:1000]}
        image_rows.insert_properties(connection, left.image_id, told, rows.utcnow())
