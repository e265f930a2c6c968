# SPDX-License-Identifier: Apache-2.0
"""What the swift driver uploads: a source cut into the bodies of requests, none held in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from glance_lite.store import Source, StoreError, StoreUnavailable

MIB = 1024 * 1024
#: Most segments of an object: more are not listed by one request, and reading would be slower.
MOST_SEGMENTS = 10_000
#: Where the size is not known, a segment is this much of what has been sent, once that is more than
#: the configured size.
SHARE = 5_000


class Piece:
    """Up to so many bytes of a source: the body of one request.

    A request that fails can be repeated only as long as nothing but `first` has been sent.
    """

    def __init__(self, source: Source, limit: int, sized: bool, first: bytes = b'') -> None:
        """`first` has been read from the source already; `sized`: there are `limit` bytes."""
        self._source = source
        self._first = first
        self.limit = limit
        self._sized = sized
        #: what `requests` looks for; without it the body is sent in chunks of any number
        if sized:
            self.len = limit
        self.count = 0
        self.started = False
        #: the source has said that nothing more comes
        self.ended = False
        #: what the source raised: whoever sends the piece may make something else of it
        self.error: BaseException | None = None

    @property
    def complete(self) -> bool:
        """Whether all of it has been given out."""
        return self.ended or self.count == self.limit

    def __iter__(self) -> Iterator[bytes | memoryview]:
        self.started = True
        if self._first:
            self.count = len(self._first)
            yield self._first
        while chunk := self._read():
            yield chunk

    def rewind(self) -> bool:
        if self.error is not None or self.count > len(self._first):
            return False
        self.count = 0
        return True

    def _read(self) -> bytes | memoryview:
        left = self.limit - self.count
        if not left or self.ended:
            return b''
        try:
            chunk = self._source.read(min(MIB, left))
            if not chunk and self._sized:
                raise StoreError(f'{left} bytes less have come than were promised')
        except BaseException as ex:
            self.error = ex
            raise
        self.ended = not chunk
        self.count += len(chunk)
        return chunk


def _no_buffer(directory: str, ex: OSError) -> StoreUnavailable:
    return StoreUnavailable(f'What is sent cannot be written to {directory}: {ex.strerror}')


class Buffered(Piece):
    """A piece that is written to a file first, and can be sent as often as need be."""

    def __init__(self, piece: Piece, directory: str) -> None:
        """Reads all of the `piece`. Raises what the source raises; `StoreUnavailable`."""
        try:
            self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - see `close`
        except OSError as ex:
            raise _no_buffer(directory, ex) from ex
        try:
            for chunk in piece:
                self._file.write(chunk)
            self._file.flush()
        except BaseException as ex:
            self._file.close()
            if isinstance(ex, OSError) and piece.error is None:
                raise _no_buffer(directory, ex) from ex
            raise
        super().__init__(piece._source, piece.count, True)
        self._all_read = piece.ended

    def __iter__(self) -> Iterator[bytes]:
        self.started = True
        self._file.seek(0)
        self.count = 0
        while chunk := self._file.read(MIB):
            self.count += len(chunk)
            yield chunk
        self.ended = self._all_read

    def rewind(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()


class Pieces:
    """What comes from a source, in pieces of the segments' size."""

    def __init__(self, source: Source, size: int | None, least: int) -> None:
        self._source = source
        self._size = size
        self._least = least if size is None else max(least, -(-size // MOST_SEGMENTS))
        self._ahead = min(MIB, least)
        self._count = 0
        self._ended = False
        self._first = b'' if size is not None else self._peek()

    def whole(self, limit: int) -> Piece | None:
        """All of it as one piece, if it is known to be smaller than `limit`."""
        if self._size is not None:
            return Piece(self._source, self._size, True) if self._size < limit else None
        if self._ended:
            return Piece(self._source, len(self._first), True, self._first)
        return None

    def __iter__(self) -> Iterator[Piece]:
        while piece := self._next():
            yield piece
            self._count += piece.count
            if piece.ended:
                return

    def _next(self) -> Piece | None:
        if self._size is not None:
            left = self._size - self._count
            return Piece(self._source, min(self._least, left), True) if left else None
        first = self._first or self._peek()
        self._first = b''
        limit = max(self._least, self._count // SHARE)
        if not first:
            return None
        piece = Piece(self._source, limit, False, first)
        piece.ended = self._ended
        return piece

    def _peek(self) -> bytes:
        """The beginning of the next segment, or less if there is less."""
        found = bytearray()
        while (left := self._ahead - len(found)) and (chunk := self._source.read(left)):
            found += chunk
        self._ended = left > 0
        return bytes(found)
