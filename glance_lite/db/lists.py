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
from glance_lite.db import rows, tables
from glance_lite.errors import Invalid
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
    properties: int
    tags: int
    order: tuple[tuple[str, bool], ...]  # column, ascending
    after: tuple[bool, ...] | None  # which of the marker's values are NULL


# --- who sees what: each view is a tuple of cases that exclude each other


def _view(ctx: RequestContext, visibility: str | None) -> tuple[str, ...]:
    """Glance's views. Without a filter others' community images are left out, also for admins."""
    if ctx.is_admin:
        if visibility is None:
            return ('any_but_community', 'own_community') if ctx.owner else ('any_but_community',)
        return ('any',) if visibility == 'all' else ('any_' + visibility,)
    mine = {
        None: ('own', 'others_public', 'shared_with_me'),
        'all': ('own', 'others_public', 'others_community', 'shared_with_me'),
        'public': ('any_public',),
        'community': ('any_community',),
        'private': ('own_private',),
        'shared': ('own_shared', 'shared_with_me'),
    }[visibility]
    if ctx.owner is None:
        # Without a project nothing is one's own, so others' images are simply all images.
        seen = (case.partition('_') for case in mine)
        return tuple(f'any_{kind}' for whose, _, kind in seen if whose in ('others', 'any'))
    return mine


def _case(case: str, member_status: bool) -> list[Any]:
    me: sa.BindParameter[str] = sa.bindparam('me', type_=sa.String)
    scope, _, visibility = case.partition('_')
    if case == 'any_but_community':
        return [images.visibility.in_(['private', 'public', 'shared'])]
    if case == 'shared_with_me':
        m = tables.image_members.c
        shared = [m.image_id == images.id, m.member == me, m.deleted == sa.false()]
        if member_status:
            shared.append(m.status == sa.bindparam('member_status', type_=sa.String))
        scope, visibility = 'others', 'shared'
        where = [sa.exists(sa.select(sa.literal_column('1')).where(*shared))]
    else:
        where = []
    if scope == 'own':
        where.append(images.owner == me)
    elif scope == 'others':
        where.append(sa.or_(images.owner.is_(None), images.owner != me))
    if visibility:
        where.append(images.visibility == visibility)
    return where


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
    one = sa.literal_column('1')
    for number in range(shape.properties):
        where.append(
            sa.exists(
                sa.select(one).where(
                    p.image_id == images.id,
                    p.name == sa.bindparam(f'p{number}_name', type_=sa.String),
                    p.value == sa.bindparam(f'p{number}_value', type_=sa.String),
                    p.deleted == sa.false(),
                )
            )
        )
    for number in range(shape.tags):
        value: sa.BindParameter[str] = sa.bindparam(f't{number}', type_=sa.String)
        condition = sa.and_(t.image_id == images.id, t.value == value, t.deleted == sa.false())
        where.append(sa.exists(sa.select(one).where(condition)))
    return where


def _after(shape: Shape) -> list[Any]:
    """What comes behind the marker: (a > x) or (a = x and (b > y or ...)), NULL smallest."""
    if shape.after is None:
        return []
    rest: Any = None
    for number in reversed(range(len(shape.order))):
        name, ascending = shape.order[number]
        column, value = _FIELDS[name], sa.bindparam(f'm{number}', type_=_FIELDS[name].type)
        null = shape.after[number]
        if null:
            beyond = column.is_not(None) if ascending else sa.false()
            same = column.is_(None)
        else:
            beyond = column > value if ascending else column < value
            if column.nullable and not ascending:
                beyond = sa.or_(beyond, column.is_(None))
            same = column == value
        rest = beyond if rest is None else sa.or_(beyond, sa.and_(same, rest))
    name, ascending = shape.order[0]
    if not shape.after[0] and not _FIELDS[name].nullable:
        # The same once more as a range, which an index can start from.
        column, value = _FIELDS[name], sa.bindparam('m0', type_=_FIELDS[name].type)
        return [column >= value if ascending else column <= value, rest]
    return [rest]


def _order(shape: Shape, columns: Any) -> list[Any]:
    result = []
    for name, ascending in shape.order:
        key = columns[name].asc() if ascending else columns[name].desc()
        if shape.backend == 'postgresql' and _FIELDS[name].nullable:
            key = key.nulls_first() if ascending else key.nulls_last()
        result.append(key)
    return result


@functools.lru_cache(maxsize=512)
def statement(shape: Shape) -> Any:
    """The statement of a page; the parameters are made by `_parameters`."""
    where = [*_filters(shape), *_after(shape)]
    limit: sa.BindParameter[int] = sa.bindparam('limit', type_=sa.Integer)
    branches = [
        sa.select(*rows.COLUMNS)
        .where(*where, *_case(case, shape.member_status))
        .order_by(*_order(shape, images))
        .limit(limit)
        for case in shape.view
    ]
    if len(branches) == 1:
        return branches[0]
    union = sa.union_all(*(sa.select(branch.subquery()) for branch in branches)).subquery()
    return sa.select(union).order_by(*_order(shape, union.c)).limit(limit)


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
def _place(names: tuple[str, ...], everybody: bool) -> sa.Select[Any]:
    """The values of ``:id`` that the order looks at, if ``:me`` (or everybody) may see it."""
    image_id: sa.BindParameter[str] = sa.bindparam('id', type_=sa.String)
    me: sa.BindParameter[str] = sa.bindparam('me', type_=sa.String)
    wanted = sa.select(*(_FIELDS[name] for name in names)).where(
        images.id == image_id, images.deleted == sa.false()
    )
    if everybody:
        return wanted
    m = tables.image_members.c
    shared = sa.exists(
        sa.select(sa.literal_column('1')).where(
            m.image_id == images.id, m.member == me, m.deleted == sa.false()
        )
    )
    return wanted.where(
        sa.or_(
            images.visibility.in_(['public', 'community']),
            images.owner == me,
            sa.and_(images.visibility == 'shared', shared),
        )
    )


def _marker(
    connection: Connection, ctx: RequestContext, marker: str, order: tuple[tuple[str, bool], ...]
) -> list[Any]:
    """The marker's values, as exact as the database has them. `Invalid` if it is not to be seen."""
    query = _place(tuple(name for name, _ in order), bool(ctx.is_admin))
    row = connection.execute(query, {'id': marker, 'me': ctx.owner}).first()
    if row is None:
        raise Invalid(f'The marker {marker} is not an image that can be listed')
    return list(row)


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


def list_images(connection: Connection, ctx: RequestContext, query: Query) -> Page:
    """One page. At most three statements: the marker's values, the page, what belongs to it."""
    view = _view(ctx, query.visibility)
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
        len(query.properties),
        len(query.tags),
        order,
        after,
    )
    page = connection.execute(statement(shape), values).fetchall()
    if not page:
        return Page((), False, None)
    return Page(_complete(connection, page), len(page) >= query.limit, page[-1][0])


# --- what belongs to the images of a page


@functools.lru_cache(maxsize=4)
def _belongings(backend: str) -> Any:
    ids: Any
    if backend == 'postgresql':
        array: Any = sa.bindparam('ids', type_=sa.ARRAY(sa.String))
        return sa.union_all(*rows.parts(lambda column: column == sa.any_(array)))
    if backend == 'sqlite':
        each = sa.func.json_each(sa.bindparam('ids', type_=sa.String)).table_valued('value')
        ids = sa.select(each.c.value)
    else:
        ids = sa.bindparam('ids', expanding=True)
    return sa.union_all(*rows.parts(lambda column: column.in_(ids)))


def _complete(connection: Connection, page: Any) -> tuple[Image, ...]:
    ids: Any = [row[0] for row in page]
    if connection.dialect.name == 'sqlite':
        ids = json.dumps(ids)
    properties: dict[str, dict[str, str | None]] = {}
    tags: dict[str, list[str]] = {}
    locations: dict[str, list[Location]] = {}
    metadata = rows.metadata
    for kind, image_id, number, key, value, meta in connection.execute(
        _belongings(connection.dialect.name), {'ids': ids}
    ).fetchall():
        if kind == rows.PROPERTY:
            properties.setdefault(image_id, {})[key] = value
        elif kind == rows.TAG:
            tags.setdefault(image_id, []).append(key)
        else:
            found = Location(number, value, metadata(meta), key)
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
