# SPDX-License-Identifier: Apache-2.0
"""Who may write at all, and for whom: what is true whatever the policy files say.

Reads are none of its business: what a caller may not see is not found by ``db``. Neither are
members and the registration of locations, which policy files alone decide on, as in Glance.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from glance_lite.errors import Forbidden
from glance_lite.layers.encryption_keys import EncryptionKeys
from glance_lite.metadefs.auth import MetadefAuth, may_write
from glance_lite.model import RESERVED_PREFIX, Changes

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.imports.jobs import ImportRequest
    from glance_lite.layer import Parts
    from glance_lite.model import Image, Member, NewLocation
    from glance_lite.stream import Upload
    from glance_lite.tasks import NewTask, Task


class Auth(MetadefAuth):
    """Anonymous callers change nothing, and images are changed by the project that owns them."""

    outside_of = ('property_protection', 'notifier', 'policy', 'quota', 'location', 'db')

    def __init__(self, parts: Parts) -> None:
        self._encryption_keys = EncryptionKeys(parts.conf)

    def create_image(self, ctx: RequestContext, changes: Changes) -> Image:
        may_write(ctx)
        _refuse_reserved(changes)
        fields = changes.fields
        if 'owner' not in fields:
            changes = dataclasses.replace(changes, fields={**fields, 'owner': ctx.project_id})
        elif fields['owner'] != ctx.project_id and not ctx.is_admin:
            raise Forbidden(f'You may not create images owned by {fields["owner"]}')
        return self.next.create_image(ctx, changes)

    def _changeable(self, ctx: RequestContext, image_id: str) -> Image:
        """The image, if the caller's project owns it or the caller is an administrator."""
        may_write(ctx)
        image = self.next.peek(ctx, image_id)
        if ctx.is_admin or _owns(ctx, image):
            return image
        self._seen(ctx, image_id)
        raise Forbidden('The image is not one of your project')

    def _seen(self, ctx: RequestContext, image_id: str) -> None:
        """Whoever may not see an image, or whom policy hides it from, is told no more than that."""
        self.next.get_image(ctx, image_id)

    def update_image(self, ctx: RequestContext, image_id: str, changes: Changes) -> Image:
        _refuse_reserved(changes)
        self._changeable(ctx, image_id)
        if 'owner' in changes.fields and not ctx.is_admin:
            self._seen(ctx, image_id)
            raise Forbidden('Only an administrator sets the owner of an image')
        return self.next.update_image(ctx, image_id, changes)

    def delete_image(self, ctx: RequestContext, image_id: str) -> None:
        image = self._changeable(ctx, image_id)
        self.next.delete_image(ctx, image_id)
        # Not before: what stays, because a store needs it or the database is away, keeps its key.
        self._encryption_keys.delete(ctx, image)

    def set_active(self, ctx: RequestContext, image_id: str, active: bool) -> Image:
        self._changeable(ctx, image_id)
        return self.next.set_active(ctx, image_id, active)

    def upload(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str | None
    ) -> Image:
        self._changeable(ctx, image_id)
        return self.next.upload(ctx, image_id, source, store)

    def stage(self, ctx: RequestContext, image_id: str, source: Upload) -> Image:
        self._changeable(ctx, image_id)
        return self.next.stage(ctx, image_id, source)

    def import_image(self, ctx: RequestContext, image_id: str, asked: ImportRequest) -> Image:
        if asked.method == 'copy-image':
            may_write(ctx)  # whose images may be copied, the policy says
        else:
            self._changeable(ctx, image_id)
        return self.next.import_image(ctx, image_id, asked)

    def delete_from_store(self, ctx: RequestContext, image_id: str, store: str) -> None:
        self._changeable(ctx, image_id)
        self.next.delete_from_store(ctx, image_id, store)

    def add_location(self, ctx: RequestContext, image_id: str, new: NewLocation) -> None:
        may_write(ctx)
        self.next.add_location(ctx, image_id, new)

    def add_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        may_write(ctx)
        return self.next.add_member(ctx, image_id, member_id)

    def update_member(
        self, ctx: RequestContext, image_id: str, member_id: str, status: str
    ) -> Member:
        may_write(ctx)
        return self.next.update_member(ctx, image_id, member_id, status)

    def remove_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        may_write(ctx)
        return self.next.remove_member(ctx, image_id, member_id)

    def queue_for_cache(self, ctx: RequestContext, image_id: str) -> None:
        may_write(ctx)
        self.next.queue_for_cache(ctx, image_id)

    def drop_from_cache(self, ctx: RequestContext, image_id: str, queue: bool | None) -> bool:
        may_write(ctx)
        return self.next.drop_from_cache(ctx, image_id, queue)

    def clear_cache(self, ctx: RequestContext, queue: bool | None) -> int:
        may_write(ctx)
        return self.next.clear_cache(ctx, queue)

    def clean_cache(self, ctx: RequestContext) -> int:
        may_write(ctx)
        return self.next.clean_cache(ctx)

    def prune_cache(self, ctx: RequestContext) -> tuple[int, int]:
        may_write(ctx)
        return self.next.prune_cache(ctx)

    def create_task(self, ctx: RequestContext, task: NewTask) -> Task:
        may_write(ctx)
        return self.next.create_task(ctx, task)


def _owns(ctx: RequestContext, image: Image) -> bool:
    if image.owner is None:
        # Nobody's: for administrators, and where no caller is anybody, in a pipeline without them.
        return ctx.project_id is None and ctx.user_id is None
    return bool(image.owner == ctx.project_id)


def _refuse_reserved(changes: Changes) -> None:
    """Properties of the service's own are not for clients: neither to make nor to remove."""
    for name in (*changes.properties, *changes.remove):
        if name.startswith(RESERVED_PREFIX):
            raise Forbidden(f'Properties that begin with {RESERVED_PREFIX} belong to the service')
