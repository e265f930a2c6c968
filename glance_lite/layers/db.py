# SPDX-License-Identifier: Apache-2.0
"""The innermost layer: images in a database. Everything about SQL is in `glance_lite.db`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from glance_lite.db import engine, images, lists, members, operations, removals, rows
from glance_lite.layer import Layer, Parts

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.model import Changes, Image, Member, Operation, Page, Query, Stored
    from glance_lite.stream import Upload

P = ParamSpec('P')
T = TypeVar('T')


class Database(Layer):
    """Reads and writes rows, and decides who may see which image."""

    database: engine.Database
    process: operations.Process

    def __init__(self, parts: Parts) -> None:
        engine.database_url(parts.conf)  # a bad url stops the start
        self._conf = parts.conf

    def start(self) -> None:
        """Make the engine; it connects with the first request."""
        self.process = operations.Process.this()
        self.database = engine.Database(self._conf)

    def stop(self) -> None:
        if hasattr(self, 'database'):
            self.database.dispose()

    def check(self) -> None:
        self.database.read(lambda connection: connection.execute(sa.text('SELECT 1')))

    def _write(
        self,
        ctx: RequestContext,
        function: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """One transaction. What was read for the request is no longer true."""
        ctx.rows.clear()
        return self.database.write(lambda connection: function(connection, *args, **kwargs))

    # --- images

    def get_image(self, ctx: RequestContext, image_id: str) -> Image:
        image: Image | None = ctx.rows.get(image_id)
        if image is None:
            image = self.database.read(lambda connection: rows.fetch(connection, ctx, image_id))
            ctx.rows[image_id] = image
        return image

    peek = get_image

    def list_images(self, ctx: RequestContext, query: Query) -> Page:
        return self.database.read(lambda connection: lists.list_images(connection, ctx, query))

    def create_image(self, ctx: RequestContext, changes: Changes) -> Image:
        return self._write(ctx, images.create, ctx, changes)

    def update_image(self, ctx: RequestContext, image_id: str, changes: Changes) -> Image:
        return self._write(ctx, images.update, ctx, image_id, changes)

    def set_active(self, ctx: RequestContext, image_id: str, active: bool) -> None:
        self._write(ctx, images.set_active, ctx, image_id, active)

    # --- members

    def list_members(self, ctx: RequestContext, image_id: str) -> tuple[Member, ...]:
        return self.database.read(
            lambda connection: members.list_members(connection, ctx, image_id)
        )

    def get_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        return self.database.read(
            lambda connection: members.get_member(connection, ctx, image_id, member_id)
        )

    def add_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        return self._write(ctx, members.add_member, ctx, image_id, member_id)

    def update_member(
        self, ctx: RequestContext, image_id: str, member_id: str, status: str
    ) -> Member:
        return self._write(ctx, members.update_member, ctx, image_id, member_id, status)

    def remove_member(self, ctx: RequestContext, image_id: str, member_id: str) -> None:
        self._write(ctx, members.remove_member, ctx, image_id, member_id)

    # --- the commit protocol

    def claim_upload(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str | None
    ) -> Operation:
        return self._write(ctx, operations.claim_upload, ctx, self.process, image_id, source, store)

    def confirm_upload(self, ctx: RequestContext, claim: Operation, source: Upload) -> None:
        self._write(ctx, operations.confirm_upload, claim, source)

    def commit_upload(
        self, ctx: RequestContext, claim: Operation, source: Upload, stored: Stored
    ) -> Image:
        return self._write(ctx, operations.commit_upload, claim, stored)

    def abort_upload(
        self, ctx: RequestContext, claim: Operation, source: Upload, reason: str
    ) -> None:
        self._write(ctx, operations.abort_upload, claim, reason)

    def claim_delete(self, ctx: RequestContext, image_id: str) -> Operation:
        return self._write(ctx, removals.claim_delete, ctx, self.process, image_id)

    def commit_delete(self, ctx: RequestContext, claim: Operation) -> None:
        self._write(ctx, removals.commit_delete, claim)

    def abort_delete(self, ctx: RequestContext, claim: Operation) -> None:
        self._write(ctx, removals.abort_delete, claim)

    def claim_location(self, ctx: RequestContext, image_id: str, location_id: int) -> Operation:
        return self._write(ctx, removals.claim_location, ctx, self.process, image_id, location_id)
