# SPDX-License-Identifier: Apache-2.0
"""Answers of servers that speak HTTP, in terms of the contract: parts, bodies, what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from glance_lite.store import (
    ObjectExists,
    ObjectNotFound,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)

#: What the libraries say of a certificate that they do not accept.
_UNTRUSTED = ('CERTIFICATE_VERIFY_FAILED', 'Fingerprints did not match')


class PastTheEnd(StoreError):
    """A range begins after the last byte."""


def asked(offset: int, length: int | None) -> dict[str, str]:
    """Headers that ask for a part: none for all of it, and a byte where it is empty (RFC 9110)."""
    if not offset and length is None:
        return {}
    last = '' if length is None else offset + max(length, 1) - 1
    return {'Range': f'bytes={offset}-{last}'}


def broken(store: str, ex: BaseException) -> StoreUnavailable:
    """A connection failed. The text of `ex` may tell of keys and tokens, and is not passed on."""
    what = type(ex).__name__
    if any(sign in str(ex) for sign in _UNTRUSTED):
        what = 'its certificate is not trusted'
    return StoreUnavailable(f'Store {store} failed: {what}')


def refused(store: str, status: int) -> StoreError | None:
    """What a status means to all stores of objects alike; None: only the driver can say."""
    if status == 404:
        return ObjectNotFound(f'Store {store} does not hold the data')
    if status in (401, 403):
        return StoreDenied(f'Store {store} does not let us in')
    if status in (409, 412):
        return ObjectExists(f'Store {store} holds something under that name already')
    if status == 416:
        return PastTheEnd(f'Store {store} holds less than that')
    return None


class Body:
    """The part of something that was asked for; it is given back when this is closed."""

    def __init__(
        self,
        chunks: Iterator[bytes],
        close: Callable[[], object],
        breaks: tuple[type[BaseException], ...],
        broken: Callable[[BaseException], StoreError],
        skip: int = 0,
        left: int | None = None,
    ) -> None:
        """What `breaks` the `chunks` becomes the error that `broken` makes of it.

        `skip`: bytes to pass over, of a server that knows no ranges. `left`: bytes that are
        wanted then; None: up to the end.
        """
        self._chunks = chunks
        self._close = close
        self._breaks = breaks
        self._broken = broken
        self._skip = skip
        self._left = left

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while self._left != 0:
            try:
                chunk = next(self._chunks)
            except StopIteration:
                break
            except self._breaks as ex:
                raise self._broken(ex) from None
            if self._skip:
                skipped = min(self._skip, len(chunk))
                self._skip -= skipped
                chunk = chunk[skipped:]
            if self._left is not None:
                chunk = chunk[: self._left]
                self._left -= len(chunk)
            if chunk:
                return chunk
        raise StopIteration

    def close(self) -> None:
        self._close()
