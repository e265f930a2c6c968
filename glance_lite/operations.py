# SPDX-License-Identifier: Apache-2.0
"""The contract of the chain: every operation once, with what it takes, gives and raises.

An operation is a method of a family. A `Layer` inherits all of them and overrides those it has
something to say about; `glance_lite.layer.link` connects the overrides so that an operation
goes straight from one layer that acts on it to the next. All operations take the request's
context first and may raise `NotAuthenticated`, `Forbidden`, `ImageNotFound` and `Unavailable`;
the docstrings name what comes on top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from glance_lite.audit.operations import AuditOperations
from glance_lite.cache.operations import CacheOperations
from glance_lite.contract import Family, operation
from glance_lite.copies import CopyOperations
from glance_lite.imports.jobs import ImportOperations
from glance_lite.maintenance.operations import DutyOperations
from glance_lite.metadefs.operations import MetadefOperations
from glance_lite.notify.operations import OutboxOperations
from glance_lite.tasks import TaskOperations
from glance_lite.updates.operations import UpdateOperations

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.model import (
        Changes,
        Digests,
        Image,
        LimitUsage,
        Location,
        Member,
        NewLocation,
        Operation,
        Orphan,
        Page,
        Query,
        Relocation,
        Stored,
        StoreInfo,
        Usage,
        Wanted,
    )
    from glance_lite.stream import Download, Upload


class ImageOperations(Family):
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
        """Delete the image and its data. `InUse`: a store needs it; what is left stays."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def set_active(self, ctx: RequestContext, image_id: str, active: bool) -> Image:
        """Reactivate or deactivate. Does nothing where it is so already. `Forbidden`."""
        return self._unlinked()  # type: ignore[no-any-return]


class DataOperations(Family):
    @operation(writes=True)
    def upload(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str | None
    ) -> Image:
        """Store the data of a queued image. `store` None is the default one.

        `Conflict`: not queued. `Invalid`: formats unset. `Gone`: deleted meanwhile, or a store that
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


class LocationOperations(Family):
    @operation()
    def get_locations(self, ctx: RequestContext, image_id: str) -> tuple[Location, ...]:
        """Where the data is, for services that read it there."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def add_location(self, ctx: RequestContext, image_id: str, new: NewLocation) -> None:
        """Have a queued image get its data from a location; what is left is done in background.

        `Conflict`: not queued. `Forbidden`: a location of this kind is for services only.
        `Invalid`: the url, the validation data, formats unset. `LimitExceeded`.
        """
        return self._unlinked()  # type: ignore[no-any-return]


class MemberOperations(Family):
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
    def remove_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        """Stop sharing with one project; the member as it was. `NotFound`."""
        return self._unlinked()  # type: ignore[no-any-return]


class UsageOperations(Family):
    @operation()
    def list_usage(self, ctx: RequestContext) -> tuple[LimitUsage, ...]:
        """What the caller's project uses of its limits; nothing where Keystone has none for us."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def count_usage(self, ctx: RequestContext, project: str | None) -> Usage:
        """What a project uses, reservations not included."""
        return self._unlinked()  # type: ignore[no-any-return]


class AccessOperations(Family):
    @operation()
    def admit(self, ctx: RequestContext, rule: str, image_id: str | None) -> None:
        """Whether the policy rule `rule` lets the caller in, on that image if there is one.

        For a handler that must not look at a request before that is decided. `Forbidden`.
        """
        return self._unlinked()  # type: ignore[no-any-return]


class CommitOperations(Family):
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
    def extend_upload(self, ctx: RequestContext, claim: Operation, source: Upload) -> int | None:
        """More bytes have come than the claim has room for: how many may come; None: any number.

        A transaction of its own, in the midst of an upload. `Gone`, `LimitExceeded`.
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
    ) -> Operation | None:
        """Back to ``queued`` with a reason the owner can read; reservations released.

        The operation as it is then held, until `end_operation`. None: the claim was not ours any
        more. Either somebody swept it, or a commit whose answer was lost has come through, and
        then the bytes must stay.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def end_operation(self, ctx: RequestContext, claim: Operation) -> None:
        """The bytes of an upload that was given up are gone, or stores are told; so is its row."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def claim_delete(self, ctx: RequestContext, image_id: str) -> Operation:
        """The image becomes ``deleted``; an operation row keeps what is to be removed."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def defer_delete(self, ctx: RequestContext, image_id: str) -> Operation:
        """The image becomes ``pending_delete``: it is gone, and its data stays until it is taken.

        One that never had data is claimed as `claim_delete` does it.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def take_deferred(self, ctx: RequestContext, age: float) -> Operation | None:
        """Take one of the images that were put off `age` seconds ago, to remove its data.

        None if there is none. An `abort_delete` puts it off again.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def claim_grant(self, ctx: RequestContext, image_id: str) -> Operation:
        """An operation row that says: stores must be told who may read the data of an image."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def commit_delete(self, ctx: RequestContext, claim: Operation) -> None:
        """The bytes are gone; so is the operation row."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def leave_delete(self, ctx: RequestContext, claim: Operation) -> None:
        """A store cannot remove the bytes now: they go later, and who is to be told is told.

        One that is `needed` is not taken up at once."""
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

    @operation(writes=True, inner=True)
    def relocate(
        self, ctx: RequestContext, image_id: str, changes: Changes, relocation: Relocation
    ) -> Operation:
        """`update_image`, and locations with it, in one transaction.

        The operation has the image as it then is and the locations whose bytes are to go; serial
        0 if there are none. `Conflict`: the image has other locations by now. `LimitExceeded`.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def claim_import(
        self, ctx: RequestContext, image_id: str, new: NewLocation, store: str
    ) -> None:
        """``queued`` becomes ``importing``, with an operation row that waits, and a task.

        `Conflict`: not queued. `Invalid`: formats unset.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def take_import(self, ctx: RequestContext) -> Operation | None:
        """Take one of the imports that wait, by compare-and-set; None if there is none."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def place_import(
        self,
        ctx: RequestContext,
        claim: Operation,
        size: int,
        active: bool,
        algorithm: str | None,
    ) -> Operation:
        """The location is real and has `size` bytes: its row, and ``active`` if that is all.

        `algorithm` is what the data will be hashed with, if it is; the image shows it from now on.
        The operation with the image as it then is. `Gone`: deleted, or taken over.
        `LimitExceeded`. Done twice it is done once.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def is_held(self, ctx: RequestContext, claim: Operation) -> bool:
        """Whether an import is still ours, and its image there."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def commit_import(self, ctx: RequestContext, claim: Operation, digests: Digests) -> None:
        """``active`` with digests, operation row gone, task done. `Gone`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def abort_import(self, ctx: RequestContext, claim: Operation, reason: str) -> None:
        """The image is ``queued`` again, without the location, and its owner can read why.

        One that is ``active`` stays so, without a hash.
        """
        return self._unlinked()  # type: ignore[no-any-return]


class BackgroundOperations(Family):
    """What no request asks for; it enters the chain at ``location``.

    `keep_alive`, `clean_up`, `import_next` and `scrub_next` are for the ticker, the others for
    ``location``.
    """

    @operation(writes=True, inner=True)
    def import_next(self, ctx: RequestContext) -> bool:
        """Do what is left of one import that waits; False if none does."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def scrub_next(self, ctx: RequestContext) -> bool:
        """Remove the data of one image whose delete was put off long enough; False if none is."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def find_abandoned(self, ctx: RequestContext, expiry: float) -> tuple[Operation, ...]:
        """Operations whose process is gone, or silent for `expiry` seconds. One statement."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def clean_up(self, ctx: RequestContext, found: Operation) -> bool:
        """Do what whoever had an abandoned operation should have done.

        An upload: the image is queued again, and the bytes go. A delete: what is noted goes. A
        grant: the stores are told.
        False: it was not abandoned after all, or somebody else was quicker.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def take_over(self, ctx: RequestContext, found: Operation) -> Operation | None:
        """Take an abandoned operation by compare-and-set; the image of an upload is queued again.

        The operation as it is then held. None: it has changed since it was found.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def keep_alive(self, ctx: RequestContext) -> None:
        """A sign of life for every operation that this process has under way."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def refresh(self, ctx: RequestContext, held: Mapping[int, str]) -> None:
        """A sign of life for these operations, serial -> state, as far as they are still held."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def find_orphans(self, ctx: RequestContext, store: str, min_age: float) -> Iterator[Orphan]:
        """What lies in a store for `min_age` seconds and more, and no image refers to.

        `NotFound`: no such store. `Invalid`: it cannot list.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def remove_orphan(self, ctx: RequestContext, orphan: Orphan) -> bool:
        """Remove it, if nobody can come to need it. False: it stays, or is gone already."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def list_locations(self, ctx: RequestContext, after: int, count: int) -> tuple[Location, ...]:
        """At most `count` locations of any images whose ids are larger than `after`, by id.

        Those whose data somebody may still want: live ones, and those that are deleted later.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def find_vanished(self, ctx: RequestContext, image_ids: Sequence[str]) -> frozenset[str]:
        """Those of the ids that are of no image, or of a deleted one that nobody works on."""
        return self._unlinked()  # type: ignore[no-any-return]


class Operations(
    ImageOperations,
    DataOperations,
    LocationOperations,
    MemberOperations,
    MetadefOperations,
    TaskOperations,
    UsageOperations,
    AccessOperations,
    CommitOperations,
    BackgroundOperations,
    CopyOperations,
    AuditOperations,
    DutyOperations,
    UpdateOperations,
    CacheOperations,
    ImportOperations,
    OutboxOperations,
):
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
