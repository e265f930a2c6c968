# SPDX-License-Identifier: Apache-2.0
"""One pass over everything that is stored: what is missing, damaged, or of nobody.

It goes through all locations by id, then through images that have none, then through what the
stores list, and notes every few seconds how far it is, so that it can be carried on by whoever
comes next. It keeps a page of rows at a time, and of data as much as is read in one go.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator

from glance_lite.audit.pace import Pace
from glance_lite.audit.values import (
    HASH,
    NO_DATA,
    ORPHAN,
    Copy,
    Finding,
    Looking,
)
from glance_lite.context import RequestContext, service_context
from glance_lite.copies import Copying, Verifying
from glance_lite.errors import Conflict, GlanceLiteError, StoreError
from glance_lite.operations import Operations

LOG = logging.getLogger(__name__)

#: How many rows are asked for at a time.
PAGE = 500
#: Seconds between two notes of how far it is.
NOTE = 10.0

COPIES, IMAGES, ORPHANS = 'copies', 'images', 'orphans'


def nothing(count: int = 0) -> None:
    """Nobody wants to know, or to stop it."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What an audit is to do."""

    #: name under which it notes how far it is
    name: str
    #: ids of the stores to look into; empty: all that are ours
    stores: tuple[str, ...] = ()
    #: `SIZE` or `HASH`
    depth: str = HASH
    #: bytes a second, 0 for no limit
    rate: float = 0
    repair: bool = False
    #: seconds that data of nobody must have lain there
    min_age: float = 0
    #: False: whatever an earlier one has noted, it begins at the begin
    resume: bool = True


@dataclasses.dataclass(frozen=True)
class Found:
    """A finding, and what was done about it."""

    finding: Finding
    #: for people
    done: str


class Auditor:
    """Does one pass. `counts` says what it has looked at and found, earlier parts included."""

    def __init__(
        self,
        inner: Operations,
        plan: Plan,
        go_on: Callable[[int], None] = nothing,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """`inner` is the chain from ``location`` down. `go_on` is called before each step, with
        the bytes that were read; what it raises ends the pass, which can be carried on then."""
        self._inner = inner
        self._plan = plan
        self._go_on = go_on
        self._pace = Pace(plan.rate, wait)
        self._ctx: RequestContext = service_context()
        self.counts: Counter[str] = Counter()
        self._phase, self._after = COPIES, ''
        self._noted = time.monotonic()

    def run(self) -> Iterator[Found]:
        """What is wrong, as it is found."""
        self._take_up()
        if self._phase == COPIES:
            self._inner.collect_quarantine(self._ctx)
            yield from self._copies()
            self._enter(IMAGES)
        if self._phase == IMAGES:
            if not self._plan.stores:
                yield from self._images()
            self._enter(ORPHANS)
        yield from self._orphans()
        self._inner.set_position(self._ctx, self._plan.name, None)

    # --- where it is

    def _take_up(self) -> None:
        text = self._inner.get_position(self._ctx, self._plan.name) if self._plan.resume else None
        if text is None:
            return
        note = json.loads(text)
        self._phase, self._after = note['phase'], note['after']
        self.counts.update(note['counts'])
        LOG.info('The audit goes on where it was: %s after %s', self._phase, self._after)

    def _note(self, after: str, at_once: bool = False) -> None:
        """All up to `after` is done."""
        self._after = after
        if at_once or time.monotonic() - self._noted >= NOTE:
            note = {'phase': self._phase, 'after': after, 'counts': dict(self.counts)}
            self._inner.set_position(self._ctx, self._plan.name, json.dumps(note))
            self._noted = time.monotonic()

    def _enter(self, phase: str) -> None:
        self._phase = phase
        self._note('', at_once=True)

    # --- copies

    def _copies(self) -> Iterator[Found]:
        after = int(self._after or 0)
        while page := self._inner.list_copies(self._ctx, after, PAGE):
            for copy in page:
                self._go_on(0)
                found = self._copy(copy)
                if found is not None:
                    yield found
                after = copy.location.id
                self._note(str(after))

    def _copy(self, copy: Copy) -> Found | None:
        stores = frozenset(self._plan.stores) or None
        looking = Looking(copy, self._plan.depth, stores, self._read)
        try:
            looked = self._inner.look_at_copy(self._ctx, looking)
            if looked.finding is not None:
                # Once more: it may have been the way, and not the data.
                looked = self._inner.look_at_copy(self._ctx, looking)
        except StoreError as ex:
            self.counts['unread'] += 1
            LOG.warning('A copy of image %s cannot be looked at: %s', copy.image_id, ex)
            return None
        self.counts['copies'] += looked.meant
        if looked.finding is not None:
            return self._bad(copy, looked.finding)
        if looked.meant and copy.fault is not None and self._cured(copy):
            self.counts['released'] += self._inner.release_copy(self._ctx, copy.location.id)
            LOG.info('A copy of image %s is as it should be again', copy.image_id)
        return None

    def _cured(self, copy: Copy) -> bool:
        """Whether what was looked at says that it is good: a size says nothing of bytes."""
        return self._plan.depth == HASH or copy.fault != 'damaged'

    def _read(self, count: int) -> None:
        self.counts['bytes'] += count
        self._go_on(count)
        self._pace.spend(count)

    def _bad(self, copy: Copy, finding: Finding) -> Found | None:
        if finding.doubtful:
            return self._found(finding, 'nothing is done about it')
        instead = self._inner.quarantine(self._ctx, copy, finding)
        if instead is None:
            return None  # deleted or changed while it was looked at
        if not instead:
            return self._found(finding, 'it stays, because the image has no other copy')
        self.counts['quarantined'] += 1
        done = 'in quarantine, another copy is served'
        if self._plan.repair:
            done = self._repair(copy, finding)
        return self._found(finding, done)

    def _found(self, finding: Finding, done: str) -> Found:
        self.counts[finding.fault.replace(' ', '_')] += 1
        LOG.warning(
            'Audit: image %s, store %s, %s: %s (%s); %s',
            finding.image_id,
            finding.store,
            finding.shown or 'no location',
            finding.fault,
            finding.text,
            done,
        )
        return Found(finding, done)

    def _repair(self, copy: Copy, finding: Finding) -> str:
        """Put a good copy in the place of a bad one; what came of it."""
        try:
            replace(self._inner, self._ctx, copy, str(finding.store), self._read)
        except GlanceLiteError as ex:
            return f'in quarantine, and not repaired: {ex.message}'
        self.counts['repaired'] += 1
        return 'repaired from another copy'

    # --- images without data

    def _images(self) -> Iterator[Found]:
        after = self._after
        while page := self._inner.list_dataless(self._ctx, after, PAGE):
            for image_id in page:
                self._go_on(0)
                after = image_id
                text = 'The image has no location'
                yield self._found(Finding(NO_DATA, image_id, None, '', text), 'it stays')
                self._note(after)

    # --- data of nobody

    def _orphans(self) -> Iterator[Found]:
        chosen = sorted(
            store.id
            for store in self._inner.survey_stores(self._ctx)
            if store.lists and (store.id in self._plan.stores if self._plan.stores else store.ours)
        )
        for store in chosen:
            if store <= self._after:
                continue
            try:
                yield from self._orphans_of(store)
                self._note(store, at_once=True)
            except StoreError as ex:
                self.counts['unlisted'] += 1
                LOG.warning('Store %s cannot be searched for orphans: %s', store, ex)

    def _orphans_of(self, store: str) -> Iterator[Found]:
        for orphan in self._inner.find_orphans(self._ctx, store, self._plan.min_age):
            self._go_on(0)
            if orphan.image_id is None:
                self.counts['foreign'] += 1  # no name that an image would have
                continue
            if orphan.removable:
                text = 'The image does not exist'
            elif self._inner.find_busy(self._ctx, [orphan.image_id]):
                continue
            else:
                text = 'The image does not refer to it'
            finding = Finding(ORPHAN, orphan.image_id, store, orphan.shown, text)
            yield self._found(finding, 'it stays')


def replace(
    inner: Operations,
    ctx: RequestContext,
    copy: Copy,
    store: str,
    told: Callable[[int], None],
) -> None:
    """Put a good copy in the place of one in quarantine, which goes when the new one was read.

    `Conflict`: the image has no good one. `StoreError`, `Gone`: as of `copy_data`.
    """
    image_id, bad = copy.image_id, copy.location.id
    if not any(found.good for found in inner.peek(ctx, image_id).locations):
        raise Conflict(f'Image {image_id} has no good copy')
    made = inner.copy_data(ctx, Copying(image_id, store, told))
    if any(found.id == bad and found.good for found in made.locations):
        return  # where nothing was there is something now
    for found in inner.verify_data(ctx, Verifying(image_id, store, told)):
        if found.location_id != bad and found.problem is not None:
            raise StoreError(f'The new copy is not good: {found.problem}')
    inner.remove_copy(ctx, image_id, bad)
    inner.release_copy(ctx, bad)
