# SPDX-License-Identifier: Apache-2.0
"""What a client reads of a copy, whole or growing; and elsewhere, should it not go on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from glance_lite import concurrency
from glance_lite.cache.growing import STEP, Backend, BrokeOff, Growing
from glance_lite.stream import PlainFile

#: Native threads that send files, in turns.
SENDERS = concurrency.Pool('cache senders', 16)


#: Opens so many bytes from an offset where the data is stored. `StoreError`.
Open = Callable[[int, int], Backend]


class WholeFile(PlainFile):
    """A part of a copy that is all there. It stays as long as this is open."""

    def __init__(self, descriptor: int, offset: int, length: int) -> None:
        super().__init__(os.fdopen(descriptor, 'rb', buffering=0), offset, length, SENDERS)


class GrowingFile(PlainFile):
    """A part of a copy that is being made."""

    def __init__(self, growing: Growing, offset: int, length: int) -> None:
        """`growing` is attached to already, and detached from in the end."""
        descriptor = os.dup(growing.descriptor)
        super().__init__(os.fdopen(descriptor, 'rb', buffering=0), offset, length, SENDERS)
        self._growing = growing
        self._closed = False

    def _ready(self) -> int:
        try:
            return min(self.left, self._growing.wait(self.offset) - self.offset)
        except BrokeOff:
            self.break_off()
            return 0

    def wait_whole(self) -> bool:
        """Until all of it is there; whether it is. `StoreError`."""
        try:
            self._growing.wait_over()
        except (BrokeOff, OSError):
            return False
        return True

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._growing.detach()
        super().close()


class Reading:
    """The bytes of a copy, in order; the server may send them by itself, see `PlainFile`."""

    def __init__(self, file: PlainFile, elsewhere: Open, given: Callable[[int], None]) -> None:
        """`given` is told how many bytes of the cache have gone out."""
        self._file = file
        self._open = elsewhere
        self._given = given
        self._elsewhere: Backend | None = None
        self._length = file.left
        self.sendfile = file if concurrency.green() else None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        file = self._file
        if self._elsewhere is None:
            chunk = b''
            if file.left:
                try:
                    chunk = file.read(STEP)
                except OSError:
                    file.break_off()  # the disk of the cache fails
            if chunk:
                return chunk
            if not file.unread:
                raise StopIteration
            self._elsewhere = self._open(file.offset, file.unread)
        return next(self._elsewhere)

    def count(self, sent: int) -> None:
        """So many bytes have gone out in all."""
        here = min(sent, self._length - self._file.unread - self._file.left)
        if here:
            self._given(here)
        if self._elsewhere is not None:
            self._elsewhere.count(sent - here)

    def close(self) -> None:
        try:
            if self._elsewhere is not None:
                self._elsewhere.close()
        finally:
            self._file.close()
