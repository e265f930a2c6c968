# SPDX-License-Identifier: Apache-2.0
"""One configured store as the service uses it: its driver, its threads, how it is."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from glance_lite import concurrency
from glance_lite.errors import (
    BadStoreConfiguration,
    ConfigurationError,
    GlanceLiteError,
    Invalid,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from glance_lite.health import Health, Limits, problem_of, starter
from glance_lite.store import Caller, Cap, StoreDriver
from glance_lite.store_config import Configured
from glance_lite.stream import Upload
from glance_lite.watch import Watch

LOG = logging.getLogger(__name__)
T = TypeVar('T')

#: Native threads of one store for reading, deleting and asking.
POOL = 16
#: Native threads of one store for uploads. Each is held as long as its client sends, so they
#: must not be those that anybody else waits for.
UPLOADS = 256
#: Native threads of one store that send files, in turns.
SENDERS = 16

#: Seconds a driver may take to start; one that takes longer goes on behind an open breaker.
START = 10.0
#: Seconds between two looks at a store for which somebody waits long.
LOOK = 1.0
#: How many times the time after which a store is suspected somebody waits who may give up.
ROUNDS = 3
#: Seconds for which it is good enough that a store has answered.
FRESH = 5.0

#: What a driver raises when the store is to blame, and not what was asked of it.
FAILURES = (StoreUnavailable, StoreDenied, StoreFull)


class Store:
    """One configured store."""

    def __init__(self, name: str, found: Configured, watch: Watch, limits: Limits) -> None:
        self.id = name
        self.type = found.type
        self.driver: StoreDriver = found.driver
        self.weight = found.weight
        self.description = found.description
        self.default = found.default
        self.pool = concurrency.Pool(name, POOL)
        self.uploads = concurrency.Pool(f'{name} uploads', UPLOADS)
        self.senders = concurrency.Pool(f'{name} senders', SENDERS)
        self.watch = watch
        self._limits = limits
        self._started = False
        self.health = self._new_health()

    def _new_health(self) -> Health:
        io = self.driver.io
        return Health(self.id, self._limits, self._probe, starter(io), self._tell_state)

    @property
    def read_only(self) -> bool:
        return Cap.WRITE not in self.driver.caps

    @property
    def reserved(self) -> bool:
        """For the service itself: not shown, not to be named by clients."""
        return self.id.startswith('os_glance_')

    @property
    def started(self) -> bool:
        """Whether the driver has been started in this process."""
        return self._started

    @property
    def described(self) -> Mapping[str, Any]:
        """What may be shown of the settings."""
        return self.driver.describe() if self._started else {}

    def acting(self, caller: Caller | None) -> StoreDriver:
        """The driver, for whoever asks."""
        driver = self.driver
        return driver.acting_for(caller) if Cap.CALLER in driver.caps else driver

    # --- start

    def start(self) -> None:
        """Start the driver. `BadStoreConfiguration`: it never will; all else is tried again."""
        self._started = False
        self.health = self._new_health()  # in a process that was forked all may be different
        probe = self.health.probe()
        if not probe.ended(START):
            self.health.open(f'Store {self.id} does not answer')
            return
        self.health.forget_probe()
        try:
            probe.wait()
        except ConfigurationError:
            raise
        except ImportError as ex:
            needs = self.driver.needs
            cure = f'; install it with: {needs}' if needs else ''
            raise BadStoreConfiguration(
                f'[{self.id}] the driver {self.type} lacks {ex.name or "a library"}{cure}'
            ) from ex
        except Exception as ex:
            if not (self._started or isinstance(ex, (StoreError, OSError))):
                LOG.debug('Store %s cannot be started', self.id, exc_info=True)
                # Not the text: it may carry anything.
                raise BadStoreConfiguration(
                    f'[{self.id}] the driver {self.type} cannot be started: {type(ex).__name__}'
                ) from ex
            self.health.open(problem_of(self.id, ex))

    def _probe(self) -> None:
        """In a thread of its own: start the driver, if it has not been, and see that it answers."""
        if not self._started:
            self.driver.start()
            self._started = True
        self.driver.check()

    # --- the verbs

    def run(self, function: Callable[[], T], patient: bool = False, proves: bool = True) -> T:
        """A verb of the driver, where it may block.

        One who is `patient` asks for what may take long. `proves`: that it succeeds is a proof
        that the store is well, and not just the beginning of one. `StoreUnavailable` at once
        while the store does not serve, and after a while when it hangs.
        """
        self.health.admit()
        with self.errors(proves=proves):
            if self.driver.io == 'socket' or (patient and not concurrency.green()):
                with self.called():
                    return function()
            task = self.pool.submit(function)
            self.wait(task, patient)
            return task.wait()

    def size(self, url: str, caller: Caller | None = None) -> int:
        """Bytes at a url. `StoreError`."""
        driver = self.acting(caller)
        return self.run(lambda: driver.size(driver.parse(url)))

    def delete(self, url: str, caller: Caller | None = None) -> None:
        """Delete what is at a url. `StoreError`."""
        driver = self.acting(caller)
        self.run(lambda: driver.delete(driver.parse(url)), patient=True)

    def wait(self, task: concurrency.Task[Any], patient: bool = False) -> None:
        """Wait until a task has ended; one that hangs is abandoned: `StoreUnavailable`."""
        try:
            self.wait_until(task.ended, patient)
        except StoreUnavailable:
            task.abandon()
            raise

    def wait_until(self, ended: Callable[[float], bool], patient: bool = False) -> None:
        """Wait until something the driver does has `ended`, which is asked with some seconds.

        `StoreUnavailable`: the store hangs, or it answers and this does not come to an end.
        """
        suspicious = self._limits.hang_time
        look = min(LOOK, suspicious)
        with self.called():
            if ended(suspicious):
                return
            waited = suspicious
            while patient or waited < ROUNDS * suspicious:
                self.health.look()
                if self.health.is_open:
                    break
                if ended(look):
                    return
                waited += look
        raise StoreUnavailable(f'Store {self.id} does not answer')

    def wait_readable(self, descriptor: int) -> None:
        """In a hub, wait until the driver lets a descriptor be read. `StoreUnavailable`."""
        wait_readable = concurrency.Hub.wait_readable
        assert wait_readable is not None
        self.wait_until(lambda seconds: wait_readable(descriptor, seconds), patient=True)

    @contextlib.contextmanager
    def called(self) -> Iterator[None]:
        """The driver is at work: how long is noted."""
        call = self.health.began()
        try:
            yield
        finally:
            self.health.ended(call)

    def prove(self) -> None:
        """See that the store answers, unless it just has. `StoreError`."""
        if self.health.is_open or not self.health.heard_within(FRESH):
            self.run(self.driver.check)

    def check(self) -> str | None:
        """Ask how it is, and wait only shortly: None, or what is wrong, without secrets."""
        health = self.health
        health.look()
        if health.is_open:
            return health.problem
        asked = health.ask()
        try:
            with self.errors():
                if not asked.ended(self._limits.probe_time):
                    raise StoreUnavailable(f'Store {self.id} does not answer')
                asked.wait()
        except GlanceLiteError as ex:
            return ex.message
        return None

    def listing(self) -> Iterator[tuple[str, int, float]]:
        """(url, bytes, time of the last change) of all that is stored. `Invalid`: it cannot."""
        if Cap.LIST not in self.driver.caps:
            raise Invalid(f'Store {self.id} ({self.type}) cannot list what it holds')
        self.run(self.driver.check)
        entries = self.run(self.driver.list)
        while (entry := self.run(lambda: next(entries, None), patient=True)) is not None:
            yield entry

    # --- what goes wrong

    @contextlib.contextmanager
    def errors(self, upload: Upload | None = None, proves: bool = True) -> Iterator[None]:
        """What a driver raises that is not one of our errors: the store failed.

        Unless it was the `upload` that failed, whatever the driver has made of that.
        """
        try:
            yield
        except Exception as ex:
            if upload is not None and upload.error is not None:
                raise upload.error from None
            if isinstance(ex, GlanceLiteError):
                if isinstance(ex, FAILURES):
                    self.failed(ex)
                else:
                    self.health.answered()
                raise
            self.failed(ex)
            what = ex.strerror if isinstance(ex, OSError) else type(ex).__name__
            LOG.error('Store %s failed: %s', self.id, what, exc_info=not isinstance(ex, OSError))
            raise StoreUnavailable(f'Store {self.id} failed') from ex
        else:
            self.health.answered(proves)

    def failed(self, ex: Exception | None) -> None:
        """The store is to blame; None: for this one thing that it holds, and no other."""
        if self.watch.by is not None:
            self.watch.by.failed(self.id)
        if isinstance(ex, (StoreDenied, StoreFull)):
            self.health.answered()
        elif isinstance(ex, (StoreUnavailable, OSError)) and self.driver.shares_fate:
            # All else is a mistake in the driver, which a certain url may bring about.
            self.health.failed(problem_of(self.id, ex))

    def _tell_state(self, opened: bool) -> None:
        if self.watch.by is not None:
            self.watch.by.left_alone(self.id, opened)
