# SPDX-License-Identifier: Apache-2.0
"""Work of a step that blocks or computes, in a native thread, while its thread tells how far it is.

What tells writes to the database, which a native thread cannot do where the others are green.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from glance_lite.imports.files import POOL

T = TypeVar('T')

#: Seconds between two reports.
REPORT = 1.0


class _Stopped(BaseException):
    """Nobody wants the result any more."""


class Meter:
    """How far the work is; what does the work calls it often."""

    def __init__(self) -> None:
        self.done = 0
        self.total: int | None = None
        self.stopped = False

    def __call__(self, done: int, total: int | None = None) -> None:
        self.done, self.total = done, total
        if self.stopped:
            raise _Stopped


def run(told: Callable[[int, int | None], object], function: Callable[[Meter], T]) -> T:
    """The result of `function` in a native thread; what `told` raises ends it."""
    meter = Meter()
    task = POOL.submit(lambda: function(meter))
    try:
        while not task.ended(REPORT):
            told(meter.done, meter.total)
    except BaseException:
        meter.stopped = True
        # It writes to files of the step, which is not over before that has ended.
        task.outcome()
        raise
    result = task.wait()
    told(meter.done, meter.total)
    return result
