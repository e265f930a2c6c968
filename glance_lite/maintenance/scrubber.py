# SPDX-License-Identifier: Apache-2.0
"""Removes the data of images whose delete was put off (``delayed_delete``), when its time has come.

It takes over from Glance's glance-scrubber, and can work beside one: rows are the same.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import ClassVar

from glance_lite.context import service_context
from glance_lite.maintenance.duty import Duty, DutyParts, Turn


class Scrub(Duty):
    """Takes one image after another as long as any is due, ``scrub_pool_size`` at a time."""

    unit: ClassVar[str] = 'images'

    def __init__(self, parts: DutyParts) -> None:
        super().__init__(parts)
        self.period = float(parts.conf.maintenance.sweep_interval)
        self._pool: int = parts.conf.scrub_pool_size

    def acts(self) -> bool:
        return bool(self.conf.delayed_delete)

    def run(self, turn: Turn) -> Mapping[str, int]:
        """How many were removed, or could not be."""
        done: list[int] = []
        failed: list[BaseException] = []

        def work() -> None:
            try:
                done.append(self._scrub(turn))
            except BaseException as ex:
                failed.append(ex)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(self._pool - 1)]
        for thread in threads:
            thread.start()
        work()
        for thread in threads:
            thread.join()
        for ex in failed:
            raise ex
        return {'scrubbed': sum(done)}

    def _scrub(self, turn: Turn) -> int:
        count = 0
        turn.go_on()
        while self.inner.scrub_next(service_context()):
            count += 1
            turn.go_on(1)
        return count
