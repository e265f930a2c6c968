# SPDX-License-Identifier: Apache-2.0
"""The cache of this host, as a part of ``location``: what is asked of it, and keeping it right.

Downloads need nothing of this: for them the cache is a location that the `Gateway` tries first.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from glance_lite.cache.key import Key
from glance_lite.cache.operations import CacheState
from glance_lite.errors import Conflict, ImageNotFound, NotFound, StoreError
from glance_lite.layer import Layer, Metric, Parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glance_lite.cache.cache import Cache
    from glance_lite.context import RequestContext
    from glance_lite.layers.callers import Callers
    from glance_lite.model import Image

LOG = logging.getLogger(__name__)

#: The driver that tells all hosts what one of them has.
CENTRAL = 'centralized_db'


class Caching(Layer):
    """Operations on the cache."""

    _callers: Callers

    def __init__(self, parts: Parts) -> None:
        self._gateway = parts.gateway
        self._central: bool = parts.conf.image_cache_driver.lower() == CENTRAL
        self._node: str | None = parts.conf.worker_self_reference_url

    def _cache(self) -> Cache:
        cache = self._gateway.cache
        if not cache.enabled:
            raise NotFound('No cache is in use here')
        return cache

    def _cache_metrics(self) -> Iterator[Metric]:
        """How much is in the cache of this host."""
        if not self._gateway.cache.enabled:
            return
        used, limit = self._gateway.cache.size()
        text = 'Bytes in the cache of this host, those that are coming included.'
        yield Metric('glance_lite_cache_used_bytes', text, used)
        text = 'Most bytes that the cache of this host may have.'
        yield Metric('glance_lite_cache_size_bytes', text, limit)

    # --- what is asked

    def list_cache(self, ctx: RequestContext) -> CacheState:
        cache = self._cache()
        cached = sorted(cache.entries(), key=lambda entry: entry.last_modified)
        return CacheState(tuple(cached), tuple(cache.queued()))

    def queue_for_cache(self, ctx: RequestContext, image_id: str) -> None:
        cache = self._cache()
        if all(entry.key.image_id != image_id for entry in cache.entries()):
            cache.enqueue(image_id)

    def drop_from_cache(self, ctx: RequestContext, image_id: str, queue: bool | None) -> bool:
        cache = self._cache()
        there = queue is not True and cache.drop(image_id)
        waited = queue is not False and cache.dequeue(image_id)
        return there or waited

    def clear_cache(self, ctx: RequestContext, queue: bool | None) -> int:
        cache = self._cache()
        there = cache.clear() if queue is not True else 0
        return there + (cache.clear_queue() if queue is not False else 0)

    def list_cache_nodes(self, ctx: RequestContext, image_id: str) -> tuple[str, ...]:
        self._cache()
        if not self._central:
            raise Conflict(f'Only with image_cache_driver = {CENTRAL} it is known who has what')
        self.next.peek(ctx, image_id)
        return self.next.find_cache_nodes(ctx, image_id)

    def clean_cache(self, ctx: RequestContext) -> int:
        return self._cache().clean()

    def prune_cache(self, ctx: RequestContext) -> tuple[int, int]:
        return self._cache().prune()

    # --- what becomes of images

    def set_active(self, ctx: RequestContext, image_id: str, active: bool) -> Image:
        image = self.next.set_active(ctx, image_id, active)
        if not active:
            self._gateway.cache.drop(image_id)
        return image

    def tend_cache(self, ctx: RequestContext) -> None:
        cache = self._gateway.cache
        if not cache.enabled:
            return
        with cache.tending():
            keys = cache.keys()
            if keys:
                ids = sorted({key.image_id for key in keys})
                cache.drop_keys(set(keys) - self._live(ctx, ids))
            cache.clean(everything=False)
            cache.prune()
            if self._central and self._node:
                self.next.report_cache(ctx, self._node, cache.entries())

    def _live(self, ctx: RequestContext, image_ids: Sequence[str]) -> frozenset[Key]:
        return self.next.find_cacheable(ctx, image_ids)

    def fetch_queued(self, ctx: RequestContext) -> int:
        cache = self._gateway.cache
        if not cache.enabled:
            return 0
        return sum(self._fetch(ctx, cache, image_id) for image_id in cache.queued())

    def _fetch(self, ctx: RequestContext, cache: Cache, image_id: str) -> bool:
        with cache.taken(image_id) as mine:
            if not mine:
                return False
            try:
                image = self.next.peek(ctx, image_id)
                caller = self._callers.service(image.owner)
                done = self._gateway.prefetch(image, caller)
                if not done:
                    LOG.warning('Image %s was queued, and cannot be cached', image_id)
            except ImageNotFound:
                done = False
            except StoreError as ex:
                LOG.warning('Image %s stays queued for the cache: %s', image_id, ex)
                return False
            cache.dequeue(image_id)
            return done
