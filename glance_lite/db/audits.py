# SPDX-License-Identifier: Apache-2.0
"""What the auditor reads and notes: copies, those in quarantine, and how far it has come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.audit.values import Copy, Finding, Quarantined
from glance_lite.db import orphans, rows, tables
from glance_lite.db.clock import db_now
from glance_lite.model import QUARANTINED, WITH_DATA

images = tables.images.c
locations = tables.image_locations.c
operations = tables.operations.c
quarantine_ = tables.quarantine.c
positions = tables.positions.c

_SERVED = (locations.status == 'active', locations.status == QUARANTINED)

# --- what is looked at


def list_copies(connection: Connection, after: int, count: int) -> tuple[Copy, ...]:
    """Locations of images with data, by id. One statement."""
    wanted = (
        sa.select(
            locations.id,
            locations.value,
            locations.meta_data,
            locations.status,
            locations.image_id,
            images.size,
            images.checksum,
            images.os_hash_algo,
            images.os_hash_value,
            quarantine_.fault,
        )
        .join_from(tables.image_locations, tables.images, images.id == locations.image_id)
        .outerjoin(tables.quarantine, quarantine_.location_id == locations.id)
        .where(
            locations.id > after,
            locations.deleted == sa.false(),
            sa.or_(*_SERVED),
            images.deleted == sa.false(),
            images.status.in_(WITH_DATA),
        )
        .order_by(locations.id)
        .limit(count)
    )
    return tuple(
        Copy(
            orphans.location_of(connection, row),
            row.image_id,
            row.size,
            row.checksum,
            row.os_hash_algo,
            row.os_hash_value,
            row.fault,
        )
        for row in connection.execute(wanted)
    )


def with_data() -> Any:
    """Whether an image has data for good.

    PERF: told by an expression, for else an engine may take the index on ``deleted``, and sort all
    images for each page.
    """
    alive = sa.and_(images.deleted == sa.false(), images.status.in_(WITH_DATA))
    return sa.case((alive, 1), else_=0) == 1


def count_locations(which: Any) -> Any:
    """How many locations of an image are of a kind. PERF: as `with_data`."""
    return (
        sa.select(sa.func.count(sa.case((which, 1))))
        .where(locations.image_id == images.id)
        .scalar_subquery()
    )


def list_dataless(connection: Connection, after: str, count: int) -> tuple[str, ...]:
    """Ids of images that should have data, and have no location."""
    served = sa.and_(locations.deleted == sa.false(), sa.or_(*_SERVED))
    wanted = (
        sa.select(images.id)
        .where(
            images.id > after,
            with_data(),
            sa.func.coalesce(images.size, 0) > 0,
            count_locations(served) == 0,
        )
        .order_by(images.id)
        .limit(count)
    )
    return tuple(connection.execute(wanted).scalars())


def find_busy(connection: Connection, image_ids: Sequence[str]) -> frozenset[str]:
    """Ids of images that somebody is just writing data of."""
    busy = sa.union(
        sa.select(images.id).where(
            images.id.in_(image_ids), images.status.in_(('saving', 'uploading', 'importing'))
        ),
        sa.select(operations.image_id).where(operations.image_id.in_(image_ids)),
    )
    return frozenset(connection.execute(busy).scalars())


# --- quarantine


def quarantine(connection: Connection, copy: Copy, finding: Finding) -> bool | None:
    """Note a bad copy; whether another one is served instead. None: it is not what it was."""
    if not _is_unchanged(connection, copy):
        return None
    of = sa.select(locations.id, locations.status).where(
        locations.image_id == copy.image_id, locations.deleted == sa.false()
    )
    there = {row.id: row.status for row in connection.execute(of)}
    if copy.location.id not in there:
        return None
    noted = sa.select(quarantine_.location_id).where(quarantine_.location_id.in_(list(there)))
    bad = set(connection.execute(noted).scalars())
    values = {
        'image_id': copy.image_id,
        'store': finding.store,
        'shown': finding.shown,
        'fault': finding.fault,
        'text': finding.text,
    }
    if copy.location.id in bad:
        known = sa.update(tables.quarantine).where(quarantine_.location_id == copy.location.id)
        connection.execute(known.values(**values))
    else:
        new = sa.insert(tables.quarantine)
        connection.execute(new.values(location_id=copy.location.id, since=db_now(), **values))
    good = [
        number
        for number, status in there.items()
        if status == 'active' and number != copy.location.id and number not in bad
    ]
    if good:
        _set_status(connection, copy.location.id, 'active', QUARANTINED)
    return bool(good)


def _is_unchanged(connection: Connection, copy: Copy) -> bool:
    """Whether the image says of its data what it said, from now to the end of the transaction."""
    row = connection.execute(
        sa.select(images.size, images.checksum, images.os_hash_algo, images.os_hash_value)
        .where(
            images.id == copy.image_id,
            images.deleted == sa.false(),
            images.status.in_(WITH_DATA),
        )
        .with_for_update()
    ).first()
    before = (copy.size, copy.checksum, copy.os_hash_algo, copy.os_hash_value)
    return row is not None and tuple(row) == before


def _set_status(connection: Connection, location_id: int, before: str, after: str) -> None:
    connection.execute(
        sa.update(tables.image_locations)
        .where(
            locations.id == location_id,
            locations.status == before,
            locations.deleted == sa.false(),
        )
        .values(status=after, updated_at=rows.utcnow())
    )


def release(connection: Connection, location_id: int) -> bool:
    """Whether it was in quarantine; it is served again."""
    _set_status(connection, location_id, QUARANTINED, 'active')
    gone = sa.delete(tables.quarantine).where(quarantine_.location_id == location_id)
    return bool(connection.execute(gone).rowcount)


def list_quarantine(connection: Connection, after: int, count: int) -> tuple[Quarantined, ...]:
    wanted = (
        sa.select(*tables.quarantine.c, locations.status)
        .join_from(
            tables.quarantine, tables.image_locations, locations.id == quarantine_.location_id
        )
        .where(quarantine_.location_id > after, locations.deleted == sa.false())
        .order_by(quarantine_.location_id)
        .limit(count)
    )
    return tuple(
        Quarantined(
            row.location_id,
            row.image_id,
            row.store,
            row.shown,
            row.fault,
            row.text,
            row.since,
            row.status != QUARANTINED,
        )
        for row in connection.execute(wanted)
    )


def collect(connection: Connection) -> int:
    """Forget copies that are not there any more."""
    alive = sa.exists(
        sa.select(locations.id).where(
            locations.id == quarantine_.location_id, locations.deleted == sa.false()
        )
    )
    return connection.execute(sa.delete(tables.quarantine).where(~alive)).rowcount


# --- how far something has come


def get_position(connection: Connection, name: str) -> str | None:
    found = sa.select(positions.position).where(positions.name == name)
    position: str | None = connection.execute(found).scalar()
    return position


def set_position(connection: Connection, name: str, position: str | None) -> None:
    if position is None:
        connection.execute(sa.delete(tables.positions).where(positions.name == name))
        return
    values = {'position': position, 'at': db_now()}
    known = sa.update(tables.positions).where(positions.name == name).values(**values)
    if not connection.execute(known).rowcount:
        connection.execute(sa.insert(tables.positions).values(name=name, **values))
