# SPDX-License-Identifier: Apache-2.0
"""The operations of what is brought up to date in the background: hashes, usage, placement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from glance_lite.contract import Family, operation

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.updates.values import Hashed, Hashing, Placed, Placement


class UpdateOperations(Family):
    """No request asks for these; duties and commands do, and enter the chain at ``location``."""

    # --- hashes

    @operation(inner=True)
    def list_unhashed(self, ctx: RequestContext, after: str, count: int) -> tuple[str, ...]:
        """At most `count` ids, larger than `after`, of images with data and without a hash."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def hash_data(self, ctx: RequestContext, hashing: Hashing) -> bool:
        """Read the data of an image, and note its hash; False: it has one, or has changed.

        `StoreError`: it cannot be read, or is not of the size that the image says.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def set_digests(self, ctx: RequestContext, hashed: Hashed) -> bool:
        """Note a hash, if the image has none and is as it was."""
        return self._unlinked()  # type: ignore[no-any-return]

    # --- usage

    @operation(inner=True)
    def list_projects(self, ctx: RequestContext) -> tuple[str | None, ...]:
        """All projects that have, or had, images or reservations."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def recount_usage(self, ctx: RequestContext, project: str | None) -> int:
        """Count what a project uses; how many counters were wrong. 0 where nothing is counted."""
        return self._unlinked()  # type: ignore[no-any-return]

    # --- placement

    @operation(inner=True)
    def list_placed(self, ctx: RequestContext, after: str, count: int) -> tuple[Placed, ...]:
        """At most `count` images with data, with ids larger than `after`, by id."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def want_placement(
        self, ctx: RequestContext, image_id: str, stores: Mapping[str, bool]
    ) -> None:
        """Note in which stores (True) an image is to be, and in which not (False).

        What was noted before of other stores stays.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def list_placements(
        self, ctx: RequestContext, after: str, count: int, due: bool
    ) -> tuple[Placement, ...]:
        """At most `count` of what is noted, by image, with ids larger than `after`.

        `due`: only what is to be tried now.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def settle_placement(self, ctx: RequestContext, image_id: str, store: str | None) -> None:
        """It is so. `store` None: nothing of the image is to be done any more."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def postpone_placement(
        self, ctx: RequestContext, image_id: str, store: str, problem: str
    ) -> None:
        """It could not be done, and is tried again: the later, the more often it has failed."""
        return self._unlinked()  # type: ignore[no-any-return]
