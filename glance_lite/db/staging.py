# SPDX-License-Identifier: Apache-2.0
"""Staged data as rows: an operation says that it is coming, is there, or is to be removed."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.db import images as image_rows
from glance_lite.db import operations as protocol
from glance_lite.db import riders, rows, sealing, tables, usage
from glance_lite.db.clock import db_now
from glance_lite.errors import Gone, ImageNotFound
from glance_lite.imports.jobs import STAGE, STAGE_HOST, STAGED, STAGING, UNSTAGE
from glance_lite.model import Image, Location, Operation, Stored
from glance_lite.process import Process
from glance_lite.stream import Upload

operations = tables.operations.c


def commit(connection: Connection, claim: Operation, source: Upload, stored: Stored) -> Image:
    """The data is there; the row stays. `Gone`: deleted, or the claim was swept."""
    image_id = claim.image_id
    with usage.counted(connection, image_id):
        if not protocol.change_image(connection, image_id, 'uploading', size=stored.size):
            raise Gone('The image was deleted while its data was staged')
    there = sa.update(tables.operations).where(protocol.held(claim))
    kept = json.dumps({'url': sealing.seal(connection, stored.url)})
    if not connection.execute(there.values(state=STAGED, kept=kept, heartbeat=db_now())).rowcount:
        raise Gone('Staging took too long and was given up')
    riders.end(connection, claim.serial)
    failures = tables.failures
    connection.execute(sa.delete(failures).where(failures.c.image_id == image_id))
    host = stored.metadata.get('host')
    if host:
        image_rows.insert_properties(connection, image_id, {STAGE_HOST: host}, rows.utcnow())
    found = rows.load(connection, image_id, None)
    if found is None:
        raise ImageNotFound(image_id)
    riders.announce(connection, source.riders, found[0])
    return found[0]


def _there(image_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        operations.image_id == image_id, operations.kind == STAGE, operations.state == STAGED
    )


def consume(connection: Connection, image_id: str, default: str | None) -> str | None:
    """The url of what is staged; it belongs to the caller now. What a Glance staged has no row."""
    row = connection.execute(sa.select(operations.kept).where(_there(image_id))).first()
    if row is None or default is None:
        return default
    connection.execute(sa.delete(tables.operations).where(_there(image_id)))
    return sealing.unseal(connection, json.loads(row.kept)['url'])


def leave(
    connection: Connection,
    taken: Operation,
    staged: str | None,
    removed: Sequence[Location] = (),
) -> Operation:
    """What an operation that we hold was about is over: its row says what is to be removed."""
    found = list(removed)
    if staged is not None:
        found.append(Location(0, staged, {'store': STAGING}))
    kept = {
        'locations': [
            {
                'id': one.id,
                'url': sealing.seal(connection, one.url),
                'metadata': dict(one.metadata),
            }
            for one in found
        ]
    }
    mine = sa.update(tables.operations).where(protocol.held(taken))
    values = {'kind': UNSTAGE, 'kept': json.dumps(kept), 'heartbeat': db_now()}
    if not connection.execute(mine.values(**values)).rowcount:
        raise Gone('The import was taken over, or the image deleted')
    return dataclasses.replace(taken, kind=UNSTAGE, locations=tuple(found), job=None)


def cancel(connection: Connection, process: Process, image_id: str) -> tuple[Operation, ...]:
    """The image is gone: staged data that waits for an import is ours to remove."""
    left = []
    for row in connection.execute(
        sa.select(operations.serial, operations.name, operations.kept).where(_there(image_id))
    ).fetchall():
        url = sealing.unseal(connection, json.loads(row.kept)['url'])
        found = Operation(row.serial, image_id, row.name, kind=STAGE, state=STAGED)
        left.append(leave(connection, taken_from(connection, found, process), url))
    return tuple(left)


def taken_from(connection: Connection, found: Operation, process: Process) -> Operation:
    """An operation made ours whoever has it: he who has it finds that out."""
    state = f'swept {secrets.token_hex(6)}'
    mine = sa.update(tables.operations).where(operations.serial == found.serial)
    values = {'state': state, 'heartbeat': db_now(), 'started': db_now()}
    connection.execute(mine.values(**values, **dataclasses.asdict(process)))
    return dataclasses.replace(found, state=state)
