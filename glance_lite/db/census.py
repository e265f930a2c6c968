# SPDX-License-Identifier: Apache-2.0
"""Counts of rows, for metrics."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.db import tables

#: Seconds for which a count of images is good enough: it reads all rows, by no index.
FRESH = 300.0

_OPERATIONS = sa.select(
    tables.operations.c.kind, tables.operations.c.state, sa.func.count()
).group_by(tables.operations.c.kind, tables.operations.c.state)

_IMAGES = (
    sa.select(tables.images.c.status, sa.func.count())
    .where(tables.images.c.deleted == sa.false())
    .group_by(tables.images.c.status)
)


_SUMS = tuple(
    sa.func.coalesce(sa.func.sum(column), 0)
    for column in (
        tables.usage.c.size, tables.usage.c.reserved_size,
        tables.usage.c.images, tables.usage.c.uploading,
    )
)  # fmt: skip
_USAGE = sa.select(*_SUMS).where(tables.usage.c.counted_at.is_not(None))


@dataclasses.dataclass(frozen=True)
class Used:
    """What all projects together use, as far as they are counted."""

    size: int
    reserved: int
    images: int
    uploading: int


def used(connection: Connection) -> Used:
    return Used(*map(int, connection.execute(_USAGE).one()))


class Census:
    """What is counted at a time, and kept for as long as it is good enough."""

    def __init__(self) -> None:
        self._images: Mapping[str, int] = {}
        self._due = 0.0

    def take(
        self, connection: Connection
    ) -> tuple[Mapping[tuple[str, str], int], Mapping[str, int]]:
        """(kind and state of operations -> rows, status of images -> rows)."""
        found = connection.execute(_OPERATIONS)
        under_way = {(kind, state): count for kind, state, count in found}
        if time.monotonic() >= self._due:
            # Before it is known: whoever asks meanwhile, or after it failed, does not ask again.
            self._due = time.monotonic() + FRESH
            found = connection.execute(_IMAGES)
            self._images = {str(status): int(count) for status, count in found}
        return under_way, self._images
