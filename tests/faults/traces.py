# SPDX-License-Identifier: Apache-2.0
"""What is left of an upload or delete: in the database and in the stores, looked at directly."""

from __future__ import annotations

import dataclasses
import pathlib

import sqlalchemy as sa

from glance_lite.db import tables, usage
from glance_lite.model import FAILED_UPLOAD

#: Stores of the tests lie in directories of these names.
STORES = ('fast', 'cheap', 'small', 'frozen', 'lost')


@dataclasses.dataclass(frozen=True)
class Left:
    """Of one image."""

    #: of the row, whoever may see it
    status: str
    #: what the owner is told of the last upload
    reason: str | None = None
    #: kinds of the operation rows
    operations: tuple[str, ...] = ()
    #: live rows of locations
    locations: int = 0
    #: reservations of room, of anybody
    reservations: int = 0
    #: files of any name that any store holds for it
    files: int = 0


def look(url: str, directory: pathlib.Path, image_id: str) -> Left:
    """What there is now of an image. `url` is that of the database."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    images, locations = tables.images.c, tables.image_locations.c
    operations, properties = tables.operations.c, tables.image_properties.c
    try:
        with engine.connect() as connection:
            ask = connection.execute
            status = ask(sa.select(images.status).where(images.id == image_id)).scalar_one()
            live = sa.and_(locations.image_id == image_id, locations.deleted == sa.false())
            kinds = sa.select(operations.kind).where(operations.image_id == image_id)
            reason = sa.select(properties.value).where(
                properties.image_id == image_id,
                properties.name == FAILED_UPLOAD,
                properties.deleted == sa.false(),
            )
            return Left(
                status,
                ask(reason).scalar(),
                tuple(sorted(ask(kinds).scalars())),
                ask(sa.select(sa.func.count()).where(live)).scalar_one(),
                ask(sa.select(sa.func.count()).select_from(tables.reservations)).scalar_one(),
                len(files(directory, image_id)),
            )
    finally:
        engine.dispose()


def miscounted(url: str) -> dict[str | None, dict[str, tuple[int, int]]]:
    """Project -> counter -> what its row says and what there is, where they differ."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    try:
        with engine.connect() as connection:
            found = {
                project: usage.compare(connection, project, fix=False)
                for project in usage.projects(connection)
            }
            connection.rollback()
            return {project: wrong for project, wrong in found.items() if wrong}
    finally:
        engine.dispose()


def files(directory: pathlib.Path, image_id: str = '') -> list[pathlib.Path]:
    """What lies in the stores with this in its name, hidden or not."""
    return sorted(
        path
        for store in STORES
        for path in (directory / store).rglob('*')
        if path.is_file() and image_id in path.name
    )
