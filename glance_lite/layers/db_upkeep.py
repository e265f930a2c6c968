# SPDX-License-Identifier: Apache-2.0
"""The part of the innermost layer that serves those who look after images and stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from sqlalchemy.engine import Connection

from glance_lite.db import duties, engine, removals
from glance_lite.layer import Layer
from glance_lite.process import Process

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.maintenance.duty import DutyState
    from glance_lite.model import Image

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
