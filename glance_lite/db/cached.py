# SPDX-License-Identifier: Apache-2.0
"""What the caches of hosts hold, in Glance's tables, and which images may be cached at all."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.cache.directory import Entry
from glance_lite.cache.key import Key
from glance_lite.db import tables

images = tables.images.c
nodes = tables.node_reference.c
cached = tables.cached_images.c

#: Ids in one statement.
MANY = 500
#: What the column of hits holds.
MOST = 2**31 - 1


def find_cacheable(connection: Connection, image_ids: Sequence[str]) -> frozenset[Key]:
    wanted = sa.select(
        images.id, images.status, images.size, images.os_hash_algo, images.os_hash_value,
        images.checksum,
    ).where(images.deleted == sa.false(), images.status == 'active')  # fmt: skip
    found: set[Key] = set()
    for start in range(0, len(image_ids), MANY):
        some = wanted.where(images.id.in_(image_ids[start : start + MANY]))
        rows: Iterable[Any] = connection.execute(some)
        found |= {key for row in rows if (key := Key.of(row)) is not None}
    return frozenset(found)


def find_nodes(connection: Connection, image_id: str) -> tuple[str, ...]:
    joined = tables.cached_images.join(
        tables.node_reference, nodes.node_reference_id == cached.node_reference_id
    )
    wanted = sa.select(nodes.node_reference_url).select_from(joined)
    wanted = wanted.where(cached.image_id == image_id).order_by(nodes.node_reference_url)
    return tuple(connection.execute(wanted).scalars())


def is_reported(connection: Connection, node: str, entries: Sequence[Entry]) -> bool:
    """Whether the rows of a host say this already."""
    number = _number(connection, node)
    return number is not None and _rows(connection, number) == _wanted(entries)


def report(connection: Connection, node: str, entries: Sequence[Entry]) -> None:
    """Make the rows of a host say this."""
    number = _number(connection, node)
    if number is None:
        made = connection.execute(
            sa.insert(tables.node_reference).values(node_reference_url=node)
        ).inserted_primary_key
        assert made is not None
        number = int(made[0])
    there, wanted = _rows(connection, number), _wanted(entries)
    mine = cached.node_reference_id == number
    for image_id in there.keys() - wanted.keys():
        connection.execute(sa.delete(tables.cached_images).where(mine, cached.image_id == image_id))
    for image_id, values in wanted.items():
        if image_id not in there:
            row = {'image_id': image_id, 'node_reference_id': number, **values}
            connection.execute(sa.insert(tables.cached_images).values(**row))
        elif there[image_id] != values:
            change = sa.update(tables.cached_images).where(mine, cached.image_id == image_id)
            connection.execute(change.values(**values))


def _number(connection: Connection, node: str) -> int | None:
    wanted = sa.select(nodes.node_reference_id).where(nodes.node_reference_url == node)
    found = connection.execute(wanted).scalar()
    return None if found is None else int(found)


def _rows(connection: Connection, number: int) -> dict[str, dict[str, Any]]:
    wanted = sa.select(
        cached.image_id, cached.last_accessed, cached.last_modified, cached.size, cached.hits
    ).where(cached.node_reference_id == number)
    found = {}
    for row in connection.execute(wanted):
        values = dict(row._mapping)
        found[values.pop('image_id')] = values
    return found


def _wanted(entries: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    return {
        entry.key.image_id: {
            'last_accessed': _moment(entry.last_accessed),
            'last_modified': _moment(entry.last_modified),
            'size': entry.key.size,
            'hits': min(entry.hits, MOST),
        }
        for entry in sorted(entries, key=lambda entry: entry.last_modified)
    }


def _moment(seconds: float) -> datetime.datetime:
    """Naive UTC, without the fractions that MySQL does not keep."""
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).replace(tzinfo=None)
