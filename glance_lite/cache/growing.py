# SPDX-License-Identifier: Apache-2.0
"""A copy that is being made, as one process sees it: all its readers wait for the same one.

One process of the host reads the backend and writes the file; the others look how far it has
come. When that process has ended in whatever way, one of the others finds that the lock is free
and goes on from there. A client never waits for another client: the file grows as fast as the
backend gives. The last byte is withheld until the digest is right, so that nobody takes damaged
data for whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from glance_lite import concurrency, stream
from glance_lite.cache import directory
from glance_lite.cache.directory import Directory, Found
from glance_lite.cache.key import Key
from glance_lite.errors import GlanceLiteError, StoreError, StoreUnavailable

LOG = logging.getLogger(__name__)

#: Native threads for what blocks on the disk of the cache.
POOL = concurrency.Pool('cache', 16)

#: Seconds between two looks at a file that another process writes.
LOOK = 0.01
#: Seconds for which a file may stop growing while another process has it.
PATIENCE = 30.0
#: Bytes that are read of a file at a time.
STEP = 1024 * 1024


class Backend(Protocol):
    """What reads the data where it is stored."""

    def __iter__(self) -> Iterator[bytes]: ...
    def __next__(self) -> bytes: ...
    def close(self) -> None: ...
    def count(self, sent: int) -> None:
        """So many bytes of it were of use."""


#: Opens the data of the image from an offset to its end. `StoreError`.
Source = Callable[[int], Backend]

#: What an owner may do with a file whose bytes are known to be wrong.
WRONG = 0o400


class BrokeOff(Exception):
    """The copy will not go on; the backend may. `harmless`: and the next one may, too."""

    def __init__(self, message: str = '', harmless: bool = False) -> None:
        super().__init__(message)
        self.harmless = harmless


class Damaged(StoreUnavailable):
    """The data that was read is not what the image's digest says."""


class _Unwanted(Exception):
    """Nobody reads it any more."""


class Growing:
    """One image on its way into the cache."""

    def __init__(
        self,
        place: Directory,
        key: Key,
        found: Found,
        source: Source,
        ended: Callable[[Growing, BaseException | None], None],
    ) -> None:
        """Takes over the descriptor of `found`. `ended` is called once, when nothing more comes."""
        self.key = key
        self._place = place
        self._source = source
        self._ended = ended
        self.descriptor = found.descriptor
        self._mine = found.mine
        self._changed = threading.Condition()
        self._readers = 0
        self._over = False
        self._error: BaseException | None = None
        self._chunks: Backend | None = None
        #: bytes that it has given
        self._fetched = 0
        there = os.fstat(found.descriptor)
        #: bytes that are there
        self.size = min(there.st_size, key.size)
        #: whether all are there, and right
        self.right = directory.is_right(there)

    # --- readers

    def attach(self, source: Source) -> bool:
        """One more reader, who must `detach`. False: it is over."""
        with self._changed:
            if self._over and not self.right:
                return False
            if self._over and not self._readers:
                return False  # and closed
            self._readers += 1
            self._source = source  # the latest one has the freshest credentials
            return True

    def detach(self) -> None:
        with self._changed:
            self._readers -= 1
            self._close()

    def wait(self, offset: int) -> int:
        """Bytes from the beginning that may be given out: more than `offset`.

        `Damaged`; `BrokeOff`: ask the backend for the rest.
        """
        with self._changed:
            while True:
                size = self.key.size if self.right else min(self.size, self.key.size - 1)
                if size > offset:
                    return size
                if isinstance(self._error, Damaged):
                    raise Damaged(self._error.message)
                if self._over:
                    raise BrokeOff
                self._changed.wait()

    def wait_over(self) -> None:
        """Until nothing more comes. Raises what it ended with."""
        with self._changed:
            while not self._over:
                self._changed.wait()
        if self._error is not None:
            raise self._error

    # --- how it goes

    def begin(self) -> None:
        """Go on in the background. `StoreError`: the backend cannot even be opened."""
        try:
            if self._mine and not self.right and self.size < self.key.size:
                self._chunks = self._source(self.size)
        except BaseException as ex:
            if self._mine and not self.size:
                self._discard()
            self._end(ex)
            raise
        threading.Thread(target=self._run, name='glance-lite cache', daemon=True).start()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            if self._follow():
                self._write()
        except _Unwanted:
            LOG.debug('Nobody reads image %s any more; its copy waits', self.key.image_id)
            error = BrokeOff('Nobody reads it any more', harmless=True)
        except Damaged as ex:
            LOG.error('Image %s is not cached: %s', self.key.image_id, ex)
            error = ex
        except (GlanceLiteError, OSError, BrokeOff) as ex:
            LOG.warning('Image %s is not cached: %s', self.key.image_id, ex)
            error = ex
        except BaseException as ex:
            LOG.error('Image %s is not cached', self.key.image_id, exc_info=True)
            error = ex
        finally:
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        self._close_source()
        with self._changed:
            self._over, self._error = True, error
            if not self.right:
                fcntl.flock(self.descriptor, fcntl.LOCK_UN)
            self._changed.notify_all()
        self._ended(self, error)
        with self._changed:
            self._close()

    def _close(self) -> None:
        if self._over and not self._readers and self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _close_source(self) -> None:
        chunks, self._chunks = self._chunks, None
        if chunks is not None:
            with contextlib.suppress(GlanceLiteError, OSError):
                chunks.count(self._fetched)
                chunks.close()

    def _grow(self, size: int, right: bool = False) -> None:
        with self._changed:
            self.size, self.right = size, right
            self._changed.notify_all()

    def _check_wanted(self) -> None:
        with self._changed:
            if not self._readers:
                raise _Unwanted

    # --- another process writes

    def _follow(self) -> bool:
        """Look how far it comes; True: nobody writes it any more, and it is ours from now on."""
        last = time.monotonic()
        while True:
            there = os.fstat(self.descriptor)
            if directory.is_right(there) and not self._mine:
                directory.lock(self.descriptor, fcntl.LOCK_SH)
                self._grow(self.key.size, True)
                return False
            if self._mine or directory.lock(self.descriptor, fcntl.LOCK_EX):
                self._mine = True
                return self._is_there()
            if there.st_size > self.size:
                self._grow(min(there.st_size, self.key.size))
                last = time.monotonic()
            if time.monotonic() > last + PATIENCE:
                raise BrokeOff('Another process has stopped filling the cache with it')
            self._check_wanted()
            time.sleep(LOOK)

    def _is_there(self) -> bool:
        """Whether a file that has just become ours may be gone on with."""
        there = os.fstat(self.descriptor)
        if there.st_mode & 0o777 == WRONG:
            raise Damaged('The data of the image is not what its digest says')
        if not there.st_nlink:
            raise BrokeOff('The cache has lost what there was of it')
        self._grow(min(there.st_size, self.key.size), directory.is_right(there))
        return True

    # --- this process writes

    def _write(self) -> None:
        if not self.right:
            digest = stream.Digest(self.key.algorithm)
            try:
                self._hash_what_is_there(digest)
                while self.size < self.key.size:
                    began = self.size
                    try:
                        self._fetch(digest)
                    except StoreError as ex:
                        if self.size == began:
                            raise
                        LOG.warning('Image %s is gone on with: %s', self.key.image_id, ex)
                value = digest.hexdigest()
            finally:
                digest.join()
            self._judge(value)
        concurrency.blocking(POOL, lambda: self._place.publish(self.key, self.descriptor))

    def _hash_what_is_there(self, digest: stream.Digest) -> None:
        """What a process has left that is gone."""
        offset, end = 0, self.size
        while offset < end:
            self._check_wanted()
            at, count = offset, min(STEP, end - offset)
            chunk = concurrency.blocking(POOL, lambda: os.pread(self.descriptor, count, at))  # noqa: B023 - it is waited for
            if not chunk:
                raise BrokeOff('The cache has lost what there was of it')
            digest.update(chunk)
            offset += len(chunk)

    def _fetch(self, digest: stream.Digest) -> None:
        if self._chunks is None:
            self._chunks = self._source(self.size)
        self._fetched = 0
        try:
            for chunk in self._chunks:
                self._fetched += len(chunk)
                digest.update(chunk)
                self._append(chunk)
                self._grow(self.size + len(chunk))
                self._check_wanted()
        finally:
            self._close_source()

    def _append(self, chunk: bytes) -> None:
        try:
            concurrency.blocking(POOL, lambda: _write_all(self.descriptor, chunk, self.size))
        except OSError as ex:
            self._discard()
            raise BrokeOff(f'The cache takes nothing: {ex.strerror}') from ex

    def _judge(self, value: str) -> None:
        if value != self.key.digest:
            os.fchmod(self.descriptor, WRONG)
            self._discard()
            raise Damaged(f'The data of the image has another {self.key.algorithm} digest')
        os.fchmod(self.descriptor, directory.RIGHT)
        self._grow(self.key.size, True)

    def _discard(self) -> None:
        with contextlib.suppress(OSError):
            concurrency.blocking(POOL, lambda: self._place.discard(self.key, self.descriptor))


def _write_all(descriptor: int, chunk: bytes, offset: int) -> None:
    view = memoryview(chunk)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count
