# SPDX-License-Identifier: Apache-2.0
"""How long the database may take for one statement of a list.

PERF: PostgreSQL and MySQL are told in the same message as the statement, so a limit costs no trip
of its own, and nothing that is not limited knows of it. SQLite looks at the clock while it works.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

#: Execution option: seconds that the statement may take.
LIMIT = 'glance_lite_limit'
#: Steps of SQLite between two looks at the clock: about a millisecond.
STEPS = 20_000

# query_canceled; max_statement_time exceeded (MariaDB), maximum statement execution time (MySQL)
_PGCODE, _MYSQL = '57014', (1969, 3024)


def limited(text: str, dialect: Any, seconds: float) -> str:
    """The statement with its limit; as it is for no limit (0) and for SQLite."""
    if not seconds:
        return text
    milliseconds = max(1, round(seconds * 1000))
    if dialect.name == 'postgresql':
        return f'SET LOCAL statement_timeout = {milliseconds}; {text}'
    if dialect.name != 'mysql':
        return text
    if dialect.is_mariadb:
        return f'SET STATEMENT max_statement_time = {milliseconds / 1000} FOR {text}'
    return text.replace('SELECT', f'SELECT /*+ MAX_EXECUTION_TIME({milliseconds}) */', 1)


def listen(engine: sa.Engine) -> None:
    """Have `LIMIT` heeded in what SQLAlchemy sends to PostgreSQL or MySQL."""

    def on_execute(
        connection: Connection, cursor: Any, text: str, values: Any, context: Any, many: bool
    ) -> tuple[str, Any]:
        seconds = context.execution_options.get(LIMIT) if context is not None else None
        return (limited(text, connection.dialect, seconds), values) if seconds else (text, values)

    sa.event.listen(engine, 'before_cursor_execute', on_execute, retval=True)


@contextlib.contextmanager
def watched(connection: Connection, seconds: float) -> Iterator[None]:
    """SQLite gives up what takes longer than that inside the block."""
    raw: Any = connection.connection.dbapi_connection
    end = time.monotonic() + seconds
    raw.set_progress_handler(lambda: time.monotonic() > end, STEPS)
    try:
        yield
    finally:
        raw.set_progress_handler(None, 0)


def passed(ex: BaseException) -> bool:
    """Whether a statement was given up because its time was over."""
    seen: BaseException | None = ex
    while seen is not None:
        if getattr(seen, 'pgcode', None) == _PGCODE:
            return True
        if type(seen).__module__ == 'pymysql.err' and seen.args[:1] in ((n,) for n in _MYSQL):
            return True
        if isinstance(seen, sqlite3.OperationalError) and str(seen) == 'interrupted':
            return True
        seen = getattr(seen, 'inner_exception', None) or getattr(seen, 'orig', None)
    return False
