# SPDX-License-Identifier: Apache-2.0
"""What is brought up to date in the background: hashes, usage, and where images are to be."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.db import audits, rows, tables, usage
from glance_lite.db import operations as protocol
from glance_lite.db.clock import db_now
from glance_lite.model import WITH_DATA, Location
from glance_lite.updates.values import Hashed, Placed, Placement

images = tables.images.c
locations = tables.image_locations.c
tags = tables.image_tags.c
placements = tables.placements.c

#: Time after the first failure until something is tried again, doubled with each one more.
AGAIN, LONGEST = datetime.timedelta(minutes=1), datetime.timedelta(hours=6)
#: Characters of a problem that are kept.
SAID = 1000

_LIVE = sa.and_(locations.deleted == sa.false(), locations.status == 'active')

# --- hashes


def list_unhashed(connection: Connection, after: str, count: int) -> tuple[str, ...]:
    wanted = (
        sa.select(images.id)
        .where(
            images.id > after,
            audits.with_data(),
            images.os_hash_value.is_(None),
            audits.count_locations(_LIVE) > 0,
        )
        .order_by(images.id)
        .limit(count)
    )
    return tuple(connection.execute(wanted).scalars())


def set_digests(connection: Connection, hashed: Hashed) -> bool:
    image, digests = hashed.image, hashed.digests
    with usage.counted(connection, image.id):
        loaded = rows.load(connection, image.id, None)
        if loaded is None or loaded[0].os_hash_value is not None:
            return False
        if loaded[0].size != image.size or loaded[0].locations != image.locations:
            return False
        values: dict[str, Any] = {
            'os_hash_algo': digests.os_hash_algo,
            'os_hash_value': digests.os_hash_value,
        }
        if loaded[0].checksum is None and digests.checksum is not None:
            values['checksum'] = digests.checksum
        return protocol.change_image(connection, image.id, *WITH_DATA, **values)


# --- usage


def list_projects(connection: Connection) -> tuple[str | None, ...]:
    return tuple(usage.projects(connection))


def recount(connection: Connection, project: str | None) -> int:
    if not usage.is_counting(connection):
        return 0
    return len(usage.compare(connection, project, fix=True))


# --- where images are


def list_placed(connection: Connection, after: str, count: int) -> tuple[Placed, ...]:
    """Images with data, by id, with tags and stores. Three statements."""
    wanted = (
        sa.select(
            images.id,
            sa.type_coerce(images.visibility, sa.String).label('visibility'),
            images.owner,
            images.disk_format,
            images.container_format,
            images.os_hidden,
            images.created_at,
            db_now().label('now'),
        )
        .where(images.id > after, audits.with_data())
        .order_by(images.id)
        .limit(count)
    )
    found = connection.execute(wanted).fetchall()
    ids = [row.id for row in found]
    stores = _stores(connection, ids)
    labels: dict[str, set[str]] = {}
    of = sa.select(tags.image_id, tags.value)
    if ids:
        chosen = of.where(tags.image_id.in_(ids), tags.deleted == sa.false())
        for image_id, value in connection.execute(chosen):
            labels.setdefault(image_id, set()).add(value)
    return tuple(
        Placed(
            row.id,
            row.visibility,
            row.owner,
            row.disk_format,
            row.container_format,
            bool(row.os_hidden),
            row.now - row.created_at.replace(tzinfo=None),
            frozenset(labels.get(row.id, ())),
            frozenset(stores.get(row.id, ())),
        )
        for row in found
    )


def _stores(connection: Connection, ids: Sequence[str]) -> dict[str, set[str]]:
    """Image -> the stores that its locations say they are in. Urls are not looked at."""
    found: dict[str, set[str]] = {}
    if ids:
        # PERF: as `audits.with_data`.
        live = sa.case((_LIVE, 1), else_=0) == 1
        of = sa.select(locations.image_id, locations.meta_data)
        for row in connection.execute(of.where(locations.image_id.in_(ids), live)):
            store = Location(0, '', rows.metadata(row.meta_data)).store
            if store is not None:
                found.setdefault(row.image_id, set()).add(store)
    return found


# --- where images are to be


def want(connection: Connection, image_id: str, stores: Mapping[str, bool]) -> None:
    for store, wanted in stores.items():
        mine = sa.and_(placements.image_id == image_id, placements.store == store)
        # What is noted already keeps its turn, unless it was the contrary.
        before = connection.execute(sa.select(placements.wanted).where(mine)).scalar()
        if before is not None and bool(before) == wanted:
            continue
        values: dict[str, Any] = {
            'wanted': wanted,
            'since': db_now(),
            'due': db_now(),
            'attempts': 0,
            'problem': None,
        }
        if before is None:
            new = sa.insert(tables.placements)
            connection.execute(new.values(image_id=image_id, store=store, **values))
        else:
            connection.execute(sa.update(tables.placements).where(mine).values(**values))


def list_placements(
    connection: Connection, after: str, count: int, due: bool
) -> tuple[Placement, ...]:
    """By image. Two statements.

    `due`: nothing goes from a store as long as a copy that is wanted waits to be tried again.
    """
    of = sa.select(placements.image_id).where(placements.image_id > after)
    if due:
        of = of.where(placements.due <= db_now())
    chosen = of.distinct().order_by(placements.image_id).limit(count)
    ids = list(connection.execute(chosen).scalars())
    if not ids:
        return ()
    order = placements.image_id, placements.store
    query = sa.select(*tables.placements.c, db_now().label('now'))
    grouped: dict[str, list[Any]] = {}
    for row in connection.execute(query.where(placements.image_id.in_(ids)).order_by(*order)):
        grouped.setdefault(row.image_id, []).append(row)
    waiting = {
        row.image_id
        for found in grouped.values()
        for row in found
        if due and row.wanted and row.due > row.now
    }
    return tuple(
        Placement(
            image_id,
            tuple(row.store for row in found if row.wanted and not (due and row.due > row.now)),
            tuple(row.store for row in found if not row.wanted and image_id not in waiting),
            max(row.attempts for row in found),
            next((row.problem for row in found if row.problem), None),
        )
        for image_id, found in grouped.items()
    )


def settle(connection: Connection, image_id: str, store: str | None) -> None:
    done = sa.delete(tables.placements).where(placements.image_id == image_id)
    if store is not None:
        done = done.where(placements.store == store)
    connection.execute(done)


def postpone(connection: Connection, image_id: str, store: str, problem: str) -> None:
    mine = sa.and_(placements.image_id == image_id, placements.store == store)
    row = connection.execute(
        sa.select(placements.attempts, db_now().label('now')).where(mine)
    ).first()
    if row is None:
        return
    later = min(AGAIN * 2 ** min(row.attempts, 20), LONGEST)
    connection.execute(
        sa.update(tables.placements)
        .where(mine)
        .values(attempts=row.attempts + 1, due=row.now + later, problem=problem[:SAID])
    )
