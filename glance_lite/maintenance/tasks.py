# SPDX-License-Identifier: Apache-2.0
"""Deletes tasks whose time is over. Until then they are hidden, so nothing depends on when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from glance_lite.context import service_context
from glance_lite.maintenance.duty import Duty, Turn


class ExpireTasks(Duty):
    """Marks rows as deleted, so that ``db purge`` removes them one day."""

    period = 300
    unit: ClassVar[str] = 'tasks'

    def run(self, turn: Turn) -> Mapping[str, int]:
        turn.go_on()
        return {'expired': self.inner.expire_tasks(service_context())}
