# SPDX-License-Identifier: Apache-2.0
"""Does the imports that wait: its own at once, those of other processes when it looks for them."""

from __future__ import annotations

import math
import threading
import time

from oslo_config import cfg

from glance_lite.context import service_context
from glance_lite.imports import board
from glance_lite.maintenance.ticker import Job
from glance_lite.operations import Operations

#: Seconds between two waits for the board.
PAUSE = 0.1
#: How many times as seldom the database is looked at where there is a board.
SELDOM = 12
#: Seconds between two looks for what was left in the staging area.
CLEANING = 1800.0


class Jobs:
    """Takes one import after another as long as any waits that can be done here."""

    def __init__(self, conf: cfg.ConfigOpts, inner: Operations, wake: threading.Event) -> None:
        """`inner` is the chain from ``location`` down; `wake` is set when there is something."""
        self._inner = inner
        self._board = board.make(conf)
        self._poll: int = conf.task.poll_interval
        #: when the database is looked at again although there is a board, as `time.monotonic`
        self._due = -math.inf
        numbers = range(conf.task.jobs_at_a_time)
        if self._board is None:
            self.jobs = tuple(
                Job(f'job {number}', self._poll, self.run, at_once=True, wake=wake)
                for number in numbers
            )
        else:
            self.jobs = tuple(
                Job(f'job {number}', PAUSE, self.watch, at_once=True) for number in numbers
            )
        self.cleaning = Job('cleaning of the staging area', CLEANING, self.clean)

    def clean(self) -> int:
        """How many files were removed."""
        return self._inner.clean_staging(service_context())

    def watch(self) -> int:
        """Wait for a note on the board, and do what it says; how many were done."""
        assert self._board is not None
        count = 0
        if time.monotonic() >= self._due:
            # What a board has lost, or a killed process left, has no note.
            self._due = time.monotonic() + SELDOM * self._poll
            count += self.run()
        for note in self._board.wait(self._poll):
            with self._board.taken(note) as mine:
                if mine:
                    count += self.run()
        return count

    def run(self) -> int:
        """How many were done."""
        count = 0
        while self._inner.run_next_job(service_context()):
            count += 1
        return count
