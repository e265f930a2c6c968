# SPDX-License-Identifier: Apache-2.0
"""Copies of data in one more store: claimed, made, compared, committed, or taken back."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from glance_lite.errors import (
    Conflict,
    GlanceLiteError,
    Gone,
    Invalid,
    ObjectNotFound,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
)
from glance_lite.layers.callers import Callers
from glance_lite.model import Image, Location, Operation, Stored, Verified, Wanted
from glance_lite.stream import Digest, Upload

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.copies import Copying, Verifying
    from glance_lite.gateway import Gateway
    from glance_lite.layers.grants import Grants
    from glance_lite.operations import Operations

LOG = logging.getLogger(__name__)


class Copies:
    """Makes copies, and reads again what is there."""

    def __init__(self, gateway: Gateway, grants: Grants, algorithm: str) -> None:
        """`algorithm` hashes the data of an image that has no hash."""
        self._gateway = gateway
        self._grants = grants
        self._callers = Callers(gateway.has_accounts)
        self._algorithm = algorithm

    def check(self, image: Image, store_id: str) -> None:
        """Whether there may be a copy of an image in a store. `Invalid`, `Conflict`."""
        store = self._gateway.stores.get(store_id)
        if store is None:
            raise Invalid(f'There is no store {store_id}')
        if store.read_only:
            raise StoreReadOnly(f'Store {store_id} takes no data')
        store.health.admit()
        if any(self.store_of(found) == store_id for found in image.locations if found.good):
            raise Conflict(f'Image {image.id} has a copy in store {store_id}')

    def store_of(self, location: Location) -> str | None:
        """The id of the store of a location; None: it cannot be said."""
        store = self._gateway.holder(location)
        return store.id if store else None

    # --- making one

    def make(
        self, next: Operations, ctx: RequestContext, claim: Operation, copying: Copying
    ) -> Image:
        """What was claimed is done, or nothing is."""
        stored: Stored | None = None
        try:
            stored = self.within(claim) or self._through(claim, copying)
            location = stored.location
            self._compare(claim, location)
            with self._grants.around(next, ctx, claim.image_id, (location,)):
                return next.commit_copy(ctx, claim, stored)
        except BaseException as ex:
            # BaseException: a command that is interrupted must clean up as well.
            self.take_back(next, ctx, claim, stored, ex)
            raise

    def granting(
        self, next: Operations, ctx: RequestContext, claim: Operation, stored: Stored
    ) -> contextlib.AbstractContextManager[None]:
        """For the write of what was stored: a store may have to be told who reads it."""
        return self._grants.around(next, ctx, claim.image_id, (stored.location,))

    def within(self, claim: Operation) -> Stored | None:
        """Copied by the backend itself; None: no location is in one that can."""
        image, store_id = claim.image, str(claim.store)
        assert image is not None
        for location in self._gateway.order(image.locations):
            try:
                url = self._gateway.copy(store_id, location, claim.name, claim.spare)
            except StoreUnavailable:
                raise  # something may come of it still
            except StoreError as ex:
                LOG.warning('Image %s is not copied within its backend: %s', image.id, ex)
                continue
            if url is not None:
                return Stored(url, store_id if self._gateway.multi else None, image.size or 0)
        return None

    def _through(self, claim: Operation, copying: Copying) -> Stored:
        """Read and written by this process; what is not what the image says is not kept."""
        assert claim.image is not None
        told = copying.told
        return self.pour(claim, claim.image, lambda count, total: told(count), self.expect)

    def pour(
        self,
        claim: Operation,
        source: Image,
        told: Callable[[int, int | None], None],
        arm: Callable[[Upload, Image], None],
    ) -> Stored:
        """Read the data of `source`, and have the store of a claim write it.

        `told` gets (bytes of a chunk, bytes of all or None); `arm` says what the data must be.
        """
        image = claim.image
        assert image is not None
        data = self._gateway.open(source, Wanted())
        chunks = iter(data)

        def read(size: int) -> bytes:
            chunk = next(chunks, b'')
            told(len(chunk), data.total)
            return chunk

        upload = Upload(read, data.total)
        upload.caller = self._callers.service(image.owner)
        try:
            arm(upload, image)
            return self._gateway.put(str(claim.store), claim.name, claim.spare, upload)
        except StoreError as ex:
            if upload.left_behind:
                raise StoreUnavailable(ex.message) from ex
            raise
        finally:
            data.close()

    def expect(self, upload: Upload, image: Image) -> None:
        """The data must be what the image says, where it says anything."""

        def confirm() -> None:
            if image.os_hash_value not in (None, upload.os_hash_value):
                raise StoreError(f'The data of image {image.id} is damaged where it was read')

        upload.arm(image.os_hash_algo or self._algorithm, confirm=confirm, checksum=False)

    def _compare(self, claim: Operation, location: Location) -> None:
        assert claim.image is not None
        size, wanted = self._gateway.size(location), claim.image.size
        if wanted is not None and size != wanted:
            raise StoreError(f'The copy of image {claim.image_id} has {size} bytes, not {wanted}')

    def take_back(
        self,
        next: Operations,
        ctx: RequestContext,
        claim: Operation,
        stored: Stored | None,
        ex: BaseException,
    ) -> None:
        """End a copy that failed; its row stays as long as a store may hold bytes of it."""
        try:
            left = next.abort_copy(ctx, claim)
            if left is None and not isinstance(ex, Gone):
                return  # swept, or the commit has come through and only its answer was lost
            if stored is not None:
                self.remove(stored)
            elif isinstance(ex, StoreUnavailable) or not isinstance(ex, GlanceLiteError):
                return  # nobody knows what is there; a sweeper looks
            if left is not None:
                next.end_operation(ctx, left)
        except GlanceLiteError as second:
            LOG.error('A copy of image %s stays noted: %s', claim.image_id, second)

    def remove(self, stored: Stored) -> None:
        """Remove bytes that no row wants. `StoreError`: they are there still."""
        try:
            self._gateway.remove(stored.location)
        except ObjectNotFound:
            pass  # whoever swept the claim was quicker

    # --- reading again

    def verify(self, image: Image, verifying: Verifying) -> Iterator[Verified]:
        """How each location is."""
        for location in image.locations:
            store_id, shown, problem = location.store, 'an unknown url', None
            if verifying.store not in (None, self.store_of(location)):
                continue
            try:
                store = self._gateway.find(location)
                store_id, shown = store.id, store.driver.redact(location.url)
                problem = self._problem(image, location, verifying.told)
            except StoreError as ex:
                problem = ex.message
            yield Verified(location.id, store_id, shown, problem)

    def _problem(self, image: Image, location: Location, told: Callable[[int], None]) -> str | None:
        size = self._gateway.size(location)
        if image.size is not None and size != image.size:
            return f'There are {size} bytes, and not {image.size}'
        algorithm, wanted = image.os_hash_algo, image.os_hash_value
        if not algorithm or not wanted:
            algorithm, wanted = 'md5', image.checksum
        if not wanted:
            return None  # nobody has ever said what it should be
        digest = Digest(algorithm)
        data = self._gateway.open(image.replace(locations=(location,)), Wanted())
        try:
            for chunk in data:
                digest.update(chunk)
                told(len(chunk))
            return None if digest.hexdigest() == wanted else f'The {algorithm} is another one'
        finally:
            digest.join()
            data.close()
