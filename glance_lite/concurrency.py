# SPDX-License-Identifier: Apache-2.0
"""Native threads, for what would otherwise hold up everybody else.

Under a threaded server a request has a thread of its own and may simply block. Under the green
server all requests of a process share one thread, so hashing and drivers that block run in
native threads, and the request waits on a file descriptor that the hub can watch. The green
server calls `install` before anything else here is used; this module never imports eventlet.

Nothing starts a thread before it is first used, so a master may fork after import.
"""

from __future__ import annotations

import _queue
import _thread
import collections
import contextlib
import os
import select
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar('T')


def _no_poll() -> Any:
    raise AssertionError('the green server has taken select.poll away and not installed its own')


class Hub:
    """How this process waits: by blocking (`wait_readable` None), or in a hub."""

    #: starts a native thread: ``_thread.start_new_thread``, unpatched
    start_thread: Callable[..., Any] = staticmethod(_thread.start_new_thread)
    #: lets other green threads run until a file descriptor can be read, at most for some seconds
    #: if they are given: (descriptor, seconds) -> whether it can be
    wait_readable: Callable[..., bool] | None = None
    #: ``select.poll``, unpatched
    poll: Callable[[], Any] = staticmethod(getattr(select, 'poll', _no_poll))


def install(
    start_thread: Callable[..., Any],
    wait_readable: Callable[..., bool],
    poll: Callable[[], Any],
) -> None:
    """Make native work and a green hub meet. Called once, by the green server, before fork."""
    Hub.start_thread = staticmethod(start_thread)
    Hub.wait_readable = staticmethod(wait_readable)
    Hub.poll = staticmethod(poll)


def writable(descriptor: int, seconds: float) -> bool:
    """For a native thread: wait until a socket takes something, or has failed."""
    poll = Hub.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))


def green() -> bool:
    """Whether requests share a thread, so that nothing may block it."""
    return Hub.wait_readable is not None


class Task(Generic[T]):
    """A function that runs, or has run, in a native thread."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._result: Any = None
        self._error: BaseException | None = None
        self._done: Any = _queue.SimpleQueue()
        #: whether it has run
        self.finished = False
        #: whether whoever waited has given it up
        self.abandoned = False
        self._fd = os.eventfd(0, os.EFD_NONBLOCK) if green() else -1

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if self._fd >= 0:
            close(self._fd)  # nobody waited to the end

    def run(self) -> None:
        function = self._function
        del self._function  # it may hold much, and this task
        try:
            if not self.abandoned:
                self._result = function()
        except BaseException as ex:
            self._error = ex
        if self._fd >= 0:
            os.eventfd_write(self._fd, 1)
        # The last: from here on whoever waited may close the descriptor.
        self.finished = True
        self._done.put(None)

    def ended(self, seconds: float) -> bool:
        """Whether it has run; waits for that, but not longer."""
        return self._wait(seconds)

    def abandon(self) -> None:
        """Wait no more for what may never end; if it has not begun it never will."""
        self.abandoned = True

    def _wait(self, seconds: float | None = None) -> bool:
        wait_readable = Hub.wait_readable
        if self._fd < 0 or wait_readable is None:
            if not self.finished:
                with contextlib.suppress(_queue.Empty):
                    self._done.get(timeout=seconds)
            return self.finished
        while not self.finished:
            if not wait_readable(self._fd, seconds) and seconds is not None:
                return self.finished
            with contextlib.suppress(BlockingIOError):  # woken for nothing
                os.eventfd_read(self._fd)
                # It comes at once. Asking the hub again instead, until the thread has got
                # that far, was ten rounds of the hub for each task.
                self._done.get()
        os.close(self._fd)
        self._fd = -1
        return True

    def wait(self) -> T:
        """The result, or the error, of the function. It may be interrupted, and called again."""
        self._wait()
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                error = None  # the traceback holds this frame: no circle, no waiting for the gc
        return self._result  # type: ignore[no-any-return]

    def outcome(self) -> T | None:
        """The result, None if the function failed; not to be interrupted.

        For whoever must clean up after it: a green thread that is killed while it waits here
        waits on, and is killed then.
        """
        killed: BaseException | None = None
        while True:
            try:
                self._wait()
                break
            except BaseException as ex:
                killed = ex
        self._error = None
        if killed is not None:
            raise killed
        return self._result  # type: ignore[no-any-return]


class Pool:
    """At most `size` native threads, started as they are needed and kept."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self._tasks: Any = _queue.SimpleQueue()
        self._unfinished: list[int] = []
        self._threads: list[int] = []

    def submit(self, function: Callable[[], T]) -> Task[T]:
        task = Task(function)
        self.start(task)
        return task

    def start(self, task: Task[Any] | Queue) -> None:
        """Have a thread call its `run`; nobody is told when it is over."""
        # Counted until they are done, not until they are taken: a thread that has just taken
        # one is not there for the next. Appending and popping are atomic.
        self._unfinished.append(1)
        self._tasks.put(task)
        if len(self._threads) < min(self.size, len(self._unfinished)):
            self._threads.append(1)
            Hub.start_thread(self._work, ())

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            task.run()
            del task  # or what it holds stays until the next one comes
            self._unfinished.pop()


def blocking(pool: Pool, function: Callable[[], T]) -> T:
    """The result of a function that may block: in the pool if requests share a thread."""
    if not green():
        return function()
    return pool.submit(function).wait()


class Signal:
    """Tells one waiter, whose thread may be green, that what it waits for may have come true."""

    def __init__(self) -> None:
        self._waiting = False
        self._told: Any = _queue.SimpleQueue()
        self._fd = -1

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # Not before: whoever tells has a reference, and must not write to somebody else's file.
        if self._fd >= 0:
            close(self._fd)

    def set(self) -> None:
        """Tell, from any thread."""
        if not self._waiting:
            return
        if self._fd >= 0:
            os.eventfd_write(self._fd, 1)
        else:
            self._told.put(None)

    def wait_until(self, true: Callable[[], bool]) -> None:
        """Wait until it is so; whatever makes it so is followed by `set`."""
        wait_readable = Hub.wait_readable
        while not true():
            if wait_readable is not None and self._fd < 0:
                self._fd = os.eventfd(0, os.EFD_NONBLOCK)
            self._waiting = True
            try:
                if true():  # since before it was known that somebody waits
                    return
                if wait_readable is None:
                    self._told.get()
                    continue
                wait_readable(self._fd)
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._fd)
            finally:
                self._waiting = False


class Queue:
    """Work on items in their order, by whichever thread of a pool is free; not a thread each.

    `work` is called in a native thread and must not fail.
    """

    def __init__(self, pool: Pool, work: Callable[[Any], object], told: Signal) -> None:
        self._pool = pool
        self._work = work
        self._told = told
        self._items: collections.deque[Any] = collections.deque()
        # Whoever has the token is the one that works. Appending and popping are atomic.
        self._token = [None]

    def __len__(self) -> int:
        """Items that are not done yet."""
        return len(self._items)

    def put(self, item: Any) -> None:
        self._items.append(item)
        if self._begin():
            self._pool.start(self)

    def join(self) -> None:
        """Wait until all is done."""
        self._told.wait_until(lambda: not self._items)

    def _begin(self) -> bool:
        try:
            self._token.pop()
        except IndexError:
            return False
        return True

    def run(self) -> None:
        """For the pool: work until nothing is left."""
        while True:
            while self._items:
                self._work(self._items[0])
                self._items.popleft()
                self._told.set()
            self._token.append(None)
            # What was put since the last look, by somebody who saw that there was no token.
            if not self._items or not self._begin():
                return


class Fetched:
    """The chunks of an iterator that may block, each fetched in a pool. Closes it.

    `wait` waits for a task, and abandons it and raises where that may never end.
    """

    def __init__(
        self, pool: Pool, chunks: Iterator[bytes], wait: Callable[[Task[Any]], None]
    ) -> None:
        self._pool = pool
        self._chunks = chunks
        self._wait = wait
        self._task: Task[bytes | None] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._task = self._pool.submit(lambda: next(self._chunks, None))
        self._wait(self._task)
        chunk = self._task.wait()
        if chunk is None:
            raise StopIteration
        return chunk

    def close(self) -> None:
        close = getattr(self._chunks, 'close', None)
        if close is None:
            return
        if self._task is not None:
            if self._task.abandoned:
                return  # what runs cannot be closed; it is when it has ended and is forgotten
            # Whoever waited may have been killed, and what runs cannot be closed.
            self._task.outcome()
        blocking(self._pool, close)


class Channel:
    """A few chunks between a green producer and one native consumer.

    The producer (`put`, `fail`) waits in the hub while the consumer is behind; the consumer
    (`read`) blocks its own thread. What the producer fails with is raised in the consumer.

    `wait` waits until a descriptor can be read, and raises where that may never come to be.
    """

    def __init__(self, wait: Callable[[int], None], depth: int = 2) -> None:
        self._wait = wait
        self._items: Any = _queue.SimpleQueue()
        self._depth = depth
        # Nothing is taken from the producer before the consumer has asked for something.
        self._room = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_NONBLOCK)
        self._rest = memoryview(b'')
        self._ended = False
        self._error: BaseException | None = None
        self._released = False
        # Whoever is the last of the two to be done closes the descriptor. Popping is atomic.
        self._users = [True, False]
        #: bytes that the consumer has taken
        self.taken = 0

    def wait_wanted(self) -> bool:
        """Wait until the consumer wants something; False when it will not any more."""
        self._wait(self._room)
        return not self._released

    def put(self, chunk: bytes | memoryview) -> None:
        """Hand over a chunk; an empty one is the end."""
        while True:
            try:
                os.eventfd_read(self._room)
                break
            except BlockingIOError:
                self._wait(self._room)
        self._items.put(chunk)

    def fail(self, error: BaseException) -> None:
        self._items.put(error)

    def release(self) -> None:
        """The consumer will read no more: let a waiting producer go on."""
        self._released = True
        os.eventfd_write(self._room, 1 << 20)
        self._close()

    def close(self) -> None:
        """The producer is done, whether or not the consumer is."""
        self._close()

    def _close(self) -> None:
        last = self._users.pop()
        if last:
            os.close(self._room)

    def read(self, size: int) -> memoryview:
        """At most `size` bytes; empty at the end. Goes on raising what the producer failed with."""
        if self._error is not None:
            raise self._error
        if self._depth:
            os.eventfd_write(self._room, self._depth)
            self._depth = 0
        if not self._rest and not self._ended:
            item = self._items.get()
            os.eventfd_write(self._room, 1)
            if isinstance(item, BaseException):
                self._error = item
                raise item
            self._rest = memoryview(item)
            self._ended = not self._rest
        chunk, self._rest = self._rest[:size], self._rest[size:]
        self.taken += len(chunk)
        return chunk
