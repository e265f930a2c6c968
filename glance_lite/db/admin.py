# SPDX-License-Identifier: Apache-2.0
"""Administration of the database: set-up, versions, purging. Behind ``glance-lite-manage db``.

Glance's tables are made only in an empty database; those of an existing Glance are used as
they are. Our own tables and indexes have migrations of their own.
"""

from __future__ import annotations

import contextlib
import datetime
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from oslo_config import cfg
from oslo_db.sqlalchemy import exc_filters
from sqlalchemy.engine import Connection

from glance_lite.db import engine, rows, tables
from glance_lite.errors import ConfigurationError, Invalid, Unavailable
from glance_lite.model import DEFERRED

UP_TO_DATE, EXPAND_NEEDED, MIGRATE_NEEDED, CONTRACT_NEEDED = 0, 3, 4, 5

#: Rows that are purged, children before parents; ``images`` is purged apart.
_PURGED = (
    tables.image_properties,
    tables.image_tags,
    tables.image_locations,
    tables.image_members,
    tables.tasks,
)


class Versions(NamedTuple):
    """Glance's revision (None: there are no tables) and the heads of our own migrations."""

    glance: str | None
    own: tuple[str, ...]

    def __str__(self) -> str:
        return f'{self.glance or "none"} (glance-lite: {", ".join(self.own) or "none"})'


@contextlib.contextmanager
def _connected(conf: cfg.ConfigOpts) -> Iterator[Connection]:
    """A plain connection: migrations manage their own transactions. `Unavailable`."""
    url = engine.database_url(conf)
    made = sa.create_engine(url, poolclass=sa.pool.NullPool, hide_parameters=True)
    exc_filters.register_engine(made)
    try:
        with made.connect() as connection:
            yield connection
    except Exception as ex:
        if engine.is_lost(ex):
            # Not the cause: its text is the driver's, and may be long.
            raise Unavailable(f'The database {url.render_as_string()} does not answer') from None
        raise
    finally:
        made.dispose()


def version(conf: cfg.ConfigOpts) -> Versions:
    """What the database says about itself."""
    with _connected(conf) as connection:
        return _versions(connection)


def check(conf: cfg.ConfigOpts) -> int:
    """0: up to date; 3: to be expanded (or set up); 5: to be contracted. As Glance's exit codes."""
    with _connected(conf) as connection:
        found = _versions(connection)
        if found.glance != tables.GLANCE_REVISION:
            return EXPAND_NEEDED
        missing = set(_script().get_heads()) - _done(found.own)
        if any('expand' in head for head in missing):
            return EXPAND_NEEDED
        return CONTRACT_NEEDED if missing else UP_TO_DATE


def _done(heads: tuple[str, ...]) -> set[str]:
    """All steps behind the recorded heads; a head of a newer glance-lite stands for all of ours."""
    script = _script()
    done: set[str] = set()
    todo = list(heads)
    while todo:
        try:
            step = script.get_revision(todo.pop())
        except CommandError:
            return set(script.get_heads())
        if step is not None and step.revision not in done:
            done.add(step.revision)
            for before in (step.down_revision, step.dependencies):
                todo += [before] if isinstance(before, str) else list(before or ())
    return done


def sync(conf: cfg.ConfigOpts, target: str = 'heads') -> None:
    """Make what is missing. `ConfigurationError`: the database is not one we may use.

    `target` ``gl_expand@head`` only adds: the previous version goes on beside the new one.
    """
    with _connected(conf) as connection, _alone(connection):
        _make_glance_tables(connection)
        config = Config()
        config.set_main_option('script_location', str(_migrations()))
        config.attributes['connection'] = connection
        try:
            command.upgrade(config, target)
        except CommandError:
            raise ConfigurationError(
                'The database was made by a newer glance-lite, which this one cannot upgrade'
            ) from None
        connection.commit()


def _migrations() -> pathlib.Path:
    return pathlib.Path(__file__).parent / 'migrations'


def _script() -> ScriptDirectory:
    return ScriptDirectory(str(_migrations()))


def _versions(connection: Connection) -> Versions:
    there = set(sa.inspect(connection).get_table_names())
    glance = None
    if 'alembic_version' in there:
        query = sa.text('SELECT version_num FROM alembic_version')
        glance = ', '.join(sorted(connection.execute(query).scalars())) or None
    own: tuple[str, ...] = ()
    if 'gl_alembic_version' in there:
        query = sa.text('SELECT version_num FROM gl_alembic_version ORDER BY version_num')
        own = tuple(connection.execute(query).scalars())
    connection.commit()
    return Versions(glance, own)


def _make_glance_tables(connection: Connection) -> None:
    found = _versions(connection).glance
    if found == tables.GLANCE_REVISION:
        return
    there = set(sa.inspect(connection).get_table_names())
    connection.commit()
    if found is not None or 'migrate_version' in there:
        raise ConfigurationError(
            f'The database has the tables of another release of Glance ({found or "a very old one"}'
            f' instead of {tables.GLANCE_REVISION}): run "glance-manage db sync" of Glance 33 first'
        )
    _check_half_made(connection, there)
    tables.glance.create_all(connection)
    version_table = sa.Table(
        'alembic_version',
        sa.MetaData(),
        sa.Column('version_num', sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint('version_num', name='alembic_version_pkc'),
    )
    version_table.create(connection, checkfirst=True)
    connection.execute(sa.insert(version_table).values(version_num=tables.GLANCE_REVISION))
    connection.commit()


def _check_half_made(connection: Connection, there: set[str]) -> None:
    """Tables without a version are ours, interrupted, or somebody else's: then hands off."""
    inspector = sa.inspect(connection)
    for name, table in tables.glance.tables.items():
        if name in there:
            columns = {column['name'] for column in inspector.get_columns(name)}
            if columns != set(table.columns.keys()):
                raise ConfigurationError(
                    f'The database has a table {name} that is not the one of Glance 33, '
                    f'and no version to upgrade it from'
                )
    connection.commit()


@contextlib.contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Two who set up at once take turns. (SQLite locks the file by itself.)"""
    name = connection.dialect.name
    if name == 'postgresql':
        # On a connection of its own: the migrations end transactions, and a lock of one
        # transaction would be seen by indexes built concurrently.
        with connection.engine.connect() as other:
            other.execution_options(isolation_level='AUTOCOMMIT')
            other.execute(sa.text('SELECT pg_advisory_lock(7310612)'))
            yield
    elif name == 'mysql':
        with connection.engine.connect() as other:
            other.execute(sa.text("SELECT GET_LOCK(CONCAT(DATABASE(), '.glance-lite'), 600)"))
            other.commit()
            yield
    else:
        yield


# --- purging


def purge(conf: cfg.ConfigOpts, age_in_days: int, max_rows: int) -> dict[str, int]:
    """Really delete rows soft-deleted more than `age_in_days` ago, `max_rows` in all (-1: all).

    Rows of ``images`` stay, so that no id is used twice. Gives the count for each table.
    """
    before = _before(age_in_days)
    _check_rows(max_rows)
    purged: dict[str, int] = {}
    with _connected(conf) as connection:
        for table in _PURGED:
            left = None if max_rows < 0 else max_rows - sum(purged.values())
            ids = _purgeable(connection, table, before, left, *_not_needed(table))
            if table is tables.tasks:
                _delete(connection, tables.task_info.c.task_id, ids)
            purged[table.name] = _delete(connection, table.c.id, ids)
        _purge_own(connection)
    return purged


def purge_images_table(conf: cfg.ConfigOpts, age_in_days: int, max_rows: int) -> int:
    """Really delete rows of ``images`` of which nothing else is left; how many."""
    before = _before(age_in_days)
    _check_rows(max_rows)
    with _connected(conf) as connection:
        bare = [
            ~sa.exists(sa.select(child.c.id).where(child.c.image_id == tables.images.c.id))
            for child in _PURGED
            if child is not tables.tasks
        ]
        left = None if max_rows < 0 else max_rows
        needed = _not_needed(tables.images)
        ids = _purgeable(connection, tables.images, before, left, *needed, *bare)
        count = _delete(connection, tables.images.c.id, ids)
        _purge_own(connection)
    return count


def _not_needed(table: sa.Table) -> list[Any]:
    """Rows that say where data is which is still to be removed, and their images, are needed."""
    if table in (tables.images, tables.image_locations):
        return [table.c.status != DEFERRED]
    return []


def _before(age_in_days: int) -> datetime.datetime:
    if age_in_days < 0:
        raise Invalid('age_in_days must not be negative')
    try:
        return rows.utcnow() - datetime.timedelta(days=age_in_days)
    except OverflowError:
        raise Invalid(f'{age_in_days} days ago is before all time') from None


def _check_rows(max_rows: int) -> None:
    if max_rows < 1 and max_rows != -1:
        raise Invalid('max_rows must be at least 1, or -1 for no limit')


def _purgeable(
    connection: Connection,
    table: sa.Table,
    before: datetime.datetime,
    limit: int | None,
    *where: Any,
) -> list[Any]:
    c = table.c
    query = sa.select(c.id).where(c.deleted == sa.true(), c.deleted_at < before, *where)
    return list(connection.execute(query.order_by(c.deleted_at).limit(limit)).scalars())


def _delete(connection: Connection, column: Any, ids: list[Any]) -> int:
    """In portions, each its own transaction: the service goes on beside it."""
    count = 0
    for start in range(0, len(ids), 500):
        portion = ids[start : start + 500]
        count += connection.execute(sa.delete(column.table).where(column.in_(portion))).rowcount
        connection.commit()
    return count


def _purge_own(connection: Connection) -> None:
    """Our rows about images that are no longer there. Operations go with their own end."""
    f, i = tables.failures.c, tables.images.c
    alive = sa.exists(sa.select(i.id).where(i.id == f.image_id, i.deleted == sa.false()))
    connection.execute(sa.delete(tables.failures).where(~alive))
    connection.commit()
