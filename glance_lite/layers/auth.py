# SPDX-License-Identifier: Apache-2.0
"""Who may write at all, and for whom: what is true whatever the policy files say.

Reads are none of its business: what a caller may not see is not found by ``db``.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from glance_lite.errors import Forbidden
from glance_lite.metadefs.auth import MetadefAuth, may_write
from glance_lite.model import RESERVED_PREFIX, Changes

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.model import Image, Member, NewLocation, Rider
    from glance_lite.stream import Upload
    from glance_lite.tasks import NewTask, Task


class Auth(MetadefAuth):
    """Anonymous callers change nothing, and images belong to whoever made them."""

    outside_of = ('property_protection', 'notifier', 'policy', 'quota', 'location', 'db')

    def create_image(self, ctx: RequestContext, changes: Changes) -> Image:
        may_write(ctx)
        _refuse_reserved(changes)
        fields = changes.fields
        if 'owner' not in fields:
            changes = dataclasses.replace(changes, fields={**fields, 'owner': ctx.project_id})
        elif fields['owner'] != ctx.project_id and not ctx.is_admin:
            raise Forbidden(f'You may not create images owned by {fields["owner"]}')
        return self.next.create_image(ctx, changes)

    def update_image(self, ctx: RequestContext, image_id: str, changes: Changes) -> Image:
        may_write(ctx)
        _refuse_reserved(changes)
        if 'owner' in changes.fields and not ctx.is_admin:
            # Whoever may not see it must not learn that it is there.
            self.next.get_image(ctx, image_id)
            raise Forbidden('Only an administrator sets the owner of an image')
        return self.next.update_image(ctx, image_id, changes)

    def delete_image(self, ctx: RequestContext, image_id: str) -> None:
        may_write(ctx)
        self.next.delete_image(ctx, image_id)

    def set_active(self, ctx: RequestContext, image_id: str, active: bool) -> Image:
        may_write(ctx)
        return self.next.set_active(ctx, image_id, active)

    def upload(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str | None
    ) -> Image:
        may_write(ctx)
        return self.next.upload(ctx, image_id, source, store)

    def delete_from_store(self, ctx: RequestContext, image_id: str, store: str) -> None:
        may_write(ctx)
        self.next.delete_from_store(ctx, image_id, store)

    def add_location(self, ctx: RequestContext, image_id: str, new: NewLocation) -> None:
        may_write(ctx)
        self.next.add_location(ctx, image_id, new)

    def add_member(
        self,
        ctx: RequestContext,
        image_id: str,
        member_id: str,
        riders: tuple[Rider, ...] = (),
    ) -> Member:
        may_write(ctx)
        return self.next.add_member(ctx, image_id, member_id, riders)

    def update_member(
        self, ctx: RequestContext, image_id: str, member_id: str, status: str
    ) -> Member:
        may_write(ctx)
        return self.next.update_member(ctx, image_id, member_id, status)

    def remove_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        may_write(ctx)
        return self.next.remove_member(ctx, image_id, member_id)

    def create_task(self, ctx: RequestContext, task: NewTask) -> Task:
        may_write(ctx)
        return self.next.create_task(ctx, task)


def _refuse_reserved(changes: Changes) -> None:
    """Properties of the service's own are not for clients: neither to make nor to remove."""
    for name in (*changes.properties, *changes.remove):
        if name.startswith(RESERVED_PREFIX):
            raise Forbidden(f'Properties that begin with {RESERVED_PREFIX} belong to the service')
