# SPDX-License-Identifier: Apache-2.0
"""The part of the innermost layer that serves those who look after images and stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from sqlalchemy.engine import Connection

from glance_lite.db import audits, duties, engine, orphans, removals, updates
from glance_lite.layer import Layer
from glance_lite.process import Process

if TYPE_CHECKING:
    from glance_lite.audit.values import Copy, Finding, Quarantined
    from glance_lite.context import RequestContext
    from glance_lite.maintenance.duty import DutyState
    from glance_lite.model import Image, Location
    from glance_lite.updates.values import Hashed, Placed, Placement

P = ParamSpec('P')
T = TypeVar('T')


class Upkeep(Layer):
    """Duties, and what they read and write."""

    database: engine.Database
    process: Process

    def _write(
        self,
        ctx: RequestContext,
        function: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """One transaction. What was read for the request is no longer true."""
        ctx.rows.clear()
        return self.database.write(lambda connection: function(connection, *args, **kwargs))

    # --- duties

    def list_duties(self, ctx: RequestContext, expiry: float) -> tuple[DutyState, ...]:
        return self.database.read(
            lambda connection: duties.list_all(connection, self.process, expiry)
        )

    def take_duty(
        self, ctx: RequestContext, name: str, holder: str, period: float, expiry: float
    ) -> bool:
        due = self.database.read(
            lambda connection: duties.may_take(connection, self.process, name, period, expiry)
        )
        return due and self._write(ctx, duties.take, self.process, name, holder, period, expiry)

    def keep_duty(self, ctx: RequestContext, name: str, holder: str) -> bool:
        return self._write(ctx, duties.keep, name, holder)

    def leave_duty(
        self,
        ctx: RequestContext,
        name: str,
        holder: str,
        result: Mapping[str, int] | None,
        problem: str | None,
    ) -> None:
        self._write(ctx, duties.leave, name, holder, result, problem)

    # --- what was put off

    def restore_image(self, ctx: RequestContext, image_id: str) -> Image:
        return self._write(ctx, removals.restore, image_id)

    # --- audits

    def list_copies(self, ctx: RequestContext, after: int, count: int) -> tuple[Copy, ...]:
        return self.database.read(lambda connection: audits.list_copies(connection, after, count))

    def list_dataless(self, ctx: RequestContext, after: str, count: int) -> tuple[str, ...]:
        return self.database.read(lambda connection: audits.list_dataless(connection, after, count))

    def quarantine(self, ctx: RequestContext, copy: Copy, finding: Finding) -> bool | None:
        return self._write(ctx, audits.quarantine, copy, finding)

    def release_copy(self, ctx: RequestContext, location_id: int) -> bool:
        return self._write(ctx, audits.release, location_id)

    def list_quarantine(
        self, ctx: RequestContext, after: int, count: int
    ) -> tuple[Quarantined, ...]:
        return self.database.read(
            lambda connection: audits.list_quarantine(connection, after, count)
        )

    def collect_quarantine(self, ctx: RequestContext) -> int:
        return self._write(ctx, audits.collect)

    def list_locations_of(
        self, ctx: RequestContext, image_ids: Sequence[str]
    ) -> tuple[Location, ...]:
        return self.database.read(
            lambda connection: orphans.list_locations_of(connection, image_ids)
        )

    def find_busy(self, ctx: RequestContext, image_ids: Sequence[str]) -> frozenset[str]:
        return self.database.read(lambda connection: audits.find_busy(connection, image_ids))

    def get_position(self, ctx: RequestContext, name: str) -> str | None:
        return self.database.read(lambda connection: audits.get_position(connection, name))

    def set_position(self, ctx: RequestContext, name: str, position: str | None) -> None:
        self._write(ctx, audits.set_position, name, position)

    # --- updates

    def list_unhashed(self, ctx: RequestContext, after: str, count: int) -> tuple[str, ...]:
        return self.database.read(
            lambda connection: updates.list_unhashed(connection, after, count)
        )

    def set_digests(self, ctx: RequestContext, hashed: Hashed) -> bool:
        return self._write(ctx, updates.set_digests, hashed)

    def list_projects(self, ctx: RequestContext) -> tuple[str | None, ...]:
        return self.database.read(updates.list_projects)

    def recount_usage(self, ctx: RequestContext, project: str | None) -> int:
        return self._write(ctx, updates.recount, project)

    def list_placed(self, ctx: RequestContext, after: str, count: int) -> tuple[Placed, ...]:
        return self.database.read(lambda connection: updates.list_placed(connection, after, count))

    def want_placement(
        self, ctx: RequestContext, image_id: str, stores: Mapping[str, bool]
    ) -> None:
        self._write(ctx, updates.want, image_id, stores)

    def list_placements(
        self, ctx: RequestContext, after: str, count: int, due: bool
    ) -> tuple[Placement, ...]:
        return self.database.read(
            lambda connection: updates.list_placements(connection, after, count, due)
        )

    def settle_placement(self, ctx: RequestContext, image_id: str, store: str | None) -> None:
        self._write(ctx, updates.settle, image_id, store)

    def postpone_placement(
        self, ctx: RequestContext, image_id: str, store: str, problem: str
    ) -> None:
        self._write(ctx, updates.postpone, image_id, store, problem)
