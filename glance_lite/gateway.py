# SPDX-License-Identifier: Apache-2.0
"""The stores: which there are, where data goes, and how it is read whatever happens.

A driver knows its medium; everything that is the same for all of them is here: choosing among
locations, ranges, carrying on from another location when one fails, running what blocks in
the store's own threads. Only the ``location`` layer talks to the `Gateway`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from oslo_config import cfg

from glance_lite import concurrency, store_config, stream
from glance_lite.errors import (
    Invalid,
    ObjectNotFound,
    RangeNotSatisfiable,
    StoreError,
    StoreUnavailable,
    Unavailable,
)
from glance_lite.model import Image, Location, Stored, StoreInfo, Wanted
from glance_lite.store import Cap, Key, StoreDriver
from glance_lite.stream import Download, Upload

LOG = logging.getLogger(__name__)
T = TypeVar('T')

#: Native threads of one store.
POOL = 16


@dataclasses.dataclass(frozen=True)
class Store:
    """One configured store."""

    id: str
    type: str
    driver: StoreDriver
    weight: int
    description: str | None
    default: bool
    pool: concurrency.Pool

    @property
    def read_only(self) -> bool:
        return Cap.WRITE not in self.driver.caps

    @property
    def reserved(self) -> bool:
        """For the service itself: not shown, not to be named by clients."""
        return self.id.startswith('os_glance_')

    def run(self, function: Callable[[], T]) -> T:
        """A verb of the driver, where it may block; its errors say which store it was."""
        try:
            if self.driver.io == 'socket':
                return function()
            return concurrency.blocking(self.pool, function)
        except StoreError:
            raise
        except OSError as ex:
            LOG.error('Store %s failed: %s', self.id, ex)
            raise StoreUnavailable(f'Store {self.id} failed') from ex


class Gateway:
    """All configured stores. Built from the configuration, opened by `start` in each worker."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.multi = bool(conf.enabled_backends)
        found = store_config.load(conf)
        self.stores: Mapping[str, Store] = MappingProxyType(
            {
                name: Store(
                    name,
                    one.type,
                    one.driver,
                    one.weight,
                    one.description,
                    one.default,
                    concurrency.Pool(name, POOL),
                )
                for name, one in found.items()
            }
        )
        self.default = next(store.id for store in self.stores.values() if store.default)

    def start(self) -> None:
        """Start every driver. Raises `BadStoreConfiguration`."""
        for store in self.stores.values():
            store.driver.start()

    def check(self) -> dict[str, str | None]:
        """Store id -> None when it answers, else a sentence without secrets."""
        result: dict[str, str | None] = {}
        for store in self.stores.values():
            try:
                store.run(store.driver.check)
                result[store.id] = None
            except StoreError as ex:
                result[store.id] = ex.message
        return result

    def known_ids(self) -> tuple[str, ...]:
        """Ids that clients may name."""
        return tuple(store.id for store in self.stores.values() if not store.reserved)

    def info(self, detail: bool) -> tuple[StoreInfo, ...]:
        """What clients may know of the stores."""
        shown = [store for store in self.stores.values() if not store.reserved]
        return tuple(
            StoreInfo(
                store.id,
                store.description,
                store.default,
                store.read_only,
                store.type if detail else None,
                store.weight,
                store.driver.describe() if detail else {},
            )
            for store in shown
        )

    def named(self, store_id: str | None) -> Store:
        """The store a client named, or the default one. `Invalid` when there is none."""
        if store_id is None:
            return self.stores[self.default]
        store = self.stores.get(store_id)
        if store is None or store.reserved:
            raise Invalid(f'There is no store {store_id}')
        return store

    def find(self, location: Location) -> Store:
        """The store that holds a location. `StoreError` when it is not configured any more."""
        if location.store is not None and location.store in self.stores:
            return self.stores[location.store]
        scheme = location.url.partition(':')[0]
        for store in self.stores.values():
            # Written before there were several stores: the one that can make sense of it.
            if scheme in store.driver.schemes:
                with contextlib.suppress(StoreError):
                    store.driver.parse(location.url)
                    return store
        raise StoreUnavailable('The store that holds the data is not configured')

    # --- in

    def put(self, store_id: str, name: str, upload: Upload) -> Stored:
        """Store an upload under `name`. All or nothing."""
        store = self.stores[store_id]
        if upload.size == 0:
            upload.settle()
        url = self._add(store, name, upload)
        if not upload.settled:
            with contextlib.suppress(StoreError):
                store.run(lambda: store.driver.delete(store.driver.parse(url)))
            raise StoreError(f'Store {store.id} did not read all of the data')
        return Stored(
            url,
            store.id if self.multi else None,
            upload.count,
            upload.checksum,
            upload.os_hash_algo,
            upload.os_hash_value,
            upload.virtual_size,
        )

    def _add(self, store: Store, name: str, upload: Upload) -> str:
        driver = store.driver
        if driver.io == 'socket' or not concurrency.green():
            return store.run(lambda: driver.add(name, upload, upload.size))
        channel = concurrency.Channel()

        def add() -> str:
            try:
                return driver.add(name, channel, upload.size)
            finally:
                channel.release()

        task = store.pool.submit(add)
        try:
            # The green side reads, hashes and decides; the native side only writes.
            while not task.finished:
                chunk = upload.read(stream.CHUNK)
                channel.put(chunk)
                if not chunk:
                    break
        except BaseException as ex:
            channel.fail(ex)
            # The driver must have taken back what it wrote before the claim is given up.
            with contextlib.suppress(Exception):
                task.wait()
            channel.close()
            raise
        try:
            return store.run(task.wait)
        finally:
            channel.close()

    def remove(self, location: Location) -> None:
        """Delete the bytes of a location. `ObjectNotFound`, `InUse`, `StoreUnavailable`."""
        store = self.find(location)
        key = store.driver.parse(location.url)
        store.run(lambda: store.driver.delete(key))

    # --- out

    def order(self, image: Image, prefer: tuple[str, ...] = ()) -> list[Location]:
        """Locations in the order they are tried: preferred stores, then by weight."""
        for store_id in prefer:
            self.named(store_id)

        def rank(location: Location) -> tuple[int, int]:
            store = self.stores.get(location.store or '')
            first = prefer.index(location.store) if location.store in prefer else len(prefer)
            return first, -(store.weight if store else 0)

        return sorted(image.locations, key=rank)

    def open(self, image: Image, wanted: Wanted) -> Download:
        """The data of an image, or the range that is wanted of it."""
        locations = self.order(image, wanted.prefer)
        if not locations:
            return Download(image, iter(()), None)
        total = image.size if image.size is not None else self._size(locations)
        offset, length, partial = resolve(wanted, total, image)
        if not wanted.body:
            return Download(image, iter(()), total, offset, length, partial)
        reader = Reader(self, image, locations, total, offset, length)
        return Download(image, reader, total, offset, length, partial, reader.sendfile())

    def _size(self, locations: list[Location]) -> int:
        store = self.find(locations[0])
        key = store.driver.parse(locations[0].url)
        return store.run(lambda: store.driver.size(key))


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
        locations: list[Location],
        total: int,
        offset: int,
        length: int,
    ) -> None:
        self._gateway = gateway
        self._image = image
        self._locations = iter(locations)
        self._total = total
        self._offset = offset
        self._left = length
        self._whole = offset == 0 and length == total
        self._chunks: Iterator[bytes] = iter(())
        self._store: Store
        self._key: Key
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
                key = store.driver.parse(location.url)
                if not first and not self._may_carry_on(store, key, location):
                    continue
                self._store, self._key = store, key
                self._chunks = self._get(store, key)
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

    def _may_carry_on(self, store: Store, key: Key, location: Location) -> bool:
        return location.store is not None and (
            store.run(lambda: store.driver.size(key)) == self._total
        )

    def _get(self, store: Store, key: Key) -> Iterator[bytes]:
        chunks = store.run(lambda: store.driver.get(key, self._offset, self._left))
        if store.driver.io == 'socket' or not concurrency.green():
            return chunks
        return concurrency.iterate(store.pool, chunks)

    def sendfile(self) -> Any:
        """(file, offset, length) when the store has plain files; None otherwise."""
        if Cap.SENDFILE not in self._store.driver.caps:
            return None
        store, key = self._store, self._key
        return store.run(lambda: store.driver.sendfile(key, self._offset, self._left))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while self._left:
            try:
                chunk = next(self._chunks, b'')
                if not chunk:
                    raise StoreUnavailable(f'Store {self._store.id} ended too early')
            except (StoreError, OSError) as ex:
                LOG.warning('Image %s: store %s broke off: %s', self._image.id, self._store.id, ex)
                self._carry_on()
                continue
            chunk = chunk[: self._left]
            self._offset += len(chunk)
            self._left -= len(chunk)
            if self._hash is not None:
                self._hash.update(chunk)
                self._check_whole(self._hash)
            return chunk
        raise StopIteration

    def _carry_on(self) -> None:
        self.close()
        self._open()
        self._failed_over = True

    def _check_whole(self, digest: stream.Digest) -> None:
        if not self._left and self._failed_over and digest.hexdigest() != self._image.os_hash_value:
            raise StoreUnavailable('The data put together from several stores is damaged')

    def close(self) -> None:
        close = getattr(self._chunks, 'close', None)
        if close is not None:
            close()
