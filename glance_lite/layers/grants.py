# SPDX-License-Identifier: Apache-2.0
"""Stores that decide for themselves who reads: they are told when that changes, and only then.

What they are told is what holds at that moment, whoever changed it, so it can be said again at
any time. An operation row says that it must be said: it is written before the change, and goes
when the stores have taken it. If they do not, or the process ends, a sweeper says it again.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from glance_lite.context import service_context
from glance_lite.errors import GlanceLiteError, ImageNotFound, Unavailable
from glance_lite.layers.callers import Callers

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.gateway import Gateway
    from glance_lite.model import Image, Location, Operation
    from glance_lite.operations import Operations

LOG = logging.getLogger(__name__)


class Grants:
    """Tells stores who may read the data of images."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._needed = gateway.has_acls
        self._callers = Callers(gateway.has_accounts)

    def around(
        self,
        next: Operations,
        ctx: RequestContext,
        image_id: str,
        locations: Sequence[Location] | None = None,
    ) -> contextlib.AbstractContextManager[None]:
        """For a change of who may read an image, or of where its data is.

        Nothing is done for it unless a store of the `locations` must be told; None are those that
        the image has.
        """
        if self._needed:
            if locations is None:
                locations = next.peek(ctx, image_id).locations
            if self._gateway.with_acls(locations):
                return self._changing(next, ctx, image_id)
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def _changing(self, next: Operations, ctx: RequestContext, image_id: str) -> Iterator[None]:
        claim = next.claim_grant(ctx, image_id)
        try:
            yield
        except GlanceLiteError as ex:
            if not isinstance(ex, Unavailable):
                self._end(next, claim)  # refused: nothing has changed
            raise
        self.settle(next, ctx, claim)

    def settle(self, next: Operations, ctx: RequestContext, claim: Operation) -> None:
        """Do what an operation row says. No error: what does not succeed stays noted."""
        try:
            self._tell(next, ctx, claim.image_id)
        except ImageNotFound:
            pass  # deleted meanwhile, so nobody reads it
        except GlanceLiteError as ex:
            LOG.error(
                'Who may read the data of image %s is told to its stores later: %s',
                claim.image_id,
                ex,
            )
            return
        self._end(next, claim)

    def _tell(self, next: Operations, asking: RequestContext, image_id: str) -> None:
        # Somebody else may change it, and tell the store before us what came after ours. Who
        # speaks last looks once more.
        told = None
        while True:
            ctx = service_context()
            image = next.peek(ctx, image_id)
            found = self._gateway.with_acls(image.locations)
            readers = _readers(next, ctx, image)
            caller = self._callers.of(asking, image.owner)
            if told == (found, *readers):
                return
            for location in found:
                self._gateway.grant(location, *readers, caller)
            told = (found, *readers)

    @staticmethod
    def _end(next: Operations, claim: Operation) -> None:
        try:
            next.end_operation(service_context(), claim)
        except GlanceLiteError as ex:
            LOG.error('Image %s: a grant stays noted: %s', claim.image_id, ex)


def _readers(next: Operations, ctx: RequestContext, image: Image) -> tuple[bool, tuple[str, ...]]:
    """Whether everybody may read an image, else which projects beside its owner."""
    if image.visibility in ('public', 'community'):
        return True, ()
    if image.visibility != 'shared':
        return False, ()
    # Pending ones too: who has not accepted yet can read the image all the same.
    members = next.list_members(ctx, image.id)
    return False, tuple(sorted(member.member_id for member in members))
