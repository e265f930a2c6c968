# SPDX-License-Identifier: Apache-2.0
"""Reads that every request makes: compiled once, prepared once for each connection.

PERF: PostgreSQL plans the statement that reads an image for four times as long as it runs it
(0.85 ms against 0.2), and SQLAlchemy needs 0.2 ms for what `Direct` does in 0.02. So under
PostgreSQL the text is sent once for each connection (``PREPARE``), a request sends ``EXECUTE``
with its values, and a read that needs nothing else of SQLAlchemy goes over the driver's own
connection, from SQLAlchemy's pool. The other engines execute the statement as it is.

A connection on which a prepared statement is not what it was (a pooler such as PgBouncer hands
each transaction to another session, somebody has said ``DISCARD ALL``, a column has got another
type) prepares nothing from then on, and what was asked is asked again without.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.db import limits

#: Of a connection's ``info``: names of what is prepared; absent or None where nothing may be.
PREPARED = 'glance_lite.prepared'

#: invalid_sql_statement_name, duplicate_prepared_statement, feature_not_supported (another type)
_LOST = ('26000', '42P05', '0A000')


class NotPrepared(Exception):
    """A prepared statement is not there; ask again, on this connection without."""


class Direct:
    """A connection of PostgreSQL in autocommit, as the driver has it. A context manager.

    It takes `Statement` only. Whatever fails here is to be asked again over SQLAlchemy, which
    knows what each error means.
    """

    __slots__ = ('_fairy', 'dialect', 'info', 'raw')

    def __init__(self, engine: sa.Engine) -> None:
        self.dialect = engine.dialect
        fairy = self._fairy = engine.raw_connection()
        self.info = fairy.info
        self.raw: Any = fairy.dbapi_connection

    def __enter__(self) -> Direct:
        return self

    def __exit__(self, kind: Any, value: BaseException | None, traceback: Any) -> None:
        if value is not None:
            if is_lost(value):
                self.info[PREPARED] = None
            if self.raw.closed or self.raw.get_transaction_status():
                # It is broken, or was left in the middle of an answer.
                self._fairy.invalidate(value)
        self._fairy.close()


class _Compiled:
    """The text of a statement for one dialect, and for PostgreSQL its prepared form."""

    def __init__(self, core: Any, dialect: Any) -> None:
        compiled = core.compile(dialect=dialect)
        self.text = str(compiled)
        #: what the statement itself says
        self.values: Mapping[str, Any] = {
            name: value for name, value in compiled.params.items() if value is not None
        }
        names = _Numbers()
        numbered = self.text % names
        digest = hashlib.sha256(numbered.encode()).hexdigest()[:24]
        #: two that have this name have this text
        self.name = f'gl_{digest}'
        self.prepare = f'PREPARE {self.name} AS {numbered}'
        arguments = ', '.join(f'%({name})s' for name in names)
        self.execute = f'EXECUTE {self.name}({arguments})' if names else f'EXECUTE {self.name}'


class _Numbers(dict[str, str]):
    """Parameters by name, numbered as they come up."""

    def __missing__(self, name: str) -> str:
        self[name] = number = f'${len(self) + 1}'
        return number


class Statement:
    """A query of SQLAlchemy that is made once; its rows are plain tuples.

    `prepare` is for those whose best plan does not depend on the values: no limit and no range.
    """

    def __init__(self, core: Any, *, prepare: bool) -> None:
        self.core = core
        self._prepare = prepare
        self._compiled: _Compiled | None = None

    def _text(self, dialect: Any) -> _Compiled:
        # There is one PostgreSQL dialect in a process, whatever the number of engines.
        compiled = self._compiled
        if compiled is None:
            compiled = self._compiled = _Compiled(self.core, dialect)
        return compiled

    def limited(
        self, connection: Connection | Direct, values: Mapping[str, Any], seconds: float
    ) -> Any:
        """All rows of one that is not prepared, if they are found within `seconds` (0: ever).

        What is raised if they are not is told by `limits.passed`.
        """
        if isinstance(connection, Direct):
            return self._direct(connection, values, seconds)
        if not seconds:
            return self.rows(connection, values)
        if connection.dialect.name == 'sqlite':
            with limits.watched(connection, seconds):
                return self.rows(connection, values)
        options = {limits.LIMIT: seconds}
        return connection.execute(self.core, values, execution_options=options).fetchall()

    def rows(self, connection: Connection | Direct, values: Mapping[str, Any]) -> Any:
        """All rows. `NotPrepared` on an SQLAlchemy connection: begin the transaction anew."""
        if isinstance(connection, Direct):
            return self._direct(connection, values)
        if not (self._prepare and connection.dialect.name == 'postgresql'):
            return connection.execute(self.core, values).fetchall()
        prepared = connection.info.get(PREPARED)
        if prepared is None:
            return connection.execute(self.core, values).fetchall()
        compiled = self._text(connection.dialect)
        values = {**compiled.values, **values}
        try:
            if compiled.name not in prepared:
                connection.exec_driver_sql(compiled.prepare.replace('%', '%%'))
                prepared.add(compiled.name)
            return connection.exec_driver_sql(compiled.execute, values).fetchall()
        except Exception as ex:
            if is_lost(ex):
                connection.info[PREPARED] = None
                raise NotPrepared from ex
            raise

    def _direct(self, connection: Direct, values: Mapping[str, Any], seconds: float = 0) -> Any:
        compiled = self._text(connection.dialect)
        prepared = connection.info.get(PREPARED) if self._prepare else None
        values = {**compiled.values, **values}
        with connection.raw.cursor() as cursor:
            if prepared is None:
                text = compiled.text
                if seconds:
                    text = limits.limited(text, connection.dialect, seconds)
                cursor.execute(text, values)
            else:
                if compiled.name not in prepared:
                    cursor.execute(compiled.prepare)
                    prepared.add(compiled.name)
                cursor.execute(compiled.execute, values)
            return cursor.fetchall()


def is_lost(ex: BaseException) -> bool:
    """Whether a prepared statement is not (or no longer) what the connection knows it to be."""
    return any(getattr(each, 'pgcode', None) in _LOST for each in _chain(ex))


def _chain(ex: BaseException) -> Iterator[BaseException]:
    """An error and what it was made from, by SQLAlchemy and oslo.db."""
    seen: BaseException | None = ex
    while seen is not None:
        yield seen
        seen = getattr(seen, 'inner_exception', None) or getattr(seen, 'orig', None)
