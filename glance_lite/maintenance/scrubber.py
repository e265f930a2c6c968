# SPDX-License-Identifier: Apache-2.0
"""Removes the data of images whose delete was put off (``delayed_delete``), when its time has come.

It takes over from Glance's glance-scrubber, and can work beside one: rows are the same.
"""

from __future__ import annotations

from oslo_config import cfg

from glance_lite.context import service_context
from glance_lite.maintenance.ticker import Job
from glance_lite.operations import Operations


class Scrubber:
    """Takes one image after another as long as any is due. Nothing to do without the option."""

    def __init__(self, conf: cfg.ConfigOpts, inner: Operations) -> None:
        """`inner` is the chain from ``location`` down."""
        self._inner = inner
        count = conf.scrub_pool_size if conf.delayed_delete else 0
        self.jobs = tuple(
            Job(f'scrub {number}', conf.maintenance.sweep_interval, self.run, at_once=True)
            for number in range(count)
        )

    def run(self) -> int:
        """How many were removed, or could not be."""
        count = 0
        while self._inner.scrub_next(service_context()):
            count += 1
        return count
