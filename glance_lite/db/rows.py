# SPDX-License-Identifier: Apache-2.0
"""From rows to values: one statement that reads an image with all that belongs to it.

The parts are branches of one UNION ALL, each row saying what it is in its first column. That
is one round trip without the multiplication of a join (20 properties and 10 tags are 30 rows,
not 200), and it is the same SQL on all engines.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.db import sealing, tables
from glance_lite.db.statements import Direct, Statement
from glance_lite.errors import ImageNotFound
from glance_lite.model import EMPTY, QUARANTINED, Image, Location

if TYPE_CHECKING:
    from glance_lite.context import RequestContext

IMAGE, PROPERTY, TAG, LOCATION, MEMBER = range(5)

images = tables.images.c

#: The columns of an `Image`, in the order of its fields.
COLUMNS: tuple[Any, ...] = (
    images.id,
    images.name,
    images.status,
    sa.type_coerce(images.visibility, sa.String).label('visibility'),
    images.owner,
    images.disk_format,
    images.container_format,
    images.size,
    images.virtual_size,
    images.checksum,
    images.os_hash_algo,
    images.os_hash_value,
    images.min_disk,
    images.min_ram,
    images.protected,
    images.os_hidden,
    images.created_at,
    images.updated_at,
)

_text = functools.partial(sa.cast, type_=sa.Text)


def parts(where: Any, *, of_image: bool = False) -> list[sa.Select[Any]]:
    """Branches for live properties, tags and locations: kind, image, id, key, value, meta.

    `where` makes the condition from a table's ``image_id`` column. `of_image` fills up with
    NULL to the columns of an image.
    """
    fill = [sa.null()] * (len(COLUMNS) if of_image else 0)
    result = []
    for kind, table, columns in (
        (PROPERTY, tables.image_properties, ('name', 'value', None)),
        (TAG, tables.image_tags, ('value', None, None)),
        (LOCATION, tables.image_locations, ('status', 'value', 'meta_data')),
    ):
        c = table.c
        chosen = [c[name] if name else sa.null() for name in columns]
        condition = sa.and_(where(c.image_id), c.deleted == sa.false())
        if kind == LOCATION:
            served = sa.or_(c.status == 'active', c.status == QUARANTINED)
            condition = sa.and_(condition, served)
        result.append(
            sa.select(sa.literal_column(str(kind)), c.image_id, c.id, *chosen, *fill).where(
                condition
            )
        )
    return result


def _one() -> sa.CompoundSelect[Any]:
    """The image ``:id``, and ``:project``'s membership of it."""
    wanted: sa.BindParameter[str] = sa.bindparam('id', type_=sa.String)
    image = sa.select(
        sa.literal_column(str(IMAGE)).label('kind'),
        images.id.label('image_id'),
        sa.cast(sa.null(), sa.BigInteger).label('number'),
        _text(sa.null()).label('key'),
        _text(sa.null()).label('value'),
        _text(sa.null()).label('meta'),
        *(column.label(f'i_{column.name}') for column in COLUMNS),
    ).where(images.id == wanted, images.deleted == sa.false())
    m = tables.image_members.c
    membership = sa.select(
        sa.literal_column(str(MEMBER)),
        m.image_id,
        m.id,
        m.status,
        sa.null(),
        sa.null(),
        *([sa.null()] * len(COLUMNS)),
    ).where(
        m.image_id == wanted,
        m.member == sa.bindparam('project', type_=sa.String),
        m.deleted == sa.false(),
    )
    others = parts(lambda column: column == wanted, of_image=True)
    return sa.union_all(image, *others, membership)


ONE = Statement(_one(), prepare=True)


@functools.lru_cache(maxsize=256)
def metadata(text: str | None) -> Mapping[str, Any]:
    """Metadata of a location. PERF: few different texts occur, so each is parsed once."""
    if not text or text == '{}':
        return EMPTY
    try:
        value = json.loads(text)
    except ValueError:
        return EMPTY
    return MappingProxyType(value) if isinstance(value, dict) else EMPTY


def make_image(
    row: Sequence[Any],
    properties: Mapping[str, str | None],
    tags: Iterable[str],
    locations: list[Location],
) -> Image:
    """`row` has the `COLUMNS`."""
    created, updated = row[-2:]
    if len(locations) > 1:
        locations.sort(key=_by_id)
    build: Any = Image
    image: Image = build(
        *row[:-2],
        created.replace(microsecond=0),
        (updated or created).replace(microsecond=0),
        properties,
        tuple(sorted(set(tags))) if tags else (),
        tuple(locations),
    )
    return image


def _by_id(location: Location) -> int:
    return location.id


def load(
    connection: Connection | Direct, image_id: str, project: str | None
) -> tuple[Image, bool] | None:
    """The live image and whether `project` is a member of it; None when there is none."""
    rows = ONE.rows(connection, {'id': image_id, 'project': project})
    head: Any = None
    properties: dict[str, str | None] = {}
    tags: list[str] = []
    locations: list[Location] = []
    member = False
    for row in rows:
        kind, _, number, key, value, meta = row[:6]
        if kind == PROPERTY:
            properties[key] = value
        elif kind == IMAGE:
            head = row[6:]
        elif kind == TAG:
            tags.append(key)
        elif kind == LOCATION:
            url = sealing.unseal(connection, value)
            locations.append(Location(number, url, metadata(meta), key))
        else:
            member = True
    if head is None:
        return None
    return make_image(head, properties, tags, locations), member


def visible(ctx: RequestContext, image: Image, member: bool) -> bool:
    """Whether the caller may see an image whose id it knows."""
    # What belongs to nobody is for the policy alone, or who has no project could not use its own.
    if ctx.is_admin or image.owner is None or image.visibility in ('public', 'community'):
        return True
    project = ctx.owner
    if project is None:
        return False
    return image.owner == project or (member and image.visibility == 'shared')


def fetch(connection: Connection | Direct, ctx: RequestContext, image_id: str) -> Image:
    """The image if the caller may see it. `ImageNotFound` otherwise."""
    found = load(connection, image_id, ctx.owner)
    if found is None or not visible(ctx, *found):
        raise ImageNotFound(image_id)
    return found[0]


#: Holds the image's row until the end of the transaction (SQLite has one writer anyway).
LOCK = Statement(
    sa.select(images.id)
    .where(images.id == sa.bindparam('id', type_=sa.String), images.deleted == sa.false())
    .with_for_update(),
    prepare=True,
)


def fetch_locked(connection: Connection, ctx: RequestContext, image_id: str) -> Image:
    """As `fetch`, and nobody else changes the image until the end of the transaction."""
    if connection.dialect.name != 'sqlite':
        LOCK.rows(connection, {'id': image_id})
    return fetch(connection, ctx, image_id)


def exact(backend: str, column: Any) -> Any:
    """`column`, to be compared as it is written.

    MySQL and MariaDB else take Secret, sécret and secret with a blank behind it for one word.
    """
    return sa.cast(column, sa.LargeBinary) if backend == 'mysql' else column


def utcnow() -> datetime.datetime:
    """Now, naive UTC, as Glance stamps its rows."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
