# SPDX-License-Identifier: Apache-2.0
"""Lists of metadata definitions: filters, orders, pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.context import RequestContext
from glance_lite.db import metadefs, tables
from glance_lite.db.paging import behind
from glance_lite.db.paging import key as order_key
from glance_lite.errors import Invalid
from glance_lite.metadefs.model import (
    SORT_KEYS_OF_NAMESPACES,
    SORT_KEYS_OF_TAGS,
    Association,
    Definition,
    NamespacePage,
    NamespaceQuery,
    Paging,
)

_TAGS = tables.metadef_tags.c

#: What lists may be sorted by, and how.
NAMESPACE_KEYS: Mapping[str, Any] = {
    name: metadefs.spaces[name] for name in SORT_KEYS_OF_NAMESPACES
}
TAG_KEYS: Mapping[str, Any] = {name: _TAGS[name] for name in SORT_KEYS_OF_TAGS}


def _order(keys: Mapping[str, Any], paging: Paging) -> list[Any]:
    """The columns of a total order. `Invalid`."""
    if paging.sort_key not in keys:
        raise Invalid(f'The sort key is one of {", ".join(keys)}')
    names = dict.fromkeys((paging.sort_key, 'created_at', 'id'))
    return [keys[name] for name in names]


def _paged(query: sa.Select[Any], order: list[Any], paging: Paging, dialect: str) -> Any:
    """In that order and with that limit, NULL as the smallest value."""
    for column in order:
        query = query.order_by(order_key(column, paging.ascending, dialect, column.nullable))
    return query if paging.limit is None else query.limit(paging.limit)


def list_namespaces(
    connection: Connection, ctx: RequestContext, query: NamespaceQuery
) -> NamespacePage:
    """`NotFound`: the marker, or it is hidden. Two statements, three with a marker."""
    paging = query.paging
    order = _order(NAMESPACE_KEYS, paging)
    wanted = metadefs.head()
    if not ctx.is_admin:
        wanted = wanted.where(
            sa.or_(metadefs.spaces.owner == ctx.owner, metadefs.spaces.visibility == 'public')
        )
    if query.visibility is not None:
        wanted = wanted.where(metadefs.spaces.visibility == query.visibility)
    if query.resource_types is not None:
        wanted = wanted.where(metadefs.spaces.id.in_(_associated(query.resource_types)))
    if paging.marker is not None:
        marker = connection.execute(
            metadefs.head(*order).where(metadefs.spaces.namespace == paging.marker)
        ).first()
        metadefs.seen(ctx, paging.marker, marker)
        wanted = wanted.where(behind(order, list(marker or ())[11:], paging.ascending))
    rows = connection.execute(_paged(wanted, order, paging, connection.dialect.name)).fetchall()
    parts = _associations(connection, [row[1] for row in rows])
    found = [
        metadefs.namespace_of(row, contents=metadefs.contents_of(parts.get(row[1], ())))
        for row in rows
    ]
    full = bool(rows) and len(rows) == paging.limit
    return NamespacePage(found, full, rows[-1][2] if rows else None)


def _associated(resource_types: tuple[str, ...]) -> Any:
    kind = metadefs.KINDS['resource_type']
    return (
        sa.select(metadefs.bound.namespace_id)
        .select_from(kind.source)
        .where(metadefs.types.name.in_(resource_types))
    )


def _associations(connection: Connection, ids: list[int]) -> dict[int, list[Any]]:
    """Id of a namespace -> rows of its associations."""
    parts: dict[int, list[Any]] = {}
    for start in range(0, len(ids), metadefs.PORTION):
        query = (
            sa.select(*metadefs.columns('resource_type'), metadefs.bound.namespace_id)
            .select_from(metadefs.KINDS['resource_type'].source)
            .where(metadefs.bound.namespace_id.in_(ids[start : start + metadefs.PORTION]))
        )
        for row in connection.execute(query):
            parts.setdefault(row[8], []).append(row)
    return parts


def list_definitions(
    connection: Connection, namespace_id: int, namespace: str, kind: str, paging: Paging
) -> tuple[Definition, ...]:
    """All of one kind; of tags a page. `NotFound`: the marker."""
    known = metadefs.KINDS[kind]
    query = metadefs.of_kind(kind, namespace_id)
    if kind != 'tag':
        found = connection.execute(query).fetchall()
        return tuple(map(metadefs.definition_of, metadefs.sorted_rows(kind, list(found))))
    order = _order(TAG_KEYS, paging)
    if paging.marker is not None:
        place = sa.select(*order).where(
            _TAGS.namespace_id == namespace_id, known.name == paging.marker
        )
        marker = connection.execute(place).first()
        if marker is None:
            raise metadefs.missing_item(namespace, kind, paging.marker)
        query = query.where(behind(order, list(marker), paging.ascending))
    rows = connection.execute(_paged(query, order, paging, connection.dialect.name))
    return tuple(map(metadefs.definition_of, rows))


def list_resource_types(connection: Connection) -> tuple[Association, ...]:
    query = sa.select(
        metadefs.types.name, metadefs.types.created_at, metadefs.types.updated_at
    ).order_by(metadefs.types.id)
    return tuple(
        Association(
            row.name,
            created_at=row.created_at.replace(microsecond=0),
            updated_at=row.updated_at and row.updated_at.replace(microsecond=0),
        )
        for row in connection.execute(query)
    )
