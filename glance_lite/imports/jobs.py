# SPDX-License-Identifier: Apache-2.0
"""Imports as values between ``location`` and ``db``, and the operations on them.

An import is an operation row of kind ``job``: who works on it, since when. Beside it is what is to
be done, which steps are over, and one row for each store that is to get a copy. Whoever holds the
operation may write them, so one that was taken over is lost to whom it was taken from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from glance_lite.contract import Family, operation
from glance_lite.model import EMPTY, RESERVED_PREFIX

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.imports.values import Job
    from glance_lite.model import Image, Operation, Rider, Stored
    from glance_lite.stream import Upload

#: Kinds of operations: an import, data on its way into the staging area or in it, and what is left
#: in there when nobody needs it any more.
JOB, STAGE, UNSTAGE = 'job', 'stage', 'unstage'
#: State of an operation of kind `STAGE`: the data is there and waits for an import.
STAGED = 'staged'

#: Id of the task that has locked the image; Glance's lock as well.
LOCK = f'{RESERVED_PREFIX}_import_task'
#: Stores to which data is still being copied, and those where it failed: names with commas.
IMPORTING_TO = f'{RESERVED_PREFIX}_importing_to_stores'
FAILED_STORES = f'{RESERVED_PREFIX}_failed_import'
#: The url of the API host that has the staged data.
STAGE_HOST = f'{RESERVED_PREFIX}_stage_host'
#: Properties that no client is shown.
HIDDEN = (STAGE_HOST, f'{RESERVED_PREFIX}_hash_op_host')

#: The staging area, as it is called among the stores.
STAGING = 'os_glance_staging_store'

#: States of a copy.
WAITING, DONE, FAILED = 'waiting', 'done', 'failed'


def _empty() -> Mapping[str, Any]:
    return EMPTY


@dataclasses.dataclass(frozen=True, slots=True)
class ImportRequest:
    """What a client wants: of its fields only the shape has been looked at."""

    method: str
    #: what the ``method`` object says beside its name
    fields: Mapping[str, Any] = dataclasses.field(default_factory=_empty)
    #: None: the default store
    stores: tuple[str, ...] | None = None
    all_stores: bool = False
    all_must_succeed: bool = True
    riders: tuple[Rider, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class NewJob:
    """An import that may be: ``location`` has looked at all of it."""

    request: ImportRequest
    #: as the method wants them kept
    fields: Mapping[str, Any]
    stores: tuple[str, ...]
    #: whether there are several, so that their names mean something
    several: bool
    #: the status that the image must have
    status: str
    #: where staged data is if no row says so; None: none is needed
    staged: str | None = None
    #: for how many hours its task can be read after its end
    hours: int = 48


@dataclasses.dataclass(frozen=True, slots=True)
class Copy:
    """What has become of the copy in one store."""

    store: str
    state: str = WAITING
    reason: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Running:
    """An import as its rows describe it."""

    job: Job
    copies: tuple[Copy, ...] = ()
    #: names of the steps that are over -> the file with the data then, a name in the staging area
    steps: Mapping[str, str | None] = dataclasses.field(default_factory=_empty)
    #: step -> what it keeps for whoever resumes it
    notes: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=_empty)
    #: whether stores have names
    several: bool = True
    #: url of what a client has staged
    staged: str | None = None
    #: seconds since it was asked for
    age: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is."""

    #: of the whole import
    percent: int
    #: what is being done, for people
    what: str
    #: a step and what it keeps
    step: str | None = None
    note: Mapping[str, str] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """A step that is over."""

    name: str
    #: a name in the staging area; None: the same as before
    file: str | None = None
    #: bytes of it
    size: int | None = None
    fields: Mapping[str, Any] = dataclasses.field(default_factory=_empty)
    properties: Mapping[str, str] = dataclasses.field(default_factory=_empty)


class ImportOperations(Family):
    @operation(writes=True)
    def stage(self, ctx: RequestContext, image_id: str, source: Upload) -> Image:
        """Keep data of a queued image for an import. `Conflict`, `LimitExceeded`, `Gone`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def import_image(self, ctx: RequestContext, image_id: str, asked: ImportRequest) -> Image:
        """Have data imported in the background.

        `Invalid`: a field, a store that has it. `Conflict`: the status, formats, another import,
        an unknown store. `LimitExceeded`. `StagedElsewhere`: another host has the data.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def run_next_job(self, ctx: RequestContext) -> bool:
        """Do what is left of one import that waits; False if there is none for this host."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def clean_staging(self, ctx: RequestContext) -> int:
        """Remove what lies in the staging area of this host and nobody needs; how many files."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def claim_stage(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str
    ) -> Operation:
        """``queued`` becomes ``uploading``; else as `claim_upload`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def commit_stage(
        self, ctx: RequestContext, claim: Operation, source: Upload, stored: Stored
    ) -> Image:
        """The data is staged: size, and an operation row that stays as long as it. `Gone`.

        The metadata says under ``host`` how other API hosts reach the one that has it.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def claim_job(self, ctx: RequestContext, image_id: str, job: NewJob) -> Operation:
        """The lock, ``importing``, a task, and an operation row that waits. `Conflict`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def list_jobs(self, ctx: RequestContext) -> tuple[Operation, ...]:
        """Imports that wait, oldest first."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def take_job(self, ctx: RequestContext, found: Operation) -> Operation | None:
        """Take an import that waits, by compare-and-set. None: somebody else was quicker."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def tell_job(self, ctx: RequestContext, claim: Operation, progress: Progress) -> None:
        """How far it is, and a sign of life. `Gone`: taken over, or the image deleted."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def finish_step(self, ctx: RequestContext, claim: Operation, step: Step) -> Operation:
        """A step is over; what it says of the image is written. Twice is once. `Gone`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def claim_part(self, ctx: RequestContext, claim: Operation, store: str) -> Operation:
        """An operation row that says: the import's copy is being written to a store.

        `LimitExceeded`, `Gone`.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def commit_part(
        self, ctx: RequestContext, claim: Operation, part: Operation, stored: Stored
    ) -> Image:
        """The location. ``active`` where one store is enough. `Gone`, `StoreError`: other data."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def fail_part(
        self, ctx: RequestContext, claim: Operation, store: str, reason: str
    ) -> Operation:
        """One store will have no copy, and that is not the end. `Gone`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def commit_job(self, ctx: RequestContext, claim: Operation) -> Operation:
        """``active``, the lock free, the task a success. `Gone`.

        The operation is as it is then held: it says what is to be removed of the staging area.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def abort_job(self, ctx: RequestContext, claim: Operation, reason: str) -> Operation | None:
        """Everything as it was before, with a reason that the owner can read.

        As of `commit_job`, and what is to be removed of the stores. None: it was not ours any more.
        """
        return self._unlinked()  # type: ignore[no-any-return]
