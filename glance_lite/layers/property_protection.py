# SPDX-License-Identifier: Apache-2.0
"""Who may create, read, update and delete which custom properties.

What the file says is read by `glance_lite.policy.protections`. Values are filtered on their way up
and changes are checked on their way down; nothing that a caller cannot see is ever written over,
because changes are deltas.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import TYPE_CHECKING

from glance_lite.errors import Conflict, Forbidden
from glance_lite.layer import Layer, Parts
from glance_lite.model import Image, Page
from glance_lite.policy.protections import Protections, Readable

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.imports.jobs import ImportRequest
    from glance_lite.model import Changes, Member, Query, Wanted
    from glance_lite.stream import Download, Upload


class PropertyProtection(Layer):
    """Hides properties on the way up and refuses changes to them on the way down."""

    outside_of = ('notifier', 'policy', 'quota', 'location', 'db')

    def __init__(self, parts: Parts) -> None:
        conf = parts.conf
        path = conf.property_protection_file
        if path and not pathlib.Path(path).is_absolute():
            path = conf.find_file(path) or path
        self._rules = (
            Protections(path, conf.property_protection_rule_format, parts.enforcer)
            if path
            else None
        )

    def acts(self) -> bool:
        return self._rules is not None

    def start(self) -> None:
        assert self._rules is not None
        self._rules.start()

    # --- values on their way up

    def _readable(self, ctx: RequestContext) -> Readable:
        assert self._rules is not None
        return Readable(self._rules, ctx)

    def _seen(self, ctx: RequestContext, image: Image) -> Image:
        return _without_hidden(image, self._readable(ctx))

    def get_image(self, ctx: RequestContext, image_id: str) -> Image:
        return self._seen(ctx, self.next.get_image(ctx, image_id))

    def peek(self, ctx: RequestContext, image_id: str) -> Image:
        return self._seen(ctx, self.next.peek(ctx, image_id))

    def list_images(self, ctx: RequestContext, query: Query) -> Page:
        readable = self._readable(ctx)
        if not all(readable[name] for name in query.properties):
            # To answer by the hidden value would tell it; so would an error, by existing
            # for hidden names only. Nothing matches, as with a property nobody has.
            query = dataclasses.replace(query, limit=0)
        page = self.next.list_images(ctx, query)
        images = [_without_hidden(image, readable) for image in page.images]
        return Page(images, page.full, page.marker)

    def set_active(self, ctx: RequestContext, image_id: str, active: bool) -> Image:
        return self._seen(ctx, self.next.set_active(ctx, image_id, active))

    def upload(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str | None
    ) -> Image:
        return self._seen(ctx, self.next.upload(ctx, image_id, source, store))

    def stage(self, ctx: RequestContext, image_id: str, source: Upload) -> Image:
        return self._seen(ctx, self.next.stage(ctx, image_id, source))

    def import_image(self, ctx: RequestContext, image_id: str, asked: ImportRequest) -> Image:
        return self._seen(ctx, self.next.import_image(ctx, image_id, asked))

    def download(self, ctx: RequestContext, image_id: str, wanted: Wanted) -> Download:
        download = self.next.download(ctx, image_id, wanted)
        return download.replace_image(self._seen(ctx, download.image))

    def _member(self, ctx: RequestContext, member: Member) -> Member:
        if member.image is None:
            return member
        return dataclasses.replace(member, image=self._seen(ctx, member.image))

    def list_members(self, ctx: RequestContext, image_id: str) -> tuple[Member, ...]:
        return tuple(self._member(ctx, one) for one in self.next.list_members(ctx, image_id))

    def get_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        return self._member(ctx, self.next.get_member(ctx, image_id, member_id))

    def add_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        return self._member(ctx, self.next.add_member(ctx, image_id, member_id))

    def update_member(
        self, ctx: RequestContext, image_id: str, member_id: str, status: str
    ) -> Member:
        return self._member(ctx, self.next.update_member(ctx, image_id, member_id, status))

    def remove_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        return self._member(ctx, self.next.remove_member(ctx, image_id, member_id))

    # --- changes on their way down

    def create_image(self, ctx: RequestContext, changes: Changes) -> Image:
        for name in changes.properties:
            self._may(ctx, 'create', name)
        return self._seen(ctx, self.next.create_image(ctx, changes))

    def update_image(self, ctx: RequestContext, image_id: str, changes: Changes) -> Image:
        if changes.touched:
            try:
                self._check(ctx, self.next.peek(ctx, image_id), changes)
            except (Forbidden, Conflict):
                # Whom policy keeps from this image is told so, whatever else is wrong.
                self.next.get_image(ctx, image_id)
                self.next.admit(ctx, 'modify_image', image_id)
                raise
        return self._seen(ctx, self.next.update_image(ctx, image_id, changes))

    def _check(self, ctx: RequestContext, image: Image, changes: Changes) -> None:
        """What is there and unreadable is treated as missing, as far as it can be."""
        readable = self._readable(ctx)
        seen = {name for name in changes.touched & image.properties.keys() if readable[name]}
        for name in sorted(changes.touched & changes.require):
            if name not in seen:
                raise Conflict(f'The image has no property {name}')
        for name in sorted(changes.touched):
            if name in changes.remove:
                self._may(ctx, 'delete', name)
            else:
                self._may(ctx, 'update' if name in seen else 'create', name)
            if name in image.properties and name not in seen:
                # Writing over what one cannot see would lose it for those who can.
                raise Forbidden(f'Property {name} is protected')

    def _may(self, ctx: RequestContext, operation: str, name: str) -> None:
        assert self._rules is not None
        if not self._rules.allowed(ctx, operation, name):
            raise Forbidden(f'Property {name} is protected')


def _without_hidden(image: Image, readable: Readable) -> Image:
    properties = image.properties
    shown = {name: value for name, value in properties.items() if readable[name]}
    return image if len(shown) == len(properties) else image.replace(properties=shown)
