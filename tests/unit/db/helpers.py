# SPDX-License-Identifier: Apache-2.0
"""Making and looking at rows for the tests of the database."""

from __future__ import annotations

import dataclasses
import datetime

import sqlalchemy as sa

from glance_lite.db import tables
from glance_lite.model import Changes, Stored
from tests.backends.fixtures import context


@dataclasses.dataclass
class Source:
    """What the db layer looks at of an upload."""

    size: int | None = 5
    riders: tuple = ()
    count: int = 5


def create(db, project='alpha', *, properties=None, tags=(), **fields):
    """An image of `project`; ready for data unless the fields say otherwise."""
    fields = {'disk_format': 'raw', 'container_format': 'bare', **fields}
    changes = Changes(fields=fields, properties=properties or {}, tags=frozenset(tags))
    return db.create_image(context(project), changes)


def stored(size=5, store='fast', url='file:///data/x'):
    return Stored(url, store, size, 'c' * 32, 'sha512', 'a' * 128, size * 2)


def fill(db, image, size=5, **where):
    """Give an image data."""
    ctx = context(image.owner)
    source = Source(size=size, count=size)
    claim = db.claim_upload(ctx, image.id, source, 'fast')
    db.confirm_upload(ctx, claim, source)
    return db.commit_upload(ctx, claim, source, stored(size, **where))


def share(db, image, member, status=None):
    db.add_member(context(image.owner), image.id, member)
    if status:
        db.update_member(context(member), image.id, member, status)


def rows(db, table, **where):
    """Rows as dictionaries, oldest first."""
    table = tables.glance.tables.get(table, tables.own.tables.get(table))
    query = sa.select(table).where(*(table.c[name] == value for name, value in where.items()))
    with db.database.engine.connect() as connection:
        found = connection.execute(query.order_by(*table.primary_key.columns))
        return [dict(row._mapping) for row in found]


def execute(db, statement, parameters=None):
    return db.database.write(
        lambda connection: connection.execute(statement, parameters or {}).rowcount
    )


def set_row(db, image_id, **values):
    """As if somebody else (a Glance) wrote to the image."""
    execute(db, sa.update(tables.images).where(tables.images.c.id == image_id).values(**values))


def set_operation(db, serial, **values):
    table = tables.operations
    execute(db, sa.update(table).where(table.c.serial == serial).values(**values))


def age(db, serial, seconds):
    """Its last sign of life was some time ago."""
    (row,) = rows(db, 'gl_operations', serial=serial)
    set_operation(db, serial, heartbeat=row['heartbeat'] - datetime.timedelta(seconds=seconds))
