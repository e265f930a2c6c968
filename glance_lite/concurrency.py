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
import os
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar('T')


class Hub:
    """How this process waits: by blocking (`wait_readable` None), or in a hub."""

    #: starts a native thread: ``_thread.start_new_thread``, unpatched
    start_thread: Callable[..., Any] = staticmethod(_thread.start_new_thread)
    #: lets other green threads run until a file descriptor can be read
    wait_readable: Callable[[int], None] | None = None


def install(start_thread: Callable[..., Any], wait_readable: Callable[[int], None]) -> None:
    """Make native work and a green hub meet. Called once, by the green server, before fork."""
    Hub.start_thread = staticmethod(start_thread)
    Hub.wait_readable = staticmethod(wait_readable)


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
        self._finished = False
        self._fd = os.eventfd(0) if green() else -1
        # Who is last to need the descriptor closes it; list.pop is atomic.
        self._users = [1, 1]
        self._descriptor = [self._fd] if self._fd >= 0 else []

    def run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as ex:
            self._error = ex
        self._finished = True
        self._done.put(None)
        if self._fd >= 0:
            os.eventfd_write(self._fd, 1)
            self._release()

    def _release(self) -> None:
        self._users.pop()
        if not self._users:
            try:
                os.close(self._descriptor.pop())
            except IndexError:
                pass

    @property
    def finished(self) -> bool:
        return self._finished

    def wait(self) -> T:
        """The result, or the error, of the function. Called once."""
        wait_readable = Hub.wait_readable
        if self._fd >= 0 and wait_readable is not None:
            try:
                while not self._finished:
                    wait_readable(self._fd)
            finally:
                # An abandoned request leaves; the thread closes the descriptor when it is done.
                self._release()
        else:
            self._done.get()
        if self._error is not None:
            raise self._error
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
        # Counted until they are done, not until they are taken: a thread that has just taken
        # one is not there for the next. Appending and popping are atomic.
        self._unfinished.append(1)
        self._tasks.put(task)
        if len(self._threads) < min(self.size, len(self._unfinished)):
            self._threads.append(1)
            Hub.start_thread(self._work, ())
        return task

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            task.run()
            self._unfinished.pop()


def blocking(pool: Pool, function: Callable[[], T]) -> T:
    """The result of a function that may block: in the pool if requests share a thread."""
    if not green():
        return function()
    return pool.submit(function).wait()


def iterate(pool: Pool, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks of an iterator that may block, each fetched in the pool. Closes it."""
    end = object()
    try:
        while True:
            chunk: Any = blocking(pool, lambda: next(chunks, end))
            if chunk is end:
                return
            yield chunk
    finally:
        close = getattr(chunks, 'close', None)
        if close is not None:
            blocking(pool, close)


class Channel:
    """A few chunks between a green producer and one native consumer.

    The producer (`put`, `fail`) waits in the hub while the consumer is behind; the consumer
    (`read`) blocks its own thread. What the producer fails with is raised in the consumer.
    """

    def __init__(self, depth: int = 4) -> None:
        self._items: Any = _queue.SimpleQueue()
        self._room = os.eventfd(depth, os.EFD_SEMAPHORE | os.EFD_NONBLOCK)
        self._rest = memoryview(b'')
        self._ended = False

    def put(self, chunk: bytes | memoryview) -> None:
        """Hand over a chunk; an empty one is the end."""
        wait_readable = Hub.wait_readable
        assert wait_readable is not None
        while True:
            try:
                os.eventfd_read(self._room)
                break
            except BlockingIOError:
                wait_readable(self._room)
        self._items.put(chunk)

    def fail(self, error: BaseException) -> None:
        self._items.put(error)

    def release(self) -> None:
        """The consumer will read no more: let a waiting producer go on."""
        os.eventfd_write(self._room, 1 << 20)

    def close(self) -> None:
        os.close(self._room)

    def read(self, size: int) -> memoryview:
        """At most `size` bytes; empty at the end."""
        if not self._rest and not self._ended:
            item = self._items.get()
            os.eventfd_write(self._room, 1)
            if isinstance(item, BaseException):
                self._ended = True
                raise item
            self._rest = memoryview(item)
            self._ended = not self._rest
        chunk, self._rest = self._rest[:size], self._rest[size:]
        return chunk
