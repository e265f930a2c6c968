# SPDX-License-Identifier: Apache-2.0
"""What each project uses: counters in a row, changed in the transaction that changes the images.

`counted` is wrapped around every write to an image. It holds the project's row, looks at the
image before and after, and writes the difference.

A Glance may write beside us and knows nothing of counters. So the row keeps a digest of those
images of the project that have changed since its *watermark*, a little while ago. Whoever counts
compares it first: if it is another one, the images are counted anew, and the difference is
logged. Stamps alone would not do: they come from the clocks of several hosts, and MariaDB keeps
whole seconds. What leaves no trace at the project, an image that a Glance has given to another
one, is found by counting anew before anybody is refused, and every hour.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import logging
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy.engine import Connection

from glance_lite.db import rows, tables
from glance_lite.db.engine import COUNTING, after_commit
from glance_lite.model import Usage

LOG = logging.getLogger(__name__)

#: How late a stamp may turn up: clocks that differ, transactions that take their time.
SLACK = datetime.timedelta(seconds=10)
#: How long counters are believed before the images are looked at again.
BELIEVED = datetime.timedelta(hours=1)
#: Most images changed since the watermark that are compared; if there are more, all are counted.
MOST = 1000

COUNTERS = tuple(field.name for field in dataclasses.fields(Usage))
#: Those of which a part may be reserved.
RESERVED = ('size', 'staged')

usage = tables.usage.c
images = tables.images.c


# --- what one image counts


def _shares() -> sa.Select[Any]:
    """One row an image: id, updated_at and its share of each counter."""
    at, p = tables.image_locations.c, tables.image_properties.c
    copies = (
        sa.select(sa.func.count())
        .select_from(tables.image_locations)
        .where(at.image_id == images.id, at.deleted == sa.false())
        .scalar_subquery()
    )
    copying = sa.exists().where(
        p.image_id == images.id,
        p.name == 'os_glance_importing_to_stores',
        p.value != '',
        p.deleted == sa.false(),
    )
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


def _of(project: str | None) -> Any:
    return images.owner.is_(None) if project is None else images.owner == project


def _key(project: str | None) -> str:
    return project or ''


def _total(connection: Connection, project: str | None) -> dict[str, int]:
    """Column of the project's row -> the sum over all images, or over all that is reserved.

    One statement: a commit turns a reservation into a location, and between two statements it
    would be counted as neither.
    """
    each = _SHARES.where(_of(project)).subquery()
    r = tables.reservations.c
    sums: dict[str, Any] = {name: sa.func.sum(each.c[name]) for name in COUNTERS}
    for name in RESERVED:
        promised = sa.select(sa.func.sum(r.amount))
        of = promised.where(r.project == _key(project), r.counter == name)
        sums[f'reserved_{name}'] = of.scalar_subquery()
    row = connection.execute(sa.select(*(sums[name].label(name) for name in sums))).one()
    return {name: int(value or 0) for name, value in row._mapping.items()}


#: Image id -> when it was changed, and its share.
Recent = dict[str, tuple[datetime.datetime | None, Usage]]


def _read(connection: Connection, query: Any) -> Recent:
    return {
        row[0]: (row[1], Usage(*map(int, row[2:]))) for row in connection.execute(query).fetchall()
    }


def _digest(recent: Recent) -> str:
    lines = [f'{image_id} {dataclasses.astuple(share)}' for image_id, (_, share) in recent.items()]
    return hashlib.sha256('\n'.join(sorted(lines)).encode()).hexdigest()


def _changed(project: str | None, since: datetime.datetime) -> Any:
    return _SHARES.where(_of(project), images.updated_at >= since).limit(MOST + 1)


# --- a project's row


@dataclasses.dataclass(slots=True)
class Account:
    """A project's row, held until the end of the transaction and believed to be right."""

    project: str | None
    watermark: datetime.datetime
    #: the images changed since `watermark`
    recent: Recent


def _select(project: str | None) -> sa.Select[Any]:
    return sa.select(tables.usage).where(usage.project == _key(project))


def _hold(connection: Connection, project: str | None) -> Any:
    held = _select(project).with_for_update()
    row = connection.execute(held).first()
    if row is None:
        with contextlib.suppress(db_exc.DBDuplicateEntry), connection.begin_nested():
            connection.execute(sa.insert(tables.usage).values(project=_key(project), changes=0))
        row = connection.execute(held).one()
    return row


def _window(connection: Connection, row: Any, project: str | None) -> Recent | None:
    """The images changed since the row's watermark; None if they are not those it knows."""
    old = row.counted_at is None or row.changes != row.known_changes
    if old or not abs(rows.utcnow() - row.counted_at) < BELIEVED:
        return None
    recent = _read(connection, _changed(project, row.watermark))
    return recent if len(recent) <= MOST and _digest(recent) == row.recent else None


def check(connection: Connection, project: str | None) -> Account:
    """Hold the project's row, and make it right if it is not."""
    row = _hold(connection, project)
    recent = _window(connection, row, project)
    if recent is not None:
        return Account(project, row.watermark, recent)
    return _recount(connection, row, project)


def recount(connection: Connection, project: str | None) -> None:
    """Count all images, and what is reserved."""
    _recount(connection, _hold(connection, project), project)


def _recount(connection: Connection, row: Any, project: str | None) -> Account:
    now = rows.utcnow().replace(microsecond=0)
    watermark = now - SLACK
    # In this order: what comes in between is then missing here, and is found the next time.
    recent = _read(connection, _SHARES.where(_of(project), images.updated_at >= watermark))
    counted = _total(connection, project)
    if row.counted_at is not None:
        _tell(connection, project, row, counted)
    write = sa.update(tables.usage).where(usage.project == _key(project))
    connection.execute(
        write.values(
            known_changes=row.changes,
            counted_at=now,
            watermark=watermark,
            recent=_digest(recent),
            **counted,
        )
    )
    return Account(project, watermark, recent)


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
    accounts = [check(connection, project) for project in projects]
    before = [_share(connection, image_id, account) for account in accounts]
    yield
    for account, old in zip(accounts, before, strict=True):
        _note(connection, image_id, account, old)


def _locked_owner(connection: Connection, image_id: str) -> list[str | None]:
    owner = sa.select(images.owner).where(images.id == image_id).with_for_update()
    return list(connection.execute(owner).scalars())


Share = tuple[datetime.datetime | None, Usage] | None


def _share(connection: Connection, image_id: str, account: Account) -> Share:
    """What the image counts for a project now; None: nothing, it is not there, or not theirs."""
    found = account.recent.get(image_id)
    if found is not None:
        return found
    one = _SHARES.where(images.id == image_id, _of(account.project))
    return _read(connection, one).get(image_id)


def _note(connection: Connection, image_id: str, account: Account, old: Share) -> None:
    account.recent.pop(image_id, None)
    new = _share(connection, image_id, account)
    if new == old:
        return
    recent = {**account.recent, **({image_id: new} if new else {})}
    watermark = max(account.watermark, rows.utcnow().replace(microsecond=0) - SLACK)
    recent = {one: found for one, found in recent.items() if found[0] and found[0] >= watermark}
    none = Usage()
    more = {
        name: usage[name]
        + getattr(new[1] if new else none, name)
        - getattr(old[1] if old else none, name)
        for name in COUNTERS
    }
    write = sa.update(tables.usage).where(usage.project == _key(account.project))
    connection.execute(write.values(watermark=watermark, recent=_digest(recent), **more))


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
    row = connection.execute(_select(project)).first()
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
    row = connection.execute(_select(project).with_for_update()).first()
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
