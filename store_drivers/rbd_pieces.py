# SPDX-License-Identifier: Apache-2.0
"""Reads and writes of a block device of which several are on their way at a time."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterator
from typing import Any

from glance_lite.store import Source
from store_drivers.ceph import Cluster, Failed, Link

#: Reads of a device that are on their way at a time, at first and at most: somebody who takes what
#: comes slower than it comes has no use for more.
FIRST, MOST = 2, 6


class Pieces:
    """Asynchronous calls of librbd in their order. As a context: in the end all have succeeded."""

    def __init__(self, depth: int) -> None:
        """`depth`: how many may be on their way at a time."""
        self.depth = depth
        # With what must not go before they are over: bytes from which librbd reads.
        self._waiting: collections.deque[tuple[Any, Any]] = collections.deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def write(self, image: Any, data: bytes, offset: int) -> None:
        """Begin a write, when there is room for one. Raises what an earlier one failed with."""
        if len(self._waiting) >= self.depth:
            self._take()
        self._waiting.append((image.aio_write(data, offset, _nothing), data))

    def read(self, image: Any, offset: int, length: int) -> None:
        """Begin a read."""
        into: list[bytes] = []
        # It is called in a thread of librbd, which must not do more than this.
        completion = image.aio_read(offset, length, lambda _, data: into.append(data))
        self._waiting.append((completion, into))

    def next_read(self) -> bytes:
        """What the first read has given."""
        completion, into = self._waiting[0]
        if not completion.is_complete():
            self.depth = min(self.depth + 1, MOST)
        self._take()
        return bytes(into[0])

    def _take(self) -> None:
        """Wait for the first one. `Failed`."""
        completion, _ = self._waiting[0]
        completion.wait_for_complete_and_cb()
        self._waiting.popleft()
        code = int(completion.get_return_value())
        if code < 0:
            raise Failed(-code)

    def abandon(self) -> None:
        """Wait until none is on its way, whatever becomes of them."""
        while self._waiting:
            with contextlib.suppress(Failed):
                self._take()

    def __enter__(self) -> Pieces:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            while kind is None and self._waiting:
                self._take()
        finally:
            self.abandon()


class Reading(Iterator[bytes]):
    """The bytes of an open device, read ahead of whoever takes them."""

    def __init__(
        self, cluster: Cluster, link: Link, opened: tuple[Any, Any], starts: range, end: int
    ) -> None:
        """`opened`: the device and its pool, which are closed in the end; `starts` of pieces."""
        self._cluster = cluster
        self._link = link
        self._opened = opened
        self._starts = iter(starts)
        self._step = starts.step
        self._end = end
        self._pieces = Pieces(FIRST)

    def __next__(self) -> bytes:
        try:
            while len(self._pieces) < self._pieces.depth and self._opened:
                start = next(self._starts, None)
                if start is None:
                    break
                length = min(self._step, self._end - start)
                self._pieces.read(self._opened[0], start, length)
            if self._pieces:
                return self._pieces.next_read()
        except self._cluster.errors as ex:
            self.close()
            raise self._cluster.told(ex, self._link) from ex
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Give everything back, in the order in which librbd wants it."""
        self._pieces.abandon()
        for one in self._opened:
            with contextlib.suppress(*self._cluster.errors):
                one.close()
        self._opened = ()  # type: ignore[assignment]

    def __del__(self) -> None:
        self.close()


def _nothing(completion: Any) -> None:
    """Whoever waits for a write asks it itself."""


def read_piece(source: Source, size: int) -> bytes:
    """`size` bytes of a source, fewer at its end."""
    first = source.read(size)
    if len(first) == size or not first:
        return bytes(first)
    chunks, left = [first], size - len(first)
    while left and (chunk := source.read(left)):
        chunks.append(chunk)
        left -= len(chunk)
    return b''.join(chunks)
