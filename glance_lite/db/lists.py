# SPDX-License-Identifier: Apache-2.0
"""Lists: one keyset page over ``images``, then what belongs to its images in one statement.

A page is built per *shape* of a query (which filters, which order, which view), not per
request: the statement of a shape is made once and SQLAlchemy compiles it once. A view that is a
union of cases (own, public, shared with me) is a UNION ALL of branches, each of which follows
an index and stops at the limit; the cases exclude each other, so no image comes twice.

NULL sorts as the smallest value on all engines.
"""

from __future__ import annotations

import datetime
import functools
import json
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.context import RequestContext
from glance_lite.db import limits, paging, rows, sealing, tables, views
from glance_lite.db.statements import Direct, Statement
from glance_lite.errors import Invalid, LimitExceeded
from glance_lite.model import EMPTY, Condition, Image, Location, Page, Query

LARGEST = 2**63 - 1

images = tables.images.c
_OPERATORS = {
    'eq': lambda a, b: a == b,
    'ne': lambda a, b: a != b,
    'gt': lambda a, b: a > b,
    'ge': lambda a, b: a >= b,
    'lt': lambda a, b: a < b,
    'le': lambda a, b: a <= b,
}
_FIELDS = {column.name: column for column in tables.images.columns} | {
    'visibility': images.visibility
}


class Shape(NamedTuple):
    """All that decides on the text of a page's statement."""

    backend: str
    view: tuple[str, ...]
    member_status: bool
    conditions: tuple[tuple[str, str, int], ...]
    properties: tuple[bool, ...]  # whether the value is shorter than what is indexed of it
    tags: int
    order: tuple[tuple[str, bool], ...]  # column, ascending
    after: tuple[bool, ...] | None  # which of the marker's values are NULL


# --- filters, order, statement


def _filters(shape: Shape) -> list[Any]:
    where: list[Any] = [
        images.deleted == sa.false(),
        images.os_hidden == sa.bindparam('hidden', type_=sa.Boolean),
    ]
    for number, (field, op, count) in enumerate(shape.conditions):
        column = _FIELDS[field]
        if op == 'in':
            where.append(column.in_([sa.bindparam(f'c{number}_{i}') for i in range(count)]))
        else:
            where.append(_OPERATORS[op](column, sa.bindparam(f'c{number}')))
    p, t = tables.image_properties.c, tables.image_tags.c
    one: Any = sa.literal_column('1')
    for number, short in enumerate(shape.properties):
        name: sa.BindParameter[str] = sa.bindparam(f'p{number}_name', type_=sa.String)
        wanted: sa.BindParameter[str] = sa.bindparam(f'p{number}_value', type_=sa.String)
        having = [p.image_id == images.id, p.name == name, p.deleted == sa.false()]
        if shape.backend == 'mysql':
            # Who may read a property of a like name must not find this one.
            having.append(rows.exact(shape.backend, p.name) == name)
        if shape.backend == 'postgresql':
            # As gl_image_properties_value has it: only the beginning of a value.
            length: Any = sa.literal_column(str(tables.BEGINNING))
            start = wanted if short else sa.func.left(wanted, length)
            having.append(sa.func.left(p.value, length) == start)
        if shape.backend != 'postgresql' or not short:
            having.append(p.value == wanted)
        where.append(sa.exists(sa.select(one).where(*having)))
    for number in range(shape.tags):
        value: sa.BindParameter[str] = sa.bindparam(f't{number}', type_=sa.String)
        condition = sa.and_(t.image_id == images.id, t.value == value, t.deleted == sa.false())
        where.append(sa.exists(sa.select(one).where(condition)))
    return where


def _after(shape: Shape) -> list[list[Any]]:
    """What comes behind the marker, NULL smallest, in parts that exclude each other.

    PERF: each part is a range that an index can start from. A marker in the middle of many images
    of one format would otherwise have the database read all of them that come before.
    """
    if shape.after is None:
        return [[]]
    name, ascending = shape.order[0]
    column, value = _FIELDS[name], _place_of(0, name)
    if name in ('created_at', 'id'):  # few or none are equal, so one range will do
        return [[column >= value if ascending else column <= value, _behind(shape, 0)]]
    following, up = shape.order[1]
    same = [column.is_(None) if shape.after[0] else column == value, _behind(shape, 1)]
    if not shape.after[1] and not _FIELDS[following].nullable:
        place = _place_of(1, following)
        same.append(_FIELDS[following] >= place if up else _FIELDS[following] <= place)
    if shape.after[0]:
        return [same, [column.is_not(None)]] if ascending else [same]
    parts = [same, [column > value if ascending else column < value]]
    return [*parts, [column.is_(None)]] if column.nullable and not ascending else parts


def _place_of(number: int, name: str) -> sa.BindParameter[Any]:
    """The marker's value of a key."""
    return sa.bindparam(f'm{number}', type_=_FIELDS[name].type)


def _behind(shape: Shape, first: int) -> Any:
    """By the keys from `first`: (a > x) or (a = x and (b > y or ...)), NULL smallest."""
    assert shape.after is not None
    rest: Any = None
    for number in reversed(range(first, len(shape.order))):
        name, ascending = shape.order[number]
        column, value = _FIELDS[name], _place_of(number, name)
        beyond: Any
        same: Any
        if shape.after[number]:
            beyond = column.is_not(None) if ascending else sa.false()
            same = column.is_(None)
        else:
            beyond = column > value if ascending else column < value
            if column.nullable and not ascending:
                beyond = sa.or_(beyond, column.is_(None))
            same = column == value
        rest = beyond if rest is None else sa.or_(beyond, sa.and_(same, rest))
    return rest


def _order(shape: Shape, columns: Any) -> list[Any]:
    return [
        paging.key(columns[name], ascending, shape.backend, _FIELDS[name].nullable)
        for name, ascending in shape.order
    ]


# PERF: 10 ms for the default view otherwise, four times what the rest of a list takes.
@functools.lru_cache(maxsize=512)
def statement(shape: Shape) -> Statement:
    """The statement of a page; the parameters are made by `_parameters`."""
    where, parts = _filters(shape), _after(shape)
    limit: sa.BindParameter[int] = sa.bindparam('limit', type_=sa.Integer)
    branches = [
        (
            case,
            sa.select(*rows.COLUMNS)
            .where(*where, *part, *views.conditions(case, shape.member_status, shape.backend))
            .order_by(*_order(shape, images))
            .limit(limit),
        )
        for case in shape.view
        for part in parts
    ]
    if len(branches) == 1:
        return Statement(branches[0][1], prepare=False)
    union = sa.union_all(*(views.of_others(case, branch) for case, branch in branches)).subquery()
    return Statement(sa.select(union).order_by(*_order(shape, union.c)).limit(limit), prepare=False)


def order_of(query: Query) -> tuple[tuple[str, bool], ...]:
    """The order made total: created_at and id, in the direction all keys agree on, else down."""
    keys = [(name, direction == 'asc') for name, direction in query.sort]
    last = bool(keys) and all(ascending for _, ascending in keys)
    for name in ('created_at', 'id'):
        if name not in dict(keys):
            keys.append((name, last))
    seen: dict[str, bool] = {}
    for name, ascending in keys:
        seen.setdefault(name, ascending)
        if name == 'id':  # no two are equal
            break
    unknown = seen.keys() - _FIELDS.keys()
    if unknown:
        raise Invalid(f'Images cannot be sorted by {sorted(unknown)[0]}')
    return tuple(seen.items())


def _value(condition: Condition) -> Any:
    """The value as the database can take it. A number past 64 bits becomes the largest."""
    value = condition.value
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-LARGEST - 1, min(LARGEST, value))
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.UTC).replace(tzinfo=None)
    return value


def _impossible(condition: Condition) -> bool:
    """Whether no row can match, so that the database need not be asked."""
    values = condition.value if condition.op == 'in' else (condition.value,)
    huge = [v for v in values if isinstance(v, int) and abs(v) > LARGEST]
    if condition.op == 'in':
        return len(huge) == len(values)
    if not huge:
        return False
    return (
        condition.op == 'eq'
        or (condition.op in ('gt', 'ge') and huge[0] > 0)
        or (condition.op in ('lt', 'le') and huge[0] < 0)
    )


@functools.lru_cache(maxsize=64)
def _place(names: tuple[str, ...], everybody: bool) -> Statement:
    """The values of ``:id`` that the order looks at, if ``:me`` (or everybody) may see it."""
    image_id: sa.BindParameter[str] = sa.bindparam('id', type_=sa.String)
    me: sa.BindParameter[str] = sa.bindparam('me', type_=sa.String)
    wanted = sa.select(*(_FIELDS[name] for name in names)).where(
        images.id == image_id, images.deleted == sa.false()
    )
    # Only what is asked for again and again: each takes memory of the server.
    prepare = names == ('created_at', 'id')
    if everybody:
        return Statement(wanted, prepare=prepare)
    m = tables.image_members.c
    shared = sa.exists(
        sa.select(sa.literal_column('1')).where(
            m.image_id == images.id, m.member == me, m.deleted == sa.false()
        )
    )
    seen = sa.or_(
        views.visibility_in('public', 'community'),
        images.owner == me,
        # A private image of nobody is for the policy; no list but an administrator's has it.
        sa.and_(images.owner.is_(None), images.visibility == 'shared'),
        sa.and_(images.visibility == 'shared', shared),
    )
    return Statement(wanted.where(seen), prepare=prepare)


def _marker(
    connection: Connection | Direct,
    ctx: RequestContext,
    marker: str,
    order: tuple[tuple[str, bool], ...],
) -> list[Any]:
    """The marker's values, as exact as the database has them. `Invalid` if it is not to be seen."""
    query = _place(tuple(name for name, _ in order), bool(ctx.is_admin))
    found = query.rows(connection, {'id': marker, 'me': ctx.owner})
    if not found:
        raise Invalid(f'The marker {marker} is not an image that can be listed')
    return list(found[0])


def _parameters(ctx: RequestContext, query: Query) -> dict[str, Any]:
    values: dict[str, Any] = {'hidden': query.hidden, 'limit': query.limit}
    values['me'] = ctx.owner
    values['member_status'] = query.member_status
    for number, condition in enumerate(query.conditions):
        if condition.op == 'in':
            for i, value in enumerate(condition.value):
                values[f'c{number}_{i}'] = _value(Condition('', 'eq', value))
        else:
            values[f'c{number}'] = _value(condition)
    for number, (name, value) in enumerate(query.properties.items()):
        values[f'p{number}_name'] = name
        values[f'p{number}_value'] = value
    for number, tag in enumerate(query.tags):
        values[f't{number}'] = tag
    return values


def list_images(
    connection: Connection | Direct, ctx: RequestContext, query: Query, seconds: float = 0
) -> Page:
    """One page. At most three statements: the marker's values, the page, what belongs to it.

    `LimitExceeded` when the database cannot find the page within `seconds` (0: no limit).
    """
    owners = [c.value for c in query.conditions if c.field == 'owner' and c.op == 'eq']
    view = views.view(ctx, query.visibility, owners[0] if owners else None)
    order = order_of(query)
    after = None
    values = _parameters(ctx, query)
    if query.marker is not None:
        place = _marker(connection, ctx, query.marker, order)
        values |= {f'm{number}': value for number, value in enumerate(place)}
        after = tuple(value is None for value in place)
    if not view or query.limit <= 0 or any(map(_impossible, query.conditions)):
        return Page((), False, None)
    shape = Shape(
        connection.dialect.name,
        view,
        query.member_status != 'all',
        tuple((c.field, c.op, len(c.value) if c.op == 'in' else 1) for c in query.conditions),
        tuple(len(value) < tables.BEGINNING for value in query.properties.values()),
        len(query.tags),
        order,
        after,
    )
    try:
        page = statement(shape).limited(connection, values, seconds)
    except Exception as ex:
        if limits.passed(ex):
            raise LimitExceeded(
                f'The images asked for were not found within {seconds:g} seconds; ask with a '
                'filter that fewer images match, or in the default order'
            ) from None
        raise
    if not page:
        return Page((), False, None)
    return Page(_complete(connection, page), len(page) >= query.limit, page[-1][0])


# --- what belongs to the images of a page


@functools.lru_cache(maxsize=4)
def _belongings(backend: str) -> Statement:
    ids: Any
    if backend == 'postgresql':
        array: Any = sa.bindparam('ids', type_=sa.ARRAY(sa.String))
        parts = rows.parts(lambda column: column == sa.any_(array))
        return Statement(sa.union_all(*parts), prepare=True)
    if backend == 'sqlite':
        each = sa.func.json_each(sa.bindparam('ids', type_=sa.String)).table_valued('value')
        ids = sa.select(each.c.value)
    else:
        ids = sa.bindparam('ids', expanding=True)
    return Statement(sa.union_all(*rows.parts(lambda column: column.in_(ids))), prepare=False)


def _complete(connection: Connection | Direct, page: Any) -> tuple[Image, ...]:
    ids: Any = [row[0] for row in page]
    if connection.dialect.name == 'sqlite':
        ids = json.dumps(ids)
    properties: dict[str, dict[str, str | None]] = {}
    tags: dict[str, list[str]] = {}
    locations: dict[str, list[Location]] = {}
    metadata = rows.metadata
    for kind, image_id, number, key, value, meta in _belongings(connection.dialect.name).rows(
        connection, {'ids': ids}
    ):
        if kind == rows.PROPERTY:
            properties.setdefault(image_id, {})[key] = value
        elif kind == rows.TAG:
            tags.setdefault(image_id, []).append(key)
        else:
            found = Location(number, sealing.unseal(connection, value), metadata(meta), key)
            locations.setdefault(image_id, []).append(found)
    make = rows.make_image
    return tuple(
        make(
            row,
            properties.get(row[0], EMPTY),
            tags.get(row[0], ()),
            locations.get(row[0], []),
        )
        for row in page
    )
