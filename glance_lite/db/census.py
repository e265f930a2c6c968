# SPDX-License-Identifier: Apache-2.0
"""Counts of rows, for metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.db import tables
from glance_lite.db.clock import db_now
from glance_lite.layer import Metric

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

#: Metric -> its help, and the counters of projects that it sums up. There is a row a project.
_USAGE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    'used_bytes': ('Bytes that the images of all projects take.', ('size', 'staged')),
    'used_images': ('Images of all projects, and uploads of them.', ('images', 'uploading')),
    'reserved_bytes': (
        'Bytes that are promised to uploads of all projects.', ('reserved_size', 'reserved_staged'),
    ),
}  # fmt: skip

_DUTIES = sa.select(
    tables.duties.c.name, tables.duties.c.ended, tables.duties.c.problem, db_now().label('now')
).where(tables.duties.c.ended.is_not(None))

_QUARANTINE = sa.select(tables.quarantine.c.fault, sa.func.count()).group_by(
    tables.quarantine.c.fault
)

_SUMS = sa.select(
    *(
        sa.func.coalesce(sa.func.sum(tables.usage.c[name]), 0).label(name)
        for _, names in _USAGE.values()
        for name in names
    )
)


class Census:
    """What is counted at a time, and kept for as long as it is good enough."""

    def __init__(self) -> None:
        self._images: Mapping[str, int] = {}
        self._due = 0.0

    def take(self, connection: Connection) -> list[Metric]:
        """Operations under way, images by status, and what all projects use together."""
        return [
            *self._operations(connection),
            *self._by_status(connection),
            *self._usage(connection),
            *self._upkeep(connection),
        ]

    @staticmethod
    def _operations(connection: Connection) -> Iterator[Metric]:
        text = 'Uploads, deletes and imports that have begun, in all processes.'
        for kind, state, count in connection.execute(_OPERATIONS):
            labels = {'kind': kind, 'state': state}
            yield Metric('glance_lite_operations_in_progress', text, count, labels)

    @staticmethod
    def _upkeep(connection: Connection) -> Iterator[Metric]:
        for row in connection.execute(_DUTIES):
            labels, age = {'duty': row.name}, (row.now - row.ended).total_seconds()
            text = 'Seconds since the last run of a duty ended, on whichever host.'
            yield Metric('glance_lite_duty_age_seconds', text, max(0.0, age), labels)
            text = '1: the last run of a duty failed.'
            yield Metric('glance_lite_duty_failed', text, row.problem is not None, labels)
        for fault, count in connection.execute(_QUARANTINE):
            text = 'Copies that the auditor found to be bad.'
            yield Metric('glance_lite_bad_copies', text, count, {'fault': fault})

    def _by_status(self, connection: Connection) -> Iterator[Metric]:
        if time.monotonic() >= self._due:
            # Before it is known: whoever asks meanwhile, or after it failed, does not ask again.
            self._due = time.monotonic() + FRESH
            found = connection.execute(_IMAGES)
            self._images = {str(status): int(count) for status, count in found}
        text = 'Images that are not deleted; looked up every five minutes.'
        for status, count in self._images.items():
            yield Metric('glance_lite_images', text, count, {'status': status})

    @staticmethod
    def _usage(connection: Connection) -> Iterator[Metric]:
        sums = connection.execute(_SUMS).one()._mapping
        for name, (text, counters) in _USAGE.items():
            for counter in counters:
                labels = {'counter': counter.removeprefix('reserved_')}
                yield Metric(f'glance_lite_{name}', text, int(sums[counter]), labels)
