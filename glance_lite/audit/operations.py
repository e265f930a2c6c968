# SPDX-License-Identifier: Apache-2.0
"""The operations of the auditor: stored data is looked at again, and what is wrong is noted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from glance_lite.contract import Family, operation

if TYPE_CHECKING:
    from glance_lite.audit.values import Copy, Finding, Looked, Looking, Quarantined, Surveyed
    from glance_lite.context import RequestContext
    from glance_lite.model import Location


class AuditOperations(Family):
    """No request asks for these; duties and commands do, and enter the chain at ``location``."""

    @operation(inner=True)
    def list_copies(self, ctx: RequestContext, after: int, count: int) -> tuple[Copy, ...]:
        """At most `count` locations of images with data, with ids larger than `after`, by id."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def list_dataless(self, ctx: RequestContext, after: str, count: int) -> tuple[str, ...]:
        """At most `count` ids, larger than `after`, of images that should have data and have none.

        One that is empty is left out: it may never have had any.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def survey_stores(self, ctx: RequestContext) -> tuple[Surveyed, ...]:
        """The stores that are configured."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def look_at_copy(self, ctx: RequestContext, looking: Looking) -> Looked:
        """Look at a copy. `StoreError`: it could not be looked at, and nothing is known of it."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def quarantine(self, ctx: RequestContext, copy: Copy, finding: Finding) -> bool | None:
        """Note that a copy is bad; whether it is not served any more.

        False: the image has no other one, and this one stays. None: the image or the location has
        changed meanwhile, and nothing is noted.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def release_copy(self, ctx: RequestContext, location_id: int) -> bool:
        """A copy is served again; False: it was in no quarantine."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def list_quarantine(
        self, ctx: RequestContext, after: int, count: int
    ) -> tuple[Quarantined, ...]:
        """At most `count` with location ids larger than `after`, by id."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def collect_quarantine(self, ctx: RequestContext) -> int:
        """Forget copies that are not there any more; how many."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def list_locations_of(
        self, ctx: RequestContext, image_ids: Sequence[str]
    ) -> tuple[Location, ...]:
        """All locations of these images whose data somebody may want, as `list_locations`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def find_busy(self, ctx: RequestContext, image_ids: Sequence[str]) -> frozenset[str]:
        """Those of the ids whose data somebody is just writing: we, or a Glance beside us."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def get_position(self, ctx: RequestContext, name: str) -> str | None:
        """How far something has come; None: it is at the begin."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def set_position(self, ctx: RequestContext, name: str, position: str | None) -> None:
        """Note how far something has come; None: it is to begin anew."""
        return self._unlinked()  # type: ignore[no-any-return]
