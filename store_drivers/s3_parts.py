# SPDX-License-Identifier: Apache-2.0
"""What the s3 driver uploads: the data of a source, cut into parts that are held in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator

from glance_lite.store import Source, StoreError

MIB = 1024 * 1024
#: Most parts of an object: S3 says so.
MOST_PARTS = 10_000
#: Where the size is not known, a part is this much of what has been sent, once that is more than
#: the configured size: 10,000 parts of 10 MiB and more hold 1 TiB.
SHARE = 2_000
#: Bytes handed to the socket at a time.
BLOCK = 256 * 1024


class Part(io.BytesIO):
    """Bytes to send. They are given out in larger blocks than the HTTP client asks for."""

    @property
    def size(self) -> int:
        return self.getbuffer().nbytes

    def read(self, size: int | None = -1) -> bytes:
        return super().read(size if size is None or size < 0 else max(size, BLOCK))


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
            part.write(chunk)
            wanted -= len(chunk)
            self._count += len(chunk)
            if self._count == self._size:
                self._ended = True
        return part
