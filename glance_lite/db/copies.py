# SPDX-License-Identifier: Apache-2.0
"""Copies of an image's data in one more store, and which store has what."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from glance_lite.context import RequestContext
from glance_lite.db import audits, operations, orphans, riders, rows, tables, usage
from glance_lite.errors import Conflict, Gone, ImageNotFound
from glance_lite.model import WITH_DATA, Holding, Image, Operation, Stored
from glance_lite.process import Process

images = tables.images.c
locations = tables.image_locations.c

KIND = 'copy'


def list_holdings(connection: Connection, after: int, count: int) -> tuple[Holding, ...]:
    """Locations whose data somebody may want, by id, with their images."""
    wanted = (
        orphans.wanted_locations(after, count)
        .join_from(tables.image_locations, tables.images, images.id == locations.image_id)
        .add_columns(locations.image_id, images.status.label('image_status'), images.size)
    )
    return tuple(
        Holding(orphans.location_of(connection, row), row.image_id, row.image_status, row.size)
        for row in connection.execute(wanted)
    )


def claim(
    connection: Connection, ctx: RequestContext, process: Process, image_id: str, store: str
) -> Operation:
    image = rows.fetch_locked(connection, ctx, image_id)
    if image.status not in WITH_DATA or not image.locations:
        raise Conflict(f'An image in status {image.status} has no data to copy')
    serial = operations.insert(connection, ctx, process, image_id, kind=KIND, store=store)
    name = operations.set_name(connection, image_id, serial)
    return Operation(serial, image_id, name, image, kind=KIND, store=store)


def commit(connection: Connection, claim: Operation, stored: Stored) -> Image:
    with usage.counted(connection, claim.image_id):
        if not operations.change_image(connection, claim.image_id, *WITH_DATA):
            raise Gone('The image was deleted while it was copied')
        before = rows.load(connection, claim.image_id, None)
        if before is None:
            raise ImageNotFound(claim.image_id)
        good = [found for found in before[0].locations if found.good]
        names = {found.store for found in good if found.store}
        if stored.store in names or any(stored.url == found.url for found in good):
            raise Conflict(f'The image has a copy in store {claim.store} by now')
        if not operations.end(connection, claim):
            raise Gone('The copy took too long and was given up')
        again = next((found for found in before[0].locations if found.url == stored.url), None)
        if again is None:
            operations.insert_location(connection, claim.image_id, stored)
        else:
            # Where data was missing there is some again, under the same name.
            audits.release(connection, again.id)
    found = rows.load(connection, claim.image_id, None)
    if found is None:
        raise ImageNotFound(claim.image_id)
    return found[0]


def abort(connection: Connection, claim: Operation) -> Operation | None:
    left = operations.take(connection, claim)
    if left is not None:
        riders.end(connection, left.serial)
    return left
