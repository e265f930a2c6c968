# SPDX-License-Identifier: Apache-2.0
"""Doing imports: the steps of one, resumed where whoever had it before was killed.

Each step is begun with what the rows say, and ends with a write that says that it is over; if it is
done again nothing is different. What the end leaves in the staging area is noted, and removed by us
or by whoever sweeps the note.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from glance_lite.errors import (
    Forbidden,
    GlanceLiteError,
    Gone,
    ImageNotFound,
    Invalid,
    LimitExceeded,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
    Unavailable,
)
from glance_lite.imports.jobs import DONE, FAILED, LOCK, STAGING, WAITING, Progress, Running, Step
from glance_lite.imports.runner import Part, Runner
from glance_lite.imports.workshop import TELL, StepWork
from glance_lite.model import RESERVED_PREFIX, Location

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.context import RequestContext
    from glance_lite.gateway import Gateway
    from glance_lite.imports.method import ImportMethod
    from glance_lite.imports.plugin import ImportPlugin
    from glance_lite.imports.values import Outcome
    from glance_lite.inspection import Inspector
    from glance_lite.layers.copies import Copies
    from glance_lite.layers.importing import Importing
    from glance_lite.model import Image, Operation, Stored
    from glance_lite.operations import Operations
    from glance_lite.signatures import Signatures
    from glance_lite.stream import Upload

LOG = logging.getLogger(__name__)

FETCH = 'fetch'
#: Seconds after which an import whose staged data is on no host that looks for it is given up.
LOST = 3600.0
#: Seconds for which a file lies in the staging area before it may be one that was left there.
LEFT = 3600.0
#: Pauses before a store that does not answer is tried again, in seconds.
PAUSES = (1.0, 3.0)
#: What a method or a plug-in may say of an image.
FIELDS = frozenset(('disk_format', 'container_format', 'virtual_size', 'min_disk', 'min_ram'))

Holding = Callable[['Operation'], contextlib.AbstractContextManager[None]]


@dataclasses.dataclass(frozen=True)
class Tools:
    """What imports are done with."""

    gateway: Gateway
    importing: Importing
    copies: Copies
    signatures: Signatures
    inspector: Callable[[Image | None], Inspector | None]
    #: gives signs of life for an operation meanwhile
    holding: Holding
    #: removes what an operation says
    remove: Callable[[RequestContext, Operation], None]
    algorithm: str
    checksum: bool
    most: int
    runner: Runner


def make_runner(conf: cfg.ConfigOpts) -> Runner:
    """As the options say."""
    options = conf.taskflow_executor
    if options.engine_mode == 'serial':
        return Runner()
    return Runner(min(options.max_workers, conf.image_import_opts.max_parallel_stores))


def run_next(tools: Tools, next: Operations, ctx: RequestContext) -> bool:
    """Do one of the imports that wait, if there is one whose data is here."""
    for found in next.list_jobs(ctx):
        assert found.job is not None
        here = _is_here(tools, found.job)
        if not here and found.job.age < LOST:
            continue
        claim = next.take_job(ctx, found)
        if claim is None:
            continue
        with tools.holding(claim):
            JobRun(tools, next, ctx, claim).run(here)
        return True
    return False


def clean_staging(tools: Tools, next: Operations, ctx: RequestContext) -> int:
    """Remove what others have left in the staging area of this host; how many files.

    Rows say who removes what. This is for what they cannot say: that a file lies on another host,
    or was written by a process that was taken for dead.
    """
    count = 0
    for image_id, names in tools.importing.workshop.old(LEFT).items():
        if not _is_needed(next, ctx, image_id):
            for name in names:
                tools.importing.workshop.remove(name)
                count += 1
            LOG.info('Image %s: %d files removed from the staging area', image_id, len(names))
    return count


def _is_needed(next: Operations, ctx: RequestContext, image_id: str) -> bool:
    try:
        image = next.peek(ctx, image_id)
    except ImageNotFound:
        return not next.find_vanished(ctx, [image_id])
    return image.status in ('uploading', 'importing') or LOCK in image.properties


def _is_here(tools: Tools, found: Running) -> bool:
    """Whether this host can do it: everybody can, but for what was staged on another one."""
    if found.staged is None or any(copy.state == DONE for copy in found.copies):
        return True
    workshop = tools.importing.workshop
    names = [pathlib.PurePath(found.staged).name, *(name for name in found.steps.values() if name)]
    return any(workshop.has(name) for name in names)


class JobRun:
    """One import in the hands of this process."""

    def __init__(
        self, tools: Tools, next: Operations, ctx: RequestContext, claim: Operation
    ) -> None:
        self._tools = tools
        self._next = next
        self._ctx = ctx
        self._claim = claim
        self._workshop = tools.importing.workshop
        #: step or store -> the part of it that is done
        self._parts: dict[str, float] = {}
        #: ids of the stores that have it
        self._stored = {one.store for one in self._job.copies if one.state == DONE}
        #: why the last store that failed did
        self._reason: str | None = None
        self._broken = False
        self._told = time.monotonic()

    @property
    def _job(self) -> Running:
        assert self._claim.job is not None
        return self._claim.job

    @property
    def _image(self) -> Image:
        assert self._claim.image is not None
        return self._claim.image

    def run(self, here: bool) -> None:
        """Do what is left of it. Whatever becomes of it is in the rows then."""
        claim, image_id = self._claim, self._claim.image_id
        try:
            if not here:
                raise Invalid('The staged data is on no host that could import it')
            self._run()
        except Unavailable as ex:
            if isinstance(ex, StoreError):
                self._abort(ex.message)
                return
            # The database is away: the rows say what is to be done, and somebody will.
            LOG.error('The import to image %s stays noted: %s', image_id, ex)
        except Gone as ex:
            if isinstance(ex, StoreError):
                self._abort(ex.message)
                return
            LOG.info('Image %s: %s', image_id, ex)
            self._clean_after_loss()
        except GlanceLiteError as ex:
            LOG.warning('The import to image %s failed: %s', image_id, ex)
            self._abort(ex.message)
        except Exception as ex:
            LOG.exception('The import to image %s failed', image_id)
            self._abort(f'The import failed ({type(ex).__name__})')
        else:
            LOG.info('Import %d to image %s is done', claim.serial, image_id)

    def _clean_after_loss(self) -> None:
        """The image is gone, and who deleted it has removed what was there then."""
        try:
            self._next.peek(self._ctx, self._claim.image_id)
        except Unavailable:
            return
        except GlanceLiteError:
            self._workshop.clear(self._claim.name)

    def _abort(self, reason: str) -> None:
        try:
            left = self._next.abort_job(self._ctx, self._claim, reason)
            if left is not None:
                self._tools.remove(self._ctx, left)
        except GlanceLiteError as ex:
            LOG.error('The import to image %s stays noted: %s', self._claim.image_id, ex)

    # --- the flow

    def _run(self) -> None:
        self._tools.gateway.use_staging()
        steps = self._steps()
        over = self._over(steps)
        self._parts = dict.fromkeys([*steps, *(copy.store for copy in self._job.copies)], 0.0)
        self._parts.update(dict.fromkeys(steps[:over], 1.0))
        self._parts.update({one.store: 1.0 for one in self._job.copies if one.state == DONE})
        copies = [
            Part(f'copy {copy.store}', self._copying(copy.store))
            for copy in self._job.copies
            if copy.state == WAITING
        ]
        if any(one.state == FAILED for one in self._job.copies) and self._job.job.all_must_succeed:
            self._check_copies()
        first = [Part(name, self._doing(name)) for name in steps[over:]]
        last = [Part('end', self._end)]
        self._tools.runner.run(f'import {self._claim.serial}', first, copies, last)

    def _steps(self) -> list[str]:
        """Names of the steps before the copies, in order."""
        method = self._method()
        if method.status == 'active':
            return []
        fetch = [FETCH] if method.fetches else []
        return fetch + [f'plug-in {plugin.name}' for plugin in self._tools.importing.plugins]

    def _method(self) -> ImportMethod:
        method = self._tools.importing.methods.get(self._job.job.method)
        if method is None:
            raise Invalid(f'The import method {self._job.job.method} is not available any more')
        return method

    def _over(self, steps: list[str]) -> int:
        """How many steps need not be done again: after the last one whose file is here."""
        if any(copy.state == DONE for copy in self._job.copies):
            return len(steps)  # the data is in a store
        for number in range(len(steps), 0, -1):
            name = self._job.steps.get(steps[number - 1])
            if name is not None and self._workshop.has(name):
                return number
        return 0

    # --- one step

    def _file(self) -> str | None:
        """The name of the file with the data as it is now."""
        found = None if self._job.staged is None else pathlib.PurePath(self._job.staged).name
        for step in self._steps():
            name = self._job.steps.get(step)
            if name is not None and self._workshop.has(name):
                found = name
        return found

    def _doing(self, step: str) -> Callable[[], None]:
        def run() -> None:
            before = None if step == FETCH else self._file()
            output = f'{self._claim.name}.{step.replace(" ", "-")}'
            work = StepWork(
                self._workshop.path(before or output),
                self._workshop.path(output),
                self._job.notes.get(step, {}),
                self._tools.most,
                lambda part, note: self._tell(step, part, note),
            )
            self._tell(step, 0.0, None, force=True)
            job = dataclasses.replace(self._job.job, image=self._image)
            with self._workshop.locked(self._claim.name):
                if step == FETCH:
                    outcome = self._method().fetch(job, work)
                else:
                    outcome = self._plugin(step).apply(job, work)
                self._finish(step, outcome, before, output)

        return run

    def _plugin(self, step: str) -> ImportPlugin:
        name = step.partition(' ')[2]
        return next(one for one in self._tools.importing.plugins if one.name == name)

    def _finish(self, step: str, outcome: Outcome, before: str | None, output: str) -> None:
        wrong = outcome.fields.keys() - FIELDS
        wrong |= {name for name in outcome.properties if name.startswith(RESERVED_PREFIX)}
        if wrong:
            raise Invalid(f'The step {step} cannot set {min(wrong)}')
        file = outcome.file.name if outcome.file is not None else before or output
        size = self._workshop.size(file)
        if size > self._tools.most:
            raise LimitExceeded(f'An image may have {self._tools.most} bytes at most')
        done = Step(step, file, size, outcome.fields, outcome.properties)
        self._claim = self._next.finish_step(self._ctx, self._claim, done)
        self._parts[step] = 1.0
        self._workshop.clear(self._claim.name, keep=file)

    def _tell(
        self,
        what: str,
        part: float,
        note: Mapping[str, str] | None = None,
        force: bool = False,
    ) -> None:
        """Note how far it is. `Gone`."""
        self._parts[what] = max(part, self._parts.get(what, 0.0))
        if self._broken:
            raise Gone('Another step of the import has failed')
        if note is None and not force and time.monotonic() - self._told < TELL:
            return
        self._told = time.monotonic()
        percent = int(100 * sum(self._parts.values()) / max(1, len(self._parts)))
        progress = Progress(min(99, percent), what, what if note is not None else None, note)
        self._next.tell_job(self._ctx, self._claim, progress)

    # --- one copy

    def _copying(self, store_id: str) -> Callable[[], None]:
        def run() -> None:
            try:
                self._copy_patiently(store_id)
            except Gone as ex:
                if not isinstance(ex, StoreError):
                    raise
                self._failed(store_id, ex)
            except (StoreError, LimitExceeded, Forbidden, Invalid) as ex:
                self._failed(store_id, ex)
            except BaseException:
                self._broken = True
                raise

        return run

    def _failed(self, store_id: str, ex: GlanceLiteError) -> None:
        LOG.warning('Image %s has no copy in store %s: %s', self._claim.image_id, store_id, ex)
        self._next.fail_part(self._ctx, self._claim, store_id, ex.message)
        self._reason = ex.message
        if self._job.job.all_must_succeed:
            self._broken = True
            raise ex
        self._parts[store_id] = 1.0

    def _copy_patiently(self, store_id: str) -> None:
        for pause in PAUSES:
            try:
                self._copy(store_id)
            except StoreUnavailable:
                if self._broken:
                    raise
                time.sleep(pause)
            else:
                return
        self._copy(store_id)

    def _copy(self, store_id: str) -> None:
        tools = self._tools
        store = tools.gateway.stores.get(store_id)
        if store is None:
            raise Invalid(f'There is no store {store_id} any more')
        if store.read_only:
            raise StoreReadOnly(f'Store {store_id} takes no data')
        store.health.admit()
        self._tell(store_id, 0.0, force=True)
        part = self._next.claim_part(self._ctx, self._claim, store_id)
        with tools.holding(part):
            stored: Stored | None = None
            try:
                stored = self._within(part) or self._through(part)
                with tools.copies.granting(self._next, self._ctx, part, stored):
                    self._next.commit_part(self._ctx, self._claim, part, stored)
            except BaseException as ex:
                tools.copies.take_back(self._next, self._ctx, part, stored, ex)
                raise
        self._stored.add(store_id)
        self._parts[store_id] = 1.0

    def _within(self, part: Operation) -> Stored | None:
        """Copied by a backend itself, which only data can be that is in one."""
        image = part.image
        assert image is not None
        if image.status == 'importing' or not image.locations:
            return None
        return self._tools.copies.within(part)

    def _through(self, part: Operation) -> Stored:
        image, tools = part.image, self._tools
        assert image is not None
        file = self._file()
        source = image
        if file is not None and self._workshop.has(file):
            there = Location(0, self._workshop.url(file), {'store': STAGING})
            source = image.replace(locations=(there,), size=self._workshop.size(file))
        elif not image.locations:
            raise StoreError('The data of the import is gone from the staging area')
        count = 0

        def told(more: int, total: int | None) -> None:
            nonlocal count
            count += more
            self._tell(str(part.store), count / total if total else 1.0)

        return tools.copies.pour(part, source, told, self._arm)

    def _arm(self, upload: Upload, image: Image) -> None:
        """The first copy finds out what the data is; the others must be the same."""
        tools = self._tools
        if image.os_hash_value is not None:
            tools.copies.expect(upload, image)
            return
        upload.limit_to(tools.most, f'An image may have {tools.most} bytes at most')
        verifier = tools.signatures.verifier(self._ctx, image)
        inspector = tools.inspector(image)
        upload.arm(tools.algorithm, inspector, None, tools.checksum, verifier)

    # --- the end

    def _check_copies(self) -> None:
        """Whether there are enough; what a killed process noted counts as well."""
        failed = [one for one in self._job.copies if one.state == FAILED]
        if failed and self._job.job.all_must_succeed:
            raise StoreError(failed[0].reason or 'A store has failed')
        if not self._stored:
            raise StoreError(self._reason or 'No store has taken the data')

    def _end(self) -> None:
        self._check_copies()
        left = self._next.commit_job(self._ctx, self._claim)
        try:
            self._tools.remove(self._ctx, left)
        except GlanceLiteError as ex:
            LOG.error('Image %s: staged data is removed later: %s', left.image_id, ex)
