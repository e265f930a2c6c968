# SPDX-License-Identifier: Apache-2.0
"""Who asks, and what was already read for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oslo_context import context


class RequestContext(context.RequestContext):  # type: ignore[misc]
    """Identity and ids of one request, made by a Paste filter, read by every layer.

    `roles` are lower case. `is_admin` is what the policy rule ``context_is_admin`` said.
    `read_only` marks an anonymous caller: it may look at what is public and change nothing.
    `rows` belongs to the ``db`` layer alone: raw rows read earlier in this request, dropped by
    every write. `credentials` belongs to the policy enforcer: what rules may ask of the caller.
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

    @property
    def owner(self) -> str | None:
        """Project that owns what this caller creates."""
        return self.project_id  # type: ignore[no-any-return]


def service_context() -> RequestContext:
    """The service itself, for work that no request asked for; sees everything."""
    return RequestContext(is_admin=True, overwrite=False)
