# SPDX-License-Identifier: Apache-2.0
"""What the processes of a service count, for Prometheus.

A scrape reaches one worker and must be answered for all of them, also for those that have been
killed. So each process keeps its numbers in files of a directory that all share, in the format of
prometheus-client for several processes, and whoever is asked adds them up. The files belong to a
*slot* and not to a process id: a worker that takes the place of a dead one takes a free slot, goes
on with its numbers, and there are never more files than there were processes at a time.
"""

from __future__ import annotations

import dataclasses
import fcntl
import glob
import logging
import os
import pathlib
import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.utils import floatToGoString

from glance_lite.errors import ConfigurationError

LOG = logging.getLogger(__name__)

#: Upper bounds in seconds: from an image out of a cache to an upload of many gigabytes.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0)

COUNTER, HISTOGRAM, SUMMARY = 'counter', 'histogram', 'summary'
#: A gauge of what runs, which is forgotten with the process.
RUNNING = 'gauge_livesum'

#: Bytes of a file: for all routes, methods and buckets.
ROOM = 1 << 20

_SLOT = re.compile(r'_(\d+)\.db$')


@dataclasses.dataclass(frozen=True)
class Meter:
    """Something that is counted, by labels."""

    name: str
    help: str
    labels: tuple[str, ...]
    kind: str = COUNTER


class Tally:
    """The numbers of this process; opens its files when it first counts something."""

    def __init__(self, directory: pathlib.Path) -> None:
        """Raises `ConfigurationError` where the directory cannot be used."""
        self._directory = directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(directory / 'slots', 'ab'):
                pass
        except OSError as ex:
            raise ConfigurationError(
                f'The directory {directory} for metrics cannot be written to: {ex.strerror}'
            ) from ex
        self._lock = threading.Lock()
        self._pid = 0
        self._slot = -1
        self._held = -1
        self._complained = False
        self._files: dict[str, Any] = {}
        self._values: dict[tuple[str, str], float] = {}
        self._keys: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}

    # --- counting

    def add(self, meter: Meter, labels: tuple[str, ...], amount: float = 1.0) -> None:
        """Add to a counter, or to what runs."""
        key = self._keys.get((meter.name, labels)) or self._key(meter, labels)
        with self._lock:
            try:
                self._begin()
                self._write(meter.kind, key[0], amount)
            except OSError as ex:
                self._complain(ex)

    def observe(self, meter: Meter, labels: tuple[str, ...], value: float) -> None:
        """Add a value to a histogram or a summary."""
        key = self._keys.get((meter.name, labels)) or self._key(meter, labels)
        with self._lock:
            try:
                self._begin()
                self._observe(meter, key, value)
            except OSError as ex:
                self._complain(ex)

    def _observe(self, meter: Meter, key: tuple[str, ...], value: float) -> None:
        if (meter.kind, key[0]) not in self._values:
            for one in key:  # a histogram has all of its counts, also those that are 0
                self._write(meter.kind, one, 0.0)
        self._write(meter.kind, key[0], value)
        place = 1 + bisect_left(BUCKETS, value) if meter.kind == HISTOGRAM else 1
        self._write(meter.kind, key[place], 1.0)

    def _complain(self, ex: OSError) -> None:
        """Not to be counted is no reason for a request to fail."""
        if not self._complained:
            self._complained = True
            LOG.error('%s: %s; what cannot be written there is not counted', self._directory, ex)

    def _key(self, meter: Meter, labels: tuple[str, ...]) -> tuple[str, ...]:
        """The names of the numbers of a meter: one, or the sum and the counts."""

        def named(end: str, *more: tuple[str, str]) -> str:
            names = [*meter.labels, *(name for name, _ in more)]
            values = [*labels, *(value for _, value in more)]
            key: str = mmap_key(meter.name, meter.name + end, names, values, meter.help)
            return key

        if meter.kind == COUNTER:
            found: tuple[str, ...] = (named('_total'),)
        elif meter.kind == HISTOGRAM:
            bounds = (*map(floatToGoString, BUCKETS), '+Inf')
            found = (named('_sum'), *(named('_bucket', ('le', bound)) for bound in bounds))
        elif meter.kind == SUMMARY:
            found = (named('_sum'), named('_count'))
        else:
            found = (named(''),)
        self._keys[meter.name, labels] = found
        return found

    def _write(self, kind: str, key: str, amount: float) -> None:
        file = self._files.get(kind) or self._open(kind)
        value = self._values.get((kind, key))
        if value is None:
            value = file.read_value(key)[0]
        self._values[kind, key] = value + amount
        file.write_value(key, value + amount, 0.0)

    # --- files

    def _begin(self) -> None:
        """Take a slot, in a process that has none or was forked from one that has."""
        if self._pid == os.getpid():
            return
        if self._held >= 0:
            os.close(self._held)  # the lock stays with whoever has the descriptor still
            self._held = -1
        self._files, self._values = {}, {}
        slot = 0
        while (held := self._hold(slot)) is None:
            slot += 1
        self._slot, self._held, self._pid = slot, held, os.getpid()
        self._running(slot).unlink(missing_ok=True)

    def _hold(self, slot: int) -> int | None:
        """Hold a slot as long as the descriptor is open, at most until the process ends.

        None: another process holds it. `OSError`: nothing can be held there.
        """
        held = os.open(
            self._directory / f'slot_{slot}', os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            return None
        except OSError:
            os.close(held)
            raise
        return held

    def _running(self, slot: int) -> pathlib.Path:
        return self._directory / f'{RUNNING}_{slot}.db'

    def _open(self, kind: str) -> Any:
        path = self._directory / f'{kind}_{self._slot}.db'
        with open(path, 'ab') as new:
            # To write to a part of a mapped file for which there is no room ends the process.
            os.posix_fallocate(new.fileno(), 0, ROOM)
        file = MmapedDict(str(path))  # type: ignore[no-untyped-call]
        self._files[kind] = file
        return file

    # --- all processes

    def collect(self) -> Iterable[Family]:
        """The sums over all processes, those that have ended included."""
        self._forget_the_dead()
        files = glob.glob(f'{glob.escape(str(self._directory))}/*.db')
        merge: Callable[[list[str]], Iterable[Family]] = MultiProcessCollector.merge
        return merge(files)

    def _forget_the_dead(self) -> None:
        """What ran in a process that has been killed does not run any more."""
        for path in self._directory.glob(f'{RUNNING}_*.db'):
            match = _SLOT.search(path.name)
            slot = int(match[1]) if match else self._slot
            if slot == self._slot and self._pid == os.getpid():
                continue
            held = self._hold(slot)
            if held is not None:
                path.unlink(missing_ok=True)
                os.close(held)


class Sampled:
    """A collector of what is looked up when somebody asks."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def family(name: str, text: str, samples: Sequence[tuple[dict[str, str], float]]) -> Any:
    """A family of looked-up numbers; one whose name ends with ``_total`` only ever grows."""
    kind = 'counter' if name.endswith('_total') else 'gauge'
    made = Family(name.removesuffix('_total'), text, kind)
    for labels, value in samples:
        made.add_sample(name, labels, value)
    return made
