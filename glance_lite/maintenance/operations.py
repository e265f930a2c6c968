# SPDX-License-Identifier: Apache-2.0
"""The operations on duties, as `glance_lite.operations` has those on images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from glance_lite.contract import Family, operation

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.maintenance.duty import DutyState
    from glance_lite.model import Image


class DutyOperations(Family):
    """Whose turn it is. No request asks for these; the keeper of duties does."""

    @operation(inner=True)
    def list_duties(self, ctx: RequestContext, expiry: float) -> tuple[DutyState, ...]:
        """All duties that were ever done, by name; `expiry` as of `take_duty`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def take_duty(
        self, ctx: RequestContext, name: str, holder: str, period: float, expiry: float
    ) -> bool:
        """Take the turn, if the last run ended `period` seconds ago and nobody has it.

        Somebody who has given no sign of life for `expiry` seconds has it no more, nor has a
        process of this host that is gone. One statement where it is not our turn.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def keep_duty(self, ctx: RequestContext, name: str, holder: str) -> bool:
        """A sign of life; whether it is our turn still."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def leave_duty(
        self,
        ctx: RequestContext,
        name: str,
        holder: str,
        result: Mapping[str, int] | None,
        problem: str | None,
    ) -> None:
        """Give the turn back. Without `result` and `problem` the run was not ended.

        Nothing happens if it is not ours any more.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def restore_image(self, ctx: RequestContext, image_id: str) -> Image:
        """Take back a delete whose data was to go later: the image is ``active`` again.

        `Conflict`: it is not ``pending_delete``; its data may be gone.
        """
        return self._unlinked()  # type: ignore[no-any-return]
