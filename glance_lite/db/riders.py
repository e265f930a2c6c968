# SPDX-License-Identifier: Apache-2.0
"""What layers want written with a row: how each type of rider is claimed, settled, given up.

A rider is claimed in the transaction that claims the upload or writes the row, when that is
written. That of an upload is extended as bytes come, confirmed when the real size is known, and
ends in the transaction that ends the operation. A new type is one entry in `HANDLERS`. An event
claims nothing: it is told when its moment has come.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.db import outbox, tables, usage
from glance_lite.errors import Gone, LimitExceeded
from glance_lite.model import Ceiling, Image, ImageLimits, MemberLimit, Reservation
from glance_lite.notify.events import DONE, Event, Notice

#: Bytes that are reserved at a time for an upload of unknown size.
STEP = 64 * 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Ride:
    """What a rider rides on: an image, and the operation if there is one."""

    image_id: str
    #: None: the row is written at once, nothing stays claimed
    serial: int | None = None
    #: of an operation the bytes that have come; else those that were written more than before
    size: int | None = None


class Handler:
    """One type of rider. What it does not care about it leaves as it is here."""

    def claim(self, connection: Connection, rider: Any, ride: Ride) -> int | None:
        """Take what the rider asks for; bytes that may come. `LimitExceeded`."""
        return None

    def extend(self, connection: Connection, rider: Any, ride: Ride) -> int | None:
        """As `claim`, when more bytes have come than could. `LimitExceeded`."""
        return None

    def confirm(self, connection: Connection, rider: Any, ride: Ride) -> None:
        """The size is known now: make the claim fit it. `LimitExceeded`."""

    def end(self, connection: Connection, serial: int) -> None:
        """The operation is over, well or not; what it made is counted from its own rows."""


class Reservations(Handler):
    """Room in a project: a row for each upload under way, and their sum in the project's.

    What it takes is taken by compare-and-set on that row, so that two which would each fit, but
    not both, cannot both get in.
    """

    def claim(self, connection: Connection, rider: Reservation, ride: Ride) -> int | None:
        _look(connection, rider.project)
        if ride.serial is None:
            if ride.size:
                self._check(connection, rider, ride.size)
            return None
        amount = rider.amount
        taken = self._take(connection, rider, amount or 0, STEP if amount is None else amount)
        connection.execute(
            sa.insert(tables.reservations).values(
                serial=ride.serial,
                project=rider.project or '',
                amount=taken,
                counter=rider.counter,
            )
        )
        return taken if amount is None else None

    def extend(self, connection: Connection, rider: Reservation, ride: Ride) -> int | None:
        if rider.amount is not None:
            return None
        assert ride.serial is not None and ride.size is not None
        r = tables.reservations.c
        mine = sa.and_(r.serial == ride.serial, r.counter == rider.counter)
        held: int | None = connection.execute(sa.select(r.amount).where(mine)).scalar()
        if held is None:
            raise Gone('The upload took too long and was given up')
        more = ride.size - held
        if more > 0:
            usage.check(connection, rider.project)
            held += self._take(connection, rider, more, max(more, STEP), held)
            connection.execute(sa.update(tables.reservations).where(mine).values(amount=held))
        return held

    def confirm(self, connection: Connection, rider: Reservation, ride: Ride) -> None:
        self.extend(connection, rider, ride)

    def end(self, connection: Connection, serial: int) -> None:
        mine = tables.reservations.c.serial == serial
        found: list[Any] = []
        if usage.is_counting(connection):
            found = list(connection.execute(sa.select(tables.reservations).where(mine)).fetchall())
            if not found:
                return
        connection.execute(sa.delete(tables.reservations).where(mine))
        for row in found:
            usage.release(connection, row.project, row.counter, row.amount)

    def _take(
        self, connection: Connection, rider: Reservation, needed: int, wanted: int, held: int = 0
    ) -> int:
        """Reserve `wanted` bytes, or what is left if that is `needed`; how many."""
        project, counter, limit = rider.project, rider.counter, rider.limit
        if usage.reserve(connection, project, counter, wanted, limit):
            return wanted
        # Nobody is refused on the word of the counters alone.
        usage.recount(connection, project)
        left = max(0, usage.left(connection, project, counter, limit))
        if left < needed:
            raise _no_room(limit, left + held, needed + held)
        taken = min(left, wanted)
        usage.reserve(connection, project, counter, taken, limit)
        return taken

    def _check(self, connection: Connection, rider: Reservation, size: int) -> None:
        """`size` bytes have been counted already."""
        left = usage.left(connection, rider.project, rider.counter, rider.limit)
        if left < 0:
            usage.recount(connection, rider.project)
            left = usage.left(connection, rider.project, rider.counter, rider.limit)
        if left < 0:
            raise _no_room(rider.limit, left + size, size)


def _no_room(limit: int, left: int, size: int) -> LimitExceeded:
    return LimitExceeded(
        f'The project has {max(0, left)} of {limit} bytes left; the image needs {size}'
    )


class Ceilings(Handler):
    """How many images a project has; what is written is counted already."""

    NAMES: Mapping[str, str] = MappingProxyType(
        {'images': 'images', 'uploading': 'images being uploaded or imported'}
    )

    def claim(self, connection: Connection, rider: Ceiling, ride: Ride) -> None:
        _look(connection, rider.project)
        if usage.left(connection, rider.project, rider.counter, rider.limit) >= 0:
            return
        usage.recount(connection, rider.project)
        left = usage.left(connection, rider.project, rider.counter, rider.limit)
        if left < 0:
            name = self.NAMES[rider.counter]
            raise LimitExceeded(
                f'The project may have {rider.limit} {name} at most; '
                f'this would make {rider.limit - left}'
            )


def _look(connection: Connection, project: str | None) -> None:
    """See that the project's counters are right, where nobody has done so for the write itself."""
    if not usage.is_counting(connection):
        usage.check(connection, project)


class Members(Handler):
    """How many members an image has. It is locked, and the new one is not there yet."""

    def claim(self, connection: Connection, rider: MemberLimit, ride: Ride) -> None:
        if rider.limit >= 0:
            m = tables.image_members.c
            live = sa.select(sa.func.count(m.id)).where(
                m.image_id == ride.image_id, m.deleted == sa.false()
            )
            rider.check(connection.execute(live).scalar_one() + 1)


HANDLERS: dict[type, Handler] = {
    Reservation: Reservations(),
    Ceiling: Ceilings(),
    MemberLimit: Members(),
    ImageLimits: Handler(),  # `check_change` looks at them
}


def claim(connection: Connection, riders: Iterable[Any], ride: Ride) -> int | None:
    """Bytes that may come before `extend`; None: any number."""
    return _least(
        HANDLERS[type(rider)].claim(connection, rider, ride) for rider in _claiming(riders)
    )


def extend(connection: Connection, riders: Iterable[Any], ride: Ride) -> int | None:
    return _least(
        HANDLERS[type(rider)].extend(connection, rider, ride) for rider in _claiming(riders)
    )


def _least(rooms: Iterable[int | None]) -> int | None:
    return min((room for room in rooms if room is not None), default=None)


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


def check_change(riders: Iterable[Any], before: Image, after: Image) -> None:
    """Whether an image may become so, before anything is written. `LimitExceeded`."""
    for rider in riders:
        if isinstance(rider, ImageLimits):
            rider.check_change(before, after)
