# SPDX-License-Identifier: Apache-2.0
"""The background work of a worker: jobs that are run again and again."""

from __future__ import annotations

import dataclasses
import logging
import random
import threading
from collections.abc import Callable, Sequence

from glance_lite.errors import GlanceLiteError

LOG = logging.getLogger(__name__)

#: By how much of its period a job may come too early, so that processes do not march in step.
JITTER = 0.2


@dataclasses.dataclass(frozen=True)
class Job:
    name: str
    #: seconds from the end of one run to the next
    period: float
    run: Callable[[], object]
    #: whether the first run is at the start, or a period later
    at_once: bool = False
    #: set by whoever does not want to wait for the next run
    wake: threading.Event | None = None


class Ticker:
    """Runs each job in a thread of its own: a store that hangs must not stop the heartbeat.

    Under the green server these are green threads. They are started by each worker after fork,
    and nobody waits for their end: whatever a job does can be broken off at any point.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = tuple(jobs)
        self._stopped = threading.Event()

    def start(self) -> None:
        # A new one: the old one may have been used before the fork.
        self._stopped = threading.Event()
        for job in self._jobs:
            threading.Thread(
                target=self._repeat,
                args=(job, self._stopped),
                name=f'glance-lite {job.name}',
                daemon=True,
            ).start()

    def stop(self) -> None:
        self._stopped.set()
        for job in self._jobs:
            if job.wake is not None:
                job.wake.set()

    @staticmethod
    def _repeat(job: Job, stopped: threading.Event) -> None:
        waiting = not job.at_once
        while True:
            if waiting:
                signal = stopped if job.wake is None else job.wake
                signal.wait(job.period * random.uniform(1 - JITTER, 1))
            if stopped.is_set():
                return
            if job.wake is not None:
                job.wake.clear()
            waiting = True
            try:
                job.run()
            except Exception as ex:
                if stopped.is_set():
                    return  # what it needed has been closed
                # Not the text of what was not expected: it may carry anything.
                what = ex.message if isinstance(ex, GlanceLiteError) else type(ex).__name__
                LOG.error('The %s failed, and is tried again: %s', job.name, what)
                LOG.debug('The %s failed', job.name, exc_info=True)
