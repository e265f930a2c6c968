# SPDX-License-Identifier: Apache-2.0
"""Where the data of images is: the only layer that talks to stores.

An upload follows the commit protocol: claim, stream, commit, and on any failure the bytes go
and the image is queued again. A delete hides the image first and removes the bytes then; what a
store could not remove stays noted in the operation row.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from glance_lite.errors import (
    BadStoreUri,
    Conflict,
    GlanceLiteError,
    Gone,
    InUse,
    NotFound,
    ObjectNotFound,
    StoreError,
)
from glance_lite.inspection import Inspector
from glance_lite.layer import Layer, Parts
from glance_lite.model import Location, StoreInfo

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.model import Image, Operation, Stored, Wanted
    from glance_lite.stream import Download, Upload

LOG = logging.getLogger(__name__)


class Locations(Layer):
    """Moves bytes between clients and stores."""

    outside_of = ('db',)

    def __init__(self, parts: Parts) -> None:
        self._gateway = parts.gateway
        self._algorithm: str = parts.conf.hashing_algorithm
        self._formats = parts.conf.image_format

    # --- in

    def upload(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str | None
    ) -> Image:
        chosen = self._gateway.named(store)
        if chosen.read_only:
            raise Gone(f'Store {chosen.id} takes no data')
        source.check_declared()
        claim = self.next.claim_upload(ctx, image_id, source, chosen.id)
        stored: Stored | None = None
        try:
            source.arm(
                self._algorithm,
                self._inspector(claim.image),
                lambda: self.next.confirm_upload(ctx, claim, source),
            )
            stored = self._gateway.put(chosen.id, claim.name, source)
            return self.next.commit_upload(ctx, claim, source, stored)
        except BaseException as ex:
            # BaseException: a green thread that is killed must clean up as well.
            if stored is not None:
                self._take_back(image_id, stored)
            self._give_up(ctx, claim, source, ex)
            raise

    def _inspector(self, image: Image) -> Inspector | None:
        if image.container_format != 'bare':
            return None  # what a container holds is not looked into, as in Glance
        return Inspector(self._formats, image.disk_format or '')

    def _take_back(self, image_id: str, stored: Stored) -> None:
        """The bytes are there and the row does not want them."""
        location = Location(0, stored.url, {'store': stored.store} if stored.store else {})
        try:
            self._gateway.remove(location)
        except StoreError as ex:
            LOG.error('Data of image %s that nobody refers to stays in a store: %s', image_id, ex)

    def _give_up(
        self, ctx: RequestContext, claim: Operation, source: Upload, ex: BaseException
    ) -> None:
        told = isinstance(ex, GlanceLiteError)
        reason = str(ex) if told else 'The upload was broken off'
        LOG.info('Upload to image %s failed: %s', claim.image.id, reason)
        # If the database is away too, the operation row keeps what is to be done.
        with contextlib.suppress(GlanceLiteError):
            self.next.abort_upload(ctx, claim, source, reason)

    # --- out

    def download(self, ctx: RequestContext, image_id: str, wanted: Wanted) -> Download:
        return self._gateway.open(self.next.peek(ctx, image_id), wanted)

    def list_stores(self, ctx: RequestContext, detail: bool) -> tuple[StoreInfo, ...]:
        if not self._gateway.multi:
            raise NotFound('Several stores are not configured')
        return self._gateway.info(detail)

    # --- away

    def delete_image(self, ctx: RequestContext, image_id: str) -> None:
        self._remove(ctx, self.next.claim_delete(ctx, image_id))

    def delete_from_store(self, ctx: RequestContext, image_id: str, store: str) -> None:
        if not self._gateway.multi:
            raise NotFound('Several stores are not configured')
        if store not in self._gateway.known_ids():
            raise Conflict(f'There is no store {store}')
        image = self.next.peek(ctx, image_id)
        if image.status != 'active':
            raise Conflict(f'A copy of an image in status {image.status} cannot be removed')
        there = [location for location in image.locations if location.store == store]
        if not there:
            raise NotFound(f'Image {image_id} has no data in store {store}')
        self._remove(ctx, self.next.claim_location(ctx, image_id, there[0].id))

    def _remove(self, ctx: RequestContext, claim: Operation) -> None:
        for number, location in enumerate(claim.locations):
            try:
                self._gateway.remove(location)
            except ObjectNotFound:
                LOG.warning('Data of image %s was gone already', claim.image.id)
            except BadStoreUri:
                # Not one of ours any more (a directory was moved): nothing we could remove.
                LOG.error('Image %s: a location belongs to no store', claim.image.id)
            except InUse:
                if number == 0:
                    self.next.abort_delete(ctx, claim)
                raise
            except StoreError as ex:
                # The image is gone for its owner; the row keeps what a recovery must remove.
                LOG.error('Data of image %s is removed later: %s', claim.image.id, ex)
                return
        self.next.commit_delete(ctx, claim)
