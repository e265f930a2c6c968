# SPDX-License-Identifier: Apache-2.0
"""Faults on demand, for tests: a store and a layer that fail, wait or die where they are told.

doc/source/contributor/fault-injection.rst says how they are used; `Fault` is what they are told,
and `Source` is what a driver's `add` reads from when it shall break, stall or trickle.
"""

from __future__ import annotations

import _queue
import abc
import builtins
import contextlib
import dataclasses
import errno
import functools
import importlib
import inspect
import itertools
import math
import os
import pathlib
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from oslo_config import cfg

from glance_lite import conf as configuration
from glance_lite import errors
from glance_lite.errors import BadStoreConfiguration, ConfigurationError
from glance_lite.layer import Layer, Parts
from glance_lite.operations import OPERATIONS
from glance_lite.store import Cap, Key, StoreDriver
from glance_lite.store import Source as SourceProtocol
from glance_lite.store_config import driver_class

#: Options of a faulty store's group and of the layer's.
COMMON: list[cfg.Opt] = [
    cfg.MultiStrOpt(
        'fault',
        default=[],
        help='A fault as WHEN PLACE CALLS ACTION [ARGUMENT], for example: '
        'before delete 2 fail StoreUnavailable',
    ),
    cfg.StrOpt(
        'fault_counters',
        help='Directory in which calls are counted, for all processes and over restarts. Without '
        'one each process counts its own.',
    ),
]

#: Seconds between two looks at a file that must vanish.
LOOK = 0.01


class Mistake(Exception):
    """A line that is no fault; the text says why."""


def sleep_native(seconds: float) -> None:
    """Sleep in this thread, hub or no hub: ``time.sleep`` is replaced under the green server."""
    with contextlib.suppress(_queue.Empty):
        _queue.SimpleQueue[None]().get(timeout=seconds)


def sleep(seconds: float) -> None:
    """Sleep as a request does: under the green server the others go on."""
    time.sleep(seconds)


# --- what a line says

Sleep = Callable[[float], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One line, ``WHEN PLACE CALLS ACTION [ARGUMENT]``, understood::

    before delete 2 fail StoreUnavailable     the second delete fails
    after commit_upload 1 fail Unavailable    the first is done, and its answer is lost
    within add@1048576 1 kill                 SIGKILL when an add has been given 1 MiB
    before get every delay 0.5                each get takes half a second longer
    before add 1- wait /run/hold              each add waits until the file vanishes
    """

    #: WHEN PLACE, as it was written
    point: str
    place: str
    #: within: after how many bytes
    byte: int | None
    first: int
    last: float
    act: Callable[[Sleep], None]

    @classmethod
    def read(cls, line: str) -> Fault:
        """Raises `Mistake`."""
        when, place, calls, action, argument = ([*line.split(None, 4), '', '', '', '', ''])[:5]
        name, at, byte = place.partition('@')
        if when not in ('before', 'after', 'within') or not re.fullmatch(r'\w+', name):
            raise Mistake('it must begin with before, after or within, and a place')
        if (when == 'within') != bool(at) or (at and not byte.isdecimal()):
            raise Mistake('within needs PLACE@BYTES, and before and after only PLACE')
        if at and name not in ('add', 'get'):
            raise Mistake(f'bytes go through add and get, not through {name}')
        numbers = re.fullmatch(r'(\d+)(-)?(\d+)?|every', calls)
        if numbers is None or (numbers[3] and not numbers[2]):
            raise Mistake(f'the calls must be every, N, N- or N-M, not {calls!r}')
        first = int(numbers[1] or 1)
        open_end = calls == 'every' or (numbers[2] and not numbers[3])
        last = math.inf if open_end else int(numbers[3] or first)
        point = f'{when} {place}'
        act = _action(action, argument.strip(), point)
        return cls(point, name, int(byte) if at else None, first, last, act)


def _action(word: str, argument: str, point: str) -> Callable[[Sleep], None]:
    if word not in _ACTIONS:
        raise Mistake(f'the action must be one of {", ".join(_ACTIONS)}, not {word!r}')
    if bool(argument) != (word in ('fail', 'delay', 'wait')):
        raise Mistake(f'{word} takes {"no" if argument else "an"} argument')
    return _ACTIONS[word](argument, point)


def _fail(argument: str, point: str) -> Callable[[Sleep], None]:
    make = _error(argument)

    def act(sleep: Sleep) -> None:
        raise make(f'Fault injected {point}')

    return act


def _error(name: str) -> Callable[[str], BaseException]:
    """From a message to the error of that name."""
    number = getattr(errno, name, None)
    if isinstance(number, int):
        return lambda message: OSError(number, os.strerror(number))
    module, _, attribute = name.rpartition(':')
    if module:
        try:
            kind = getattr(importlib.import_module(module), attribute, None)
        except ImportError as ex:
            raise Mistake(f'{module} cannot be imported: {ex}') from ex
    else:
        kind = getattr(errors, name, None) or getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise Mistake(f'there is no error {name}')
    return kind


def _delay(argument: str, point: str) -> Callable[[Sleep], None]:
    try:
        seconds = float(argument)
    except ValueError:
        raise Mistake(f'{argument} is not a number of seconds') from None
    return lambda sleep: sleep(seconds)


def _wait(argument: str, point: str) -> Callable[[Sleep], None]:
    def act(sleep: Sleep) -> None:
        while os.path.exists(argument):
            sleep(LOOK)

    return act


def _signal(number: int) -> Callable[[str, str], Callable[[Sleep], None]]:
    return lambda argument, point: lambda sleep: os.kill(os.getpid(), number)


_ACTIONS: Mapping[str, Callable[[str, str], Callable[[Sleep], None]]] = {
    'fail': _fail,
    'delay': _delay,
    'wait': _wait,
    'kill': _signal(signal.SIGKILL),
    'stop': _signal(signal.SIGSTOP),
}


# --- counting and acting


class Plan:
    """All faults of one store or layer.

    Calls are counted in this process, or with a directory of `counters` in all processes together
    and over restarts, so that who takes the place of a killed worker is not killed as well.
    """

    def __init__(self, lines: Sequence[str], sleep: Sleep, counters: str | None = None) -> None:
        """`Mistake` names the line."""
        self._sleep = sleep
        self._directory = pathlib.Path(counters) if counters else None
        self._counts: dict[str, Iterator[int]] = {}
        self.faults: dict[str, list[Fault]] = {}
        for line in lines:
            try:
                fault = Fault.read(line)
            except Mistake as ex:
                raise Mistake(f'{line!r}: {ex}') from ex
            self.faults.setdefault(fault.point, []).append(fault)
            self._counts.setdefault(fault.point, itertools.count(1))

    def places(self) -> set[str]:
        return {fault.place for faults in self.faults.values() for fault in faults}

    def bytes_of(self, place: str) -> list[int]:
        """After how many bytes something happens within a place, in order."""
        found = {fault.byte for faults in self.faults.values() for fault in faults
                 if fault.place == place and fault.byte is not None}  # fmt: skip
        return sorted(found)

    def reach(self, point: str) -> None:
        """A point is reached: do what is planned for this call of it."""
        faults = self.faults.get(point)
        if not faults:
            return
        number = self._count(point)
        for fault in faults:
            if fault.first <= number <= fault.last:
                fault.act(self._sleep)

    def _count(self, point: str) -> int:
        if self._directory is None:
            return next(self._counts[point])
        self._directory.mkdir(parents=True, exist_ok=True)
        with open(self._directory / point.replace(' ', '-'), 'ab', buffering=0) as file:
            # Appending moves the offset to behind one's own byte: that is the number.
            file.write(b'.')
            return os.lseek(file.fileno(), 0, os.SEEK_CUR)

    @contextlib.contextmanager
    def around(self, place: str) -> Iterator[None]:
        """A call of a place; ``after`` is only reached when it has gone well."""
        self.reach(f'before {place}')
        yield
        self.reach(f'after {place}')


# --- the store


class FaultyStore(StoreDriver):
    """For tests: any other driver, with faults in its verbs.

    The group of the store has the options of the driver ``faulty_type`` beside those of this one.
    """

    caps = Cap.WRITE
    opts = [
        cfg.StrOpt(
            'faulty_type',
            default='file',
            help='Type of the store that does the work; its options are in the same group.',
        ),
        *COMMON,
    ]

    @classmethod
    def more_opts(cls, group: str, settings: Mapping[str, Any]) -> list[cfg.Opt]:
        return driver_class(settings['faulty_type'], f'[{group}] faulty_type').opts

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        kind = driver_class(settings['faulty_type'], f'[{name}] faulty_type')
        self._wrap(kind(name, settings), settings['fault'], settings['fault_counters'])

    @classmethod
    def around(cls, driver: StoreDriver, *lines: str, counters: str | None = None) -> FaultyStore:
        """Faults around a driver that is there already, for tests within one process."""
        made = cls.__new__(cls)
        made._wrap(driver, lines, counters)
        return made

    def _wrap(self, driver: StoreDriver, lines: Sequence[str], counters: str | None) -> None:
        super().__init__(driver.name, driver.settings)
        self.inner = driver
        native = driver.io == 'native'
        try:
            self.plan = Plan(lines, sleep_native if native else sleep, counters)
        except Mistake as ex:
            raise BadStoreConfiguration(f'[{driver.name}] fault: {ex}') from ex
        for place in self.plan.places():
            if not callable(getattr(driver, place, None)):
                raise BadStoreConfiguration(f'[{driver.name}] fault: there is no verb {place}')
        # A file that the server sends by itself would pass by what is planned for get.
        hidden = Cap.SENDFILE if 'get' in self.plan.places() else Cap.NONE
        # They belong to the class by contract, and here to the driver that is wrapped.
        self.__dict__.update(
            schemes=driver.schemes,
            private_schemes=driver.private_schemes,
            caps=driver.caps & ~hidden,
            io=driver.io,
            chunk_size=driver.chunk_size,
        )

    def start(self) -> None:
        self.inner.guard, self.inner.conf = self.guard, self.conf
        self._do('start')

    def _do(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        with self.plan.around(verb):
            return getattr(self.inner, verb)(*args, **kwargs)

    def add(self, name: str, source: SourceProtocol, size: int | None) -> str:
        bytes_ = self.plan.bytes_of('add')
        watched = _Watched(self.plan, source, bytes_) if bytes_ else source
        return self._do('add', name, watched, size)  # type: ignore[no-any-return]

    def get(self, key: Key, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        chunks: Iterator[bytes] = self._do('get', key, offset, length)
        bytes_ = self.plan.bytes_of('get')
        return _Chunks(self.plan, chunks, bytes_) if bytes_ else chunks

    def copy_from(self, other: StoreDriver, key: Key, name: str) -> str | None:
        other = other.inner if isinstance(other, FaultyStore) else other
        return self._do('copy_from', other, key, name)  # type: ignore[no-any-return]


def _verb(name: str) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: self._do(name, *args, **kwargs)


for _name, _contract in vars(StoreDriver).items():
    if inspect.isfunction(_contract) and _name[0] != '_' and _name not in vars(FaultyStore):
        setattr(FaultyStore, _name, _verb(_name))
abc.update_abstractmethods(FaultyStore)  # type: ignore[type-abstract]


class _Marks:
    """Counts bytes and reaches the points on the way, each exactly there."""

    def __init__(self, plan: Plan, place: str, marks: Sequence[int]) -> None:
        self._plan = plan
        self._place = place
        self._marks = [*marks]
        self._count = 0

    def room(self) -> float:
        """Bytes up to the next point; points that are reached are passed first."""
        while self._marks and self._marks[0] <= self._count:
            self._plan.reach(f'within {self._place}@{self._marks.pop(0)}')
        return self._marks[0] - self._count if self._marks else math.inf

    def passed(self, count: int) -> None:
        self._count += count


class _Watched:
    """The source of an `add` in which something happens."""

    def __init__(self, plan: Plan, source: SourceProtocol, marks: Sequence[int]) -> None:
        self._source = source
        self._marks = _Marks(plan, 'add', marks)

    def read(self, size: int) -> bytes | memoryview:
        chunk = self._source.read(int(min(size, self._marks.room())))
        self._marks.passed(len(chunk))
        return chunk


class _Chunks:
    """The chunks of a `get` in which something happens. Closes the real one."""

    def __init__(self, plan: Plan, chunks: Iterator[bytes], marks: Sequence[int]) -> None:
        self._chunks = chunks
        self._marks = _Marks(plan, 'get', marks)
        self._rest = b''

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        room = self._marks.room()
        chunk = self._rest or next(self._chunks)
        cut = int(min(len(chunk), room))
        self._rest = chunk[cut:]
        self._marks.passed(cut)
        return chunk[:cut]

    def close(self) -> None:
        close = getattr(self._chunks, 'close', None)
        if close is not None:
            close()


# --- the layer


class Faults(Layer):
    """For tests: faults before and after the operations that ``[faults] fault`` names.

    Between ``location`` and ``db`` it sees the commit protocol.
    """

    outside_of = ('db',)

    def __init__(self, parts: Parts) -> None:
        parts.conf.register_opts(COMMON, group='faults')
        lines = configuration.value_of(parts.conf, 'faults', 'fault')
        counters = configuration.value_of(parts.conf, 'faults', 'fault_counters')
        try:
            self.plan = Plan(lines, sleep, counters)
        except Mistake as ex:
            raise ConfigurationError(f'[faults] fault: {ex}') from ex
        for place in self.plan.places():
            if place not in OPERATIONS:
                raise ConfigurationError(f'[faults] fault: there is no operation {place}')

    def acts(self) -> bool:
        return bool(self.plan.faults)


def _faulty(name: str, contract: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(contract)
    def method(self: Faults, *args: Any, **kwargs: Any) -> Any:
        with self.plan.around(name):
            return getattr(self.next, name)(*args, **kwargs)

    return method


for _name, _contract in OPERATIONS.items():
    setattr(Faults, _name, _faulty(_name, _contract))


# --- the source


class Broken(Exception):
    """What a failing source raises; it must reach the caller of `add` as it is."""


class Source:
    """Data in pieces, as an upload arrives, for a driver's `add` to read.

    It breaks with `error` after `fail_at` bytes, calls `stall` (which may block, for example
    ``threading.Event().wait``) after `stall_at` bytes, and gives at most `piece` bytes at a time,
    `pause` seconds apart. It must not be read past its end, nor asked for the end by a driver that
    was told the size.
    """

    def __init__(
        self,
        data: bytes,
        fail_at: int | None = None,
        sized: bool = True,
        *,
        error: BaseException | None = None,
        stall_at: int | None = None,
        stall: Callable[[], object] = lambda: None,
        piece: int = 300_007,
        pause: float = 0,
    ) -> None:
        self._data = data
        self._at = 0
        self._fail_at = math.inf if fail_at is None else fail_at
        self._sized = sized
        self._error = error or Broken('the source broke')
        self._stall_at = math.inf if stall_at is None else stall_at
        self._stall = stall
        self._piece = piece
        self._pause = pause
        self._ended = False

    def read(self, size: int) -> bytes:
        assert size > 0, 'read(0) or less asks for nothing'
        assert not self._ended, 'read again after the end'
        if self._at >= self._fail_at:
            raise self._error
        if self._at >= self._stall_at:
            self._stall_at = math.inf
            self._stall()
        if self._sized and self._at >= len(self._data):
            raise AssertionError('a driver that knows the size must not ask for the end')
        if self._pause:
            sleep_native(self._pause)
        # Never all that was asked for at once, as with a socket.
        end = self._at + min(size, self._piece)
        chunk = self._data[self._at : int(min(end, self._fail_at, self._stall_at))]
        self._at += len(chunk)
        self._ended = not chunk
        return chunk
