# SPDX-License-Identifier: Apache-2.0
"""Deletes tasks whose time is over. Until then they are hidden, so nothing depends on when."""

from __future__ import annotations

from glance_lite.context import service_context
from glance_lite.maintenance.ticker import Job
from glance_lite.operations import Operations

#: Seconds between two searches.
PERIOD = 300


class Expiry:
    """Marks rows as deleted, so that ``db purge`` removes them one day."""

    def __init__(self, inner: Operations) -> None:
        """`inner` is the chain from ``location`` down."""
        self._inner = inner
        self.jobs = (Job('expiry of tasks', PERIOD, self.expire),)

    def expire(self) -> int:
        """How many tasks were deleted."""
        return self._inner.expire_tasks(service_context())
