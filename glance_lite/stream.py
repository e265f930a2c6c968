# SPDX-License-Identifier: Apache-2.0
"""The two things that move: an `Upload` on its way into a store, a `Download` on its way out."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from glance_lite import concurrency
from glance_lite.errors import GlanceLiteError, Invalid, LimitExceeded, StoreUnavailable

if TYPE_CHECKING:
    from glance_lite.inspection import Inspector
    from glance_lite.model import Image, Rider
    from glance_lite.store import Caller

LOG = logging.getLogger(__name__)

#: Bytes read from the client at a time.
CHUNK = 1024 * 1024

#: Below this many bytes a digest is faster than waking a thread for it.
SMALL = 64 * 1024

#: A file is sent in turns of so many bytes, or seconds, so that all get their turn; and how many
#: seconds a thread waits for a client before it turns to another.
BURST = 16 * 1024 * 1024
BURST_SECONDS = 0.5
SOON = 0.02

#: Chunks that a digest may be behind.
BACKLOG = 2

#: Two digests for each of a few uploads at once; hashlib and cryptography release the
#: interpreter lock.
HASHING = concurrency.Pool('hashing', 8)


class Beside:
    """Something computed of all chunks, in a native thread while others are on their way."""

    def __init__(
        self, work: Callable[[bytes | memoryview], object], told: concurrency.Signal
    ) -> None:
        """`work` takes each chunk and must not fail.

        `told` is shared by those for which the same one waits.
        """
        self._work = work
        self._told = told
        self._queue = concurrency.Queue(HASHING, work, told)

    def update(self, chunk: bytes | memoryview) -> None:
        """Take a chunk, which must not change until it is done; waits while too many are not."""
        if len(self._queue) >= BACKLOG:
            self._told.wait_until(lambda: len(self._queue) < BACKLOG)
        if len(chunk) < SMALL and not self._queue:
            self._work(chunk)
        else:
            self._queue.put(chunk)

    def join(self) -> None:
        if self._queue:
            self._queue.join()


class Digest(Beside):
    """One checksum."""

    def __init__(self, algorithm: str, told: concurrency.Signal | None = None) -> None:
        self._hash = hashlib.new(algorithm, usedforsecurity=False)
        super().__init__(self._hash.update, told or concurrency.Signal())

    def hexdigest(self) -> str:
        self.join()
        return self._hash.hexdigest()


class Verifier(Protocol):
    """Decides on all the data, when it has seen it."""

    def update(self, chunk: bytes | memoryview) -> object:
        """See the next bytes, in whatever thread; never fails."""

    def verify(self) -> None:
        """That was all. Raises `Invalid` when the data must not be kept."""


class Buffers:
    """Memory for chunks, used again as soon as nobody refers to it any more.

    PERF: a new block for each chunk is mapped, faulted in and cleared by the kernel (1 GiB: a
    second of processor time).
    """

    #: most that are kept
    KEPT = 6

    def __init__(self) -> None:
        self._all: list[bytearray] = []

    def take(self) -> memoryview:
        """`CHUNK` bytes that nobody has, and that are the caller's as long as it refers to them."""
        for buffer in self._all:
            if sys.getrefcount(buffer) == _UNUSED:
                return memoryview(buffer)
        made = bytearray(CHUNK)
        if len(self._all) < self.KEPT:
            self._all.append(made)
        return memoryview(made)


def _references_of_an_unused_buffer() -> int:
    """What `Buffers.take` sees, whatever this interpreter counts."""
    for buffer in [bytearray(1)]:
        return sys.getrefcount(buffer)
    raise AssertionError


_UNUSED = _references_of_an_unused_buffer()


class Upload:
    """The bytes of one upload, as a driver reads them.

    It counts, limits, hashes and inspects, and withholds the last chunk until the source is
    exhausted and every verdict is in: size, limit, signature, format, and whether the claim still
    holds (`confirm`). Then it releases the chunk or raises, so a driver that is all-or-nothing
    leaves nothing behind.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        size: int | None,
        readinto: Callable[[memoryview], int] | None = None,
    ) -> None:
        """`read(n)` gives at most n bytes, empty at the end; `size` is what was declared.

        `readinto` is used instead, where there is one; 0 is the end.
        """
        self._source = read
        self._readinto = readinto
        self._buffers = Buffers()
        self.size = size
        self.riders: tuple[Rider, ...] = ()
        #: who stores it, for a store that must know
        self.caller: Caller | None = None
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
        self._verifier: Verifier | None = None
        # What sees every chunk beside the store.
        self._beside: tuple[Beside, ...] = ()
        self._inspector: Inspector | None = None
        self._confirm: Callable[[], None] | None = None
        self._room: int | None = None
        self._extend: Callable[[], int | None] | None = None
        self._held: bytes | memoryview | None = None
        self._out = memoryview(b'')
        #: what reading failed with
        self.error: BaseException | None = None
        #: whether a store may hold something of it although it failed
        self.left_behind = False
        #: whether anything has been read
        self.started = False
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
        algorithm: str | None,
        inspector: Inspector | None = None,
        confirm: Callable[[], None] | None = None,
        checksum: bool = True,
        verifier: Verifier | None = None,
        room: int | None = None,
        extend: Callable[[], int | None] | None = None,
    ) -> None:
        """Say what is computed and asked on the way.

        When more than `room` bytes have come, `extend` gives a larger one or raises. Without an
        `algorithm` nobody wants to know the hash.
        """
        self.os_hash_algo = algorithm or ''
        told = concurrency.Signal()
        self._hash = Digest(algorithm, told) if algorithm else None
        self._md5 = Digest('md5', told) if checksum else None
        self._verifier = verifier
        signed = Beside(verifier.update, told) if verifier else None
        self._beside = tuple(one for one in (self._md5, self._hash, signed) if one is not None)
        self._inspector = inspector
        self._confirm = confirm
        self._room = room
        self._extend = extend

    def check_declared(self) -> None:
        """Refuse at once what the declared size already says is too large."""
        if self.size is not None and self._limit is not None and self.size > self._limit:
            raise LimitExceeded(self._limit_message)

    # --- what drivers call

    def read(self, size: int) -> memoryview:
        """At most `size` bytes; empty at the end. Raises when the upload must not be kept.

        It goes on raising: a driver that tries again does not get at what was refused.
        """
        if self.error is not None:
            raise self.error
        if not self._out and not self.settled:
            try:
                self._advance()
            except BaseException as ex:
                self.error = ex
                raise
        chunk, self._out = self._out[:size], self._out[size:]
        return chunk

    def settle(self) -> None:
        """Ask for the verdict on an empty body, which no driver reads."""
        while not self._out and not self.settled:
            self._advance()

    def close(self) -> None:
        """Wait for what still runs in native threads; an upload that broke needs it most."""
        for one in self._beside:
            one.join()
        # What an error holds, its traceback and so this object, lives until it is collected.
        self._md5 = self._hash = self._verifier = None
        self._beside = ()
        self._buffers = Buffers()

    def _advance(self) -> None:
        if not self.started:
            self.started = True
            self.check_declared()
            for callback in self._starting:
                callback()
            self._held = self._next()
        held = self._held
        self._held = self._next() if held else None
        if not self._held:
            self._finish()
        self._out = memoryview(held or b'')

    def _next(self) -> bytes | memoryview | None:
        chunk: bytes | memoryview
        if self._readinto is None:
            chunk = self._source(CHUNK)
        else:
            chunk = self._buffers.take()
            chunk = chunk[: self._readinto(chunk)]
        if not chunk:
            return None
        self.count += len(chunk)
        if self._limit is not None and self.count > self._limit:
            raise LimitExceeded(self._limit_message)
        if self.size is not None and self.count > self.size:
            raise Invalid(f'More data came than the {self.size} bytes that were declared')
        if self._room is not None and self.count > self._room and self._extend is not None:
            self._room = self._extend()
        for one in self._beside:
            one.update(chunk)
        if self._inspector is not None:
            self._inspector.eat(chunk)
        return chunk

    def _finish(self) -> None:
        if self.size is not None and self.count != self.size:
            raise Invalid(f'{self.size} bytes were declared and {self.count} came')
        for one in self._beside:
            one.join()
        if self._md5 is not None:
            self.checksum = self._md5.hexdigest()
        if self._hash is not None:
            self.os_hash_value = self._hash.hexdigest()
        if self._verifier is not None:
            self._verifier.verify()
        if self._inspector is not None:
            self.virtual_size = self._inspector.verdict()
        if self._confirm is not None:
            self._confirm()
        self.settled = True


def etag(image: Image) -> str | None:
    """The entity tag of an image's data: its multihash, else its checksum. Strong, quoted."""
    value = image.os_hash_value or image.checksum
    return f'"{value}"' if value else None


class PlainFile:
    """A part of an open file that a server may send by itself, without reading it."""

    def __init__(self, file: BinaryIO, offset: int, length: int, pool: concurrency.Pool) -> None:
        self._file = file
        #: where the next byte is in the file
        self.offset = offset
        #: bytes that are left
        self.left = length
        #: bytes that must be had elsewhere, because the file broke off
        self.unread = 0
        self._pool = pool

    def _ready(self) -> int:
        """Bytes that can be had now; waits until there are some. 0: it broke off."""
        return self.left

    def break_off(self) -> None:
        """No more comes from here; whoever gave this out goes on elsewhere."""
        self.left, self.unread = 0, self.left

    def read(self, size: int) -> bytes:
        """The next bytes, for the server to send together with its headers; none: it broke off."""
        count = min(size, self._ready())
        if not count:
            return b''
        fd, offset = self._file.fileno(), self.offset
        chunk = concurrency.blocking(self._pool, lambda: os.pread(fd, count, offset))
        return chunk[: self._passed(len(chunk))]

    def send(self, socket_fd: int) -> int:
        """Send to a non-blocking socket as long as it takes something soon; how many bytes.

        `BlockingIOError` when it takes none now.
        """
        count = min(BURST, self._ready())
        if not count:
            return 0
        # PERF: a client that reads as fast as it is sent to costs one hand-over for each `BURST`
        # and not one for each time its socket is full (1 GiB: 0.49 s of processor time before).
        return self._passed(concurrency.blocking(self._pool, lambda: self._burst(socket_fd, count)))

    def _burst(self, socket_fd: int, count: int) -> int:
        fd, offset = self._file.fileno(), self.offset
        sent, until = 0, time.monotonic() + BURST_SECONDS
        while sent < count:
            try:
                taken = os.sendfile(socket_fd, fd, offset + sent, count - sent)
            except BlockingIOError:
                if time.monotonic() > until or not concurrency.writable(socket_fd, SOON):
                    break
                continue
            except OSError:
                if sent:
                    break  # what went out counts; the next call fails as this one did
                raise
            if not taken:
                break
            sent += taken
        else:
            return sent
        if not sent and not self._at_end(offset):
            raise BlockingIOError
        return sent

    def _at_end(self, offset: int) -> bool:
        return os.fstat(self._file.fileno()).st_size <= offset

    def _passed(self, count: int) -> int:
        if not count:
            raise StoreUnavailable('The file is shorter than the image')
        self.offset += count
        self.left -= count
        return count

    def close(self) -> None:
        self._file.close()


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
        sendfile: PlainFile | None = None,
    ) -> None:
        self.image = image
        #: size of the image in bytes; None: it has no data
        self.total = total
        self.offset = offset
        #: bytes that will be sent
        self.length = (total or 0) - offset if length is None else length
        self.partial = partial
        #: a server that can may send this instead of iterating
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

    def went_out(self, count: int) -> None:
        """The server has sent bytes by itself, from `sendfile`."""
        self.sent += count

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        close: Any = getattr(self._chunks, 'close', None)
        try:
            if close is not None:
                close()
        finally:
            if self.sendfile is not None:
                self.sendfile.close()
            for callback in self._ending:
                with contextlib.suppress(GlanceLiteError):
                    callback(self.sent, self._error)
