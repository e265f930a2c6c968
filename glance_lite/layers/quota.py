# SPDX-License-Identifier: Apache-2.0
"""Refuses what would take an image or a project over its limits.

Knows nothing of stores, SQL or HTTP: what must hold of rows is a rider, and claimed by ``db``
together with them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from glance_lite.conf.quota import parse_size
from glance_lite.layer import Layer, Metric, Parts
from glance_lite.model import Ceiling, ImageLimits, LimitUsage, MemberLimit, Reservation
from glance_lite.unified_limits import UnifiedLimits

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.imports.jobs import ImportRequest
    from glance_lite.model import Changes, Image, Member, NewLocation, Rider
    from glance_lite.stream import Upload

MEBIBYTE = 1 << 20

#: Limit in Keystone -> counter of `Usage`, and how many of it make one of the limit's unit.
UNIFIED: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        'image_size_total': ('size', MEBIBYTE),
        'image_stage_total': ('staged', MEBIBYTE),
        'image_count_total': ('images', 1),
        'image_count_uploading': ('uploading', 1),
    }
)


class Quota(Layer):
    """Counts of properties, tags, members, locations; sizes of images and of projects."""

    outside_of = ('location', 'db')

    def __init__(self, parts: Parts) -> None:
        conf = parts.conf
        self._size_cap: int = conf.image_size_cap
        self._storage = parse_size(conf.user_storage_quota)
        self._unified = UnifiedLimits(conf) if conf.use_keystone_limits else None
        self._members = MemberLimit(conf.image_member_quota)
        self._image = ImageLimits(
            properties=conf.image_property_quota,
            tags=conf.image_tag_quota,
            locations=conf.image_location_quota,
        )

    def _limits(self, project: str | None) -> Mapping[str, int]:
        """Counter -> limit in its own unit; a counter without limit is not there. `Unavailable`."""
        if self._unified is None:
            return {'size': self._storage} if self._storage else {}
        return {
            UNIFIED[name][0]: limit * UNIFIED[name][1]
            for name, limit in self._unified.of(project).items()
            if limit >= 0
        }

    def metrics(self) -> Iterator[Metric]:
        """The limit that is the same for all projects; what they use, ``db`` knows."""
        if self._storage and self._unified is None:
            text = 'Bytes that the images of one project may take.'
            yield Metric('glance_lite_project_quota_bytes', text, self._storage)

    # --- images

    def create_image(self, ctx: RequestContext, changes: Changes) -> Image:
        self._image.check('properties', len(changes.properties))
        self._image.check('tags', len((changes.tags or frozenset()) | changes.add_tags))
        owner = changes.fields.get('owner', ctx.owner)
        limit = self._limits(owner).get('images')
        if limit is not None:
            changes = changes.riding(Ceiling(owner, 'images', limit))
        return self.next.create_image(ctx, changes)

    def update_image(self, ctx: RequestContext, image_id: str, changes: Changes) -> Image:
        if changes.properties or changes.tags is not None or changes.add_tags:
            changes = changes.riding(self._image)
        if changes.locations:
            changes = self._check_locations(self.next.peek(ctx, image_id), changes)
        return self.next.update_image(ctx, image_id, changes)

    def _check_locations(self, image: Image, changes: Changes) -> Changes:
        """How many there are after each step; the room for their bytes rides along."""
        count = len(image.locations)
        for step in changes.locations:
            if step.op == 'remove':
                count -= 1
                continue
            count = len(step.values) + (count if step.op == 'add' else 0)
            self._image.check('locations', count)
        limit = self._limits(image.owner).get('size')
        return changes if limit is None else changes.riding(Reservation(image.owner, None, limit))

    def add_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        with ctx.riding(self._members):
            return self.next.add_member(ctx, image_id, member_id)

    # --- data

    def upload(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str | None
    ) -> Image:
        cap = self._size_cap
        source.limit_to(cap, f'An image may have {cap} bytes at most (image_size_cap)')
        if self._storage or self._unified:
            owner = self.next.peek(ctx, image_id).owner
            limits = self._limits(owner)
            if 'size' in limits:
                limit = limits['size']
                source.limit_to(limit, f'The images of a project may take {limit} bytes at most')
            for rider in _coming(owner, source.size, limits):
                source.ride(rider)
        return self.next.upload(ctx, image_id, source, store)

    def add_location(self, ctx: RequestContext, image_id: str, new: NewLocation) -> None:
        self._image.check('locations', 1)
        if self._storage or self._unified:
            owner = self.next.peek(ctx, image_id).owner
            riders = _coming(owner, None, self._limits(owner))
            new = dataclasses.replace(new, riders=(*new.riders, *riders))
        self.next.add_location(ctx, image_id, new)

    def stage(self, ctx: RequestContext, image_id: str, source: Upload) -> Image:
        cap = self._size_cap
        source.limit_to(cap, f'An image may have {cap} bytes at most (image_size_cap)')
        if self._unified:
            owner = self.next.peek(ctx, image_id).owner
            limits = self._limits(owner)
            if 'staged' in limits:
                limit = limits['staged']
                source.limit_to(limit, f'A project may stage {limit} bytes at most')
                source.ride(Reservation(owner, source.size, limit, 'staged'))
            if 'uploading' in limits:
                source.ride(Ceiling(owner, 'uploading', limits['uploading']))
        return self.next.stage(ctx, image_id, source)

    def import_image(self, ctx: RequestContext, image_id: str, asked: ImportRequest) -> Image:
        if self._storage or self._unified:
            owner = self.next.peek(ctx, image_id).owner
            limits = self._limits(owner)
            riders = _coming(owner, None, limits)
            if 'staged' in limits:
                riders = (*riders, Reservation(owner, None, limits['staged'], 'staged'))
            asked = dataclasses.replace(asked, riders=(*asked.riders, *riders))
        return self.next.import_image(ctx, image_id, asked)

    # --- asking

    def list_usage(self, ctx: RequestContext) -> tuple[LimitUsage, ...]:
        if self._unified is None:
            return self.next.list_usage(ctx)
        limits = self._unified.of(ctx.owner)
        used = self.next.count_usage(ctx, ctx.owner)
        return tuple(
            LimitUsage(name, limits[name], getattr(used, counter) // unit)
            for name, (counter, unit) in UNIFIED.items()
        )


def _coming(project: str | None, size: int | None, limits: Mapping[str, int]) -> tuple[Rider, ...]:
    """For data on its way: its room, and that of an image more to which some is coming."""
    riders: list[Rider] = []
    if 'size' in limits:
        riders.append(Reservation(project, size, limits['size']))
    if 'uploading' in limits:
        riders.append(Ceiling(project, 'uploading', limits['uploading']))
    return tuple(riders)
