# SPDX-License-Identifier: Apache-2.0
"""What each project uses: counters in a row, changed in the transaction that changes the images.

`counted` is wrapped around every write to an image. It holds the project's row, looks at the
image before and after, and writes the difference.

A Glance may write beside us and knows nothing of counters. So the row knows how many images of
the project have changed since its *watermark*, a little while ago, and what they count together.
Whoever counts compares that first: if it is something else, the images are counted anew, and the
difference is logged. Stamps alone would not do: they come from the clocks of several hosts, and
MariaDB keeps whole seconds. What leaves no trace at the project, an image that a Glance has given
to another one, is found by counting anew before anybody is refused, and every hour.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy.engine import Connection

from glance_lite.db import rows, tables
from glance_lite.db.engine import COUNTING, after_commit
from glance_lite.model import Usage

LOG = logging.getLogger(__name__)

#: How late a stamp may turn up: clocks that differ, transactions that take their time.
SLACK = datetime.timedelta(seconds=5)
#: How long counters are believed before the images are looked at again.
BELIEVED = datetime.timedelta(hours=1)

COUNTERS = tuple(field.name for field in dataclasses.fields(Usage))
#: Those of which a part may be reserved.
RESERVED = ('size', 'staged')

usage = tables.usage.c
images = tables.images.c


# --- what one image counts

#: An image's part of each of `COUNTERS`.
Share = tuple[int, ...]
NOTHING: Share = (0,) * len(COUNTERS)
#: How many images have changed since some time, and the sum of each of their parts.
Recent = tuple[int, ...]


def _shares() -> sa.Select[Any]:
    """One row an image: id, updated_at and its share of each counter.

    PERF: what is deleted is told by the counted expression and not by a condition, for which an
    engine may take the index on it and read all that is not.
    """
    at, p = tables.image_locations.c, tables.image_properties.c
    copies = (
        sa.select(sa.func.count(sa.case((at.deleted == sa.false(), 1))))
        .where(at.image_id == images.id)
        .scalar_subquery()
    )
    told = sa.and_(p.value != '', p.deleted == sa.false())
    copying = (
        sa.select(sa.func.count(sa.case((told, 1))))
        .where(p.image_id == images.id, p.name == 'os_glance_importing_to_stores')
        .scalar_subquery()
    ) > 0
    gone = sa.or_(
        images.deleted == sa.true(), images.status.in_(('killed', 'deleted', 'pending_delete'))
    )
    empty = sa.or_(images.size.is_(None), images.size <= 0)
    staging = sa.or_(images.status.in_(('uploading', 'importing')), copying)
    return sa.select(
        images.id,
        images.updated_at,
        sa.case((sa.or_(gone, empty), 0), else_=images.size * copies).label('size'),
        sa.case((gone, 0), else_=1).label('images'),
        sa.case(
            (gone, 0), (sa.or_(images.status == 'saving', staging), 1), else_=0
        ).label('uploading'),
        sa.case(
            (sa.or_(gone, empty), 0), (staging, images.size), else_=0
        ).label('staged'),
    )  # fmt: skip


_SHARES = _shares()


_ID: sa.BindParameter[str] = sa.bindparam('id', type_=sa.String)
_SINCE: sa.BindParameter[datetime.datetime] = sa.bindparam('since', type_=sa.DateTime)
_LATER: sa.BindParameter[datetime.datetime] = sa.bindparam('later', type_=sa.DateTime)


def _one(of: Any) -> sa.Select[Any]:
    """The share of one image."""
    return _SHARES.where(of, images.id == _ID)


def _changed(of: Any) -> sa.Select[Any]:
    """One row: what has changed since a time, what of that later, and what of that is one image."""
    each = _SHARES.where(of, images.updated_at >= _SINCE).subquery()

    def together(which: Any) -> list[Any]:
        numbers = [sa.literal(1), *(each.c[name] for name in COUNTERS)]
        return [
            sa.func.coalesce(sa.func.sum(sa.case((which, number), else_=0)), 0)
            for number in numbers
        ]

    whose = (sa.true(), each.c.updated_at >= _LATER, each.c.id == _ID)
    return sa.select(*(column for which in whose for column in together(which)))


class _OfProject:
    """A query that depends on whether a project owns the image, or nobody. PERF: made once."""

    def __init__(self, make: Callable[[Any], sa.Select[Any]]) -> None:
        owner: sa.BindParameter[str] = sa.bindparam('owner', type_=sa.String)
        self._owned = make(images.owner == owner)
        self._nobodys = make(images.owner.is_(None))

    def first(self, connection: Connection, project: str | None, **values: Any) -> Any:
        query = self._nobodys if project is None else self._owned
        if project is not None:
            values['owner'] = project
        return connection.execute(query, values).first()


_ONE, _CHANGED = _OfProject(_one), _OfProject(_changed)


@dataclasses.dataclass(slots=True)
class Window:
    """The images of a project that have changed since its watermark."""

    since: Recent
    #: those of them that have changed since a later time
    later: Recent
    #: what one image is of `since`: it may be among them or not
    own: Recent


def _look(
    connection: Connection,
    project: str | None,
    since: datetime.datetime,
    image_id: str,
    later: datetime.datetime | None = None,
) -> Window:
    row = _CHANGED.first(connection, project, since=since, later=later or since, id=image_id)
    numbers, width = tuple(map(int, row)), len(COUNTERS) + 1
    return Window(*(numbers[at : at + width] for at in range(0, len(numbers), width)))


def _key(project: str | None) -> str:
    return project or ''


def _total(connection: Connection, project: str | None) -> dict[str, int]:
    """Column of the project's row -> the sum over all images, or over all that is reserved.

    One statement: a commit turns a reservation into a location, and between two statements it
    would be counted as neither.
    """
    of = images.owner.is_(None) if project is None else images.owner == project
    each = _SHARES.where(of).subquery()
    r = tables.reservations.c
    sums: dict[str, Any] = {name: sa.func.sum(each.c[name]) for name in COUNTERS}
    for name in RESERVED:
        promised = sa.select(sa.func.sum(r.amount)).where(r.project == _key(project))
        sums[f'reserved_{name}'] = promised.where(r.counter == name).scalar_subquery()
    row = connection.execute(sa.select(*(sums[name].label(name) for name in sums))).one()
    return {name: int(value or 0) for name, value in row._mapping.items()}


def _digest(recent: Recent) -> str:
    return hashlib.sha256(' '.join(map(str, recent)).encode()).hexdigest()


# --- a project's row


@dataclasses.dataclass(slots=True)
class Account:
    """A project's row, held until the end of the transaction and believed to be right."""

    project: str | None
    watermark: datetime.datetime
    window: Window


_OF: sa.BindParameter[str] = sa.bindparam('of', type_=sa.String)
_ROW = sa.select(tables.usage).where(usage.project == _OF)
_HELD = _ROW.with_for_update()
_ADD = (
    sa.update(tables.usage)
    .where(usage.project == _OF)
    .values(
        watermark=sa.bindparam('since'),
        recent=sa.bindparam('digest'),
        **{name: usage[name] + sa.bindparam(f'more_{name}') for name in COUNTERS},
    )
)


def _hold(connection: Connection, project: str | None) -> Any:
    row = connection.execute(_HELD, {'of': _key(project)}).first()
    if row is None:
        with contextlib.suppress(db_exc.DBDuplicateEntry), connection.begin_nested():
            connection.execute(sa.insert(tables.usage).values(project=_key(project), changes=0))
        row = connection.execute(_HELD, {'of': _key(project)}).one()
    return row


def _window(
    connection: Connection, row: Any, project: str | None, image_id: str = ''
) -> Window | None:
    """The images changed since the row's watermark; None if they are not those it knows."""
    old = row.counted_at is None or row.changes != row.known_changes
    if old or not abs(rows.utcnow() - row.counted_at) < BELIEVED:
        return None
    window = _look(connection, project, row.watermark, image_id)
    return window if _digest(window.since) == row.recent else None


def check(connection: Connection, project: str | None, image_id: str = '') -> Account:
    """Hold the project's row, and make it right if it is not. The image is to be written."""
    row = _hold(connection, project)
    window = _window(connection, row, project, image_id)
    if window is not None:
        return Account(project, row.watermark, window)
    return _recount(connection, row, project, image_id)


def recount(connection: Connection, project: str | None) -> None:
    """Count all images, and what is reserved."""
    _recount(connection, _hold(connection, project), project)


def _recount(connection: Connection, row: Any, project: str | None, image_id: str = '') -> Account:
    now = rows.utcnow().replace(microsecond=0)
    watermark = now - SLACK
    # In this order: what comes in between is then missing here, and is found the next time.
    window = _look(connection, project, watermark, image_id)
    counted = _total(connection, project)
    if row.counted_at is not None:
        _tell(connection, project, row, counted)
    write = sa.update(tables.usage).where(usage.project == _key(project))
    connection.execute(
        write.values(
            known_changes=row.changes,
            counted_at=now,
            watermark=watermark,
            recent=_digest(window.since),
            **counted,
        )
    )
    return Account(project, watermark, window)


def _tell(connection: Connection, project: str | None, row: Any, counted: dict[str, int]) -> None:
    differences = [
        f'{name} {row._mapping[name]} -> {value}'
        for name, value in counted.items()
        if row._mapping[name] != value
    ]
    if differences:
        text = ', '.join(differences)
        after_commit(
            connection, lambda: LOG.warning('Usage of project %s recounted: %s', project, text)
        )


# --- counting


def is_counting(connection: Connection) -> bool:
    """Whether all writes of this process are counted."""
    return bool(connection.get_execution_options().get(COUNTING, False))


@contextlib.contextmanager
def counted(connection: Connection, image_id: str, *owners: str | None) -> Iterator[None]:
    """Count what the block does to an image.

    `owners` are its owners before and after, where they are known and the image is locked. The
    blocks of one image must not be nested.
    """
    if not is_counting(connection):
        yield
        return
    projects = sorted(set(owners or _locked_owner(connection, image_id)), key=_key)
    accounts = [check(connection, project, image_id) for project in projects]
    before = [_share(connection, image_id, one.project, one.window) for one in accounts]
    yield
    for account, old in zip(accounts, before, strict=True):
        _note(connection, image_id, account, old)


def _locked_owner(connection: Connection, image_id: str) -> list[str | None]:
    owner = sa.select(images.owner).where(images.id == image_id).with_for_update()
    return list(connection.execute(owner).scalars())


def _share(
    connection: Connection, image_id: str, project: str | None, window: Window
) -> Share | None:
    """What the image counts for a project now; None: it is not there, or not theirs."""
    if window.own[0]:
        return window.own[1:]
    row = _ONE.first(connection, project, id=image_id)
    return tuple(map(int, row[2:])) if row is not None else None


def _note(connection: Connection, image_id: str, account: Account, old: Share | None) -> None:
    known, watermark = account.window, account.watermark
    later = max(watermark, rows.utcnow().replace(microsecond=0) - SLACK)
    window = _look(connection, account.project, watermark, image_id, later)
    new = _share(connection, image_id, account.project, window)
    if new == old and window.own == known.own:
        return
    recent = tuple(
        before - mine + now
        for before, mine, now in zip(known.since, known.own, window.own, strict=True)
    )
    if recent == window.since:
        watermark, recent = later, window.later
    # Else somebody else has written in between: the next who looks will find it.
    parts = zip(COUNTERS, new or NOTHING, old or NOTHING, strict=True)
    more = {f'more_{name}': now - before for name, now, before in parts}
    values = {'of': _key(account.project), 'since': watermark, 'digest': _digest(recent)}
    connection.execute(_ADD, {**values, **more})


# --- room


def reserve(
    connection: Connection, project: str | None, counter: str, amount: int, limit: int
) -> bool:
    """Take room by compare-and-set; False: there is not so much. The counters are right."""
    reserved = usage[f'reserved_{counter}']
    fits = sa.update(tables.usage).where(
        usage.project == _key(project), usage[counter] + reserved + amount <= limit
    )
    return bool(connection.execute(fits.values({reserved: reserved + amount})).rowcount)


def release(connection: Connection, project: str, counter: str, amount: int) -> None:
    """Give room back; `project` as in a row."""
    reserved = usage[f'reserved_{counter}']
    back = sa.update(tables.usage).where(usage.project == project)
    connection.execute(back.values({reserved: reserved - amount}))


def left(connection: Connection, project: str | None, counter: str, limit: int) -> int:
    """What there is under `limit`; fewer than 0: it is passed."""
    taken: Any = usage[counter]
    if counter in RESERVED:
        taken = taken + usage[f'reserved_{counter}']
    found = sa.select(taken).where(usage.project == _key(project))
    return limit - int(connection.execute(found).scalar_one())


# --- asking


def read(connection: Connection, project: str | None) -> Usage:
    """What the project uses, from the counters where they are right. Writes nothing."""
    row = connection.execute(_ROW, {'of': _key(project)}).first()
    if row is None or _window(connection, row, project) is None:
        counted: Any = _total(connection, project)
    else:
        counted = row._mapping
    return Usage(*(counted[name] for name in COUNTERS))


# --- for operators


def projects(connection: Connection) -> list[str | None]:
    """All that have, or had, images or reservations."""
    owners = connection.execute(sa.select(images.owner).distinct()).scalars()
    counted = connection.execute(sa.select(usage.project)).scalars()
    return sorted({*owners, *(project or None for project in counted)}, key=_key)


def compare(connection: Connection, project: str | None, fix: bool) -> dict[str, tuple[int, int]]:
    """Counter -> what the project's row says, and what there is; only where they differ.

    A row that nobody has counted yet says nothing. With `fix` it is put right.
    """
    row = connection.execute(_HELD, {'of': _key(project)}).first()
    counted = _total(connection, project)
    if fix:
        recount(connection, project)
    if row is None or row.counted_at is None:
        return {}
    return {
        name: (row._mapping[name], value)
        for name, value in counted.items()
        if row._mapping[name] != value
    }
