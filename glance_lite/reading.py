# SPDX-License-Identifier: Apache-2.0
"""Reading an image from its locations: ranges, and going on elsewhere where a store breaks off."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from glance_lite import concurrency, stream
from glance_lite.errors import (
    ObjectNotFound,
    RangeNotSatisfiable,
    StoreError,
    StoreUnavailable,
    Unavailable,
)
from glance_lite.store import Cap

if TYPE_CHECKING:
    from glance_lite.gateway import Gateway
    from glance_lite.model import Image, Location, Wanted
    from glance_lite.store import Caller
    from glance_lite.store_serving import Store

LOG = logging.getLogger(__name__)


def resolve(wanted: Wanted, total: int, image: Image) -> tuple[int, int, bool]:
    """(offset, length, whether it is a part) of what is wanted. `RangeNotSatisfiable`."""
    span = wanted.span
    if span is None or (wanted.validator is not None and wanted.validator != stream.etag(image)):
        return 0, total, False
    if span.first is None:
        length = min(span.last or 0, total)
        if not length:
            raise RangeNotSatisfiable(total)
        return total - length, length, True
    if span.first >= total:
        raise RangeNotSatisfiable(total)
    last = total - 1 if span.last is None else min(span.last, total - 1)
    return span.first, last - span.first + 1, True


class Reader:
    """Reads from the first location that works, and carries on from another when it breaks.

    In mid-stream only a location of one of our stores with the same size is taken, and a full
    download that was put together from several is hashed: if it is not what the image says, the
    last chunk is never sent and the connection breaks, so that no client takes it for whole.
    """

    def __init__(
        self,
        gateway: Gateway,
        image: Image,
        locations: Sequence[Location],
        total: int,
        offset: int,
        length: int,
        caller: Caller | None = None,
        may_send: bool = True,
    ) -> None:
        """`may_send`: the server may send a file by itself."""
        self._gateway = gateway
        self._image = image
        self._caller = caller
        self._locations = iter(locations)
        self._total = total
        self._offset = offset
        self._length = self._left = length
        #: bytes that a watcher knows of
        self._counted = 0
        self._whole = offset == 0 and length == total
        self._store: Store
        self._url: str
        #: None: nothing has been asked for yet
        self._chunks: Iterator[bytes] | None = None
        #: all of it as a plain file, where the store has one and the server could send it
        self.sendfile: stream.PlainFile | None = None
        # From a file there is no carrying on elsewhere, so there must be no elsewhere.
        self._may_send = may_send and len(locations) == 1 and concurrency.green()
        self._failed_over = False
        # Hashed from the first byte, because nobody knows yet whether the first store lasts.
        several = len(locations) > 1 and image.os_hash_algo and image.os_hash_value
        self._hash = stream.Digest(str(image.os_hash_algo)) if several and self._whole else None
        self._open(first=True)

    def _open(self, first: bool = False) -> None:
        error: StoreError | None = None
        for location in self._locations:
            try:
                store = self._gateway.find(location)
                if not first and not self._may_carry_on(store, location):
                    continue
                self._store, self._url = store, location.url
                if self._may_send and Cap.SENDFILE in store.driver.caps:
                    self.sendfile = self._plain_file()
                if self.sendfile is None:
                    self._chunks = self._get()
                return
            except StoreError as ex:
                url = location.url.partition(':')[0]
                LOG.warning('Image %s cannot be read at its %s location: %s',
                            self._image.id, url, ex)  # fmt: skip
                error = ex
        if isinstance(error, ObjectNotFound):
            raise ObjectNotFound('The data of the image cannot be found in any of its stores')
        if isinstance(error, Unavailable):
            raise error
        raise StoreUnavailable('The data of the image cannot be read from any of its stores')

    def _may_carry_on(self, store: Store, location: Location) -> bool:
        return location.store is not None and (
            store.size(location.url, self._caller) == self._total
        )

    def _get(self) -> Iterator[bytes]:
        store, driver = self._store, self._store.acting(self._caller)
        chunks = store.run(
            lambda: driver.get(driver.parse(self._url), self._offset, self._left), proves=False
        )
        if driver.io == 'socket' or not concurrency.green():
            return chunks
        return concurrency.Fetched(store.pool, chunks, store.wait)

    def _plain_file(self) -> stream.PlainFile | None:
        store, driver = self._store, self._store.driver
        file, offset, length = store.run(
            lambda: driver.sendfile(driver.parse(self._url), self._offset, self._left)
        )
        if length != self._left:
            file.close()
            raise StoreUnavailable(f'Store {store.id} holds less than the image')
        return stream.PlainFile(file, offset, length, store.senders)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while self._left:
            try:
                if self._chunks is None:
                    self._chunks = self._get()  # the server did not want the file
                chunk = next(self._chunks, b'')
            except (StoreError, OSError) as ex:
                self._carry_on(ex, ex)
                continue
            if not chunk:
                # Of what is too short nobody else need be.
                self._carry_on(StoreUnavailable(f'Store {self._store.id} ended too early'), None)
                continue
            chunk = chunk[: self._left]
            self._offset += len(chunk)
            self._left -= len(chunk)
            if not self._left:
                self._store.health.answered()
            if self._hash is not None:
                self._hash.update(chunk)
                self._check_whole(self._hash)
            return chunk
        raise StopIteration

    def _carry_on(self, why: Exception, fault: Exception | None) -> None:
        """Elsewhere. `fault` is the store's, and says something of all that it holds."""
        LOG.warning('Image %s: store %s broke off: %s', self._image.id, self._store.id, why)
        self._store.failed(fault)
        self.count(self._length - self._left)
        self.close()
        self._chunks = None
        self._open()
        self._failed_over = True

    def count(self, sent: int) -> None:
        """Tell the watcher, if there is one, which store gave the bytes since the last time."""
        watcher = self._gateway.watch.by
        if watcher is not None and sent > self._counted:
            watcher.given(self._store.id, sent - self._counted)
            self._counted = sent

    def _check_whole(self, digest: stream.Digest) -> None:
        if not self._left and self._failed_over and digest.hexdigest() != self._image.os_hash_value:
            raise StoreUnavailable('The data put together from several stores is damaged')

    def close(self) -> None:
        if self._hash is not None:
            self._hash.join()
        close = getattr(self._chunks, 'close', None)
        if close is not None:
            close()
