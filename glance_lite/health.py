# SPDX-License-Identifier: Apache-2.0
"""How a store is, as this process sees it, and what becomes of one that does not serve.

A *breaker* stands before each store. It opens when a store has failed several times in a row, or
hangs: then nobody waits for the store any more, requests that need it are refused at once, and it
is probed now and then, after a pause that grows. A probe that succeeds lets requests through
again; the first of them that fails opens the breaker at once. A store that could not be started
is one whose breaker is open, and whose probe starts it.

A store *hangs* when somebody has waited for it for long, nothing was heard of it in that time, and
it does not answer a probe either. So work that takes long is not taken for it.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from glance_lite import concurrency
from glance_lite.errors import GlanceLiteError, StoreUnavailable
from glance_lite.model import StoreHealth

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)

#: Most seconds a probe may take.
PROBE = 5.0
#: Seconds from the opening to the first probe; each pause after it is twice the one before.
FIRST_PAUSE = 1.0
#: By how much of itself a pause may be shorter, so that processes do not probe in step.
JITTER = 0.2


@dataclasses.dataclass(frozen=True)
class Limits:
    """When a store is left alone, and how long."""

    #: failures in a row; 0: any number is borne
    failures: int
    #: seconds after which somebody waits suspiciously long
    hang_time: float
    #: most seconds between two probes
    longest_pause: float

    @classmethod
    def configured(cls, conf: cfg.ConfigOpts) -> Limits:
        group = conf.glance_store
        return cls(group.breaker_failures, group.breaker_hang_time, group.breaker_longest_pause)

    @property
    def probe_time(self) -> float:
        """Seconds a probe may take."""
        return min(PROBE, self.hang_time)


class Health:
    """Of one store. Everything here is called by those who use it; it has no thread of its own."""

    def __init__(
        self,
        store_id: str,
        limits: Limits,
        probe: Callable[[], None],
        start_thread: Callable[[Callable[[], None]], object],
        told: Callable[[bool], None],
    ) -> None:
        """`probe` raises what is wrong; `start_thread` runs it; `told` that it opens or closes."""
        self._id = store_id
        self._limits = limits
        self._probe = probe
        self._start_thread = start_thread
        self._told = told
        self._failures = 0
        self._problem = ''
        #: None: the breaker is closed. Appending and popping are atomic, so that it opens once.
        self._opened: datetime.datetime | None = None
        self._may_open = [None]
        self._pauses = 0
        self._next_probe = 0.0
        self._probing: concurrency.Task[None] | None = None
        self._probed_at = 0.0
        self._may_look = [None]
        self._heard = time.monotonic()
        #: when each call began that has not come back
        self._busy: dict[object, float] = {}

    # --- what is heard of the store

    def began(self) -> object:
        """Somebody calls it; give the result to `ended`."""
        call = object()
        self._busy[call] = time.monotonic()
        return call

    def ended(self, call: object) -> None:
        self._busy.pop(call, None)

    def answered(self, proves: bool = True) -> None:
        """It did what was asked, or said that it cannot; whether that `proves` it to be well."""
        self._heard = time.monotonic()
        if proves and (self._failures or self._pauses):
            self._failures = self._pauses = 0

    def failed(self, problem: str) -> None:
        """It did not do what it should; `problem` names it and no credential."""
        self._problem = problem
        self._failures += 1
        if 0 < self._limits.failures <= self._failures:
            self.open(problem)

    def heard_within(self, seconds: float) -> bool:
        """Whether it has answered in so many seconds."""
        return time.monotonic() - self._heard < seconds

    # --- the breaker

    def admit(self) -> None:
        """Refuse a request while the breaker is open: `StoreUnavailable` with Retry-After."""
        if self._opened is None:
            return
        self.look()
        if self._opened is not None:
            wait = max(1, round(self._next_probe - time.monotonic() + 0.5))
            raise StoreUnavailable(
                f'Store {self._id} does not serve now and is left alone for a while', wait
            )

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    def open(self, problem: str) -> None:
        """Let nobody through from now on."""
        try:
            self._may_open.pop()
        except IndexError:
            return
        self._problem = problem
        self._pause()
        self._opened = datetime.datetime.now(datetime.UTC)
        LOG.error('Store %s is left alone, and probed again and again: %s', self._id, problem)
        self._told(True)

    def close(self) -> None:
        """Let all through; the first failure opens it again."""
        if self._opened is None:
            return
        self._opened = None
        self._failures = max(0, self._limits.failures - 1)
        self._heard = time.monotonic()
        LOG.warning('Store %s answers again', self._id)
        self._told(False)
        self._may_open.append(None)

    def _pause(self) -> None:
        longest = self._limits.longest_pause
        pause = min(longest, FIRST_PAUSE * 2 ** min(self._pauses, 20))
        self._pauses += 1
        self._next_probe = time.monotonic() + pause * random.uniform(1 - JITTER, 1)

    # --- probes

    def look(self) -> None:
        """See how a probe went, or begin one where it is time. It waits for nothing."""
        try:
            self._may_look.pop()
        except IndexError:
            return  # somebody else does
        try:
            self._look()
        finally:
            self._may_look.append(None)

    def _look(self) -> None:
        now = time.monotonic()
        probing = self._probing
        if probing is not None and probing.finished:
            self._probing = None
            self._learn(probing)
        elif probing is not None:
            if now - self._probed_at > self._limits.probe_time and not self.is_open:
                self.open(f'Store {self._id} does not answer')
        elif (now >= self._next_probe) if self.is_open else self._is_suspect(now):
            self.probe()

    def _is_suspect(self, now: float) -> bool:
        """Whether somebody waits for long, and nothing was heard of it since."""
        longest = self._limits.hang_time
        if not self._busy or now - self._heard < longest:
            return False
        return now - min(tuple(self._busy.values()), default=now) >= longest

    def probe(self) -> concurrency.Task[None]:
        """Begin to probe the store, in a thread of its own; `look` learns how it went."""
        task = self._probing = self.ask()
        self._probed_at = time.monotonic()
        return task

    def ask(self) -> concurrency.Task[None]:
        """Probe the store, for whoever wants to know it himself."""
        task = concurrency.Task(self._probe)
        self._start_thread(task.run)
        return task

    def forget_probe(self) -> None:
        """Whoever has begun the probe has seen how it went."""
        self._probing = None

    def _learn(self, probe: concurrency.Task[None]) -> None:
        try:
            probe.wait()
        except Exception as ex:
            problem = problem_of(self._id, ex)
            LOG.debug('Store %s: the probe failed: %s', self._id, problem)
            if self.is_open:
                self._problem = problem
                self._pause()
            else:
                self.open(problem)
            return
        self._heard = time.monotonic()
        self.close()

    # --- for people

    def seen(self) -> StoreHealth:
        """What an administrator is told."""
        opened = self._opened
        if opened is not None:
            left = max(0, round(self._next_probe - time.monotonic()))
            return StoreHealth('open', self._problem, opened, left)
        if self._pauses:
            return StoreHealth('half-open', self._problem)
        return StoreHealth('closed')

    @property
    def problem(self) -> str | None:
        """What is wrong while the breaker is open."""
        return self._problem if self.is_open else None


def problem_of(store_id: str, ex: Exception) -> str:
    """A sentence without secrets about what a driver raised."""
    if isinstance(ex, GlanceLiteError):
        return ex.message
    what = ex.strerror if isinstance(ex, OSError) else None
    return f'Store {store_id} failed: {what or type(ex).__name__}'


def starter(io: str) -> Callable[[Callable[[], None]], object]:
    """How a thread is started in which a driver of this kind may be called."""
    if io == 'native':
        return lambda run: concurrency.Hub.start_thread(run, ())
    # A green thread under the green server: a native one could not wait for a green socket.
    return lambda run: threading.Thread(target=run, daemon=True).start()
