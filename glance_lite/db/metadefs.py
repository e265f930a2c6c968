# SPDX-License-Identifier: Apache-2.0
"""Metadata definitions: reading. The tables are Glance's ``metadef_*``.

The four kinds differ only in their columns, so each statement is written once. A namespace with
everything in it is one statement, a UNION ALL as for an image.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.context import RequestContext
from glance_lite.db import tables
from glance_lite.db.statements import Direct, Statement
from glance_lite.errors import NotFound
from glance_lite.metadefs.model import (
    Association,
    Definition,
    Namespace,
    Object,
    Property,
    Tag,
)

spaces = tables.metadef_namespaces.c
types = tables.metadef_resource_types.c
bound = tables.metadef_namespace_resource_types.c

#: Ids in one ``IN``.
PORTION = 500

HEAD = 'namespace'


def _json(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or '{}')
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _required(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(',')) if text else ()


def _object(name: str, text: Any, required: Any, schema: Any, **times: Any) -> Definition:
    return Object(name, text, _required(required), _json(schema), **times)


def _property(name: str, schema: Any, *_: Any, **times: Any) -> Definition:
    return Property(name, _json(schema), **times)


def _tag(name: str, *_: Any, **times: Any) -> Definition:
    return Tag(name, **times)


def _association(name: str, prefix: Any, target: Any, *_: Any, **times: Any) -> Definition:
    return Association(name, prefix, target, **times)


def _object_row(new: Any) -> dict[str, Any]:
    return {
        'description': new.description,
        'required': ','.join(new.required) if new.required else None,
        'json_schema': json.dumps(new.properties or {}),
    }


class Kind(NamedTuple):
    """Where definitions of one kind are, and how a row becomes one and one a row."""

    table: sa.Table
    name: Any
    #: up to three columns of text beside name and times
    texts: tuple[Any, ...]
    make: Callable[..., Definition]
    row: Callable[[Any], dict[str, Any]]

    @property
    def source(self) -> Any:
        """What to select from."""
        if self.table is tables.metadef_namespace_resource_types:
            return self.table.join(
                tables.metadef_resource_types, types.id == self.table.c.resource_type_id
            )
        return self.table

    @property
    def id(self) -> Any:
        return self.table.c.id if 'id' in self.table.c else bound.resource_type_id


_objects, _properties, _tags = (
    tables.metadef_objects.c,
    tables.metadef_properties.c,
    tables.metadef_tags.c,
)

KINDS: dict[str, Kind] = {
    'resource_type': Kind(
        tables.metadef_namespace_resource_types,
        types.name,
        (bound.prefix, bound.properties_target),
        _association,
        lambda new: {'prefix': new.prefix, 'properties_target': new.properties_target},
    ),
    'object': Kind(
        tables.metadef_objects,
        _objects.name,
        (_objects.description, _objects.required, _objects.json_schema),
        _object,
        _object_row,
    ),
    'tag': Kind(tables.metadef_tags, _tags.name, (), _tag, lambda new: {}),
    'property': Kind(
        tables.metadef_properties,
        _properties.name,
        (_properties.json_schema,),
        _property,
        lambda new: {'json_schema': json.dumps(dict(new.schema))},
    ),
}


# --- statements

_text = sa.Text


def columns(kind: str) -> list[Any]:
    """kind, id, name, three texts, times: the same for all."""
    known = KINDS[kind]
    empty = [sa.null()] * (3 - len(known.texts))
    times = (known.table.c.created_at, known.table.c.updated_at)
    return [sa.literal_column(f"'{kind}'"), known.id, known.name, *known.texts, *empty, *times]


def head(*more: Any) -> sa.Select[Any]:
    """Namespaces, in the columns of all kinds and three of their own."""
    return sa.select(
        sa.literal_column(f"'{HEAD}'").label('kind'),
        spaces.id.label('id'),
        spaces.namespace.label('name'),
        sa.cast(spaces.display_name, _text).label('first'),
        spaces.description.label('second'),
        sa.cast(sa.null(), _text).label('third'),
        spaces.created_at.label('created_at'),
        spaces.updated_at.label('updated_at'),
        spaces.visibility.label('visibility'),
        spaces.protected.label('protected'),
        spaces.owner.label('owner'),
        *more,
    )


def _named() -> sa.Select[Any]:
    return head().where(spaces.namespace == sa.bindparam('name', type_=sa.String))


def _all() -> sa.CompoundSelect[Any]:
    """The namespace ``:name`` with everything in it."""
    wanted = (
        sa.select(spaces.id)
        .where(spaces.namespace == sa.bindparam('name', type_=sa.String))
        .scalar_subquery()
    )
    branches = [
        sa.select(*columns(kind), sa.null(), sa.null(), sa.null())
        .select_from(known.source)
        .where(known.table.c.namespace_id == wanted)
        for kind, known in KINDS.items()
    ]
    return sa.union_all(_named(), *branches)


HEAD_OF = Statement(_named(), prepare=True)
ALL_OF = Statement(_all(), prepare=True)
LOCK = Statement(_named().with_for_update(), prepare=False)


# --- rows


def times(row: Any) -> dict[str, Any]:
    return {
        name: value and value.replace(microsecond=0)
        for name, value in (('created_at', row[6]), ('updated_at', row[7]))
    }


def namespace_of(row: Any, **contents: Any) -> Namespace:
    """From a row of `head`."""
    return Namespace(
        row[2],
        row[3],
        row[4],
        row[8] or 'private',
        bool(row[9]),
        row[10],
        **times(row),
        **contents,
    )


def definition_of(row: Any) -> Definition:
    return KINDS[row[0]].make(row[2], *row[3:6], **times(row))


def visible(ctx: RequestContext, namespace: Namespace) -> bool:
    if ctx.is_admin or namespace.visibility == 'public':
        return True
    return ctx.owner is not None and namespace.owner == ctx.owner


def missing(namespace: str) -> NotFound:
    return NotFound(f'There is no namespace {namespace}')


def missing_item(namespace: str, kind: str, item: str) -> NotFound:
    return NotFound(f'There is no {kind} {item} in the namespace {namespace}')


def seen(ctx: RequestContext, name: str, row: Any) -> tuple[int, Namespace]:
    """(id, namespace) of a row of `head`. `NotFound`: there is none, or it is hidden."""
    if row is None:
        raise missing(name)
    found = namespace_of(row)
    if not visible(ctx, found):
        raise missing(name)
    return row[1], found


def peek(connection: Connection | Direct, ctx: RequestContext, name: str) -> tuple[int, Namespace]:
    """The id of a namespace and itself without its contents. `NotFound`."""
    rows = HEAD_OF.rows(connection, {'name': name})
    return seen(ctx, name, rows[0] if rows else None)


def lock(connection: Connection, ctx: RequestContext, name: str) -> tuple[int, Namespace]:
    """As `peek`, and nobody else changes it or its contents until the transaction ends."""
    if connection.dialect.name == 'sqlite':
        return peek(connection, ctx, name)
    rows = LOCK.rows(connection, {'name': name})
    return seen(ctx, name, rows[0] if rows else None)


def get_namespace(connection: Connection | Direct, ctx: RequestContext, name: str) -> Namespace:
    """With everything in it. `NotFound`. One statement."""
    rows = ALL_OF.rows(connection, {'name': name})
    first = next((row for row in rows if row[0] == HEAD), None)
    _, found = seen(ctx, name, first)
    return found.replace(contents=contents_of(row for row in rows if row[0] != HEAD))


def contents_of(rows: Iterable[Any]) -> dict[str, tuple[Definition, ...]]:
    """Kind -> definitions, in the order in which they are shown."""
    parts: dict[str, list[Any]] = {}
    for row in rows:
        parts.setdefault(row[0], []).append(row)
    return {kind: tuple(map(definition_of, sorted_rows(kind, parts[kind]))) for kind in parts}


def sorted_rows(kind: str, rows: list[Any]) -> list[Any]:
    """As Glance shows them: tags by age, the youngest first; associations by age; all else by
    name."""
    if kind == 'tag':
        return sorted(rows, key=lambda row: (row[6], row[1]), reverse=True)
    if kind == 'resource_type':
        return sorted(rows, key=lambda row: (row[6], row[1]))
    return sorted(rows, key=lambda row: row[2])


# --- one by one


def of_kind(kind: str, namespace_id: int) -> sa.Select[Any]:
    known = KINDS[kind]
    return (
        sa.select(*columns(kind))
        .select_from(known.source)
        .where(known.table.c.namespace_id == namespace_id)
    )


def get_definition(
    connection: Connection, namespace_id: int, namespace: str, kind: str, item: str
) -> tuple[int, Definition]:
    """The id of a row and what it says. `NotFound`."""
    query = of_kind(kind, namespace_id).where(KINDS[kind].name == item)
    row = connection.execute(query).first()
    if row is None:
        raise missing_item(namespace, kind, item)
    return row[1], definition_of(row)
