# SPDX-License-Identifier: Apache-2.0
"""The operations on the cache of this host: the values, and the contract.

Whoever calls one that is not inner has asked `admit` first, with the rule of its route: the old
routes and the new ones have different rules for the same thing. All raise `NotFound` where there
is no cache.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from glance_lite.cache.directory import Entry
from glance_lite.cache.key import Key
from glance_lite.contract import Family, operation

if TYPE_CHECKING:
    from glance_lite.context import RequestContext


@dataclasses.dataclass(frozen=True, slots=True)
class CacheState:
    """What is in the cache of a host, and the ids of the images that are to be fetched into it."""

    cached: tuple[Entry, ...]
    queued: tuple[str, ...]


class CacheOperations(Family):
    @operation()
    def list_cache(self, ctx: RequestContext) -> CacheState:
        """What is cached and what waits, each oldest first."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def queue_for_cache(self, ctx: RequestContext, image_id: str) -> None:
        """Have an image fetched in the background, unless it is there."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def drop_from_cache(self, ctx: RequestContext, image_id: str, queue: bool | None) -> bool:
        """Forget the copy of an image (`queue` False), its place in the queue (True), or both.

        Whether there was any.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def clear_cache(self, ctx: RequestContext, queue: bool | None) -> int:
        """The same for all images; how many there were."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation()
    def list_cache_nodes(self, ctx: RequestContext, image_id: str) -> tuple[str, ...]:
        """Urls of the hosts that have an image in their cache.

        `ImageNotFound`. `Conflict`: the cache is not one that tells others.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def clean_cache(self, ctx: RequestContext) -> int:
        """Remove what was given up, or is of no use; how many files."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def prune_cache(self, ctx: RequestContext) -> tuple[int, int]:
        """Come back to the size limit, were it made smaller; (files, bytes) that went."""
        return self._unlinked()  # type: ignore[no-any-return]

    # --- what is done in the background

    @operation(writes=True, inner=True)
    def tend_cache(self, ctx: RequestContext) -> None:
        """Remove copies of images that are gone, and tell other hosts what is here."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def fetch_queued(self, ctx: RequestContext) -> int:
        """Fetch what waits; how many images came."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def find_cacheable(self, ctx: RequestContext, image_ids: Sequence[str]) -> frozenset[Key]:
        """What copies of these images would be called; none of one that may not be cached."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def find_cache_nodes(self, ctx: RequestContext, image_id: str) -> tuple[str, ...]:
        """Urls of the hosts that said that they have an image in their cache."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def report_cache(self, ctx: RequestContext, node: str, entries: Sequence[Entry]) -> None:
        """Say what a host, known by its url, has in its cache. Nothing is written if it was so."""
        return self._unlinked()  # type: ignore[no-any-return]
