# SPDX-License-Identifier: Apache-2.0
"""The stores: which there are, where data goes, and how it is read whatever happens.

A driver knows its medium; everything that is the same for all of them is here: choosing among
locations, ranges, carrying on from another location when one fails, running what blocks in
the store's own threads. Only the ``location`` layer talks to the `Gateway`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from oslo_config import cfg

from glance_lite import concurrency, store_config, strategies, stream
from glance_lite.errors import (
    GlanceLiteError,
    Invalid,
    LeftBehind,
    ObjectExists,
    ObjectNotFound,
    RangeNotSatisfiable,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
    Unavailable,
)
from glance_lite.guarded import Guard
from glance_lite.model import UNREADABLE, Image, Location, Stored, StoreInfo, Wanted
from glance_lite.store import Cap, Source, StoreDriver
from glance_lite.stream import Download, Upload
from glance_lite.watch import Watch

LOG = logging.getLogger(__name__)
T = TypeVar('T')

#: Native threads of one store for reading, deleting and asking.
POOL = 16
#: Native threads of one store for uploads. Each is held as long as its client sends, so they
#: must not be those that anybody else waits for.
UPLOADS = 256
#: Native threads of one store that send files, in turns.
SENDERS = 16


#: What a driver raises when the store is to blame, and not what was asked of it.
FAILURES = (StoreUnavailable, StoreDenied, StoreFull)


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
    uploads: concurrency.Pool
    senders: concurrency.Pool
    watch: Watch

    @property
    def read_only(self) -> bool:
        return Cap.WRITE not in self.driver.caps

    @property
    def reserved(self) -> bool:
        """For the service itself: not shown, not to be named by clients."""
        return self.id.startswith('os_glance_')

    def run(self, function: Callable[[], T]) -> T:
        """A verb of the driver, where it may block."""
        with self.errors():
            if self.driver.io == 'socket':
                return function()
            return concurrency.blocking(self.pool, function)

    def listing(self) -> Iterator[tuple[str, int, float]]:
        """(url, bytes, time of the last change) of all that is stored. `Invalid`: it cannot."""
        if Cap.LIST not in self.driver.caps:
            raise Invalid(f'Store {self.id} ({self.type}) cannot list what it holds')
        self.run(self.driver.check)
        entries = self.run(self.driver.list)
        while (entry := self.run(lambda: next(entries, None))) is not None:
            yield entry

    @contextlib.contextmanager
    def errors(self, upload: Upload | None = None) -> Iterator[None]:
        """What a driver raises that is not one of our errors: the store failed.

        Unless it was the `upload` that failed, whatever the driver has made of that.
        """
        try:
            yield
        except Exception as ex:
            if upload is not None and upload.error is not None:
                raise upload.error from None
            if isinstance(ex, GlanceLiteError):
                if isinstance(ex, FAILURES):
                    self.failed()
                raise
            self.failed()
            what = ex.strerror if isinstance(ex, OSError) else type(ex).__name__
            LOG.error('Store %s failed: %s', self.id, what, exc_info=not isinstance(ex, OSError))
            raise StoreUnavailable(f'Store {self.id} failed') from ex

    def failed(self) -> None:
        if self.watch.by is not None:
            self.watch.by.failed(self.id)


class Gateway:
    """All configured stores. Built from the configuration, opened by `start` in each worker."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.multi = bool(conf.enabled_backends)
        #: the client for urls that users give, of all drivers that need one
        self.guard = Guard.configured(conf)
        self.watch = Watch()
        found = store_config.load(conf)
        for one in found.values():
            one.driver.guard = self.guard
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
                    concurrency.Pool(f'{name} uploads', UPLOADS),
                    concurrency.Pool(f'{name} senders', SENDERS),
                    self.watch,
                )
                for name, one in found.items()
            }
        )
        self.default = next(store.id for store in self.stores.values() if store.default)
        self._rank = strategies.load(conf, self.stores).rank

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
        if location.url == UNREADABLE:
            raise StoreUnavailable('The location of the data cannot be decrypted')
        if location.store is not None and location.store in self.stores:
            return self.stores[location.store]
        scheme = location.url.partition(':')[0]
        for store in self.stores.values():
            # Written before there were several stores: the one that can make sense of it.
            if scheme in store.driver.schemes:
                with contextlib.suppress(StoreError):
                    store.run(functools.partial(store.driver.parse, location.url))
                    return store
        raise StoreUnavailable('The store that holds the data is not configured')

    def claiming(self, url: str) -> Store | None:
        """The store that can make sense of a url which nobody has written down yet."""
        scheme = url.partition(':')[0].lower()
        for store in self.stores.values():
            if scheme in store.driver.schemes and not store.reserved:
                with contextlib.suppress(StoreError):
                    store.run(functools.partial(store.driver.parse, url))
                    return store
        return None

    # --- who reads, where the store itself decides

    @property
    def has_acls(self) -> bool:
        """Whether there is such a store."""
        return any(Cap.ACL in store.driver.caps for store in self.stores.values())

    def with_acls(self, locations: Iterable[Location]) -> tuple[Location, ...]:
        """Those in such a store."""
        found = []
        for location in locations:
            with contextlib.suppress(StoreError):
                if Cap.ACL in self.find(location).driver.caps:
                    found.append(location)
        return tuple(found)

    def grant(self, location: Location, public: bool, projects: Sequence[str]) -> None:
        """Let everybody, or these projects alone, read the bytes of a location. `StoreError`."""
        store = self.find(location)
        store.run(lambda: store.driver.acl(store.driver.parse(location.url), public, projects))

    def has_type(self, kind: str) -> bool:
        """Whether a store of this type is configured."""
        return any(store.type == kind for store in self.stores.values())

    # --- in

    def put(self, store_id: str, name: str, spare: str, upload: Upload) -> Stored:
        """Store an upload under `name`. All or nothing.

        Where somebody has left something under that name, for example a part of an upload that
        broke off, it stays and the data goes under the `spare` name.
        """
        store = self.stores[store_id]
        try:
            if upload.size == 0:
                upload.settle()
            url = self._add_somewhere(store, name, spare, upload)
        finally:
            upload.close()
        LOG.debug('Store %s took %d bytes', store.id, upload.count)
        if self.watch.by is not None:
            self.watch.by.stored(store.id, upload.count)
        return Stored(
            url,
            store.id if self.multi else None,
            upload.count,
            upload.checksum,
            upload.os_hash_algo,
            upload.os_hash_value,
            upload.virtual_size,
        )

    def _add_somewhere(self, store: Store, name: str, spare: str, upload: Upload) -> str:
        try:
            return self._add(store, name, upload)
        except ObjectExists:
            # What has been read cannot be read again; of an empty body nothing can.
            if name == spare or (upload.started and upload.size != 0):
                raise
            LOG.warning('Store %s holds something under the name %s already', store.id, name)
            return self._add(store, spare, upload)

    def _add(self, store: Store, name: str, upload: Upload) -> str:
        driver = store.driver
        if driver.io == 'socket' or not concurrency.green():
            with store.errors(upload):
                url = _add(driver, name, upload, upload)
            whole = upload.settled
        else:
            url, whole = self._add_in_pool(store, name, upload)
        if not whole:
            self._discard(store, url, upload)
            raise StoreError(f'Store {store.id} did not read all of the data')
        return url

    def _add_in_pool(self, store: Store, name: str, upload: Upload) -> tuple[str, bool]:
        """The url, and whether the driver has read all.

        The green side reads, hashes and decides; the native side only writes.
        """
        channel = concurrency.Channel()

        def add() -> str:
            try:
                return _add(store.driver, name, channel, upload)
            finally:
                channel.release()

        task = store.uploads.submit(add)
        try:
            while channel.wait_wanted():
                chunk = upload.read(stream.CHUNK)
                channel.put(chunk)
                if not chunk:
                    break
            with store.errors():
                url = task.wait()
            return url, upload.settled and channel.taken == upload.count
        except BaseException as ex:
            channel.fail(ex)
            # What the driver wrote must be gone before the claim is given up.
            written = task.outcome()
            if written is not None:
                self._discard(store, written, upload)
            raise
        finally:
            channel.close()

    @staticmethod
    def _discard(store: Store, url: str, upload: Upload) -> None:
        """Delete what a driver stored and nobody will refer to."""
        try:
            store.run(lambda: store.driver.delete(store.driver.parse(url)))
        except StoreError as ex:
            upload.left_behind = True
            LOG.error('Data that nobody refers to stays in store %s: %s', store.id, ex)

    def remove(self, location: Location) -> None:
        """Delete the bytes of a location. `ObjectNotFound`, `InUse`, `StoreUnavailable`."""
        store = self.find(location)
        if store.read_only:
            return  # what others keep there is theirs
        store.run(lambda: store.driver.delete(store.driver.parse(location.url)))

    def remove_named(self, store_id: str | None, name: str, wanted: Container[str]) -> None:
        """Delete whatever a store holds under a name, but for the urls that are wanted.

        `StoreError`: something may still be there.
        """
        store = self.stores.get(store_id or self.default)
        if store is None:
            raise StoreUnavailable(f'There is no store {store_id} any more')
        driver = store.driver
        # In a directory that is not mounted nothing is found, either.
        store.run(driver.check)
        urls = driver.locate(name)
        if not urls:
            LOG.warning('Store %s cannot say what lies under the name %s', store.id, name)
        for url in urls:
            if url in wanted:
                continue
            try:
                store.run(functools.partial(_delete, driver, url))
                LOG.info('Store %s: what lay under the name %s is removed', store.id, name)
            except ObjectNotFound:
                pass

    # --- out

    def order(
        self, locations: Sequence[Location], prefer: tuple[str, ...] = ()
    ) -> Sequence[Location]:
        """In the order in which they are tried and shown: preferred stores, then the strategy's."""
        for store_id in prefer:
            self.named(store_id)
        if len(locations) < 2:
            return locations  # PERF: nearly all images have one
        ordered = sorted(locations, key=self._rank)
        if prefer:
            places = {store_id: place for place, store_id in enumerate(reversed(prefer), 1)}
            ordered.sort(key=lambda location: -places.get(location.store or '', 0))
        return ordered

    def open(self, image: Image, wanted: Wanted) -> Download:
        """The data of an image, or the range that is wanted of it."""
        locations = self.order(image.locations, wanted.prefer)
        if not locations:
            return Download(image, iter(()), None)
        total = image.size if image.size is not None else self._size(locations)
        offset, length, partial = resolve(wanted, total, image)
        if not wanted.body:
            return Download(image, iter(()), total, offset, length, partial)
        reader = Reader(self, image, locations, total, offset, length)
        found = Download(image, reader, total, offset, length, partial, reader.sendfile)
        if self.watch.by is not None:
            found.on_end(lambda sent, error: reader.count(sent))
        return found

    def _size(self, locations: Sequence[Location]) -> int:
        store = self.find(locations[0])
        return store.run(lambda: store.driver.size(store.driver.parse(locations[0].url)))


def _add(driver: StoreDriver, name: str, source: Source, upload: Upload) -> str:
    try:
        return driver.add(name, source, upload.size)
    except LeftBehind:
        upload.left_behind = True
        raise


def _delete(driver: StoreDriver, url: str) -> None:
    driver.delete(driver.parse(url))


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
    ) -> None:
        self._gateway = gateway
        self._image = image
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
        self._may_send = len(locations) == 1 and concurrency.green()
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
        driver = store.driver
        return location.store is not None and (
            store.run(lambda: driver.size(driver.parse(location.url))) == self._total
        )

    def _get(self) -> Iterator[bytes]:
        store, driver = self._store, self._store.driver
        chunks = store.run(lambda: driver.get(driver.parse(self._url), self._offset, self._left))
        if driver.io == 'socket' or not concurrency.green():
            return chunks
        return concurrency.Fetched(store.pool, chunks)

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
                if not chunk:
                    raise StoreUnavailable(f'Store {self._store.id} ended too early')
            except (StoreError, OSError) as ex:
                LOG.warning('Image %s: store %s broke off: %s', self._image.id, self._store.id, ex)
                self._store.failed()
                self.count(self._length - self._left)
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
