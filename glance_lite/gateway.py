# SPDX-License-Identifier: Apache-2.0
"""The stores: which there are, where data goes, and how it is read whatever happens.

A driver knows its medium; everything that is the same for all of them is here: choosing among
locations, ranges, carrying on from another location when one fails, running what blocks in
the store's own threads. Only the ``location`` layer talks to the `Gateway`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Container, Iterable, Mapping, Sequence
from types import MappingProxyType

from oslo_config import cfg

from glance_lite import concurrency, store_config, strategies, stream
from glance_lite.cache.cache import Cache
from glance_lite.cache.reading import Open, Reading
from glance_lite.errors import (
    BadStoreConfiguration,
    Invalid,
    LeftBehind,
    NotFound,
    ObjectExists,
    ObjectNotFound,
    StoreError,
    StoreUnavailable,
)
from glance_lite.guarded import Guard
from glance_lite.health import Limits
from glance_lite.imports.jobs import STAGING
from glance_lite.model import UNREADABLE, Image, Location, Stored, StoreInfo, Wanted
from glance_lite.reading import Reader, resolve
from glance_lite.store import Caller, Cap, Source, StoreDriver
from glance_lite.store_serving import Store
from glance_lite.stream import Download, Upload
from glance_lite.watch import Watch

LOG = logging.getLogger(__name__)


class Gateway:
    """All configured stores. Built from the configuration, opened by `start` in each worker."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.multi = bool(conf.enabled_backends)
        #: the client for urls that users give, of all drivers that need one
        self.guard = Guard.configured(conf)
        self.watch = Watch()
        self._opening = threading.Lock()
        found = store_config.load(conf)
        for one in found.values():
            one.driver.guard, one.driver.conf = self.guard, conf
        limits = Limits.configured(conf)
        self.stores: Mapping[str, Store] = MappingProxyType(
            {name: Store(name, one, self.watch, limits) for name, one in found.items()}
        )
        #: where imports keep data meanwhile; `use_staging` opens it
        self.staging = Store(STAGING, store_config.staging(conf), self.watch, limits)
        self._known = {**self.stores, STAGING: self.staging}
        self.default = next(store.id for store in self.stores.values() if store.default)
        #: copies on this host
        self.cache = Cache(conf, self.watch)
        self._rank = strategies.load(conf, self.stores).rank

    def start(self) -> None:
        """Start every driver. `BadStoreConfiguration`; a store that is down is started later."""
        for store in self.stores.values():
            store.start()
        self.cache.start()

    def use_staging(self) -> None:
        """Open the staging area: only imports need it. `StoreUnavailable`: it cannot be."""
        with self._opening:
            if not self.staging.started:
                try:
                    self.staging.start()
                except BadStoreConfiguration as ex:
                    raise StoreUnavailable('The staging area cannot be used') from ex

    @property
    def staging_directory(self) -> str:
        """The directory of the staging area."""
        return str(self.staging.driver.settings['filesystem_store_datadir'])

    def look_after(self) -> None:
        """Probe what is left alone, and what hangs. It waits for nothing, and is done often."""
        for store in self._known.values():
            store.health.look()

    def check(self) -> dict[str, str | None]:
        """Store id -> None when it answers, else a sentence without secrets."""
        return {store.id: store.check() for store in self.stores.values()}

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
                store.described if detail else {},
                store.health.seen() if detail else None,
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

    def configured(self, store_id: str) -> Store:
        """The store that an operator named. `NotFound`, with those there are."""
        if store_id not in self.stores:
            raise NotFound(f'There is no store {store_id}; there are {", ".join(self.stores)}')
        return self.stores[store_id]

    def chosen(self, only: str | None) -> list[Store]:
        """The store that an operator named, or all. `NotFound`."""
        return list(self.stores.values()) if only is None else [self.configured(only)]

    def find(self, location: Location) -> Store:
        """The store that holds a location. `StoreError` when it is not configured any more."""
        if location.url == UNREADABLE:
            raise StoreUnavailable('The location of the data cannot be decrypted')
        if location.store is not None and location.store in self._known:
            return self._known[location.store]
        # Written before there were several stores, or before one was called otherwise.
        scheme = location.url.partition(':')[0]
        down = StoreUnavailable('The store that holds the data is not configured')
        last = None
        for store in self.stores.values():
            if scheme in store.driver.schemes:
                try:
                    if store.run(functools.partial(_reads_and_owns, store.driver, location.url)):
                        return store
                    last = last or store
                except StoreUnavailable as ex:
                    down = ex
                except StoreError:
                    continue
        if last is None:
            raise down
        return last

    def holder(self, location: Location) -> Store | None:
        """The same, None when there is none."""
        try:
            return self.find(location)
        except StoreError:
            return None

    def claiming(self, url: str) -> Store | None:
        """The store in which a url lies that nobody has written down yet."""
        scheme = url.partition(':')[0].lower()
        for store in self.stores.values():
            if scheme in store.driver.schemes and not store.reserved:
                with contextlib.suppress(StoreError):
                    if store.run(functools.partial(store.driver.owns, url)):
                        return store
        return None

    # --- who reads, where the store itself decides

    @property
    def has_accounts(self) -> bool:
        """Whether there is a store that acts for callers."""
        return any(Cap.CALLER in store.driver.caps for store in self.stores.values())

    @property
    def has_acls(self) -> bool:
        """Whether there is such a store."""
        return any(Cap.ACL in store.driver.caps for store in self.stores.values())

    def with_acls(self, locations: Iterable[Location]) -> tuple[Location, ...]:
        """Those in such a store."""
        found = ((location, self.holder(location)) for location in locations)
        return tuple(
            location for location, store in found if store and Cap.ACL in store.driver.caps
        )

    def grant(
        self,
        location: Location,
        public: bool,
        projects: Sequence[str],
        caller: Caller | None = None,
    ) -> None:
        """Let everybody, or these projects alone, read the bytes of a location. `StoreError`."""
        store = self.find(location)
        driver = store.acting(caller)
        store.run(lambda: driver.acl(driver.parse(location.url), public, projects))

    def has_type(self, kind: str) -> bool:
        """Whether a store of this type is configured."""
        return any(store.type == kind for store in self.stores.values())

    # --- in

    def put(self, store_id: str, name: str, spare: str, upload: Upload) -> Stored:
        """Store an upload under `name`. All or nothing.

        Where somebody has left something under that name, for example a part of an upload that
        broke off, it stays and the data goes under the `spare` name.
        """
        store = self._known[store_id]
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
            store.id if self.multi or store.reserved else None,
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
        driver = store.acting(upload.caller)
        store.health.admit()
        if driver.io == 'socket' or not concurrency.green():
            if driver.io == 'native':
                store.prove()  # from here on nobody can give up
            with store.errors(upload), store.called():
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
        channel = concurrency.Channel(store.wait_readable)

        def add() -> str:
            driver = store.acting(upload.caller)
            try:
                url = _add(driver, name, channel, upload)
                if task.abandoned:
                    driver.delete(driver.parse(url))  # it hung, and comes too late
                return url
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
                store.wait(task, patient=True)
                url = task.wait()
            return url, upload.settled and channel.taken == upload.count
        except BaseException as ex:
            channel.fail(ex)
            self._end_of(store, task, upload)
            raise
        finally:
            channel.close()

    def _end_of(self, store: Store, task: concurrency.Task[str], upload: Upload) -> None:
        """What the driver wrote must be gone before the claim is given up."""
        if store.health.is_open and not task.finished:
            task.abandon()
            upload.left_behind = True  # nobody knows before the store answers again
            return
        written = task.outcome()
        if written is not None:
            self._discard(store, written, upload)

    @staticmethod
    def _discard(store: Store, url: str, upload: Upload) -> None:
        """Delete what a driver stored and nobody will refer to."""
        try:
            store.delete(url, upload.caller)
        except StoreError as ex:
            upload.left_behind = True
            LOG.error('Data that nobody refers to stays in store %s: %s', store.id, ex)

    def copy(
        self,
        store_id: str,
        location: Location,
        name: str,
        spare: str,
        caller: Caller | None = None,
    ) -> str | None:
        """Have a backend copy what is at a location into another store; the url. All or nothing.

        None: the stores share none that can. The bytes are not looked at. `StoreError`.
        """
        store, source = self.stores[store_id], self.find(location)
        driver, other = store.acting(caller), source.acting(caller)
        if Cap.COPY not in driver.caps:
            return None
        key = source.run(lambda: other.parse(location.url))
        try:
            return store.run(lambda: driver.copy_from(other, key, name), patient=True)
        except ObjectExists:
            if name == spare:
                raise
            return store.run(lambda: driver.copy_from(other, key, spare), patient=True)

    def size(self, location: Location, caller: Caller | None = None) -> int:
        """Bytes at a location, as its store says. `StoreError`."""
        return self.find(location).size(location.url, caller)

    def remove(self, location: Location, caller: Caller | None = None) -> None:
        """Delete the bytes of a location. `ObjectNotFound`, `InUse`, `StoreUnavailable`."""
        store = self.find(location)
        if store.read_only:
            return  # what others keep there is theirs
        store.delete(location.url, caller)

    def remove_named(
        self,
        store_id: str | None,
        name: str,
        wanted: Container[str],
        caller: Caller | None = None,
    ) -> None:
        """Delete whatever a store holds under a name, but for the urls that are wanted.

        `StoreError`: something may still be there.
        """
        store = self._known.get(store_id or self.default)
        if store is None:
            raise StoreUnavailable(f'There is no store {store_id} any more')
        driver = store.acting(caller)
        # In a directory that is not mounted nothing is found, either.
        store.run(driver.check)
        urls = store.run(lambda: driver.locate(name))
        if not urls:
            LOG.warning('Store %s cannot say what lies under the name %s', store.id, name)
        for url in urls:
            if url in wanted:
                continue
            try:
                store.delete(url, caller)
                LOG.info('Store %s: what lay under the name %s is removed', store.id, name)
            except ObjectNotFound:
                pass

    # --- out

    def order(
        self, locations: Sequence[Location], prefer: tuple[str, ...] = ()
    ) -> Sequence[Location]:
        """In the order in which they are tried and shown: preferred stores, then the strategy's.

        Without those in quarantine, which no image has alone.
        """
        for store_id in prefer:
            self.named(store_id)
        if len(locations) < 2:
            return locations  # PERF: nearly all images have one
        locations = [location for location in locations if location.good] or locations
        ordered = sorted(locations, key=self._rank)
        if prefer:
            places = {store_id: place for place, store_id in enumerate(reversed(prefer), 1)}
            ordered.sort(key=lambda location: -places.get(location.store or '', 0))
        return ordered

    def open(self, image: Image, wanted: Wanted, caller: Caller | None = None) -> Download:
        """The data of an image, or the range that is wanted of it."""
        locations = self.order(image.locations, wanted.prefer)
        if not locations:
            return Download(image, iter(()), None)
        total = image.size if image.size is not None else self.size(locations[0], caller)
        offset, length, partial = resolve(wanted, total, image)
        if not wanted.body:
            return Download(image, iter(()), total, offset, length, partial)
        reader: Reader | Reading | None = None
        if self.cache.serves:
            past = self._past_cache(image, locations, total, caller)
            reader = self.cache.open(image, offset, length, past)
        if reader is None:
            reader = Reader(self, image, locations, total, offset, length, caller)
        found = Download(image, reader, total, offset, length, partial, reader.sendfile)
        if self.watch.by is not None:
            count = reader.count
            found.on_end(lambda sent, error: count(sent))
        return found

    def prefetch(self, image: Image, caller: Caller | None = None) -> bool:
        """Have a copy of an image on this host; False: it cannot be kept. `StoreError`."""
        locations, total = self.order(image.locations), image.size or 0
        if not locations:
            return False
        return self.cache.fetch(image, self._past_cache(image, locations, total, caller))

    def _past_cache(
        self, image: Image, locations: Sequence[Location], total: int, caller: Caller | None
    ) -> Open:
        """Where the cache reads what it has not."""
        return lambda offset, length: Reader(
            self, image, locations, total, offset, length, caller, may_send=False
        )


def _add(driver: StoreDriver, name: str, source: Source, upload: Upload) -> str:
    try:
        return driver.add(name, source, upload.size)
    except LeftBehind:
        upload.left_behind = True
        raise


def _reads_and_owns(driver: StoreDriver, url: str) -> bool:
    """Whether it owns what it reads. `BadStoreUri`: it does not even read it."""
    driver.parse(url)
    return driver.owns(url)
