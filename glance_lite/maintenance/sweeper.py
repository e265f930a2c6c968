# SPDX-License-Identifier: Apache-2.0
"""Ends what a process left that was killed, or is silent: see `BackgroundOperations`."""

from __future__ import annotations

import logging
import math
import time

from oslo_config import cfg

from glance_lite.context import RequestContext, service_context
from glance_lite.errors import ConfigurationError, GlanceLiteError
from glance_lite.maintenance.ticker import Job
from glance_lite.model import Operation
from glance_lite.operations import Operations

LOG = logging.getLogger(__name__)

#: How many signs of life may get lost.
BEATS = 3


class Sweeper:
    """Keeps the operations of this process alive and ends those of dead ones.

    It sees rows of ours and no others: what a Glance beside us has under way has none.
    """

    def __init__(self, conf: cfg.ConfigOpts, inner: Operations) -> None:
        """`inner` is the chain from ``location`` down. Raises `ConfigurationError`."""
        options = conf.maintenance
        if options.operation_expiry < BEATS * options.heartbeat_interval:
            raise ConfigurationError(
                '[maintenance] operation_expiry: it must be at least '
                f'{BEATS * options.heartbeat_interval}, {BEATS} times heartbeat_interval'
            )
        self._inner = inner
        self._expiry: int = options.operation_expiry
        self._grace: float = BEATS * options.heartbeat_interval
        #: until then nobody is blamed for having been silent, as `time.monotonic`
        self._forgiven = -math.inf
        self.heartbeat = Job('heartbeat', options.heartbeat_interval, self.beat)
        self.sweeping = Job('sweep', options.sweep_interval, self.sweep, at_once=True)

    def beat(self) -> None:
        self._inner.keep_alive(service_context())

    def sweep(self) -> int:
        """How many operations were taken up."""
        ctx = service_context()
        count = 0
        for found in self._abandoned(ctx):
            try:
                count += self._inner.clean_up(ctx, found)
            except GlanceLiteError as ex:
                # The others must not wait for this one.
                LOG.error('Image %s could not be cleaned up: %s', found.image_id, ex)
        return count

    def _abandoned(self, ctx: RequestContext) -> tuple[Operation, ...]:
        """Only those of dead processes until a while after the database was away.

        Nobody could give a sign of life then, and whoever lives is given the time to do so.
        """
        began = time.monotonic()
        expiry = math.inf if began < self._forgiven else self._expiry
        away = True
        try:
            found = self._inner.find_abandoned(ctx, expiry)
            # It may have waited for the database to come back.
            away = time.monotonic() - began > self._grace
        finally:
            if away:
                self._forgiven = time.monotonic() + self._grace
        return () if away else found
