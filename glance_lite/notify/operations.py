# SPDX-License-Identifier: Apache-2.0
"""The operations on the outbox, as `glance_lite.operations` has those on images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from glance_lite.contract import Family, operation

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.notify.events import Notice, Outbox, Sending


class OutboxOperations(Family):
    @operation(inner=True)
    def is_outbox_ready(self, ctx: RequestContext, sending: Sending) -> bool | None:
        """Whether there is something to send; None: there is, and somebody else is at it.

        False for a while after somebody failed to send.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def take_notices(
        self, ctx: RequestContext, sending: Sending, sent: Sequence[int]
    ) -> tuple[Notice, ...] | None:
        """Remove those with the serials `sent`, and give the next ones, oldest first.

        None: it is somebody else's turn. None at all: the outbox is empty, and the turn is over.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def keep_outbox(self, ctx: RequestContext, sending: Sending, beyond: int) -> bool:
        """A sign of life of whoever is sending; whether it is still its turn.

        What the outbox has too many of is dropped, but nothing with a serial up to `beyond`.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def release_outbox(
        self, ctx: RequestContext, sending: Sending, sent: Sequence[int], failed: bool
    ) -> None:
        """Remove those with the serials `sent`; the turn is over. `failed`: the next did not go."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def count_dropped(self, ctx: RequestContext, count: int) -> None:
        """Note that so many events will never be sent."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def look_at_outbox(self, ctx: RequestContext) -> Outbox:
        """How many wait, for how long, and how many were dropped."""
        return self._unlinked()  # type: ignore[no-any-return]
