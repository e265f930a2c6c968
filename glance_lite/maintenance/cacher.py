# SPDX-License-Identifier: Apache-2.0
"""Keeps the cache of this host right, and fetches what is queued for it."""

from __future__ import annotations

from oslo_config import cfg

from glance_lite.cache.cache import Cache
from glance_lite.context import service_context
from glance_lite.maintenance.ticker import Job
from glance_lite.operations import Operations


class Cacher:
    """Nothing to do where there is no cache."""

    def __init__(self, conf: cfg.ConfigOpts, inner: Operations, cache: Cache) -> None:
        """`inner` is the chain from ``location`` down."""
        self._inner = inner
        self.jobs: tuple[Job, ...] = ()
        if cache.enabled:
            period = conf.maintenance.sweep_interval
            self.jobs = (
                Job('cache', period, self.tend, at_once=True, wake=cache.changed),
                Job('fetching for the cache', period, self.fetch, at_once=True, wake=cache.asked),
            )

    def tend(self) -> None:
        self._inner.tend_cache(service_context())

    def fetch(self) -> int:
        """How many images came."""
        return self._inner.fetch_queued(service_context())
