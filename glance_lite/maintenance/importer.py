# SPDX-License-Identifier: Apache-2.0
"""Does what is left to be done for images that were registered by a location: look, hash, verify.

It is asked for by requests and done by any process; what a killed one leaves is done by others.
"""

from __future__ import annotations

import threading

from oslo_config import cfg

from glance_lite.context import service_context
from glance_lite.maintenance.ticker import Job
from glance_lite.operations import Operations

#: How many images a process hashes at a time.
THREADS = 4


class Importer:
    """Takes one import after another as long as any waits."""

    def __init__(self, conf: cfg.ConfigOpts, inner: Operations, wake: threading.Event) -> None:
        """`inner` is the chain from ``location`` down; `wake` is set when there is something."""
        self._inner = inner
        period = conf.maintenance.sweep_interval
        self.jobs = tuple(
            Job(f'import {number}', period, self.run, at_once=True, wake=wake)
            for number in range(THREADS)
        )

    def run(self) -> int:
        """How many were done."""
        count = 0
        while self._inner.import_next(service_context()):
            count += 1
        return count
