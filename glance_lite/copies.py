# SPDX-License-Identifier: Apache-2.0
"""The operations of those who look after stores: copies of data, and whether it is what it was.

No request asks for them; commands do, and enter the chain at ``location``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from glance_lite.contract import Family, operation

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.model import Holding, Image, Operation, Stored, Verified


def untold(count: int) -> None:
    """Nobody wants to know how many bytes have been read."""


@dataclasses.dataclass(frozen=True)
class Copying:
    """A copy that somebody wants."""

    image_id: str
    #: id of the store where there is to be one
    store: str
    #: called with the bytes that have just been read; not at all where the backend itself copies
    told: Callable[[int], None] = untold


@dataclasses.dataclass(frozen=True)
class Verifying:
    """Data that somebody wants to be read again."""

    image_id: str
    #: id of the only store to look into; None: all
    store: str | None = None
    #: called with the bytes that have just been read
    told: Callable[[int], None] = untold


class CopyOperations(Family):
    @operation(writes=True, inner=True)
    def copy_data(self, ctx: RequestContext, copying: Copying) -> Image:
        """Store the data of an image in one more store, and note the location.

        All or nothing, also when the process is killed. `Conflict`: the image has no data, or a
        copy there. `Invalid`: no such store. `StoreError`: it cannot be read, written or is
        damaged. `Gone`: the image was deleted meanwhile.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def verify_data(self, ctx: RequestContext, verifying: Verifying) -> Iterator[Verified]:
        """Read locations of an image again and compare size and hash."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def remove_copy(self, ctx: RequestContext, image_id: str, location_id: int) -> None:
        """Take one location off an image, and remove what is there.

        `Forbidden`: the last one. `NotFound`. `InUse`: the store needs it, and it stays.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def list_holdings(self, ctx: RequestContext, after: int, count: int) -> tuple[Holding, ...]:
        """At most `count` locations whose ids are larger than `after`, by id, with their images.

        The same ones as of `list_locations`.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def claim_copy(self, ctx: RequestContext, image_id: str, store: str) -> Operation:
        """An operation row that says: data of the image is being written to a store.

        `Conflict`: the image has no data.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def commit_copy(self, ctx: RequestContext, claim: Operation, stored: Stored) -> Image:
        """The location, and operation row gone. `Gone`; `Conflict`: there is a copy by now."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def abort_copy(self, ctx: RequestContext, claim: Operation) -> Operation | None:
        """Take the claim back: the operation as it is then held, until `end_operation`.

        None: it was not ours any more, because it was swept or the commit has come through.
        """
        return self._unlinked()  # type: ignore[no-any-return]
