# SPDX-License-Identifier: Apache-2.0
"""Does the imports that wait: its own at once, those of other processes when it looks for them."""

from __future__ import annotations

import threading

from oslo_config import cfg

from glance_lite.context import service_context
from glance_lite.maintenance.ticker import Job
from glance_lite.operations import Operations


class Jobs:
    """Takes one import after another as long as any waits that can be done here."""

    def __init__(self, conf: cfg.ConfigOpts, inner: Operations, wake: threading.Event) -> None:
        """`inner` is the chain from ``location`` down; `wake` is set when there is something."""
        self._inner = inner
        self.jobs = tuple(
            Job(f'job {number}', conf.task.poll_interval, self.run, at_once=True, wake=wake)
            for number in range(conf.task.jobs_at_a_time)
        )

    def run(self) -> int:
        """How many were done."""
        count = 0
        while self._inner.run_next_job(service_context()):
            count += 1
        return count
