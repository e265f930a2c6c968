# SPDX-License-Identifier: Apache-2.0
"""One row a duty: who does it, and what came of it the last time.

Whose turn it is is found out by compare-and-set; a turn ends with its process, or when it has
given no sign of life for long enough by the database's clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy.engine import Connection

from glance_lite.db import tables
from glance_lite.db.clock import db_now
from glance_lite.maintenance.duty import DutyState
from glance_lite.process import Process, is_gone

duties = tables.duties.c

_ALL = sa.select(*tables.duties.c, db_now().label('now')).order_by(duties.name)
_NAME: sa.BindParameter[str] = sa.bindparam('of', type_=sa.String)
_ONE = sa.select(*tables.duties.c, db_now().label('now')).where(duties.name == _NAME)

#: Characters of a problem that are kept.
SAID = 1000


def list_all(connection: Connection, here: Process, expiry: float) -> tuple[DutyState, ...]:
    return tuple(
        DutyState(
            row.name,
            None if row.holder is None else f'{row.host} ({row.pid})',
            _alive(row, here, expiry),
            row.began,
            row.ended,
            json.loads(row.result or '{}'),
            row.problem,
        )
        for row in connection.execute(_ALL)
    )


def _alive(row: Any, here: Process, expiry: float) -> bool:
    """Whether whoever has the turn may still be at it."""
    if row.holder is None or (row.now - row.heartbeat).total_seconds() > expiry:
        return False
    there = Process(row.host, row.boot_id, row.pid)
    return not (here.knows(there) and is_gone(row.pid, (row.now - row.began).total_seconds()))


def may_take(
    connection: Connection, here: Process, name: str, period: float, expiry: float
) -> bool:
    """Whether it looks as if the turn could be taken. Reads only."""
    row = connection.execute(_ONE, {'of': name}).first()
    return row is None or _is_due(row, here, period, expiry)


def _is_due(row: Any, here: Process, period: float, expiry: float) -> bool:
    if row.holder is not None:
        return not _alive(row, here, expiry)
    return row.ended is None or (row.now - row.ended).total_seconds() >= period


def take(
    connection: Connection, here: Process, name: str, holder: str, period: float, expiry: float
) -> bool:
    mine: dict[str, Any] = {
        'holder': holder,
        'host': here.host,
        'boot_id': here.boot_id,
        'pid': here.pid,
        'began': db_now(),
        'heartbeat': db_now(),
    }
    row = connection.execute(_ONE, {'of': name}).first()
    if row is None:
        try:
            with connection.begin_nested():
                connection.execute(sa.insert(tables.duties).values(name=name, **mine))
        except db_exc.DBDuplicateEntry:
            return False
        return True
    if not _is_due(row, here, period, expiry):
        return False
    same = duties.holder.is_(None) if row.holder is None else duties.holder == row.holder
    ended = duties.ended.is_(None) if row.ended is None else duties.ended == row.ended
    change = sa.update(tables.duties).where(
        duties.name == name, same, ended, duties.heartbeat == row.heartbeat
    )
    return bool(connection.execute(change.values(**mine)).rowcount)


def _held(name: str, holder: str) -> sa.Update:
    return sa.update(tables.duties).where(duties.name == name, duties.holder == holder)


def keep(connection: Connection, name: str, holder: str) -> bool:
    return bool(connection.execute(_held(name, holder).values(heartbeat=db_now())).rowcount)


def leave(
    connection: Connection,
    name: str,
    holder: str,
    result: Mapping[str, int] | None,
    problem: str | None,
) -> None:
    values: dict[str, Any] = {'holder': None}
    if result is not None or problem is not None:
        values |= {
            'ended': db_now(),
            'result': json.dumps(dict(result or {})),
            'problem': None if problem is None else problem[:SAID],
        }
    connection.execute(_held(name, holder).values(**values))
