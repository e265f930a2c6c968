# SPDX-License-Identifier: Apache-2.0
"""Fetching a url into a file: it survives cut connections and killed processes, and has limits.

What has come is kept when a connection breaks off, and the rest is asked for with a Range that
holds only as long as the thing is the same one (If-Range with a strong ETag, or with a date that
is good enough). Where the server cannot do that, or has something else by now, the file is begun
anew. A process that died leaves a `Mark`, up to which the file is known to be on the disk.
"""

from __future__ import annotations

import contextlib
import dataclasses
import email.utils
import functools
import hashlib
import logging
import os
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from glance_lite import concurrency
from glance_lite.errors import FetchFailed, Invalid, LimitExceeded
from glance_lite.guarded import Guard, Response, redact
from glance_lite.imports.files import POOL
from glance_lite.stream import CHUNK, Digest

LOG = logging.getLogger(__name__)

#: Bytes after which the file is flushed to the disk and a mark set.
EVERY = 64 * CHUNK
#: Seconds between two reports of progress.
REPORT = 1.0
#: Longest pause between two tries, in seconds, whatever a server asks for.
LONGEST_PAUSE = 60.0
#: After so many bytes that came at a stretch, failures before are forgotten.
FORGIVEN = 16 * CHUNK
#: Seconds that a Last-Modified must lie before Date to name one version (RFC 9110, 8.8.2.2).
SETTLED = 60
#: Answers after which another try may have luck.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})

_RANGE = re.compile(r'bytes (\d{1,18})-(\d{1,18})/(\d{1,18})')


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of one fetch."""

    #: most bytes; None for any number
    size: int | None = None
    #: seconds that all of it may take; what a server may be silent is in the `Guard`'s limits
    seconds: float = 6 * 3600
    #: tries after a failure, in a row
    retries: int = 5
    #: seconds before the first of them; doubled each time
    pause: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Expected:
    """A digest that the data must have."""

    algorithm: str
    #: in hexadecimal
    value: str

    def __post_init__(self) -> None:
        """Raises `Invalid`."""
        try:
            size = hashlib.new(self.algorithm, usedforsecurity=False).digest_size
        except (ValueError, TypeError):
            size = 0
        # Those with a digest of any length (shake) say 0.
        if not size:
            raise Invalid(f'{self.algorithm[:40]} is not a digest that is known here')
        if not re.fullmatch(f'[0-9a-fA-F]{{{2 * size}}}', self.value):
            raise Invalid(f'A {self.algorithm} digest has {2 * size} hexadecimal digits')


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """How far a fetch has come: what another process needs to carry on."""

    #: bytes of the file that are on the disk
    offset: int = 0
    #: what the server calls the version of the thing, for If-Range; None: it cannot be resumed;
    #: empty: it has no versions
    version: str | None = None
    #: bytes of all of it, where known
    total: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Fetched:
    """What came of it."""

    size: int
    #: how often the connection was made again
    retried: int = 0


def _nothing(*values: object) -> None:
    """For who does not listen."""


class Fetch:
    """One url on its way into one file. `run` is called once."""

    def __init__(
        self,
        guard: Guard,
        url: str,
        path: str | os.PathLike[str],
        bounds: Bounds | None = None,
        *,
        secrets: Callable[[], Mapping[str, str]] = dict,
        tls: ssl.SSLContext | None = None,
        expected: Expected | None = None,
        constant: bool = False,
        mark: Mark | None = None,
        progress: Callable[[int, int | None], object] = _nothing,
        marked: Callable[[Mark], object] = _nothing,
    ) -> None:
        """`secrets` gives headers that no other server than the url's own is sent, before each try.
        `constant`: what is at the url never changes, so that it can be resumed by its offset alone;
        for data whose digest is `expected`.

        `progress` is told the bytes there are and those there will be, once a second while bytes
        come and before each try; what it raises ends the fetch, with the file left as it is.
        `marked` is told each `Mark`, after its bytes are on the disk; `mark` is the last of an
        earlier process.
        """
        self._guard = guard
        self._url = url
        self._path = path
        self._bounds = bounds or Bounds()
        self._secrets = secrets
        self._tls = tls
        self._constant = constant and expected is not None
        self._expected = expected
        self._mark = mark or Mark()
        self._progress = progress
        self._marked = marked
        self._digest: Digest | None = None
        self._offset = 0
        self._total: int | None = None
        self._version: str | None = None
        self._deadline = 0.0
        self._next_report = 0.0

    def run(self) -> Fetched:
        """Fetch all of it.

        `UrlRefused`: it may not be fetched. `LimitExceeded`: it is too large. `FetchFailed`: it
        is not there, cannot be had, or takes too long. `Invalid`: it has another digest.
        """
        self._deadline = time.monotonic() + self._bounds.seconds
        with open(self._path, 'a+b') as file:
            try:
                self._resume(file)
                retried = self._try_until_whole(file)
                concurrency.blocking(POOL, lambda: os.fsync(file.fileno()))
                self._check_digest()
            finally:
                if self._digest is not None:
                    self._digest.join()
        return Fetched(self._offset, retried)

    # --- what was there before

    def _resume(self, file: BinaryIO) -> None:
        """Keep of the file what the mark vouches for."""
        mark = self._mark
        size = os.fstat(file.fileno()).st_size
        if mark.version is None or mark.offset > size:
            mark = Mark()
        self._restart(file)
        self._version, self._total = mark.version, mark.total
        if mark.offset:
            for chunk in self._read(file, mark.offset):
                self._hash(chunk)
            self._offset = mark.offset
        concurrency.blocking(POOL, lambda: file.truncate(self._offset))

    def _read(self, file: BinaryIO, size: int) -> Iterator[bytes]:
        file.seek(0)
        while size:
            chunk = concurrency.blocking(POOL, functools.partial(file.read, min(CHUNK, size)))
            if not chunk:
                raise FetchFailed('The file with what was fetched before has become shorter')
            size -= len(chunk)
            self._report()
            yield chunk

    def _restart(self, file: BinaryIO) -> None:
        """Nothing of the thing is there any more, for the file has to be another one."""
        self._offset, self._total, self._version = 0, None, None
        if self._digest is not None:
            self._digest.join()
        self._digest = Digest(self._expected.algorithm) if self._expected else None

    # --- trying

    def _try_until_whole(self, file: BinaryIO) -> int:
        retried, left, pause = 0, self._bounds.retries, self._bounds.pause
        while True:
            before = self._offset
            wait: float | None = None
            try:
                self._progress(self._offset, self._total)
                self._once(file)
                return retried
            except _Passing as ex:
                failed, wait = FetchFailed(ex.message), ex.wait
            except FetchFailed as ex:
                failed = ex
            if self._offset - before >= FORGIVEN:
                left, pause = self._bounds.retries, self._bounds.pause
            if isinstance(failed, _Final) or not left:
                raise failed
            left, retried = left - 1, retried + 1
            LOG.info('Fetching %s goes on: %s', redact(self._url), failed)
            self._sleep(min(LONGEST_PAUSE, max(pause, wait or 0)))
            pause *= 2

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, REPORT))
            self._report()

    def _once(self, file: BinaryIO) -> None:
        if self._total is not None and self._offset == self._total:
            return
        headers = {}
        if self._offset and self._version is not None:
            headers['Range'] = f'bytes={self._offset}-'
            if self._version:
                headers['If-Range'] = self._version
        with contextlib.closing(
            self._guard.open('GET', self._url, headers, self._tls, secrets=self._secrets())
        ) as answer:
            self._look_at(answer, file)
            self._take(answer, file)
        if self._total is not None and self._offset != self._total:
            raise FetchFailed(f'The server of the url sent {self._offset} of {self._total} bytes')

    def _look_at(self, answer: Response, file: BinaryIO) -> None:
        """Whether the answer carries on; begins the file anew if it does not."""
        if answer.status == 206 and self._offset:
            found = _RANGE.fullmatch(answer.headers.get('content-range', ''))
            if found is None or int(found[1]) != self._offset:
                raise _Final('The server of the url sent another range than it was asked for')
            total = int(found[3])
            if self._total not in (None, total) or int(found[2]) != total - 1:
                raise _Final('The thing at the url has become another one while it was fetched')
            self._total = total
            return
        if answer.status not in (200, 416):
            if answer.status == 400 and self._offset and self._constant:
                # Glance says so where its store cannot begin in the midst of the data.
                self._constant, self._version = False, None
                raise FetchFailed('The server of the url cannot begin where the data broke off')
            if answer.status in PASSING:
                raise _Passing(answer)
            raise _Final(f'The server of the url answered {answer.status}')
        # It cannot resume, or has something else by now.
        self._restart(file)
        concurrency.blocking(POOL, lambda: file.truncate(0))
        if answer.status == 416:
            raise FetchFailed('The server of the url has not so many bytes any more')
        self._total = answer.length
        self._version = _version(answer.headers)
        if self._version is None and self._constant:
            self._version = ''
        limit = self._bounds.size
        if limit is not None and self._total is not None and self._total > limit:
            raise LimitExceeded(
                f'There are {self._total} bytes at the url, and no more than {limit} may be'
            )

    # --- bytes

    def _take(self, answer: Response, file: BinaryIO) -> None:
        pending: list[bytes] = []
        count = 0
        next_mark = self._offset + EVERY
        try:
            for piece in answer.pieces(CHUNK):
                pending.append(piece)
                count += len(piece)
                self._check(self._offset + count)
                if count >= CHUNK:
                    self._write(file, pending)
                    pending, count = [], 0
                    if self._offset >= next_mark:
                        self._set_mark(file)
                        next_mark = self._offset + EVERY
                self._report()
        finally:
            # What has come before a cut has not to be sent again.
            self._write(file, pending)

    def _check(self, size: int) -> None:
        limit = self._bounds.size
        if limit is not None and size > limit:
            raise LimitExceeded(f'There are more than {limit} bytes at the url')
        if self._total is not None and size > self._total:
            raise _Final('The server of the url sent more than it said there is')
        if time.monotonic() > self._deadline:
            raise _Final(f'The url could not be fetched in {self._bounds.seconds:g} seconds')

    def _write(self, file: BinaryIO, pieces: list[bytes]) -> None:
        chunk = b''.join(pieces)
        if not chunk:
            return

        def write() -> None:
            file.write(chunk)
            file.flush()

        concurrency.blocking(POOL, write)
        self._hash(chunk)
        self._offset += len(chunk)

    def _hash(self, chunk: bytes) -> None:
        if self._digest is not None:
            self._digest.update(chunk)

    def _set_mark(self, file: BinaryIO) -> None:
        if self._version is None:
            return
        concurrency.blocking(POOL, lambda: os.fsync(file.fileno()))
        self._marked(Mark(self._offset, self._version, self._total))

    def _report(self) -> None:
        now = time.monotonic()
        if now > self._deadline:
            raise _Final(f'The url could not be fetched in {self._bounds.seconds:g} seconds')
        if now >= self._next_report:
            self._next_report = now + REPORT
            self._progress(self._offset, self._total)

    def _check_digest(self) -> None:
        if self._expected is None or self._digest is None:
            return
        if self._digest.hexdigest() != self._expected.value.lower():
            raise Invalid(f'The data has another {self._expected.algorithm} digest than expected')


class _Final(FetchFailed):
    """Another try would not help."""


class _Passing(FetchFailed):
    """An answer that may be another one in a while."""

    def __init__(self, answer: Response) -> None:
        super().__init__(f'The server of the url answered {answer.status}')
        text = answer.headers.get('retry-after', '')
        #: seconds that the server asks for
        self.wait = float(text) if re.fullmatch('[0-9]{1,6}', text) else None


def _version(headers: Mapping[str, str]) -> str | None:
    """What names one version of the thing, byte for byte; None where the server has nothing."""
    etag = headers.get('etag', '')
    if re.fullmatch('"[\\x21\\x23-\\x7e]*"', etag):
        return etag
    modified = headers.get('last-modified', '')
    try:
        changed = email.utils.parsedate_to_datetime(modified)
        said = email.utils.parsedate_to_datetime(headers.get('date', ''))
        settled = (said - changed).total_seconds() >= SETTLED
    except (TypeError, ValueError):
        return None
    return modified if settled else None
