# SPDX-License-Identifier: Apache-2.0
"""Who asks, and what was already read for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from oslo_context import context

if TYPE_CHECKING:
    from glance_lite.model import Rider


class RequestContext(context.RequestContext):  # type: ignore[misc]
    """Identity and ids of one request, made by a Paste filter, read by every layer.

    `roles` are lower case. `is_admin` is what the policy rule ``context_is_admin`` said.
    `read_only` marks an anonymous caller: it may look at what is public and change nothing.
    `rows` belongs to the ``db`` layer alone: raw rows read earlier in this request, dropped by
    every write. `credentials` belongs to the policy enforcer: what rules may ask of the caller.
    `riders` are those of `riding`, for ``db``.
    """

    def __init__(
        self,
        *,
        user_id: str | None = None,
        project_id: str | None = None,
        roles: Sequence[str] = (),
        is_admin: bool = False,
        read_only: bool = False,
        service_catalog: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            user_id=user_id,
            project_id=project_id,
            roles=[role.lower() for role in roles],
            is_admin=is_admin,
            read_only=read_only,
            **kwargs,
        )
        self.service_catalog = service_catalog or []
        self.rows: dict[str, Any] = {}
        self.credentials: Mapping[str, Any] | None = None
        self.riders: tuple[Rider, ...] = ()

    @property
    def owner(self) -> str | None:
        """Project that owns what this caller creates."""
        return self.project_id  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def riding(self, *riders: Rider) -> Iterator[None]:
        """Have something written with what the operation called inside this block writes.

        For operations that are told ids and no more; where there is a `Changes`, an `Upload` or a
        `NewLocation`, riders are attached to that.
        """
        before = self.riders
        self.riders = (*before, *riders)
        try:
            yield
        finally:
            self.riders = before


def service_context() -> RequestContext:
    """The service itself, for work that no request asked for; sees everything."""
    return RequestContext(is_admin=True, overwrite=False)
