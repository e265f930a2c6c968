# SPDX-License-Identifier: Apache-2.0
"""What layers want written with a row: how each type of rider is claimed, settled, given up.

A rider is claimed in the transaction that claims the upload (or writes the row), topped up when
the real size is known, and settled or released in the transaction that ends the operation. A
new type is one entry in `HANDLERS`. An event claims nothing: it is told when its moment has come.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy.engine import Connection

from glance_lite.db import outbox, tables
from glance_lite.errors import LimitExceeded
from glance_lite.model import Reservation
from glance_lite.notify.events import DONE, Event, Notice


@dataclasses.dataclass(frozen=True, slots=True)
class Ride:
    """What a rider rides on: an image, and the operation if there is one."""

    image_id: str
    #: None: the row is written at once, nothing stays claimed
    serial: int | None = None
    #: bytes that have really come; None while they are not all there
    size: int | None = None


class Handler(abc.ABC):
    @abc.abstractmethod
    def claim(self, connection: Connection, rider: Any, ride: Ride) -> None:
        """Take what the rider asks for. `LimitExceeded`."""

    @abc.abstractmethod
    def confirm(self, connection: Connection, rider: Any, ride: Ride) -> None:
        """The size is known now: make the claim fit it. `LimitExceeded`."""

    @abc.abstractmethod
    def end(self, connection: Connection, serial: int) -> None:
        """The operation is over, well or not; what it made is counted from its own rows."""


class Reservations(Handler):
    """Room in a project. Usage is computed as Glance computes it, from the images themselves.

    So it is right while a Glance writes beside us. Whoever checks holds the project's row in
    ``gl_usage``, so two that would each fit, but not both, cannot both get in.
    """

    def claim(self, connection: Connection, rider: Reservation, ride: Ride) -> None:
        if rider.amount is not None:
            self._take(connection, rider, rider.amount, ride)

    def confirm(self, connection: Connection, rider: Reservation, ride: Ride) -> None:
        amount = ride.size or 0
        if rider.amount is None or amount > rider.amount:
            self._take(connection, rider, amount, ride)

    def end(self, connection: Connection, serial: int) -> None:
        connection.execute(
            sa.delete(tables.reservations).where(tables.reservations.c.serial == serial)
        )

    def _take(self, connection: Connection, rider: Reservation, amount: int, ride: Ride) -> None:
        project = rider.project or ''
        _hold(connection, project)
        r = tables.reservations.c
        mine = sa.and_(r.serial == (ride.serial or 0), r.project == project)
        if ride.serial is not None:
            connection.execute(sa.delete(tables.reservations).where(mine))
        used = taken(connection, rider.project)
        if used + amount > rider.limit:
            raise LimitExceeded(
                f'The project has {max(0, rider.limit - used)} of {rider.limit} bytes left; '
                f'the image needs {amount}'
            )
        if ride.serial is not None:
            connection.execute(
                sa.insert(tables.reservations).values(
                    serial=ride.serial, project=project, amount=amount
                )
            )


HANDLERS: dict[type, Handler] = {Reservation: Reservations()}


def claim(connection: Connection, riders: Iterable[Any], ride: Ride) -> None:
    for rider in _claiming(riders):
        HANDLERS[type(rider)].claim(connection, rider, ride)


def confirm(connection: Connection, riders: Iterable[Any], ride: Ride) -> None:
    for rider in _claiming(riders):
        HANDLERS[type(rider)].confirm(connection, rider, ride)


def _claiming(riders: Iterable[Any]) -> Iterator[Any]:
    return (rider for rider in riders if not isinstance(rider, Event))


def announce(connection: Connection, riders: Iterable[Any], *values: Any, when: str = DONE) -> None:
    """Put the events whose moment this is into the outbox: one statement, or none.

    `values` are what they tell of, as it was written; the row is locked, so that the events of
    one image follow each other as what they tell of.
    """
    outbox.write(connection, notices(riders, *values, when=when))


def tells(riders: Iterable[Any], when: str) -> bool:
    """Whether there are events whose moment this is: what they tell of may have to be read."""
    return any(isinstance(rider, Event) and rider.when == when for rider in riders)


def notices(riders: Iterable[Any], *values: Any, when: str = DONE) -> list[Notice]:
    """What the events among the riders tell of the values."""
    return [
        notice
        for rider in riders
        if isinstance(rider, Event) and rider.when == when
        for notice in rider.notices(values)
    ]


def end(connection: Connection, serial: int) -> None:
    """For every type: a recovery does not know which ones rode."""
    for handler in HANDLERS.values():
        handler.end(connection, serial)


def _hold(connection: Connection, project: str) -> None:
    """Hold the project's row until the end of the transaction."""
    u = tables.usage
    hold = sa.update(u).where(u.c.project == project).values(changes=u.c.changes + 1)
    if connection.execute(hold).rowcount:
        return
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(u).values(project=project, changes=0))
    except db_exc.DBDuplicateEntry:
        connection.execute(hold)


def taken(connection: Connection, project: str | None) -> int:
    """Bytes a project uses or has reserved.

    One statement: a commit turns a reservation into a location, and between two statements it
    would be counted as neither.
    """
    used, promised = _used(project).scalar_subquery(), _promised(project).scalar_subquery()
    return int(connection.execute(sa.select(used + promised)).scalar_one())


def _used(project: str | None) -> sa.Select[tuple[int]]:
    """Bytes the project's images take: size times live locations, over those not deleted."""
    i, at = tables.images.c, tables.image_locations.c
    owned = i.owner.is_(None) if project is None else i.owner == project
    return sa.select(sa.func.coalesce(sa.func.sum(i.size), 0)).where(
        owned, i.deleted == sa.false(), at.image_id == i.id, at.deleted == sa.false()
    )


def _promised(project: str | None) -> sa.Select[tuple[int]]:
    r = tables.reservations.c
    return sa.select(sa.func.coalesce(sa.func.sum(r.amount), 0)).where(r.project == (project or ''))
