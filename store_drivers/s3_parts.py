# SPDX-License-Identifier: Apache-2.0
"""What the s3 driver uploads: the data of a source, cut into parts that are held in memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from glance_lite.store import Source, StoreError

MIB = 1024 * 1024
#: Most parts of an object: S3 says so.
MOST_PARTS = 10_000
#: Where the size is not known, a part is this much of what has been sent, once that is more than
#: the configured size: 10,000 parts of 10 MiB and more hold 1 TiB.
SHARE = 2_000


class Part:
    """Bytes to send, as a file that is read in larger blocks than the HTTP client asks for.

    PERF: blocks that the allocator uses again, and that are sent as they are: one of the size of a
    part would be mapped anew for each, and copied once more (1 GiB: a second of processor time).
    """

    def __init__(self) -> None:
        # Of `MIB` each, but for the last one.
        self._blocks: list[bytearray] = []
        self._at = 0
        #: bytes that it has
        self.size = 0

    def add(self, chunk: bytes | memoryview) -> None:
        """Append to it."""
        self.size += len(chunk)
        while chunk:
            if not self._blocks or len(self._blocks[-1]) == MIB:
                self._blocks.append(bytearray())
            room = MIB - len(self._blocks[-1])
            self._blocks[-1] += chunk[:room]
            chunk = chunk[room:]

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes | bytearray:
        """What is left of a block, however few bytes are asked for; all without a size."""
        number, offset = divmod(self._at, MIB)
        left = self._blocks[number:]
        if not left:
            return b''
        if size is None or size < 0:
            self._at = self.size
            return b''.join(left)[offset:]
        # Whoever hashes it lets others go on in between, where all share a thread.
        time.sleep(0)
        block = left[0][offset:] if offset else left[0]
        self._at += len(block)
        return block


class Parts:
    """What comes from a source, in parts: the first one, empty or not, and those with bytes."""

    def __init__(self, source: Source, size: int | None, least: int) -> None:
        self._source = source
        self._size = size
        self._least = least if size is None else max(least, -(-size // MOST_PARTS))
        self._count = 0
        self._ended = size == 0
        self._next: Part | None = self._read()

    def fit(self, limit: int) -> bool:
        """Whether the first is all there is, and empty or smaller than `limit`."""
        assert self._next is not None
        return self._ended and (not self._next.size or self._next.size < limit)

    def __iter__(self) -> Iterator[Part]:
        return self

    def __next__(self) -> Part:
        part = self._next or (None if self._ended else self._read())
        self._next = None
        if part is None or (not part.size and self._count):
            raise StopIteration
        return part

    def _read(self) -> Part:
        part = Part()
        wanted = self._least if self._size is not None else max(self._least, self._count // SHARE)
        while wanted and not self._ended:
            left = wanted if self._size is None else min(wanted, self._size - self._count)
            chunk = self._source.read(min(MIB, left))
            if not chunk:
                if self._size is not None:
                    raise StoreError(f'{self._size} bytes were promised and {self._count} came')
                self._ended = True
            part.add(chunk)
            wanted -= len(chunk)
            self._count += len(chunk)
            if self._count == self._size:
                self._ended = True
        return part
