# SPDX-License-Identifier: Apache-2.0
"""The outbox: events in a table, and the one row that says who may send them.

Events are written in the transaction of what they tell of, while its row is locked, so their
serials are in the order in which things happened to an image. One process at a time takes them
out. It is found out by compare-and-set who that is, and its turn ends with its process, or when it
has given no sign of life for `EXPIRY` seconds by the database's clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy.engine import Connection

from glance_lite.db import tables
from glance_lite.db.clock import db_now
from glance_lite.notify.events import Notice, Outbox, Sending
from glance_lite.process import Process, is_gone

outbox = tables.outbox.c
sender = tables.outbox_sender.c

#: Seconds without a sign of life after which somebody else may send.
EXPIRY = 20.0

#: The one row of ``gl_outbox_sender``.
_ROW = 1

_INSERT = sa.insert(tables.outbox).values(at=db_now())
_STATE = sa.select(*tables.outbox_sender.c, db_now().label('now')).where(sender.id == _ROW)
_FIRST = sa.select(outbox.serial).order_by(outbox.serial).limit(1)


def write(connection: Connection, notices: Iterable[Notice]) -> None:
    """Put events in, in this order: one statement, none if there is nothing."""
    rows = [{'message': as_json(notice)} for notice in notices]
    if rows:
        connection.execute(_INSERT, rows)


def as_json(notice: Notice) -> str:
    """Nothing that is in it may fail what it tells of."""
    return json.dumps(
        dict(notice.message),
        default=lambda value: dict(value) if isinstance(value, Mapping) else str(value),
    )


def is_ready(connection: Connection, sending: Sending) -> bool | None:
    """Whether there is something to send; None: there is, and somebody else is sending.

    After a failure there is nothing for a while. Reads only.
    """
    if connection.execute(_FIRST).first() is None:
        return False
    state = connection.execute(_STATE).first()
    if state is None:
        return True
    if _alive(state) and state.sender != sending.sender:
        return None
    failed = state.sender is None and state.failing_since is not None
    return not (failed and (state.now - state.heartbeat).total_seconds() < sending.pause)


def _alive(state: Any) -> bool:
    """Whether whoever has the turn may still be at it."""
    if state.sender is None:
        return False
    if (state.now - state.heartbeat).total_seconds() > EXPIRY:
        return False
    there = Process(state.host, state.boot_id, state.pid)
    gone = Process.this().knows(there) and is_gone(
        state.pid, (state.now - state.since).total_seconds()
    )
    return not gone


def take(
    connection: Connection, process: Process, sending: Sending, sent: Sequence[int]
) -> tuple[Notice, ...] | None:
    """Take out what was sent, and give the next ones. None: it is somebody else's turn.

    Nothing at all: the outbox is empty, and the turn is over.
    """
    if not _hold(connection, process, sending):
        return None
    _remove(connection, sent)
    if sent:
        _change(connection, sending, failing_since=None)
    else:
        _drop(connection, sending, 0)
    rows = connection.execute(
        sa.select(outbox.serial, outbox.message).order_by(outbox.serial).limit(sending.batch)
    ).fetchall()
    if not rows:
        _change(connection, sending, sender=None)
    return tuple(Notice(json.loads(row.message), row.serial) for row in rows)


def keep(connection: Connection, sending: Sending, beyond: int) -> bool:
    """A sign of life of whoever is sending; whether it is still its turn.

    What is too much is dropped, but nothing with a serial up to `beyond`: that may be under way.
    """
    if not _change(connection, sending, heartbeat=db_now()):
        return False
    _drop(connection, sending, beyond)
    return True


def release(connection: Connection, sending: Sending, sent: Sequence[int], failed: bool) -> None:
    """Take out what was sent, and give the turn back. `failed`: what comes next did not go."""
    _remove(connection, sent)
    since: Any = None
    if failed:
        since = db_now() if sent else sa.func.coalesce(sender.failing_since, db_now())
    _change(connection, sending, sender=None, heartbeat=db_now(), failing_since=since)


def _hold(connection: Connection, process: Process, sending: Sending) -> bool:
    """Whether it is our turn, from now on or still."""
    state = connection.execute(_STATE).first()
    if state is not None and state.sender == sending.sender:
        return _change(connection, sending, heartbeat=db_now())
    mine: dict[str, Any] = {
        'sender': sending.sender,
        'host': process.host,
        'boot_id': process.boot_id,
        'pid': process.pid,
        'since': db_now(),
        'heartbeat': db_now(),
    }
    if state is None:
        return _first(connection, mine)
    if _alive(state):
        return False
    same = sender.sender.is_(None) if state.sender is None else sender.sender == state.sender
    take_over = sa.update(tables.outbox_sender).where(
        sender.id == _ROW, same, sender.heartbeat == state.heartbeat
    )
    return bool(connection.execute(take_over.values(**mine)).rowcount)


def _first(connection: Connection, mine: dict[str, Any]) -> bool:
    """Make the row; False when somebody else was quicker."""
    try:
        with connection.begin_nested():
            new = sa.insert(tables.outbox_sender)
            connection.execute(new.values(id=_ROW, dropped=0, **mine))
    except db_exc.DBDuplicateEntry:
        return False
    return True


def _change(connection: Connection, sending: Sending, **values: Any) -> bool:
    """Write to the row of whoever has the turn; whether it is this one."""
    mine = sa.update(tables.outbox_sender).where(sender.id == _ROW, sender.sender == sending.sender)
    return bool(connection.execute(mine.values(**values)).rowcount)


def _remove(connection: Connection, serials: Sequence[int]) -> None:
    if serials:
        connection.execute(sa.delete(tables.outbox).where(outbox.serial.in_(list(serials))))


def _drop(connection: Connection, sending: Sending, beyond: int) -> None:
    """Remove the oldest ones beyond the limit, and count them."""
    over = _count(connection) - sending.limit
    if over <= 0:
        return
    old = sa.select(outbox.serial).where(outbox.serial > beyond).order_by(outbox.serial)
    last = connection.execute(old.offset(over - 1).limit(1)).scalar()
    if last is None:
        return
    gone = sa.delete(tables.outbox).where(outbox.serial > beyond, outbox.serial <= last)
    count_dropped(connection, connection.execute(gone).rowcount)


def count_dropped(connection: Connection, count: int) -> None:
    """Note that so many events will never be sent."""
    change = sa.update(tables.outbox_sender).where(sender.id == _ROW)
    change = change.values(dropped=sender.dropped + count)
    if not connection.execute(change).rowcount:
        _first(connection, {'since': db_now(), 'heartbeat': db_now()})
        connection.execute(change)


def _count(connection: Connection) -> int:
    return int(
        connection.execute(sa.select(sa.func.count()).select_from(tables.outbox)).scalar_one()
    )


def look(connection: Connection) -> Outbox:
    """What is to be known of it."""
    oldest = sa.select(outbox.at, db_now().label('now')).order_by(outbox.serial).limit(1)
    first = connection.execute(oldest).first()
    state = connection.execute(_STATE).first()
    return Outbox(
        waiting=_count(connection),
        age=None if first is None else (first.now - first.at).total_seconds(),
        dropped=0 if state is None else state.dropped,
        failing_since=None if state is None else state.failing_since,
    )
