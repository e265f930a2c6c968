# SPDX-License-Identifier: Apache-2.0
"""Reading no faster than one is told to."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds by which one may be ahead before one waits.
AHEAD = 0.5


class Pace:
    """So many bytes a second, on average; no credit is kept for times when nothing was read."""

    def __init__(self, rate: float, wait: Callable[[float], None]) -> None:
        """`rate` in bytes a second, 0 for no limit; `wait` lets a number of seconds pass."""
        self._rate = rate
        self._wait = wait
        #: when all that was read would have been read at this rate
        self._due = time.monotonic()

    def spend(self, count: int) -> None:
        """`count` bytes have been read."""
        if not self._rate:
            return
        now = time.monotonic()
        self._due = max(self._due, now) + count / self._rate
        if self._due - now > AHEAD:
            self._wait(self._due - now)
