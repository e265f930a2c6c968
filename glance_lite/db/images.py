# SPDX-License-Identifier: Apache-2.0
"""Creating and changing images: one transaction each."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Connection

from glance_lite.context import RequestContext
from glance_lite.db import riders, rows, tables, usage
from glance_lite.errors import Conflict, Duplicate, Forbidden, Invalid, NotFound
from glance_lite.model import TRANSITIONS, Changes, Image

#: What a column gets when the creator does not say; the owner is the caller's project.
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        'name': None,
        'status': 'queued',
        'visibility': 'shared',
        'disk_format': None,
        'container_format': None,
        'size': None,
        'virtual_size': None,
        'checksum': None,
        'os_hash_algo': None,
        'os_hash_value': None,
        'min_disk': 0,
        'min_ram': 0,
        'protected': False,
        'os_hidden': False,
    }
)

#: Attributes that describe the data, and fall back to nothing when there is none any more.
OF_DATA = ('size', 'virtual_size', 'checksum', 'os_hash_algo', 'os_hash_value')

# PERF: one statement object is compiled once; with .values() it would be built per request.
_INSERT = sa.insert(tables.images)
_INSERT_TAG = sa.insert(tables.image_tags)

_WRITABLE = DEFAULTS.keys() | {'owner'}
_INTEGER = 2**31 - 1


def create(connection: Connection, ctx: RequestContext, changes: Changes) -> Image:
    """Insert an image with properties and tags. `Duplicate`, `LimitExceeded`."""
    fields = dict(changes.fields)
    image_id = fields.pop('id', None) or str(uuid.uuid4())
    times = {name: fields.pop(name, None) for name in ('created_at', 'updated_at')}
    _check_fields(fields)
    values = {**DEFAULTS, 'owner': ctx.owner, **fields}
    now = rows.utcnow()
    created = times['created_at'] or now
    updated = times['updated_at'] or created
    row = {'id': image_id, 'created_at': created, 'updated_at': updated, 'deleted': False}
    tags = (changes.tags or frozenset()) | changes.add_tags
    with usage.counted(connection, image_id, values['owner']):
        try:
            connection.execute(_INSERT, {**row, **values})
        except db_exc.DBDuplicateEntry:
            raise Duplicate(f'The image id {image_id} is taken') from None
        insert_properties(connection, image_id, changes.properties, now)
        _insert_tags(connection, image_id, tags, now)
    riders.claim(connection, changes.riders, riders.Ride(image_id))
    fields = {name: values[name] for name in (*DEFAULTS, 'owner')}
    image = Image(
        id=image_id,
        created_at=created.replace(microsecond=0),
        updated_at=updated.replace(microsecond=0),
        properties=dict(changes.properties),
        tags=tuple(sorted(tags)),
        **fields,
    )
    riders.announce(connection, changes.riders, image)
    return image


def update(connection: Connection, ctx: RequestContext, image_id: str, changes: Changes) -> Image:
    """Write what really changes and give the image as it then is."""
    image = rows.fetch_locked(connection, ctx, image_id)
    with usage.counted(connection, image_id, *owners(image, changes)):
        changed = change(connection, image, changes)
    if changed is not image:
        riders.claim(connection, changes.riders, riders.Ride(image_id))
        riders.announce(connection, changes.riders, changed)
    return changed


def owners(image: Image, changes: Changes) -> tuple[str | None, str | None]:
    """The image's owner before and after."""
    return image.owner, changes.fields.get('owner', image.owner)


def change(connection: Connection, image: Image, changes: Changes) -> Image:
    """As `update`, for an image that is locked, without riders; the same if nothing is said."""
    _check_fields(changes.fields)
    check_expected(image, changes.expect)
    _check_preconditions(image, changes)
    fields = _new_fields(image, changes.fields)
    tags = _new_tags(image, changes)
    if not _says_anything(changes):
        return image
    now = rows.utcnow()
    gone = [name for name in changes.remove if name in image.properties]
    properties = {name: value for name, value in image.properties.items() if name not in gone}
    new = {
        name: value
        for name, value in changes.properties.items()
        if name not in properties or properties[name] != value
    }
    changed = image.replace(
        **fields,
        updated_at=now.replace(microsecond=0),
        properties=properties | new,
        tags=tuple(sorted(tags)),
    )
    riders.check_change(changes.riders, image, changed)
    columns = tables.images.c
    connection.execute(
        sa.update(tables.images)
        .where(columns.id == image.id, columns.deleted == sa.false())
        .values(updated_at=now, **fields)
    )
    remove_properties(connection, image.id, gone, now)
    insert_properties(connection, image.id, new, now)
    old = frozenset(image.tags)
    _remove_tags(connection, image.id, old - tags, now)
    _insert_tags(connection, image.id, tags - old, now)
    return changed


def set_active(connection: Connection, ctx: RequestContext, image_id: str, active: bool) -> Image:
    """deactivated <-> active. `Forbidden` from any other status."""
    image = rows.fetch_locked(connection, ctx, image_id)
    wanted, before = ('active', 'deactivated') if active else ('deactivated', 'active')
    if image.status == wanted:
        return image
    if image.status != before:
        verb = 'reactivated' if active else 'deactivated'
        raise Forbidden(f'An image in status {image.status} cannot be {verb}')
    columns = tables.images.c
    now = rows.utcnow()
    with usage.counted(connection, image_id, image.owner):
        connection.execute(
            sa.update(tables.images)
            .where(columns.id == image_id, columns.deleted == sa.false())
            .values(status=wanted, updated_at=now)
        )
    image = image.replace(status=wanted, updated_at=now.replace(microsecond=0))
    riders.announce(connection, ctx.riders, image)
    return image


# --- rules


def _check_fields(fields: Mapping[str, Any]) -> None:
    unknown = fields.keys() - _WRITABLE
    if unknown:
        raise Invalid(f'{sorted(unknown)[0]} cannot be set')
    for name in ('min_disk', 'min_ram'):
        if not 0 <= fields.get(name, 0) <= _INTEGER:
            raise Invalid(f'{name} must be between 0 and {_INTEGER}')


def check_expected(image: Image, expect: frozenset[str] | None) -> None:
    if expect is not None and image.status not in expect:
        raise Conflict(f'The image is in status {image.status}, which does not allow this')


def _check_preconditions(image: Image, changes: Changes) -> None:
    for name in sorted(changes.require):
        if name not in image.properties:
            raise Conflict(f'There is no property {name}')
    for name in sorted(changes.absent):
        if name in image.properties:
            raise Conflict(f'There is a property {name} already')


def _new_fields(image: Image, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those that differ, checked against the row's status."""
    for name in ('disk_format', 'container_format'):
        if name in fields and image.status not in ('queued', 'importing'):
            raise Forbidden(f'{name} can be changed only until the image has data')
    new = {name: value for name, value in fields.items() if getattr(image, name) != value}
    if 'status' in new:
        check_transition(image.status, new['status'])
        if new['status'] == 'queued':
            new = {**dict.fromkeys(('size', 'virtual_size')), **new}
    return new


def check_transition(before: str, after: str) -> None:
    """`Conflict` unless the status machine has a way from the one to the other."""
    if after not in TRANSITIONS.get(before, ()):
        raise Conflict(f'An image in status {before} cannot become {after}')


def _new_tags(image: Image, changes: Changes) -> frozenset[str]:
    tags = frozenset(image.tags) if changes.tags is None else changes.tags
    for tag in sorted(changes.remove_tags):
        if tag not in tags:
            raise NotFound(f'The image has no tag {tag}')
    return (tags | changes.add_tags) - changes.remove_tags


def _says_anything(changes: Changes) -> bool:
    return bool(
        changes.fields
        or changes.properties
        or changes.remove
        or changes.tags is not None
        or changes.add_tags
        or changes.remove_tags
    )


# --- rows of properties and tags


def insert_properties(
    connection: Connection,
    image_id: str,
    properties: Mapping[str, str | None],
    now: datetime.datetime,
) -> None:
    """Set them. A soft-deleted row of that name is brought back: the name is unique for ever.

    `Conflict` where the database cannot tell a name from another one.
    """
    if not properties:
        return
    fixed = {'image_id': image_id, 'created_at': now, 'updated_at': now, 'deleted': False}
    connection.execute(
        _UPSERT[connection.dialect.name],
        [{**fixed, 'name': name, 'value': value} for name, value in properties.items()],
    )
    if connection.dialect.name == 'mysql':
        p = tables.image_properties.c
        written = sa.select(p.name).where(
            p.image_id == image_id, p.name.in_(list(properties)), p.deleted == sa.false()
        )
        lost = properties.keys() - set(connection.execute(written).scalars())
        if lost:
            # Another one was written over, maybe one that the caller may not touch.
            raise Conflict(f'There is a property of a name like {min(lost)} already')


def _upserts() -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, dialect in (('postgresql', postgresql), ('sqlite', sqlite)):
        insert = dialect.insert(tables.image_properties)
        result[name] = insert.on_conflict_do_update(
            index_elements=['image_id', 'name'],
            set_={
                'value': insert.excluded.value,
                'updated_at': insert.excluded.updated_at,
                'deleted': False,
                'deleted_at': None,
            },
        )
    insert = mysql.insert(tables.image_properties)
    old = tables.image_properties.c
    result['mysql'] = insert.on_duplicate_key_update(
        # In this order: a live row keeps its name, which may be another one, see above.
        [
            ('name', sa.case((old.deleted == sa.true(), insert.inserted.name), else_=old.name)),
            ('value', insert.inserted.value),
            ('updated_at', insert.inserted.updated_at),
            ('deleted', sa.false()),
            ('deleted_at', sa.null()),
        ]
    )
    return result


_UPSERT = _upserts()


def remove_properties(
    connection: Connection, image_id: str, names: Iterable[str], now: datetime.datetime
) -> None:
    if names:
        p = tables.image_properties.c
        connection.execute(
            sa.update(tables.image_properties)
            .where(p.image_id == image_id, p.name.in_(list(names)), p.deleted == sa.false())
            .values(deleted=True, deleted_at=now, updated_at=now)
        )


def _insert_tags(
    connection: Connection, image_id: str, tags: Iterable[str], now: datetime.datetime
) -> None:
    if tags:
        fixed = {'image_id': image_id, 'created_at': now, 'updated_at': now, 'deleted': False}
        connection.execute(_INSERT_TAG, [{**fixed, 'value': tag} for tag in sorted(tags)])


def _remove_tags(
    connection: Connection, image_id: str, tags: Iterable[str], now: datetime.datetime
) -> None:
    if tags:
        t = tables.image_tags.c
        value = rows.exact(connection.dialect.name, t.value)
        connection.execute(
            sa.update(tables.image_tags)
            .where(t.image_id == image_id, value.in_(_texts(tags)), t.deleted == sa.false())
            .values(deleted=True, deleted_at=now, updated_at=now)
        )


def _texts(values: Iterable[str]) -> list[Any]:
    """As text, whatever it is compared with."""
    return [sa.literal(value, sa.String) for value in values]
