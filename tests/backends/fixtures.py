# SPDX-License-Identifier: Apache-2.0
"""Fixtures that give a test a database on each of the three engines.

`empty_url`: an empty database, this test's own. `database_url`: one that has been set up and
holds no rows, reused by the tests of a worker. `db`: the ``db`` layer on it, started; `counting`:
the same where projects have limits.
`statements`: what is sent to the database inside a ``with``.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import types

import pytest
import sqlalchemy as sa
from oslo_config import cfg

from glance_lite.conf import database as database_options
from glance_lite.conf import locations as location_options
from glance_lite.conf import quota as quota_options
from glance_lite.conf import tasks as task_options
from glance_lite.context import RequestContext
from glance_lite.db import admin, tables
from glance_lite.layers.db import Database
from tests.backends import databases

#: the virtual environment that has Glance 33; the comparison tests use its commands
GLANCE = 'GLANCE_LITE_GLANCE'


def pytest_configure(config):
    if not hasattr(config, 'workerinput'):
        databases.begin()


def pytest_unconfigure(config):
    if not hasattr(config, 'workerinput'):
        databases.end()


def make_conf(url: str, storage: str = '0', key: str | None = None, **options) -> cfg.ConfigOpts:
    """What the ``db`` layer reads.

    `storage` is ``user_storage_quota``, `key` that of encrypted urls; the `options` are those of
    ``[database]``.
    """
    conf = cfg.ConfigOpts()
    conf.register_opts(quota_options.OPTIONS['DEFAULT'])
    conf.register_opts(database_options.OPTIONS['database'], group='database')
    conf.register_opts(task_options.OPTIONS['task'], group='task')
    conf.register_opts(location_options.OPTIONS['DEFAULT'])
    conf([], default_config_files=[], default_config_dirs=[])
    conf.set_override('user_storage_quota', storage)
    conf.set_override('metadata_encryption_key', key)
    for name, value in {'connection': url, **options}.items():
        conf.set_override(name, value, group='database')
    return conf


def make_layer(url: str, key: str | None = None, **options) -> Database:
    layer = Database(types.SimpleNamespace(conf=make_conf(url, key=key, **options)))
    layer.start()
    return layer


def context(project: str | None = 'alpha', admin: bool = False) -> RequestContext:
    return RequestContext(project_id=project, user_id='somebody', is_admin=admin, overwrite=False)


def empty(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for metadata in (tables.glance, tables.own):
            for table in reversed(metadata.sorted_tables):
                connection.execute(sa.delete(table))


@pytest.fixture(params=databases.ENGINES)
def engine_name(request):
    databases.require(request.param)
    return request.param


@pytest.fixture
def empty_url(engine_name, tmp_path):
    url = databases.create(engine_name, tmp_path)
    yield url
    databases.drop(url)


@pytest.fixture(scope='session')
def _synced(tmp_path_factory):
    """engine -> url of a database that was set up once."""
    urls: dict[str, str] = {}

    def get(engine: str) -> str:
        if engine not in urls:
            urls[engine] = databases.create(engine, tmp_path_factory.mktemp(engine))
            admin.sync(make_conf(urls[engine]))
        return urls[engine]

    yield get
    for url in urls.values():
        databases.drop(url)


@pytest.fixture
def database_url(engine_name, _synced):
    url = _synced(engine_name)
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    empty(engine)
    engine.dispose()
    return url


@pytest.fixture
def db(database_url):
    layer = make_layer(database_url)
    yield layer
    layer.stop()


@pytest.fixture
def counting(database_url):
    """As `db`, for a service that has limits: what projects use is counted."""
    layer = make_layer(database_url, storage='1TB')
    yield layer
    layer.stop()


class Statements(list):
    """What was sent, as text; `transactions` counts those that were committed."""

    transactions = 0


@pytest.fixture
def statements(db):
    @contextlib.contextmanager
    def recording():
        seen = Statements()
        engine = db.database.engine

        def on_execute(connection, cursor, statement, parameters, context, executemany):
            seen.append(statement)

        def on_commit(connection):
            seen.transactions += 1

        events = [('commit', on_commit), ('before_cursor_execute', on_execute)]
        if db.database.backend == 'postgresql':
            # What does not go through SQLAlchemy is seen by the driver's cursors.
            from psycopg2 import extensions

            class Cursor(extensions.cursor):
                def execute(self, query, values=None):
                    seen.append(query)
                    super().execute(query, values)

            def on_checkout(connection, record, proxy):
                connection.cursor_factory = Cursor

            def on_checkin(connection, record):
                if connection is not None:
                    connection.cursor_factory = None

            events[1:] = [('checkout', on_checkout), ('checkin', on_checkin)]
        for name, function in events:
            sa.event.listen(engine, name, function)
        try:
            yield seen
        finally:
            for name, function in events:
                sa.event.remove(engine, name, function)

    return recording


@pytest.fixture(scope='session')
def glance_manage():
    """Runs Glance 33's own ``glance-manage`` against a database; gives (exit code, output)."""
    root = pathlib.Path(__file__).resolve().parents[2]
    home = pathlib.Path(os.environ.get(GLANCE) or root / '.cache' / 'glance33')
    tool = home / 'bin' / 'glance-manage'
    if not tool.exists():
        reason = f'Glance 33 is not installed in {GLANCE} or .cache/glance33'
        if os.environ.get(databases.REQUIRE) == '1':
            pytest.fail(reason)
        pytest.skip(reason)

    def run(directory: pathlib.Path, url: str, *arguments: str) -> tuple[int, str]:
        conf = directory / 'glance.conf'
        conf.write_text(f'[database]\nconnection = {url}\n')
        done = subprocess.run(
            [str(tool), '--config-file', str(conf), *arguments], capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    return run
