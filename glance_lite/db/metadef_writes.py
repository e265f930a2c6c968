# SPDX-License-Identifier: Apache-2.0
"""Metadata definitions: writing. Each function is one transaction's work.

Whoever writes holds the row of the namespace, so that nothing is put into one that is going.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Connection

from glance_lite.context import RequestContext
from glance_lite.db import metadefs, riders, tables
from glance_lite.db.rows import utcnow
from glance_lite.errors import Duplicate, Forbidden, Invalid
from glance_lite.metadefs.model import Definition, Namespace, Tag

_SPACES = tables.metadef_namespaces


def _whole(now: datetime.datetime) -> datetime.datetime:
    return now.replace(microsecond=0)


# --- namespaces


def _values(ctx: RequestContext, new: Namespace) -> dict[str, Any]:
    owner = new.owner if new.owner is not None else ctx.owner
    if owner is None:
        raise Invalid('A namespace must have an owner')
    return {
        'namespace': new.namespace,
        'display_name': new.display_name,
        'description': new.description,
        'visibility': new.visibility or 'private',
        'protected': bool(new.protected),
        'owner': owner,
    }


def create_namespace(connection: Connection, ctx: RequestContext, new: Namespace) -> Namespace:
    """With all that is in it. `Duplicate`."""
    values = _values(ctx, new)
    now = utcnow()
    try:
        result = connection.execute(
            sa.insert(_SPACES).values(created_at=now, updated_at=now, **values)
        )
    except db_exc.DBDuplicateEntry:
        raise Duplicate(f'There is a namespace {new.namespace} already') from None
    namespace_id = (result.inserted_primary_key or (0,))[0]
    for kind, definitions in new.contents.items():
        insert(connection, namespace_id, kind, definitions, now)
    stamp = _whole(now)
    made = Namespace(**values, created_at=stamp, updated_at=stamp, contents=new.contents)
    if ctx.riders:
        contents = {
            kind: tuple(one.replace(created_at=stamp, updated_at=stamp) for one in definitions)
            for kind, definitions in new.contents.items()
        }
        riders.announce(connection, ctx.riders, made.replace(contents=contents))
    return made


def update_namespace(
    connection: Connection, ctx: RequestContext, namespace: str, new: Namespace
) -> Namespace:
    """`NotFound`, `Duplicate`."""
    namespace_id, before = metadefs.lock(connection, ctx, namespace)
    values = _values(ctx, new)
    now = utcnow()
    change = sa.update(_SPACES).where(_SPACES.c.id == namespace_id)
    try:
        connection.execute(change.values(updated_at=now, **values))
    except db_exc.DBDuplicateEntry:
        raise Duplicate(f'There is a namespace {new.namespace} already') from None
    changed = Namespace(**values, created_at=before.created_at, updated_at=_whole(now))
    riders.announce(connection, ctx.riders, changed)
    return changed


def delete_namespace(connection: Connection, ctx: RequestContext, namespace: str) -> Namespace:
    """And all that is in it. `NotFound`, `Forbidden`: protected."""
    namespace_id, before = metadefs.lock(connection, ctx, namespace)
    _check_unprotected(before, f'The namespace {namespace}')
    remove(connection, namespace_id)
    riders.announce(connection, ctx.riders, before)
    return before


def remove(connection: Connection, namespace_id: int) -> None:
    """A namespace with its contents."""
    for kind in metadefs.KINDS:
        _delete_all(connection, kind, namespace_id)
    connection.execute(sa.delete(_SPACES).where(_SPACES.c.id == namespace_id))


def clear_namespace(
    connection: Connection, ctx: RequestContext, namespace: str, kind: str
) -> Namespace:
    """`NotFound`, `Forbidden`: protected."""
    namespace_id, before = metadefs.lock(connection, ctx, namespace)
    _check_unprotected(before, f'The namespace {namespace}')
    _delete_all(connection, kind, namespace_id)
    riders.announce(connection, ctx.riders, before)
    return before


def _delete_all(connection: Connection, kind: str, namespace_id: int) -> None:
    table = metadefs.KINDS[kind].table
    connection.execute(sa.delete(table).where(table.c.namespace_id == namespace_id))


def _check_unprotected(namespace: Namespace, what: str) -> None:
    if namespace.protected:
        raise Forbidden(f'{what} is protected and cannot be deleted')


# --- what is in them


def insert(
    connection: Connection,
    namespace_id: int,
    kind: str,
    definitions: Sequence[Definition],
    now: datetime.datetime,
    *,
    seeded: bool = False,
) -> None:
    """New ones. `Duplicate`. What a file brings (`seeded`) has not been updated yet."""
    if not definitions:
        return
    known = metadefs.KINDS[kind]
    updated = None if seeded else now
    fixed = {'namespace_id': namespace_id, 'created_at': now, 'updated_at': updated}
    rows = [{**fixed, **known.row(one)} for one in definitions]
    if kind == 'resource_type':
        ids = resource_types(connection, [one.name for one in definitions], now, seeded)
        for row, one in zip(rows, definitions, strict=True):
            row['resource_type_id'] = ids[one.name]
    else:
        for row, one in zip(rows, definitions, strict=True):
            row['name'] = one.name
    try:
        connection.execute(sa.insert(known.table), rows)
    except db_exc.DBDuplicateEntry:
        names = ', '.join(one.name for one in definitions[:5])
        raise Duplicate(f'The namespace has a {kind} of that name already: {names}') from None


def _ignoring() -> dict[str, Any]:
    table = tables.metadef_resource_types
    made: dict[str, Any] = {
        name: dialect.insert(table).on_conflict_do_nothing(index_elements=['name'])
        for name, dialect in (('postgresql', postgresql), ('sqlite', sqlite))
    }
    # Nothing is changed; an INSERT IGNORE would swallow other errors as well.
    made['mysql'] = mysql.insert(table).on_duplicate_key_update(name=table.c.name)
    return made


_IGNORING = _ignoring()


def resource_types(
    connection: Connection, names: Iterable[str], now: datetime.datetime, seeded: bool = False
) -> Mapping[str, int]:
    """Name -> id; those that nobody knew are made, protected when a file brings them."""
    wanted = list(dict.fromkeys(names))
    found = _known_types(connection, wanted)
    new = [name for name in wanted if name not in found]
    if new:
        fixed = {'protected': seeded, 'created_at': now, 'updated_at': None if seeded else now}
        rows = [{**fixed, 'name': name} for name in new]
        connection.execute(_IGNORING[connection.dialect.name], rows)
        found.update(_known_types(connection, new))
    for name in new:
        if name not in found:
            # MySQL takes é for e: the type is there, and is written otherwise.
            query = sa.select(metadefs.types.id).where(metadefs.types.name == name)
            found[name] = connection.execute(query).scalars().one()
    return found


def _known_types(connection: Connection, names: list[str]) -> dict[str, int]:
    """Those that are written exactly so."""
    found: dict[str, int] = {}
    types = metadefs.types
    for start in range(0, len(names), metadefs.PORTION):
        query = sa.select(types.name, types.id).where(
            types.name.in_(names[start : start + metadefs.PORTION])
        )
        found.update((name, number) for name, number in connection.execute(query))
    return found


def add_definition(
    connection: Connection, ctx: RequestContext, namespace: str, new: Definition
) -> Definition:
    """`NotFound`, `Duplicate`."""
    namespace_id, _ = metadefs.lock(connection, ctx, namespace)
    now = utcnow()
    insert(connection, namespace_id, new.kind, (new,), now)
    made = new.replace(created_at=_whole(now), updated_at=_whole(now))
    _announce(connection, ctx, namespace, made)
    return made


def update_definition(
    connection: Connection, ctx: RequestContext, namespace: str, item: str, new: Definition
) -> Definition:
    """`NotFound`, `Duplicate`."""
    namespace_id, _ = metadefs.lock(connection, ctx, namespace)
    number, before = metadefs.get_definition(connection, namespace_id, namespace, new.kind, item)
    now = utcnow()
    change(connection, namespace_id, number, new, now)
    changed = new.replace(created_at=before.created_at, updated_at=_whole(now))
    _announce(connection, ctx, namespace, changed)
    return changed


def _announce(
    connection: Connection, ctx: RequestContext, namespace: str, *definitions: Definition
) -> None:
    """Tell of definitions of one kind."""
    if definitions and ctx.riders:
        told = Namespace(namespace, contents={definitions[0].kind: definitions})
        riders.announce(connection, ctx.riders, told)


def change(
    connection: Connection,
    namespace_id: int,
    number: int,
    new: Definition,
    now: datetime.datetime,
) -> None:
    """The row of that id becomes `new`. `Duplicate`."""
    known = metadefs.KINDS[new.kind]
    values = known.row(new)
    if 'name' in known.table.c:
        values['name'] = new.name
    update = sa.update(known.table).where(*_one(known, namespace_id, number))
    try:
        connection.execute(update.values(updated_at=now, **values))
    except db_exc.DBDuplicateEntry:
        raise Duplicate(f'The namespace has a {new.kind} {new.name} already') from None


def _one(known: metadefs.Kind, namespace_id: int, number: int) -> tuple[Any, Any]:
    return (known.table.c.namespace_id == namespace_id, known.id == number)


def delete_definition(
    connection: Connection, ctx: RequestContext, namespace: str, kind: str, item: str
) -> Definition:
    """`NotFound`, `Forbidden`: the namespace is protected."""
    namespace_id, space = metadefs.lock(connection, ctx, namespace)
    number, before = metadefs.get_definition(connection, namespace_id, namespace, kind, item)
    _check_unprotected(space, f'The {kind} {item}')
    known = metadefs.KINDS[kind]
    connection.execute(sa.delete(known.table).where(*_one(known, namespace_id, number)))
    _announce(connection, ctx, namespace, before)
    return before


def set_tags(
    connection: Connection,
    ctx: RequestContext,
    namespace: str,
    tags: tuple[Tag, ...],
    append: bool,
) -> tuple[Definition, ...]:
    """In place of all others, or beside them. `NotFound`, `Duplicate`."""
    namespace_id, _ = metadefs.lock(connection, ctx, namespace)
    if tags and not append:
        _delete_all(connection, 'tag', namespace_id)
    now = utcnow()
    insert(connection, namespace_id, 'tag', tags, now)
    stamp = _whole(now)
    made = tuple(dataclasses.replace(tag, created_at=stamp, updated_at=stamp) for tag in tags)
    _announce(connection, ctx, namespace, *made)
    return made
