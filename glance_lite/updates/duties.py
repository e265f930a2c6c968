# SPDX-License-Identifier: Apache-2.0
"""Duties that bring something up to date: hashes, counters, and where images are."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from glance_lite.audit.pace import Pace
from glance_lite.context import service_context
from glance_lite.copies import Copying, Verifying
from glance_lite.errors import Conflict, GlanceLiteError, ImageNotFound, NotFound, StoreError
from glance_lite.maintenance.duty import Duty, DutyParts, Turn
from glance_lite.model import WITH_DATA, Image
from glance_lite.updates import rules
from glance_lite.updates.values import Hashing, Placement

if TYPE_CHECKING:
    from glance_lite.operations import Operations

LOG = logging.getLogger(__name__)

#: How many rows are asked for at a time.
PAGE = 500


class HashData(Duty):
    """Hashes the data of images that have no hash: registered by a location, or very old."""

    period = 86400
    unit: ClassVar[str] = 'bytes'

    def run(self, turn: Turn) -> Mapping[str, int]:
        counts: Counter[str] = Counter()
        pace = Pace(self.conf.maintenance.audit_rate, turn.wait)

        def told(count: int) -> None:
            counts['bytes'] += count
            turn.go_on(count)
            pace.spend(count)

        after, ctx = '', service_context()
        while page := self.inner.list_unhashed(ctx, after, PAGE):
            after = page[-1]
            busy = self.inner.find_busy(ctx, page)  # those that are just being hashed
            for image_id in page:
                turn.go_on()
                if image_id in busy:
                    continue
                try:
                    hashing = Hashing(image_id, told)
                    counts['hashed'] += self.inner.hash_data(service_context(), hashing)
                except ImageNotFound:
                    continue
                except StoreError as ex:
                    counts['unread'] += 1
                    LOG.warning('Image %s cannot be hashed: %s', image_id, ex)
        return counts


class RecountUsage(Duty):
    """Counts what projects use, and puts their counters right."""

    period = 86400
    unit: ClassVar[str] = 'projects'

    def run(self, turn: Turn) -> Mapping[str, int]:
        counts: Counter[str] = Counter()
        ctx = service_context()
        for project in self.inner.list_projects(ctx):
            turn.go_on(1)
            counts['projects'] += 1
            counts['wrong'] += self.inner.recount_usage(ctx, project)
        return counts


class Place(Duty):
    """Copies images to the stores where they are to be, and removes them from others."""

    period = 60
    unit: ClassVar[str] = 'bytes'

    def __init__(self, parts: DutyParts) -> None:
        super().__init__(parts)
        self._rules: tuple[rules.Rule, ...] | None = None
        rules.parse(parts.conf.maintenance.placement_rule)  # a bad one stops the start

    def run(self, turn: Turn) -> Mapping[str, int]:
        counts: Counter[str] = Counter()
        pace = Pace(self.conf.maintenance.copy_rate, turn.wait)

        def told(count: int) -> None:
            counts['bytes'] += count
            turn.go_on(count)
            pace.spend(count)

        self._apply_rules(turn, counts)
        after = ''
        while page := self.inner.list_placements(service_context(), after, PAGE, True):
            after = page[-1].image_id
            for placement in page:
                turn.go_on()
                counts.update(_Placing(self.inner, placement, told).run())
        return counts

    def _apply_rules(self, turn: Turn, counts: Counter[str]) -> None:
        """Note what the standing rules want."""
        lines = self.conf.maintenance.placement_rule
        if not lines:
            return
        if self._rules is None:
            stores = self.inner.survey_stores(service_context())
            self._rules = rules.parse(lines, {store.id for store in stores if store.ours})
        after = ''
        while page := self.inner.list_placed(service_context(), after, PAGE):
            after = page[-1].image_id
            turn.go_on()
            for image in page:
                rule = next((rule for rule in self._rules if rule.fits(image)), None)
                if rule is not None and (change := rule.missing(image)):
                    self.inner.want_placement(service_context(), image.image_id, change)
                    counts['ruled'] += 1


class _Placing:
    """One image, whose copies are made first; only then others may go."""

    def __init__(
        self, inner: Operations, placement: Placement, told: Callable[[int], None]
    ) -> None:
        self._inner = inner
        self._placement = placement
        self._told = told
        self._counts: Counter[str] = Counter()

    def run(self) -> Counter[str]:
        wanted = self._placement
        image = self._image()
        if image is None:
            self._inner.settle_placement(service_context(), wanted.image_id, None)
            return self._counts
        made = [self._make(image, store) for store in wanted.wanted]
        if all(made):
            for store in wanted.unwanted:
                self._remove(store)
        return self._counts

    def _image(self) -> Image | None:
        try:
            return self._inner.peek(service_context(), self._placement.image_id)
        except ImageNotFound:
            return None

    def _make(self, image: Image, store: str) -> bool:
        """Whether there is a copy now."""
        if not any(found.store == store and found.good for found in image.locations):
            if image.status not in WITH_DATA or not image.locations:
                return self._failed(store, f'The image is {image.status} and has no data')
            try:
                self._inner.copy_data(service_context(), Copying(image.id, store, self._told))
                self._counts['copied'] += 1
            except Conflict:
                pass  # somebody else has made one, or it is an old one that does not say where
            except GlanceLiteError as ex:
                return self._failed(store, ex.message)
        self._inner.settle_placement(service_context(), image.id, store)
        return True

    def _remove(self, store: str) -> None:
        """Remove what is in a store, if there is a good copy in another one."""
        image = self._image()
        if image is None:
            return
        there = [found for found in image.locations if found.store == store]
        try:
            if there:
                self._prove(image, store)
            for location in there:
                self._inner.remove_copy(service_context(), image.id, location.id)
                self._counts['removed'] += 1
        except NotFound:
            pass  # somebody was quicker
        except GlanceLiteError as ex:
            self._failed(store, ex.message)
            return
        self._inner.settle_placement(service_context(), image.id, store)

    def _prove(self, image: Image, store: str) -> None:
        """Read another copy: the only thing that may go is what there is a good second one of."""
        problem = 'There is no copy in another store'
        for other in dict.fromkeys(found.store for found in image.locations if found.good):
            if other is None or other == store:
                continue
            verifying = Verifying(image.id, other, self._told)
            found = list(self._inner.verify_data(service_context(), verifying))
            problems = [one.problem for one in found if one.problem is not None]
            if found and not problems:
                return
            problem = f'The copy in store {other} is not good'
        raise StoreError(problem)

    def _failed(self, store: str, problem: str) -> bool:
        self._counts['failed'] += 1
        image_id = self._placement.image_id
        LOG.warning('Image %s, store %s: %s; tried again later', image_id, store, problem)
        self._inner.postpone_placement(service_context(), image_id, store, problem)
        return False
