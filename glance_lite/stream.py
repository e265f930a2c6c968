# SPDX-License-Identifier: Apache-2.0
"""The two things that move: an `Upload` on its way into a store, a `Download` on its way out."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from glance_lite import concurrency
from glance_lite.errors import GlanceLiteError, Invalid, LimitExceeded

if TYPE_CHECKING:
    from glance_lite.inspection import Inspector
    from glance_lite.model import Image, Rider

LOG = logging.getLogger(__name__)

#: Bytes read from the client at a time.
CHUNK = 1024 * 1024

#: Below this many bytes a digest is faster than waking a thread for it.
SMALL = 64 * 1024

#: Two digests for each of a few uploads at once; hashlib releases the interpreter lock.
HASHING = concurrency.Pool('hashing', 8)


class Digest:
    """One checksum, computed in a native thread while the next chunk is on its way."""

    def __init__(self, algorithm: str) -> None:
        self._hash = hashlib.new(algorithm, usedforsecurity=False)
        self._task: concurrency.Task[None] | None = None

    def update(self, chunk: bytes) -> None:
        """Take a chunk; it must not change any more."""
        self.join()
        if len(chunk) < SMALL:
            self._hash.update(chunk)
        else:
            self._task = HASHING.submit(lambda: self._hash.update(chunk))

    def join(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.wait()

    def hexdigest(self) -> str:
        self.join()
        return self._hash.hexdigest()


class Upload:
    """The bytes of one upload, as a driver reads them.

    It counts, limits, hashes and inspects, and withholds the last chunk until the source is
    exhausted and every verdict is in: size, limit, format, and whether the claim still holds
    (`confirm`). Then it releases the chunk or raises, so a driver that is all-or-nothing leaves
    nothing behind.
    """

    def __init__(self, read: Callable[[int], bytes], size: int | None) -> None:
        """`read(n)` gives at most n bytes, empty at the end; `size` is what was declared."""
        self._source = read
        self.size = size
        self.riders: tuple[Rider, ...] = ()
        self.count = 0
        self.checksum: str | None = None
        self.os_hash_algo = ''
        self.os_hash_value = ''
        self.virtual_size: int | None = None
        self._limit: int | None = None
        self._limit_message = ''
        self._starting: list[Callable[[], None]] = []
        self._md5: Digest | None = None
        self._hash: Digest | None = None
        self._inspector: Inspector | None = None
        self._confirm: Callable[[], None] | None = None
        self._held: bytes | None = None
        self._out = memoryview(b'')
        self._started = False
        self.settled = False

    # --- what layers say before it moves

    def ride(self, rider: Rider) -> None:
        """Have something written with the row."""
        self.riders = (*self.riders, rider)

    def limit_to(self, limit: int, message: str) -> None:
        """Refuse more than `limit` bytes with `message`; the smallest limit counts."""
        if self._limit is None or limit < self._limit:
            self._limit, self._limit_message = limit, message

    def on_start(self, callback: Callable[[], None]) -> None:
        """Call when the first byte is about to be read: every layer has agreed by then."""
        self._starting.append(callback)

    def arm(
        self,
        algorithm: str,
        inspector: Inspector | None = None,
        confirm: Callable[[], None] | None = None,
        checksum: bool = True,
    ) -> None:
        """Say what is computed and asked on the way."""
        self.os_hash_algo = algorithm
        self._hash = Digest(algorithm)
        self._md5 = Digest('md5') if checksum else None
        self._inspector = inspector
        self._confirm = confirm

    def check_declared(self) -> None:
        """Refuse at once what the declared size already says is too large."""
        if self.size is not None and self._limit is not None and self.size > self._limit:
            raise LimitExceeded(self._limit_message)

    # --- what drivers call

    def read(self, size: int) -> memoryview:
        """At most `size` bytes; empty at the end. Raises when the upload must not be kept."""
        if not self._out and not self.settled:
            self._advance()
        chunk, self._out = self._out[:size], self._out[size:]
        return chunk

    def settle(self) -> None:
        """Ask for the verdict on an empty body, which no driver reads."""
        while not self._out and not self.settled:
            self._advance()

    def _advance(self) -> None:
        if not self._started:
            self._started = True
            self.check_declared()
            for callback in self._starting:
                callback()
            self._held = self._next()
        held = self._held
        self._held = self._next() if held else None
        if not self._held:
            self._finish()
        self._out = memoryview(held or b'')

    def _next(self) -> bytes | None:
        chunk = self._source(CHUNK)
        if not chunk:
            return None
        self.count += len(chunk)
        if self._limit is not None and self.count > self._limit:
            raise LimitExceeded(self._limit_message)
        if self.size is not None and self.count > self.size:
            raise Invalid(f'More data came than the {self.size} bytes that were declared')
        if self._md5 is not None:
            self._md5.update(chunk)
        if self._hash is not None:
            self._hash.update(chunk)
        if self._inspector is not None:
            self._inspector.eat(chunk)
        return chunk

    def _finish(self) -> None:
        if self.size is not None and self.count != self.size:
            raise Invalid(f'{self.size} bytes were declared and {self.count} came')
        if self._md5 is not None:
            self.checksum = self._md5.hexdigest()
        if self._hash is not None:
            self.os_hash_value = self._hash.hexdigest()
        if self._inspector is not None:
            self.virtual_size = self._inspector.verdict()
        if self._confirm is not None:
            self._confirm()
        self.settled = True


def etag(image: Image) -> str | None:
    """The entity tag of an image's data: its multihash, else its checksum. Strong, quoted."""
    value = image.os_hash_value or image.checksum
    return f'"{value}"' if value else None


class Download:
    """The bytes of an image, or a range of them, on their way to a client.

    Iterates once. `close` must be called in any case; it tells who wanted to know how many
    bytes went out.
    """

    def __init__(
        self,
        image: Image,
        chunks: Iterator[bytes],
        total: int | None,
        offset: int = 0,
        length: int | None = None,
        partial: bool = False,
        sendfile: tuple[BinaryIO, int, int] | None = None,
    ) -> None:
        self.image = image
        #: size of the image in bytes; None: it has no data
        self.total = total
        self.offset = offset
        #: bytes that will be sent
        self.length = (total or 0) - offset if length is None else length
        self.partial = partial
        #: (open file, offset, length): a server that can may send this instead of iterating
        self.sendfile = sendfile
        self.sent = 0
        self._chunks = chunks
        self._ending: list[Callable[[int, BaseException | None], None]] = []
        self._error: BaseException | None = None
        self._closed = False

    def replace_image(self, image: Image) -> Download:
        """For a layer that hides something of the image."""
        self.image = image
        return self

    def on_end(self, callback: Callable[[int, BaseException | None], None]) -> None:
        """Call with the bytes sent and the error, if any, when it is over."""
        self._ending.append(callback)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self._chunks)
        except StopIteration:
            raise
        except BaseException as ex:
            self._error = ex
            raise
        self.sent += len(chunk)
        return chunk

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        close: Any = getattr(self._chunks, 'close', None)
        try:
            if close is not None:
                close()
            if self.sendfile is not None:
                self.sendfile[0].close()
        finally:
            for callback in self._ending:
                with contextlib.suppress(GlanceLiteError):
                    callback(self.sent, self._error)
