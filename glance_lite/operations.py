# SPDX-License-Identifier: Apache-2.0
"""The contract of the chain: every operation once, with what it takes, gives and raises.

An operation is a method of a family. A `Layer` inherits all of them and overrides those it has
something to say about; `glance_lite.layer.link` connects the overrides so that an operation
goes straight from one layer that acts on it to the next. All operations take the request's
context first and may raise `NotAuthenticated`, `Forbidden`, `ImageNotFound` and `Unavailable`;
the docstrings name what comes on top.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.model import (
        Changes,
        Image,
        Member,
        Operation,
        Page,
        Query,
        Stored,
        StoreInfo,
        Wanted,
    )
    from glance_lite.stream import Download, Upload

F = TypeVar('F', bound=Callable[..., Any])


def operation(*, writes: bool = False, inner: bool = False) -> Callable[[F], F]:
    """Mark a method of a family as part of the contract.

    `writes`: it changes something, so a layer calls `next` at most once. `inner`: only layers
    call it, never a handler.
    """

    def mark(function: F) -> F:
        function.__operation__ = {'writes': writes, 'inner': inner}  # type: ignore[attr-defined]
        return function

    return mark


class _Family:
    """Where operations end that no layer implements."""

    def _unlinked(self) -> Any:
        raise AssertionError('called on a layer that is not linked, or on super(); use self.next')


class ImageOperations(_Family):
    @operation()
    def get_image(self, ctx: RequestContext, image_id: str) -> Image:
        """The image, without what the caller may not see."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def peek(self, ctx: RequestContext, image_id: str) -> Image:
        """The image for a layer that must know it to decide: no policy, no events, one read."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation()
    def list_images(self, ctx: RequestContext, query: Query) -> Page:
        """One page of the images the caller may see. `Invalid`: unknown marker."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def create_image(self, ctx: RequestContext, changes: Changes) -> Image:
        """A new image in ``queued``. `Duplicate`: the id is or was taken. `LimitExceeded`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def update_image(self, ctx: RequestContext, image_id: str, changes: Changes) -> Image:
        """Change attributes, properties or tags. `Conflict`, `LimitExceeded`, `Invalid`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def delete_image(self, ctx: RequestContext, image_id: str) -> None:
        """Delete the image and its data. `InUse`: a store still needs it; nothing changed."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def set_active(self, ctx: RequestContext, image_id: str, active: bool) -> None:
        """Reactivate or deactivate. Does nothing where it is so already."""
        return self._unlinked()  # type: ignore[no-any-return]


class DataOperations(_Family):
    @operation(writes=True)
    def upload(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str | None
    ) -> Image:
        """Store the data of a queued image. `store` None is the default one.

        `Conflict`: not queued, or formats unset. `Gone`: deleted meanwhile, or a store that
        takes no data. `LimitExceeded`, `UnsupportedMedia`, `Invalid`: and nothing is kept.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation()
    def download(self, ctx: RequestContext, image_id: str, wanted: Wanted) -> Download:
        """The data or a range of it. `RangeNotSatisfiable`, `Invalid` (unknown store)."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def delete_from_store(self, ctx: RequestContext, image_id: str, store: str) -> None:
        """Remove the copy in one store. `Forbidden`: the last one. `NotFound`, `Conflict`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation()
    def list_stores(self, ctx: RequestContext, detail: bool) -> tuple[StoreInfo, ...]:
        """The stores a client may name. `NotFound`: multi-store is not configured."""
        return self._unlinked()  # type: ignore[no-any-return]


class MemberOperations(_Family):
    @operation()
    def list_members(self, ctx: RequestContext, image_id: str) -> tuple[Member, ...]:
        """The members the caller may see: all for the owner, itself for a member."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation()
    def get_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        """One membership. `NotFound`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def add_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        """Share a shared image. `Forbidden`: not ``shared``. `Duplicate`, `LimitExceeded`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def update_member(
        self, ctx: RequestContext, image_id: str, member_id: str, status: str
    ) -> Member:
        """Accept, reject or hold. `NotFound`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def remove_member(self, ctx: RequestContext, image_id: str, member_id: str) -> None:
        """Stop sharing with one project. `NotFound`."""
        return self._unlinked()  # type: ignore[no-any-return]


class CommitOperations(_Family):
    """Between ``location`` and ``db``: the commit protocol of uploads and deletes."""

    @operation(writes=True, inner=True)
    def claim_upload(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str | None
    ) -> Operation:
        """``queued`` becomes ``saving``, an operation row and the riders' claims with it.

        One transaction. `Conflict`: another upload has it, or the image is past ``queued``.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def confirm_upload(self, ctx: RequestContext, claim: Operation, source: Upload) -> None:
        """Every byte is in: does the claim still hold, is there room for the real size?

        Called before the last chunk is released. `Gone`, `LimitExceeded`.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def commit_upload(
        self, ctx: RequestContext, claim: Operation, source: Upload, stored: Stored
    ) -> Image:
        """Location, size, hashes, ``active``, riders settled, operation row gone. `Gone`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def abort_upload(
        self, ctx: RequestContext, claim: Operation, source: Upload, reason: str
    ) -> None:
        """Back to ``queued`` with a reason the owner can read; reservations released."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def claim_delete(self, ctx: RequestContext, image_id: str) -> Operation:
        """The image becomes ``deleted``; an operation row keeps what is to be removed."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def commit_delete(self, ctx: RequestContext, claim: Operation) -> None:
        """The bytes are gone; so is the operation row."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def abort_delete(self, ctx: RequestContext, claim: Operation) -> None:
        """A store still needs the data: everything as it was before the claim."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def claim_location(self, ctx: RequestContext, image_id: str, location_id: int) -> Operation:
        """Take one location off an active image, keeping what is to be removed.

        `Conflict`: not active. `Forbidden`: it is the last one.
        """
        return self._unlinked()  # type: ignore[no-any-return]


class Operations(ImageOperations, DataOperations, MemberOperations, CommitOperations):
    """All families: what `Layer.next` offers."""


#: The contract by name, in the order it is written.
OPERATIONS: dict[str, Callable[..., Any]] = {
    name: member
    for family in Operations.__mro__[1:-1]
    for name, member in vars(family).items()
    if hasattr(member, '__operation__')
}


def is_inner(name: str) -> bool:
    """Whether only layers call this operation."""
    return bool(OPERATIONS[name].__operation__['inner'])  # type: ignore[attr-defined]


def is_write(name: str) -> bool:
    """Whether this operation changes something."""
    return bool(OPERATIONS[name].__operation__['writes'])  # type: ignore[attr-defined]
