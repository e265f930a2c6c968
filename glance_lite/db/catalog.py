# SPDX-License-Identifier: Apache-2.0
"""Metadata definitions from files and into files. Behind ``glance-lite-manage db``.

Each namespace is one transaction: a file is loaded as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from oslo_config import cfg
from sqlalchemy.engine import Connection

from glance_lite.db import engine, metadef_writes, metadefs, tables
from glance_lite.db.rows import utcnow
from glance_lite.metadefs.model import Namespace

#: What becomes of a namespace that is there already: nothing; what is missing in it is added;
#: what is in the file replaces what is there, too; it goes, with all that is in it.
SKIP, MERGE, PREFER_NEW, OVERWRITE = 'skip', 'merge', 'prefer_new', 'overwrite'

#: Children before parents.
_TABLES = (
    tables.metadef_properties,
    tables.metadef_objects,
    tables.metadef_tags,
    tables.metadef_namespace_resource_types,
    tables.metadef_namespaces,
    tables.metadef_resource_types,
)


@contextlib.contextmanager
def _opened(conf: cfg.ConfigOpts) -> Iterator[engine.Database]:
    database = engine.Database(conf)
    try:
        yield database
    finally:
        database.dispose()


def load(conf: cfg.ConfigOpts, namespace: Namespace, mode: str) -> str:
    """Bring a namespace into the database; what was done. `Duplicate`, `Invalid`."""
    with _opened(conf) as database:
        return database.write(lambda connection: _load(connection, namespace, mode))


def _load(connection: Connection, new: Namespace, mode: str) -> str:
    rows = metadefs.HEAD_OF.rows(connection, {'name': new.namespace})
    now = utcnow()
    if rows and mode == OVERWRITE:
        metadef_writes.remove(connection, rows[0][1])
        _insert(connection, new, now)
        return 'overwritten'
    if not rows:
        _insert(connection, new, now)
        return 'loaded'
    if mode not in (MERGE, PREFER_NEW):
        return 'skipped, it is there already'
    _merge(connection, rows[0][1], new, now, mode == PREFER_NEW)
    return 'merged'


def _values(new: Namespace) -> dict[str, Any]:
    names = ('namespace', 'display_name', 'description', 'visibility', 'protected', 'owner')
    return {name: getattr(new, name) for name in names}


def _insert(connection: Connection, new: Namespace, now: datetime.datetime) -> None:
    values = {**_values(new), 'created_at': now}
    made = connection.execute(sa.insert(tables.metadef_namespaces).values(values))
    namespace_id = (made.inserted_primary_key or (0,))[0]
    for kind, definitions in new.contents.items():
        metadef_writes.insert(connection, namespace_id, kind, definitions, now, seeded=True)


def _merge(
    connection: Connection, namespace_id: int, new: Namespace, now: datetime.datetime, prefer: bool
) -> None:
    space = tables.metadef_namespaces
    if prefer:
        change = sa.update(space).where(space.c.id == namespace_id)
        connection.execute(change.values(updated_at=now, **_values(new)))
    for kind, definitions in new.contents.items():
        found = connection.execute(metadefs.of_kind(kind, namespace_id))
        there = {row[2]: row[1] for row in found}
        missing = [one for one in definitions if one.name not in there]
        metadef_writes.insert(connection, namespace_id, kind, missing, now, seeded=True)
        if prefer:
            for one in definitions:
                if one.name in there:
                    metadef_writes.change(connection, namespace_id, there[one.name], one, now)


def unload(conf: cfg.ConfigOpts) -> dict[str, int]:
    """Remove all of it; the count for each table. One transaction."""

    def work(connection: Connection) -> dict[str, int]:
        return {table.name: connection.execute(sa.delete(table)).rowcount for table in _TABLES}

    with _opened(conf) as database:
        return database.write(work)


def stored(conf: cfg.ConfigOpts) -> Iterator[Namespace]:
    """All namespaces with everything in them, by name."""
    with _opened(conf) as database:
        for name in database.read(_names):
            yield from database.read(functools.partial(_all, name))


def _names(connection: Connection) -> list[str]:
    names = metadefs.spaces.namespace
    return list(connection.execute(sa.select(names).order_by(names)).scalars())


def _all(name: str, connection: Connection) -> list[Namespace]:
    """The namespace of that name, if it is still there."""
    rows = metadefs.ALL_OF.rows(connection, {'name': name})
    contents = metadefs.contents_of(row for row in rows if row[0] != metadefs.HEAD)
    heads = [row for row in rows if row[0] == metadefs.HEAD]
    return [metadefs.namespace_of(head, contents=contents) for head in heads]
