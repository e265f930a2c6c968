# SPDX-License-Identifier: Apache-2.0
"""Sends what is in the outbox, and what was never there: the background work of notifications.

Events that come with a row wait in the outbox, which all processes share and one at a time
empties. Those without one (a download is over) wait in the memory of their process; they are few,
they are lost with it, and they cost a request nothing.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from oslo_config import cfg

from glance_lite.context import RequestContext, service_context
from glance_lite.errors import GlanceLiteError
from glance_lite.maintenance.ticker import Job
from glance_lite.notify.events import Sending

if TYPE_CHECKING:
    from glance_lite.notify.driver import NotifierDriver
    from glance_lite.notify.events import Notice
    from glance_lite.operations import Operations

LOG = logging.getLogger(__name__)

#: Seconds between two signs of life while something is sent; a quarter of what may be missed.
BEAT = 5.0
#: Seconds after the last sign of life from which on nothing is sent without a new one.
STALE = 10.0
#: Seconds until it is looked again whether somebody else has left something.
LOOK = 0.5
#: Most events without a row that wait in the memory of a process.
IN_MEMORY = 1000
#: Seconds between two lines in the log about the same trouble.
QUIET = 60.0
#: Most seconds that the end of a process waits for what is in its memory.
LAST = 2.0


class Sender:
    """Carries notices to all notifiers, in order, and again until they have arrived."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        drivers: Sequence[NotifierDriver],
        operations: Callable[[], Operations],
    ) -> None:
        """`operations` gives the layers further in, once they are linked."""
        options = conf.notifier
        self._drivers = tuple(drivers)
        self._operations = operations
        self._options = (options.batch_size, options.max_events, float(options.retry_interval))
        self._wake = threading.Event()
        self.jobs = (
            Job('sender of events', options.retry_interval, self.run, True, self._wake),
            Job('sign of life of the sender of events', BEAT, self.beat),
        )
        self.start()

    def start(self) -> None:
        """Anew, in the process that is to send."""
        batch, limit, pause = self._options
        self._sending = Sending(uuid.uuid4().hex, batch, limit, pause)
        self._stopped = threading.Event()
        #: for the notifiers, which take one event at a time
        self._lock = threading.Lock()
        self._memory: collections.deque[Notice] = collections.deque()
        #: events that found no room there; `_counting` guards the count
        self._lost = 0
        self._counting = threading.Lock()
        #: largest serial that is under way; None: it is not our turn
        self._beyond: int | None = None
        self._alive = 0.0
        #: of the first event that waits: which notifiers have it already
        self._arrived: tuple[str, frozenset[int]] = ('', frozenset())
        self._failing = False
        #: when trouble was told of last
        self._said = self._reported = -QUIET

    def stop(self) -> None:
        """At once, but for a last attempt with what would be lost."""
        self._stopped.set()
        self._wake.set()
        if self._memory and not self._failing:
            last = threading.Thread(target=self._empty_memory, daemon=True)
            last.start()
            last.join(LAST)
        if self._memory:
            LOG.warning('%d events of downloads were not sent', len(self._memory))

    # --- what others say

    def wake(self) -> None:
        """There is something in the outbox."""
        self._wake.set()

    def put(self, notice: Notice) -> None:
        """Send an event that has no row. Never raises, never waits."""
        with self._counting:
            if len(self._memory) < IN_MEMORY:
                self._memory.append(notice)
            else:
                self._lost += 1
        self._wake.set()

    # --- jobs

    def run(self) -> None:
        """Send all that waits, as far as it is ours to send and as long as it arrives."""
        ctx = service_context()
        while not self._stopped.is_set():
            ready = self._operations().is_outbox_ready(ctx, self._sending)
            if ready and not self._empty_outbox(ctx):
                return
            self._tell_losses(ctx)
            if not self._empty_memory() or ready is False:
                return
            if ready is None:
                # Whoever sends may have looked for the last time before something of ours came.
                self._stopped.wait(LOOK)

    def beat(self) -> None:
        """A sign of life, as long as it is our turn; and the outbox must not grow for ever."""
        beyond = self._beyond
        if beyond is not None and self._operations().keep_outbox(
            service_context(), self._sending, beyond
        ):
            self._alive = time.monotonic()

    # --- memory

    def _empty_memory(self) -> bool:
        """Whether nothing stands in the way of sending."""
        while True:
            try:
                notice = self._memory.popleft()
            except IndexError:
                return True
            if not self._deliver(notice):
                self._memory.appendleft(notice)
                return False

    def _tell_losses(self, ctx: RequestContext) -> None:
        if self._lost:
            with self._counting:
                lost, self._lost = self._lost, 0
            self._operations().count_dropped(ctx, lost)
            LOG.error('%d events of downloads were dropped: too many waited', lost)

    # --- outbox

    def _empty_outbox(self, ctx: RequestContext) -> bool:
        """Whether all has gone that there was, or somebody else has the turn."""
        sent: list[int] = []
        try:
            while True:
                self._alive = time.monotonic()
                notices = self._operations().take_notices(ctx, self._sending, sent)
                if not notices:
                    return True
                self._beyond = notices[-1].serial
                sent = []
                self._empty_memory()
                for notice in notices:
                    if self._stopped.is_set() or not self._is_ours(ctx):
                        self._operations().release_outbox(ctx, self._sending, sent, False)
                        return False
                    if not self._deliver(notice):
                        self._operations().release_outbox(ctx, self._sending, sent, True)
                        self._report(ctx)
                        return False
                    sent.append(notice.serial)
        finally:
            self._beyond = None

    def _report(self, ctx: RequestContext) -> None:
        """How bad it is, once in a while."""
        if time.monotonic() - self._reported < QUIET:
            return
        self._reported = time.monotonic()
        found = self._operations().look_at_outbox(ctx)
        LOG.warning(
            '%d events wait to be sent, the oldest for %.0f s; %d were dropped up to now',
            found.waiting,
            found.age or 0,
            found.dropped,
        )

    def _is_ours(self, ctx: RequestContext) -> bool:
        """Whether it is still our turn: this process may have been stopped for a while."""
        if time.monotonic() - self._alive < STALE:
            return True
        now = time.monotonic()
        if not self._operations().keep_outbox(ctx, self._sending, self._beyond or 0):
            return False
        self._alive = now
        return True

    def _deliver(self, notice: Notice) -> bool:
        """Send to all notifiers that do not have it yet; whether all have it now."""
        message_id = str(notice.message['message_id'])
        with self._lock:
            known, arrived = self._arrived
            if known != message_id:
                arrived = frozenset()
            for number, driver in enumerate(self._drivers):
                if number in arrived:
                    continue
                failure = _attempt(driver, notice)
                if failure is not None:
                    self._arrived = (message_id, arrived)
                    self._failing = True
                    self._complain(driver, failure)
                    return False
                arrived |= {number}
            self._failing = False
            return True

    def _complain(self, driver: NotifierDriver, ex: Exception) -> None:
        now = time.monotonic()
        if now - self._said < QUIET:
            return
        self._said = now
        # Not the text of what was not expected: it may carry the url of the bus.
        what = ex.message if isinstance(ex, GlanceLiteError) else type(ex).__name__
        LOG.error('%s sends no events; they are kept: %s', type(driver).__name__, what)
        LOG.debug('An event was not sent', exc_info=ex)


def _attempt(driver: NotifierDriver, notice: Notice) -> Exception | None:
    """What went wrong, if anything did. Nothing is logged here: oslo.log would add its text."""
    try:
        driver.send(notice)
    except Exception as ex:
        return ex
    return None
