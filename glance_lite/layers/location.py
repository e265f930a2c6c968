# SPDX-License-Identifier: Apache-2.0
"""Where the data of images is: the only layer that talks to stores.

An upload follows the commit protocol: claim, stream, commit, and on any failure the image is
queued again and the bytes go. A delete hides the image first and removes the bytes then. What a
store could not remove stays noted in the operation row, and is removed by whoever sweeps it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from glance_lite import orphans
from glance_lite.context import service_context
from glance_lite.errors import (
    BadStoreUri,
    Conflict,
    Forbidden,
    GlanceLiteError,
    Gone,
    ImageNotFound,
    InUse,
    Invalid,
    LimitExceeded,
    NotFound,
    ObjectNotFound,
    StillNeeded,
    StoreError,
)
from glance_lite.imports import board
from glance_lite.imports.jobs import JOB, STAGE, STAGING, UNSTAGE
from glance_lite.inspection import Inspector
from glance_lite.layer import Metric, Parts, overrides
from glance_lite.layers.audits import Audits
from glance_lite.layers.caching import Caching
from glance_lite.layers.callers import Callers
from glance_lite.layers.copies import Copies
from glance_lite.layers.grants import Grants
from glance_lite.layers.importing import Importing
from glance_lite.layers.jobs import Tools, clean_staging, make_runner, run_next
from glance_lite.layers.registration import Registration
from glance_lite.model import FAILED_UPLOAD, RUNNING, Location, StoreInfo
from glance_lite.relocation import plan
from glance_lite.signatures import Signatures
from glance_lite.updates.values import Hashed

if TYPE_CHECKING:
    from glance_lite.audit.values import Looked, Looking, Surveyed
    from glance_lite.context import RequestContext
    from glance_lite.copies import Copying, Verifying
    from glance_lite.imports.jobs import ImportRequest
    from glance_lite.model import (
        Changes,
        Image,
        Member,
        NewLocation,
        Operation,
        Orphan,
        Stored,
        Verified,
        Wanted,
    )
    from glance_lite.stream import Download, Upload
    from glance_lite.updates.values import Hashing

LOG = logging.getLogger(__name__)

#: What must be set before an image has data; the same request may do it.
FORMATS = ('disk_format', 'container_format')

#: Ids of images, as stores have them in names.
IDS = re.compile(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', re.IGNORECASE)


class Locations(Caching):
    """Moves bytes between clients and stores."""

    outside_of = ('db',)

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._algorithm: str = parts.conf.hashing_algorithm
        self._checksum: bool = parts.conf.compute_checksum
        self._formats = parts.conf.image_format
        self._signatures = Signatures(parts.conf)
        self._registration = Registration(parts.gateway, parts.conf)
        self._grants = Grants(parts.gateway)
        self._callers = Callers(parts.gateway.has_accounts)
        self._copies = Copies(parts.gateway, self._grants, self._algorithm)
        self._audits = Audits(parts.gateway)
        self._delayed: bool = parts.conf.delayed_delete
        self._scrub_time: int = parts.conf.scrub_time
        self._wake = parts.wake
        self._wake_jobs = parts.wake_jobs
        self._board = board.make(parts.conf)
        self._importing = Importing(parts.gateway, parts.conf)
        self._tools = Tools(
            parts.gateway,
            self._importing,
            self._copies,
            self._signatures,
            self._inspector,
            self._holding,
            self._remove,
            self._algorithm,
            self._checksum,
            parts.conf.image_size_cap,
            make_runner(parts.conf),
        )
        # serial -> state of the operations this process has under way
        self._held: dict[int, str] = {}

    def metrics(self) -> Iterator[Metric]:
        """Whether each store answers, how much room it has if it says so, and the cache."""
        problems = self._gateway.check()
        for store in self._gateway.stores.values():
            labels = {'store': store.id, 'type': store.type}
            well = problems[store.id] is None
            yield Metric('glance_lite_store_up', 'Whether a store answers.', well, labels)
            room = None
            if well:
                with contextlib.suppress(StoreError):
                    room = store.run(store.driver.room)
            if room is not None:
                text = 'Bytes that the medium of a store has in all.'
                yield Metric('glance_lite_store_size_bytes', text, room[0], labels)
                text = 'Bytes that are free on the medium of a store.'
                yield Metric('glance_lite_store_free_bytes', text, room[1], labels)
        yield from self._cache_metrics()

    # --- in

    def upload(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str | None
    ) -> Image:
        chosen = self._gateway.named(store)
        if chosen.read_only:
            raise Gone(f'Store {chosen.id} takes no data')
        chosen.health.admit()
        source.check_declared()
        claim = self.next.claim_upload(ctx, image_id, source, chosen.id)
        source.caller = self._callers.storing(ctx, claim.image.owner if claim.image else None)
        with self._holding(claim):
            return self._stream(ctx, claim, source, chosen.id)

    def stage(self, ctx: RequestContext, image_id: str, source: Upload) -> Image:
        if 'glance-direct' not in self._importing.methods:
            raise NotFound('The import method glance-direct is not available here')
        self._gateway.use_staging()
        self._gateway.staging.health.admit()
        source.check_declared()
        claim = self.next.claim_stage(ctx, image_id, source, STAGING)
        with self._holding(claim):
            return self._stream(ctx, claim, source, STAGING)

    def _arm(self, ctx: RequestContext, claim: Operation, source: Upload) -> None:
        """What is asked on the way. Of staged data only the size: a plug-in may change it."""

        def confirm() -> None:
            self.next.confirm_upload(ctx, claim, source)

        def extend() -> int | None:
            return self.next.extend_upload(ctx, claim, source)

        if claim.kind == STAGE:
            source.arm(None, None, confirm, False, None, claim.room, extend)
            return
        verifier = self._signatures.verifier(ctx, claim.image)
        inspector = self._inspector(claim.image)
        source.arm(
            self._algorithm, inspector, confirm, self._checksum, verifier, claim.room, extend
        )

    def _stream(
        self, ctx: RequestContext, claim: Operation, source: Upload, store_id: str
    ) -> Image:
        stored: Stored | None = None
        try:
            self._arm(ctx, claim, source)
            stored = self._gateway.put(store_id, claim.name, claim.spare, source)
            if claim.kind == STAGE:
                where = {'host': self._importing.self_url}
                there = dataclasses.replace(stored, metadata=where)
                return self.next.commit_stage(ctx, claim, source, there)
            with self._grants.around(self.next, ctx, claim.image_id, (stored.location,)):
                return self.next.commit_upload(ctx, claim, source, stored)
        except BaseException as ex:
            # BaseException: a green thread that is killed must clean up as well.
            # The answer to a commit may be lost and the commit have come through: only who could
            # take the operation back, or was told that it was gone, may take the bytes back.
            left = self._give_up(ctx, claim, source, ex)
            if left is not None:
                self._clear(ctx, left, source, stored)
            elif stored is not None and isinstance(ex, Gone):
                self._take_back(claim.image_id, stored, source)
            raise

    def _inspector(self, image: Image | None) -> Inspector | None:
        if image is None or image.container_format != 'bare':
            return None  # what a container holds is not looked into, as in Glance
        return Inspector(self._formats, image.disk_format or '')

    @contextlib.contextmanager
    def _holding(self, claim: Operation) -> Iterator[None]:
        """Give signs of life for an operation as long as somebody works on it."""
        if not claim.serial:
            yield
            return
        self._held[claim.serial] = claim.state
        try:
            yield
        finally:
            self._held.pop(claim.serial, None)

    def _clear(
        self, ctx: RequestContext, left: Operation, source: Upload, stored: Stored | None
    ) -> None:
        """End an upload that was given up. Its row stays as long as a store holds bytes of it."""
        self._held[left.serial] = left.state
        if stored is not None and not self._take_back(left.image_id, stored, source):
            return
        if source.left_behind:
            return
        try:
            self.next.end_operation(ctx, left)
        except GlanceLiteError as ex:
            LOG.error('The upload to image %s stays noted: %s', left.image_id, ex)

    def _take_back(self, image_id: str, stored: Stored, source: Upload) -> bool:
        """The bytes are there and the row does not want them; whether they are gone now."""
        try:
            self._gateway.remove(stored.location, source.caller)
        except ObjectNotFound:
            pass  # whoever swept the claim was quicker
        except StoreError as ex:
            LOG.error('Data of image %s that nobody refers to stays in a store: %s', image_id, ex)
            return False
        return True

    def _give_up(
        self, ctx: RequestContext, claim: Operation, source: Upload, ex: BaseException
    ) -> Operation | None:
        """The operation as it is left; None when it was not ours any more."""
        told = isinstance(ex, GlanceLiteError)
        reason = str(ex) if told else 'The upload was broken off'
        LOG.info('Upload to image %s failed: %s', claim.image_id, reason)
        try:
            return self.next.abort_upload(ctx, claim, source, reason)
        except GlanceLiteError as second:
            # The database is away too: the operation row keeps what is to be done.
            LOG.error('The upload to image %s stays noted: %s', claim.image_id, second)
            return None

    # --- out

    def download(self, ctx: RequestContext, image_id: str, wanted: Wanted) -> Download:
        image = self.next.peek(ctx, image_id)
        return self._gateway.open(image, wanted, self._callers.of(ctx, image.owner))

    def list_stores(self, ctx: RequestContext, detail: bool) -> tuple[StoreInfo, ...]:
        if not self._gateway.multi:
            raise NotFound('Several stores are not configured')
        return self._gateway.info(detail)

    # --- data that lies somewhere already

    def get_locations(self, ctx: RequestContext, image_id: str) -> tuple[Location, ...]:
        return tuple(self._gateway.order(self.next.peek(ctx, image_id).locations))

    def update_image(self, ctx: RequestContext, image_id: str, changes: Changes) -> Image:
        if not changes.locations:
            if 'visibility' not in changes.fields:
                return self.next.update_image(ctx, image_id, changes)
            with self._grants.around(self.next, ctx, image_id):
                return self.next.update_image(ctx, image_id, changes)
        registration = self._registration
        image = self.next.peek(ctx, image_id)
        steps = [registration.resolve_step(image, step) for step in changes.locations]
        formats = {name: changes.fields[name] for name in FORMATS if name in changes.fields}
        # Positions are meant in the order that is shown.
        shown = tuple(self._gateway.order(image.locations))
        planned = plan(image.replace(locations=shown, **formats), steps, self._algorithm)
        for new in planned.unknown:
            self._check_whose(ctx, image, new.url)
            registration.check_reachable(new.url)
        size = registration.size_of_all(image, planned.unknown, self._callers.of(ctx, image.owner))
        fields = {**changes.fields, **planned.fields}
        if size != image.size:
            fields['size'] = size
        remove = changes.remove
        if 'status' in planned.fields and FAILED_UPLOAD in image.properties:
            remove |= {FAILED_UPLOAD}
        changes = dataclasses.replace(changes, fields=fields, remove=remove, locations=())
        relocation = planned.relocation
        with self._grants.around(self.next, ctx, image_id, (*image.locations, *relocation.add)):
            claim = self.next.relocate(ctx, image_id, changes, relocation)
        assert claim.image is not None
        if claim.serial:
            self._remove(ctx, claim)
        return claim.image

    def add_location(self, ctx: RequestContext, image_id: str, new: NewLocation) -> None:
        registration = self._registration
        image = self.next.peek(ctx, image_id)
        if image.status != 'queued':
            raise Conflict(f'An image in status {image.status} takes no location')
        registration.check_caller(ctx, new.url)
        registration.check_digests(new.validation)
        new = registration.resolve(new)
        self._check_whose(ctx, image, new.url)
        registration.check_reachable(new.url)
        self.next.claim_import(ctx, image_id, new, registration.store_of(new.url).id)
        self._wake.set()

    def _check_whose(self, ctx: RequestContext, image: Image, url: str) -> None:
        """Stores name data by the id of its image; nobody may name what is another project's."""
        if self._registration.is_web(url) or self._registration.is_trusted(ctx):
            return
        for other in IDS.findall(url):
            if other == image.id:
                continue
            with contextlib.suppress(ImageNotFound):
                if self.next.peek(service_context(), other).owner != image.owner:
                    raise Forbidden('The data at the location belongs to another image')

    def import_next(self, ctx: RequestContext) -> bool:
        claim = self.next.take_import(ctx)
        if claim is None:
            return False
        with self._holding(claim):
            try:
                self._import(ctx, claim)
            except Gone as ex:
                LOG.info('Image %s: %s', claim.image_id, ex)
            except (Invalid, LimitExceeded, StoreError) as ex:
                LOG.warning('Image %s has no data at its location: %s', claim.image_id, ex)
                self.next.abort_import(ctx, claim, str(ex))
        return True

    def _import(self, ctx: RequestContext, claim: Operation) -> None:
        new = claim.new
        assert new is not None
        active = self._registration.active_before_hashing(new)
        size = self._registration.size(new.url)
        algorithm = self._registration.algorithm(new)
        with self._grants.around(
            self.next, ctx, claim.image_id, (Location(0, new.url, new.metadata),)
        ):
            claim = self.next.place_import(ctx, claim, size, active, algorithm)
        assert claim.image is not None
        found = self._registration.digests(claim.image, new, lambda: self.next.is_held(ctx, claim))
        self.next.commit_import(ctx, claim, found)

    # --- imports

    def import_image(self, ctx: RequestContext, image_id: str, asked: ImportRequest) -> Image:
        image = self.next.peek(ctx, image_id)
        new = self._importing.new_job(image, asked)
        if new is None:
            return image
        new = self._importing.accept(ctx, image, new)
        claim = self.next.claim_job(ctx, image_id, new)
        self._announce(claim)
        return claim.image or image

    def _announce(self, claim: Operation) -> None:
        """An import waits: of the rows, everybody learns in time."""
        self._wake_jobs.set()
        if self._board is not None:
            self._board.announce(claim.serial)

    def clean_staging(self, ctx: RequestContext) -> int:
        return clean_staging(self._tools, self.next, ctx)

    def run_next_job(self, ctx: RequestContext) -> bool:
        return run_next(self._tools, self.next, ctx)

    # --- away

    def delete_image(self, ctx: RequestContext, image_id: str) -> None:
        claim = (self.next.defer_delete if self._delayed else self.next.claim_delete)(ctx, image_id)
        if self._gateway.cache.enabled:
            self._gateway.cache.drop(image_id)
        try:
            self._remove(ctx, claim)
        finally:
            for left in claim.left:
                self._remove(ctx, left)

    def scrub_next(self, ctx: RequestContext) -> bool:
        claim = self.next.take_deferred(ctx, self._scrub_time)
        if claim is None:
            return False
        try:
            self._remove(ctx, claim)
        except InUse as ex:
            LOG.error('Data of deleted image %s is removed later: %s', claim.image_id, ex)
        return True

    def delete_from_store(self, ctx: RequestContext, image_id: str, store: str) -> None:
        if not self._gateway.multi:
            raise NotFound('Several stores are not configured')
        if store not in self._gateway.known_ids():
            raise Conflict(f'There is no store {store}')
        image = self.next.peek(ctx, image_id)
        if image.status != 'active':
            raise Conflict(f'A copy of an image in status {image.status} cannot be removed')
        there = [location for location in image.locations if location.store == store]
        others = [found for found in image.locations if found.good and found not in there[:1]]
        if len(image.locations) == 1 or not others:
            raise Forbidden('The last copy of an image cannot be removed; delete the image instead')
        if not there:
            raise NotFound(f'Image {image_id} has no data in store {store}')
        self._remove(ctx, self.next.claim_location(ctx, image_id, there[0].id))

    def _remove(self, ctx: RequestContext, claim: Operation) -> None:
        with self._holding(claim):
            left = self._remove_each(ctx, claim)
            if left is None:
                self.next.commit_delete(ctx, claim)
            elif left.notices or left.needed:
                self.next.leave_delete(ctx, left)

    def _remove_each(self, ctx: RequestContext, claim: Operation) -> Operation | None:
        """What is left to be removed, None if nothing is. `InUse`: a store needs it: it stays."""
        needed, caller = False, self._callers.of(ctx)
        if claim.kind == UNSTAGE:
            self._gateway.use_staging()
            self._importing.workshop.clear(claim.name)
        for number, location in enumerate(claim.locations):
            try:
                self._gateway.remove(location, caller)
            except ObjectNotFound:
                LOG.warning('Data of image %s was gone already', claim.image_id)
            except BadStoreUri:
                # Not one of ours any more: its directory may be configured again one day.
                LOG.error('Image %s: a location belongs to no store', claim.image_id)
                needed = True
            except InUse as ex:
                # One of which something is gone already cannot stay.
                needed = needed or isinstance(ex, StillNeeded)
                if not needed:
                    # The image stays, with the copies that are left.
                    left = dataclasses.replace(claim, locations=claim.locations[number:])
                    self.next.abort_delete(ctx, left)
                    raise
                LOG.info('Data of image %s is removed later: %s', claim.image_id, ex)
            except StoreError as ex:
                # The image is gone for its owner; the row keeps what a recovery must remove.
                LOG.error('Data of image %s is removed later: %s', claim.image_id, ex)
                return claim
        return dataclasses.replace(claim, needed=True) if needed else None

    # --- who reads, where the store itself decides

    def add_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        with self._grants.around(self.next, ctx, image_id):
            return self.next.add_member(ctx, image_id, member_id)

    def remove_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        with self._grants.around(self.next, ctx, image_id):
            return self.next.remove_member(ctx, image_id, member_id)

    # --- for those who look after stores

    def copy_data(self, ctx: RequestContext, copying: Copying) -> Image:
        self._copies.check(self.next.peek(ctx, copying.image_id), copying.store)
        claim = self.next.claim_copy(ctx, copying.image_id, copying.store)
        with self._holding(claim):
            return self._copies.make(self.next, ctx, claim, copying)

    def verify_data(self, ctx: RequestContext, verifying: Verifying) -> Iterator[Verified]:
        return self._copies.verify(self.next.peek(ctx, verifying.image_id), verifying)

    def remove_copy(self, ctx: RequestContext, image_id: str, location_id: int) -> None:
        self._remove(ctx, self.next.claim_location(ctx, image_id, location_id))

    def survey_stores(self, ctx: RequestContext) -> tuple[Surveyed, ...]:
        return self._audits.survey()

    def hash_data(self, ctx: RequestContext, hashing: Hashing) -> bool:
        image = self.next.peek(ctx, hashing.image_id)
        if image.os_hash_value is not None or not image.locations:
            return False
        digests = self._audits.hash(image, self._algorithm, hashing.told)
        return self.next.set_digests(ctx, Hashed(image, digests))

    def look_at_copy(self, ctx: RequestContext, looking: Looking) -> Looked:
        return self._audits.look(looking)

    # --- what is done in the background

    def keep_alive(self, ctx: RequestContext) -> None:
        if self._held:
            self.next.refresh(ctx, dict(self._held))

    def clean_up(self, ctx: RequestContext, found: Operation) -> bool:
        if found.serial in self._held:
            return False  # ours, and alive: it is our signs of life that did not get through
        claim = self.next.take_over(ctx, found)
        if claim is None:
            # It waits now.
            if found.kind == 'import':
                self._wake.set()
            elif found.kind == JOB:
                self._announce(found)
            return False
        # One that was taken up before waits for its store.
        level = logging.WARNING if found.state == RUNNING else logging.INFO
        LOG.log(level, 'Image %s: taking up an unfinished %s', claim.image_id, claim.kind)
        if claim.kind in ('upload', 'copy', STAGE):
            with self._holding(claim):
                self._remove_named(ctx, claim)
        elif claim.kind == 'grant':
            with self._holding(claim):
                self._grants.settle(self.next, ctx, claim)
        else:
            try:
                self._remove(ctx, claim)
            except InUse as ex:
                LOG.error('Image %s is back, because its data cannot go: %s', claim.image_id, ex)
        return True

    def find_orphans(self, ctx: RequestContext, store: str, min_age: float) -> Iterator[Orphan]:
        chosen = self._gateway.configured(store)
        # A driver that has not started makes sense of no url, and all would seem unwanted.
        chosen.run(chosen.driver.check)
        search = orphans.Search(
            chosen.driver,
            lambda after, count: self.next.list_locations(ctx, after, count),
            lambda ids: self.next.list_locations_of(ctx, ids),
            lambda ids: self.next.find_vanished(ctx, ids),
        )
        return search.run(chosen.listing(), min_age)

    def remove_orphan(self, ctx: RequestContext, orphan: Orphan) -> bool:
        # Asked once more: since it was found an image may have been given this id.
        if not orphan.image_id or not self.next.find_vanished(ctx, [orphan.image_id]):
            return False
        try:
            self._gateway.remove(Location(0, orphan.url, {'store': orphan.store}))
        except ObjectNotFound:
            return False
        LOG.info('Orphan of image %s removed from store %s', orphan.image_id, orphan.store)
        return True

    def _remove_named(self, ctx: RequestContext, claim: Operation) -> None:
        """Remove what an upload may have left under its names."""
        wanted = {found.url for found in claim.image.locations} if claim.image else set()
        caller = self._callers.service(claim.owner)
        try:
            if claim.kind == STAGE:
                self._gateway.use_staging()
            for name in dict.fromkeys((claim.name, claim.spare)):
                self._gateway.remove_named(claim.store, name, wanted, caller)
        except StoreError as ex:
            LOG.error('Data of image %s is removed later: %s', claim.image_id, ex)
            return
        self.next.end_operation(ctx, claim)


#: What becomes of an image's row is for ``db`` to do.
Locations.ends = frozenset(overrides(Locations)) - {
    'update_image',
    'set_active',
    'add_member',
    'remove_member',
}
