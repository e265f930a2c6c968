# SPDX-License-Identifier: Apache-2.0
"""Refuses what would take an image or a project over its limits.

Knows nothing of stores, SQL or HTTP: room for bytes is a rider, claimed by ``db`` together with
the row.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from glance_lite.conf import where
from glance_lite.errors import ConfigurationError, LimitExceeded
from glance_lite.layer import Layer, Parts
from glance_lite.model import RESERVED_PREFIX, Reservation

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.model import Changes, Image, Member, NewLocation
    from glance_lite.stream import Upload

UNITS = {'': 1, 'B': 1, 'KB': 1 << 10, 'MB': 1 << 20, 'GB': 1 << 30, 'TB': 1 << 40}


def parse_size(text: str) -> int:
    """Bytes from a number with an optional unit. Raises `ConfigurationError`."""
    match = re.fullmatch(r'\s*(\d+)\s*([A-Za-z]*)\s*', text)
    if match is None or match[2].upper() not in UNITS:
        raise ConfigurationError(
            f'[DEFAULT] user_storage_quota: {text!r} is not a number of bytes with one of the '
            f'units B, KB, MB, GB, TB'
        )
    return int(match[1]) * UNITS[match[2].upper()]


class Quota(Layer):
    """Counts of properties, tags, members, locations; sizes of images and of projects."""

    outside_of = ('location', 'db')

    def __init__(self, parts: Parts) -> None:
        conf = parts.conf
        self._size_cap: int = conf.image_size_cap
        if conf.use_keystone_limits:
            file = where(conf, 'DEFAULT', 'use_keystone_limits')
            raise ConfigurationError(
                f'{file}[DEFAULT] use_keystone_limits: this version has no limits from Keystone, '
                f'and without them projects would have none'
            )
        self._storage = parse_size(conf.user_storage_quota)
        self._properties: int = conf.image_property_quota
        self._tags: int = conf.image_tag_quota
        self._members: int = conf.image_member_quota
        self._locations: int = conf.image_location_quota

    def create_image(self, ctx: RequestContext, changes: Changes) -> Image:
        _limit('properties', len(changes.properties), self._properties)
        _limit('tags', len((changes.tags or frozenset()) | changes.add_tags), self._tags)
        return self.next.create_image(ctx, changes)

    def update_image(self, ctx: RequestContext, image_id: str, changes: Changes) -> Image:
        if changes.properties or changes.tags is not None or changes.add_tags:
            self._check(self.next.peek(ctx, image_id), changes)
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
            _limit('locations', count, self._locations)
        if not self._storage:
            return changes
        return changes.riding(Reservation(image.owner, None, self._storage))

    def add_location(self, ctx: RequestContext, image_id: str, new: NewLocation) -> None:
        _limit('locations', 1, self._locations)
        if self._storage:
            owner = self.next.peek(ctx, image_id).owner
            rider = Reservation(owner, None, self._storage)
            new = dataclasses.replace(new, riders=(*new.riders, rider))
        self.next.add_location(ctx, image_id, new)

    def _check(self, image: Image, changes: Changes) -> None:
        """Only growth is refused: a limit that was lowered locks nobody out of mending."""
        before = {name for name in image.properties if not name.startswith(RESERVED_PREFIX)}
        after = (before | changes.properties.keys()) - (changes.remove - changes.properties.keys())
        if len(after) > len(before):
            _limit('properties', len(after), self._properties)
        tags = frozenset(image.tags) if changes.tags is None else changes.tags
        tags = (tags | changes.add_tags) - changes.remove_tags
        if len(tags) > len(image.tags):
            _limit('tags', len(tags), self._tags)

    def add_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        if self._members >= 0:
            count = len(self.next.list_members(ctx, image_id))
            _limit('members', count + 1, self._members)
        return self.next.add_member(ctx, image_id, member_id)

    def upload(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str | None
    ) -> Image:
        cap = self._size_cap
        source.limit_to(cap, f'An image may have {cap} bytes at most (image_size_cap)')
        if self._storage:
            owner = self.next.peek(ctx, image_id).owner
            source.limit_to(
                self._storage, f'The images of a project may take {self._storage} bytes at most'
            )
            source.ride(Reservation(owner, source.size, self._storage))
        return self.next.upload(ctx, image_id, source, store)


def _limit(what: str, count: int, limit: int) -> None:
    if 0 <= limit < count:
        raise LimitExceeded(f'An image may have {limit} {what} at most; this would make {count}')
