# SPDX-License-Identifier: Apache-2.0
"""What the search for orphans asks: which data somebody wants, and which images are gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.db import rows, sealing, tables
from glance_lite.model import DEFERRED, Location

images = tables.images.c
locations = tables.image_locations.c
operations = tables.operations.c


def wanted_locations(after: int, count: int) -> sa.Select[Any]:
    """Rows of locations whose data somebody may want, by id."""
    return (
        sa.select(locations.id, locations.value, locations.meta_data, locations.status)
        .where(
            locations.id > after,
            sa.or_(locations.deleted == sa.false(), locations.status == DEFERRED),
        )
        .order_by(locations.id)
        .limit(count)
    )


def location_of(connection: Connection, row: Any) -> Location:
    url = sealing.unseal(connection, row.value)
    return Location(row.id, url, rows.metadata(row.meta_data), row.status)


def list_locations(connection: Connection, after: int, count: int) -> tuple[Location, ...]:
    """Locations whose data somebody may want, by id."""
    found = tuple(
        location_of(connection, row) for row in connection.execute(wanted_locations(after, count))
    )
    # What cannot be read would be taken for data that nobody wants.
    sealing.check_readable(found)
    return found


def list_locations_of(connection: Connection, image_ids: Sequence[str]) -> tuple[Location, ...]:
    """Locations of some images whose data somebody may want."""
    wanted = sa.select(locations.id, locations.value, locations.meta_data, locations.status).where(
        locations.image_id.in_(image_ids),
        sa.or_(locations.deleted == sa.false(), locations.status == DEFERRED),
    )
    found = tuple(location_of(connection, row) for row in connection.execute(wanted))
    sealing.check_readable(found)
    return found


def find_vanished(connection: Connection, image_ids: Sequence[str]) -> frozenset[str]:
    """Ids without an image, or of a deleted one. Not those that an operation is at work on."""
    needed = sa.union(
        sa.select(images.id).where(
            images.id.in_(image_ids),
            sa.or_(images.deleted == sa.false(), images.status == DEFERRED),
        ),
        sa.select(operations.image_id).where(operations.image_id.in_(image_ids)),
    )
    return frozenset(image_ids) - frozenset(connection.execute(needed).scalars())
