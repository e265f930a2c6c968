# SPDX-License-Identifier: Apache-2.0
"""Members: the projects a shared image is shared with."""

from __future__ import annotations

import dataclasses
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.context import RequestContext
from glance_lite.db import riders, rows, tables
from glance_lite.errors import Duplicate, Forbidden, Invalid, NotFound
from glance_lite.model import MEMBER_STATUSES, Image, Member

members = tables.image_members.c
_COLUMNS = (members.member, members.status, members.created_at, members.updated_at)


def list_members(connection: Connection, ctx: RequestContext, image_id: str) -> tuple[Member, ...]:
    """All for owner and administrator, itself for a member. `Forbidden`: not a shared image."""
    image = rows.fetch(connection, ctx, image_id)
    if image.visibility != 'shared':
        raise Forbidden('Only shared images have members')
    wanted = _live(image_id)
    if not _sees_all(ctx, image):
        wanted = wanted.where(members.member == ctx.owner)
    found = connection.execute(wanted.order_by(members.id)).fetchall()
    return tuple(_member(image, row) for row in found)


def get_member(
    connection: Connection, ctx: RequestContext, image_id: str, member_id: str
) -> Member:
    image = rows.fetch(connection, ctx, image_id)
    return _find(connection, ctx, image, member_id)


def add_member(
    connection: Connection, ctx: RequestContext, image_id: str, member_id: str
) -> Member:
    """Share with one more project, pending. `Forbidden`, `LimitExceeded`, `Duplicate`."""
    image = rows.fetch_locked(connection, ctx, image_id)
    if image.visibility != 'shared':
        raise Forbidden('Only a shared image can have members')
    riders.claim(connection, ctx.riders, riders.Ride(image_id))
    of_member = sa.and_(members.image_id == image_id, members.member == member_id)
    rank = sa.select(members.id, members.deleted).where(of_member).order_by(members.deleted)
    known = connection.execute(rank).first()
    now = rows.utcnow()
    values: dict[str, Any] = {
        'status': 'pending',
        'created_at': now,
        'updated_at': now,
        'deleted': False,
    }
    if known is None:
        new = sa.insert(tables.image_members)
        connection.execute(
            new.values(image_id=image_id, member=member_id, can_share=False, **values)
        )
    elif not known.deleted:
        raise Duplicate(f'{member_id} is a member of the image {image_id} already')
    else:
        # Bring the old row back: the unique key has no room for two removals in one second.
        old = sa.update(tables.image_members).where(members.id == known.id)
        connection.execute(old.values(deleted_at=None, **values))
    stamp = now.replace(microsecond=0)
    member = Member(image_id, member_id, 'pending', stamp, stamp, image)
    riders.announce(connection, ctx.riders, member)
    return member


def update_member(
    connection: Connection, ctx: RequestContext, image_id: str, member_id: str, status: str
) -> Member:
    """Any status to any other. `NotFound`, `Invalid`."""
    if status not in MEMBER_STATUSES:
        raise Invalid(f'The status of a member is one of {", ".join(MEMBER_STATUSES)}')
    image = rows.fetch_locked(connection, ctx, image_id)
    member = _find(connection, ctx, image, member_id)
    now = rows.utcnow()
    connection.execute(_change(image_id, member_id).values(status=status, updated_at=now))
    stamp = now.replace(microsecond=0)
    member = dataclasses.replace(member, status=status, updated_at=stamp)
    riders.announce(connection, ctx.riders, member)
    return member


def remove_member(
    connection: Connection, ctx: RequestContext, image_id: str, member_id: str
) -> Member:
    image = rows.fetch_locked(connection, ctx, image_id)
    member = _find(connection, ctx, image, member_id)
    now = rows.utcnow()
    connection.execute(
        _change(image_id, member_id).values(deleted=True, deleted_at=now, updated_at=now)
    )
    member = dataclasses.replace(member, updated_at=now.replace(microsecond=0))
    riders.announce(connection, ctx.riders, member)
    return member


def _sees_all(ctx: RequestContext, image: Image) -> bool:
    return ctx.is_admin or (ctx.owner is not None and image.owner == ctx.owner)


def _live(image_id: str) -> sa.Select[Any]:
    return sa.select(*_COLUMNS).where(members.image_id == image_id, members.deleted == sa.false())


def _change(image_id: str, member_id: str) -> sa.Update:
    return sa.update(tables.image_members).where(
        members.image_id == image_id, members.member == member_id, members.deleted == sa.false()
    )


def _find(connection: Connection, ctx: RequestContext, image: Image, member_id: str) -> Member:
    row = None
    if _sees_all(ctx, image) or member_id == ctx.owner:
        row = connection.execute(_live(image.id).where(members.member == member_id)).first()
    if row is None:
        raise NotFound(f'{member_id} is not a member of the image {image.id}')
    return _member(image, row)


def _member(image: Image, row: Any) -> Member:
    created = row.created_at.replace(microsecond=0)
    updated = (row.updated_at or row.created_at).replace(microsecond=0)
    return Member(image.id, row.member, row.status, created, updated, image)
