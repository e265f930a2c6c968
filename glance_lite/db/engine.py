# SPDX-License-Identifier: Apache-2.0
"""The connection to the database: reads, write transactions, what is tried again.

The options are oslo.db's, and so are the names of what can go wrong (its exception filters).
The engine itself is made here: oslo.db's would ask the database ``SELECT 1`` before each use
and open an SQLite file anew each time.

Connections are in autocommit: a read costs one round trip instead of three. `Database.write`
opens a transaction explicitly, `BEGIN IMMEDIATE` in SQLite, and may run its function again
after a deadlock, so the function must do nothing but SQL.
"""

from __future__ import annotations

import contextlib
import functools
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

import sqlalchemy as sa
from oslo_config import cfg
from oslo_db import exception as db_exc
from oslo_db.sqlalchemy import exc_filters
from oslo_log import log
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.pool import QueuePool, StaticPool

from glance_lite import tracing
from glance_lite.conf.quota import is_counted
from glance_lite.db import limits, sealing, statements
from glance_lite.errors import ConfigurationError, GlanceLiteError, Invalid, Unavailable

LOG = log.getLogger(__name__)
T = TypeVar('T')

#: Seconds one write may take in all when the database keeps refusing it.
PATIENCE = 10.0
#: Seconds SQLite waits inside one call. Short: under eventlet it holds up all others.
BUSY_TIMEOUT = 0.05

#: Execution option: whether what projects use is counted. Without a limit nobody needs it.
COUNTING = 'glance_lite_counting'

#: Of a connection's ``info``: what is to be done when the transaction has been committed.
_AFTER = 'glance_lite.after'

_DRIVERS = {'postgresql': 'postgresql+psycopg2', 'mysql': 'mysql+pymysql'}


def database_url(conf: cfg.ConfigOpts) -> URL:
    """``[database] connection``, with the driver we need. `ConfigurationError`."""
    text = conf.database.connection
    if not text:
        raise ConfigurationError('[database] connection: no database is configured')
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except sa.exc.ArgumentError:
        raise ConfigurationError('[database] connection: this is not a database url') from None
    if backend == 'mariadb':
        backend = 'mysql'
    if backend not in ('sqlite', *_DRIVERS):
        raise ConfigurationError(
            f'[database] connection: {backend} is not supported; use sqlite, postgresql or mysql'
        )
    if backend in _DRIVERS:
        url = url.set(drivername=_DRIVERS[backend])
    if backend == 'mysql' and 'charset' not in url.query:
        url = url.update_query_dict({'charset': 'utf8mb3'})  # as the tables are
    if conf.database.connection_parameters:
        url = url.update_query_string(conf.database.connection_parameters, append=True)
    return url


def after_commit(connection: Connection, tell: Callable[[], None]) -> None:
    """Call `tell` when the transaction of `Database.write` has come through, and outside of it."""
    connection.info[_AFTER].append(tell)


def use_wait_callback(callback: Callable[[Any], None] | None) -> None:
    """Let psycopg2 wait in `callback` instead of in C; the green server installs its own."""
    from psycopg2 import extensions

    extensions.set_wait_callback(callback)


def _pool(conf: cfg.ConfigOpts, url: URL) -> dict[str, Any]:
    if url.get_backend_name() == 'sqlite' and url.database in (None, '', ':memory:'):
        return {'poolclass': StaticPool}
    return {
        'poolclass': QueuePool,
        'pool_size': conf.database.max_pool_size or 5,
        'max_overflow': conf.database.max_overflow,
        'pool_timeout': conf.database.pool_timeout or 30,
        'pool_recycle': conf.database.connection_recycle_time,
    }


def create_engine(conf: cfg.ConfigOpts) -> sa.Engine:
    """An engine by the options of ``[database]``; connects to nothing yet."""
    url = database_url(conf)
    backend = url.get_backend_name()
    arguments: dict[str, Any] = {}
    if backend == 'sqlite':
        arguments = {'check_same_thread': False, 'timeout': BUSY_TIMEOUT, 'isolation_level': None}
    more: dict[str, Any] = {}
    if backend == 'postgresql':
        # PERF: one trip for all properties of an image, not one for each.
        more['executemany_mode'] = 'values_plus_batch'
    try:
        engine = sa.create_engine(
            url,
            connect_args=arguments,
            pool_reset_on_return=None,
            hide_parameters=True,  # values are users' data: they do not belong in a log
            echo=conf.database.connection_debug >= 50,
            execution_options={COUNTING: is_counted(conf)},
            **_pool(conf, url),
            **more,
        )
    except ImportError as ex:
        raise ConfigurationError(
            f'[database] connection: {ex.name} is missing; '
            f'install it with: pip install glance-lite[{backend}]'
        ) from ex
    exc_filters.register_engine(engine)
    sa.event.listen(engine, 'connect', _SETUP[backend](conf))
    sealer = sealing.Sealer(sealing.key_of(conf))
    sa.event.listen(engine, 'connect', functools.partial(_give, sealer))
    if backend != 'sqlite':
        limits.listen(engine)
    if backend == 'mysql':
        _spare_rollback(engine)
    return engine


def _give(sealer: sealing.Sealer, connection: Any, record: Any) -> None:
    record.info[sealing.SEALER] = sealer


def _setup_sqlite(conf: cfg.ConfigOpts) -> Callable[..., None]:
    synchronous = 'FULL' if conf.database.sqlite_synchronous else 'OFF'

    def setup(connection: sqlite3.Connection, record: Any) -> None:
        # Changing the mode needs the file for itself: wait for it longer than for anything else.
        connection.execute('PRAGMA busy_timeout = 10000')
        connection.execute('PRAGMA journal_mode = WAL').fetchall()
        connection.execute(f'PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}')
        connection.execute(f'PRAGMA synchronous = {synchronous}')

    return setup


def _setup_postgresql(conf: cfg.ConfigOpts) -> Callable[..., None]:
    def setup(connection: Any, record: Any) -> None:
        connection.autocommit = True
        with connection.cursor() as cursor:
            # PERF: for the few rows of a page, starting processes and compiling costs 30 ms.
            cursor.execute('SET max_parallel_workers_per_gather = 0; SET jit = off')
            if connection.server_version >= 120000:
                # What is prepared is planned once, and not for each value.
                cursor.execute('SET plan_cache_mode = force_generic_plan')
            if connection.server_version >= 130000:
                # Else Glance's index on created_at looks cheap, behind which there is nothing
                # that tells images which are not to be seen.
                cursor.execute('SET enable_incremental_sort = off')
        record.info[statements.PREPARED] = set()

    return setup


def _setup_mysql(conf: cfg.ConfigOpts) -> Callable[..., None]:
    def setup(connection: Any, record: Any) -> None:
        connection.autocommit(True)
        with connection.cursor() as cursor:
            if conf.database.mysql_sql_mode is not None:
                cursor.execute('SET SESSION sql_mode = %s', (conf.database.mysql_sql_mode,))
            if conf.database.mysql_wsrep_sync_wait is not None:
                wait = int(conf.database.mysql_wsrep_sync_wait)
                cursor.execute('SET SESSION wsrep_sync_wait = %s', (wait,))
            # PERF: else a list reads all images that are not deleted, all that are not hidden and
            # all of the project, to see which are in all three.
            cursor.execute(
                "SET SESSION optimizer_switch = 'index_merge_intersection=off,materialization=off'"
            )
            # A sum taken behind a lock must see what was committed before the lock was had.
            cursor.execute('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED')

    return setup


_SETUP = {'sqlite': _setup_sqlite, 'postgresql': _setup_postgresql, 'mysql': _setup_mysql}


def _spare_rollback(engine: sa.Engine) -> None:
    """PERF: PyMySQL asks the server to roll back even when no transaction is open (a trip)."""
    rollback = engine.dialect.do_rollback

    def do_rollback(connection: Any) -> None:
        if connection.server_status & 1:  # SERVER_STATUS_IN_TRANS of the protocol
            rollback(connection)

    dialect: Any = engine.dialect
    dialect.do_rollback = do_rollback


def _trace(engine: sa.Engine) -> None:
    """Make the statements of an engine part of the traces of requests."""
    from osprofiler import sqlalchemy as tracer

    tracer.add_tracing(sa, engine, 'db')


class Database:
    """Runs functions that take a connection, as reads or as write transactions."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.engine = create_engine(conf)
        self.backend: str = self.engine.dialect.name
        self.sqlite = self.backend == 'sqlite'
        #: seconds that a list may take, 0 for no limit
        self.list_timeout: float = conf.database.list_timeout
        # Who wants to see each statement gets them all from SQLAlchemy.
        seen = conf.database.connection_debug >= 50 or tracing.traces_statements(conf)
        self._direct = self.backend == 'postgresql' and not seen
        if tracing.traces_statements(conf):
            _trace(self.engine)
        self._attempts: int = max(1, conf.database.db_max_retries + 1)
        # One writer at a time in this process: the rest waits here and not inside SQLite.
        self._lock = threading.Lock()

    def dispose(self) -> None:
        self.engine.dispose()

    def read(self, function: Callable[[Connection], T]) -> T:
        """What `function` finds out; once more when the connection turns out to be dead."""
        again = False
        while True:
            try:
                with self.engine.connect() as connection:
                    return function(connection)
            except GlanceLiteError:
                raise
            except statements.NotPrepared:
                pass  # once for each connection
            except Exception as ex:
                if again or not (is_lost(ex) or _busy(ex)):
                    _fail(ex)
                again = True

    def query(self, function: Callable[[Connection | statements.Direct], T]) -> T:
        """As `read`, for a function that makes do with `statements.Statement`."""
        if not self._direct:
            return self.read(function)
        try:
            with statements.Direct(self.engine) as connection:
                return function(connection)
        except GlanceLiteError:
            raise
        except sa.exc.TimeoutError as ex:
            _fail(ex)
        except Exception:
            # SQLAlchemy knows what it was, and what to do about it, if it happens again.
            return self.read(function)

    def write(self, function: Callable[[Connection], T]) -> T:
        """`function` in one transaction, committed unless it raises.

        It is run again after a deadlock, and once after a connection that was dead before
        anything was committed. `Unavailable` when the database keeps refusing.
        """
        deadline = time.monotonic() + PATIENCE
        attempt = 0
        lost = False
        while True:
            attempt += 1
            stage = ['begin']
            told: list[Callable[[], None]] = []
            try:
                with self._writer(stage) as connection:
                    connection.info[_AFTER] = told
                    result = function(connection)
            except GlanceLiteError:
                raise
            except statements.NotPrepared:
                continue  # once for each connection
            except Exception as ex:
                again = _busy(ex) and attempt < self._attempts and time.monotonic() < deadline
                if is_lost(ex) and not lost and stage != ['commit']:
                    again = lost = True
                if not again:
                    _fail(ex)
            else:
                for tell in told:
                    tell()
                return result
            time.sleep(random.uniform(0.2, 1.0) * min(0.3, 0.01 * 2**attempt))

    @contextlib.contextmanager
    def _writer(self, stage: list[str]) -> Iterator[Connection]:
        if self.sqlite and not self._lock.acquire(timeout=PATIENCE):
            raise Unavailable('The database is busy', retry_after=1)
        try:
            with self.engine.connect() as connection:
                transaction = connection.begin()
                raw: Any = connection.connection.dbapi_connection
                if self.sqlite:
                    raw.execute('BEGIN IMMEDIATE')
                elif self.backend == 'mysql':
                    # By SQLAlchemy, which notices here that a pooled connection is dead.
                    connection.exec_driver_sql('BEGIN')
                else:
                    raw.autocommit = False
                try:
                    yield connection
                    stage[0] = 'commit'
                    transaction.commit()
                finally:
                    with contextlib.suppress(Exception):
                        if transaction.is_active:
                            transaction.rollback()
                        if self.backend == 'postgresql':
                            raw.autocommit = True
        finally:
            if self.sqlite:
                self._lock.release()


def is_lost(ex: Exception) -> bool:
    """Whether the server was not to be reached, or the connection broke."""
    if isinstance(ex, db_exc.DBConnectionError):
        return True
    # Before there is a connection nothing translates: SQLAlchemy's or the driver's own error.
    if isinstance(ex, (sa.exc.OperationalError, sa.exc.InterfaceError)):
        return not _busy(ex)
    return type(ex).__module__ in ('psycopg2', 'pymysql.err') and type(ex).__name__ in (
        'OperationalError',
        'InterfaceError',
    )


def _busy(ex: Exception) -> bool:
    """Whether another transaction was in the way, and nothing of this one is left."""
    if isinstance(ex, (db_exc.DBDeadlock, db_exc.RetryRequest)):
        return True
    cause = getattr(ex, 'inner_exception', None) or getattr(ex, 'orig', None) or ex
    cause = getattr(cause, 'orig', None) or cause
    if isinstance(cause, sqlite3.OperationalError):
        return 'locked' in str(cause) or 'busy' in str(cause)
    # serialization_failure, deadlock_detected, lock_not_available
    if getattr(cause, 'pgcode', None) in ('40001', '40P01', '55P03'):
        return True
    arguments = getattr(cause, 'args', ())
    # lock wait timeout, deadlock, record has changed since last read (Galera, MariaDB)
    return type(cause).__module__ == 'pymysql.err' and arguments[:1] in ((1205,), (1213,), (1020,))


def _fail(ex: Exception) -> NoReturn:
    error = _translated(ex)
    if error is ex:
        raise ex
    raise error from ex


def _translated(ex: Exception) -> Exception:
    """What the chain is told; what the operator must know goes to the log."""
    if _busy(ex) or isinstance(ex, sa.exc.TimeoutError):
        return Unavailable('The database is busy', retry_after=1)
    if is_lost(ex):
        LOG.error('The database does not answer: %s', type(ex).__name__)
        return Unavailable('The database does not answer', retry_after=5)
    unstorable = (db_exc.DBDataError, db_exc.DBInvalidUnicodeParameter, UnicodeError, OverflowError)
    if isinstance(ex, unstorable) or _unfit(ex):
        return Invalid('A value contains characters or a size that cannot be stored')
    if isinstance(ex, db_exc.DBNonExistentTable) or 'no such table' in str(ex):
        LOG.error('The database has not been set up: run glance-lite-manage db sync')
        return Unavailable('The database has not been set up')
    if isinstance(ex, (db_exc.DBError, sa.exc.SQLAlchemyError, sqlite3.Error)):
        # Only the kind: the text may carry the values of the statement.
        LOG.error('The database refused a statement: %s', _cause(ex))
        return Unavailable('The database failed')
    return ex


def _original(ex: Exception) -> BaseException:
    """The driver's own error, under what SQLAlchemy and oslo.db wrapped around it."""
    inner = getattr(ex, 'inner_exception', None) or ex
    orig: BaseException = getattr(inner, 'orig', None) or inner
    return orig


def _unfit(ex: Exception) -> bool:
    """Whether the database says of a value that it is too long, out of range or not text."""
    orig = _original(ex)
    # SQLSTATE class 22 is "data exception"; psycopg2 itself refuses NUL with a ValueError.
    state = getattr(orig, 'pgcode', None) or ''
    return state.startswith('22') or (isinstance(orig, ValueError) and 'NUL' in str(orig))


def _cause(ex: Exception) -> str:
    orig = _original(ex)
    code = getattr(orig, 'pgcode', None) or str(orig.args[:1])
    return f'{type(orig).__name__} {code}'
