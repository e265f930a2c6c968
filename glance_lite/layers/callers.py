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
        """Whoever asks for data of the project `owner`.

        For one without a token, and for an administrator in another project, the service acts.
        """
        theirs = owner in (None, ctx.project_id)
        if self._needed and ctx.auth_token and (theirs or not ctx.is_admin):
            return Caller(ctx.project_id, ctx.auth_token, tuple(ctx.service_catalog))
        return self.service(owner)

    def storing(self, ctx: RequestContext, owner: str | None) -> Caller | None:
        """Whoever uploads: whosoever it is, the data lies in the account of the image's owner."""
        return self.of(ctx, owner) if ctx.project_id == owner else self.service(owner)

    def service(self, owner: str | None) -> Caller | None:
        """The service itself, for a project."""
        return Caller(owner) if self._needed else None
