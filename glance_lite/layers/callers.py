# SPDX-License-Identifier: Apache-2.0
"""Who acts, for stores in which each project has an account of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glance_lite.store import Caller

if TYPE_CHECKING:
    from glance_lite.context import RequestContext


class Callers:
    """Makes of a context what such a store must know, and nothing where there is none."""

    def __init__(self, needed: bool) -> None:
        """`needed`: there is such a store."""
        self._needed = needed

    def of(self, ctx: RequestContext, owner: str | None = None) -> Caller | None:
        """Whoever asks; for one without a token the service acts, for the project `owner`."""
        if self._needed and ctx.auth_token:
            return Caller(ctx.project_id, ctx.auth_token, tuple(ctx.service_catalog))
        return self.service(owner)

    def service(self, owner: str | None) -> Caller | None:
        """The service itself, for a project."""
        return Caller(owner) if self._needed else None
