# SPDX-License-Identifier: Apache-2.0
"""What the `Gateway` asks for an image before it asks a store."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from oslo_config import cfg

from glance_lite import concurrency
from glance_lite.cache import directory
from glance_lite.cache.directory import Directory, Entry, Found
from glance_lite.cache.growing import POOL, Backend, BrokeOff, Damaged, Growing
from glance_lite.cache.key import Key
from glance_lite.cache.queue import Queue
from glance_lite.cache.reading import GrowingFile, Open, Reading, WholeFile
from glance_lite.watch import Watch

if TYPE_CHECKING:
    from glance_lite.model import Image
    from glance_lite.stream import PlainFile

LOG = logging.getLogger(__name__)
T = TypeVar('T')

#: Seconds for which an image is read past the cache after something went wrong with its copy.
AVOIDED = 60.0


class Cache:
    """The cache of this host, as one process uses it."""

    def __init__(self, conf: cfg.ConfigOpts, watch: Watch) -> None:
        #: whether there is one
        self.enabled = bool(conf.image_cache_dir)
        #: whether downloads use it: a filter of the Paste pipeline says so
        self.serves = False
        self._stall: int = conf.image_cache_stall_time
        self._watch = watch
        self._directory = Directory(conf.image_cache_dir or '', conf.image_cache_max_size)
        self._queue = Queue(os.path.join(self._directory.path, 'queue'))
        #: set when what is in it, or waits to be, has changed
        self.changed = threading.Event()
        #: set when something is to be fetched
        self.asked = threading.Event()
        self._lock = threading.Lock()
        self._under_way: dict[Key, Growing] = {}
        self._avoided: dict[Key, float] = {}

    def start(self) -> None:
        """In each worker, after fork. `ConfigurationError`."""
        self._under_way = {}
        if self.enabled:
            self._directory.start()

    # --- reading

    def open(self, image: Image, offset: int, length: int, elsewhere: Open) -> Reading | None:
        """A part of the data, from a copy that is there or is made now.

        None: not from here. `StoreError`: it would have to be fetched first, and cannot be.
        """
        key = self._key(image)
        if key is None:
            return None
        try:
            file = self._file(key, offset, length, elsewhere)
        except OSError as ex:
            LOG.warning('The cache cannot be used for image %s: %s', image.id, ex.strerror)
            return None
        return None if file is None else Reading(file, elsewhere, self._given)

    def _key(self, image: Image) -> Key | None:
        if not self.enabled:
            return None
        key = Key.of(image)
        if key is None or self._avoided.get(key, 0.0) > time.monotonic():
            return None
        return key

    def _file(self, key: Key, offset: int, length: int, elsewhere: Open) -> PlainFile | None:
        whole = _native(lambda: self._open_whole(key))
        if whole is not None:
            self._looked_up(True)
            return WholeFile(whole, offset, length)
        if (offset, length) == (0, key.size):
            return self._whole_or_growing(key, elsewhere)
        growing = self._passing(key, offset, elsewhere)
        self._looked_up(growing is not None)
        return None if growing is None else GrowingFile(growing, offset, length)

    def _open_whole(self, key: Key) -> int | None:
        found = self._directory.open_whole(key)
        if found is not None:
            self._directory.note_hit(key)
        return found

    def _whole_or_growing(self, key: Key, elsewhere: Open) -> PlainFile | None:
        growing = self._join(key, elsewhere)
        if growing is None:
            found = _native(lambda: self._directory.admit(key))
            if found is None:
                self._looked_up(False)
                return None
            if found.whole:
                self._looked_up(True)
                return WholeFile(found.descriptor, 0, key.size)
            self._looked_up(not found.mine)
            growing = self._take_part(key, found, elsewhere)
        else:
            self._looked_up(True)
            _native(lambda: self._directory.note_hit(key))
        return GrowingFile(growing, 0, key.size)

    def _passing(self, key: Key, offset: int, elsewhere: Open) -> Growing | None:
        """A copy that somebody makes and that has come as far as that."""
        growing = self._join(key, elsewhere, offset)
        if growing is not None:
            return growing
        found = _native(lambda: self._directory.open_growing(key))
        if found is None:
            return None
        # Whoever wants a part of what nobody reads does not have all of it fetched.
        idle = directory.lock(found, directory.EXCLUSIVE)
        if idle or os.fstat(found).st_size <= offset:
            os.close(found)
            return None
        return self._take_part(key, Found(found, False), elsewhere)

    def _join(self, key: Key, elsewhere: Open, beyond: int = -1) -> Growing | None:
        with self._lock:
            growing = self._under_way.get(key)
            if growing is None or growing.size <= beyond:
                return None
            return growing if growing.attach(lambda at: elsewhere(at, key.size - at)) else None

    def _take_part(self, key: Key, found: Found, elsewhere: Open) -> Growing:
        """Fill the file, or follow who does. `StoreError`."""

        def source(at: int) -> Backend:
            return elsewhere(at, key.size - at)

        with self._lock:
            growing = self._under_way.get(key)
            if growing is not None and growing.attach(source):
                os.close(found.descriptor)  # somebody else of this process was quicker
                return growing
            growing = Growing(self._directory, key, found, source, self._ended)
            growing.attach(source)
            self._under_way[key] = growing
        try:
            growing.begin()
        except BaseException:
            growing.detach()
            raise
        return growing

    def _ended(self, growing: Growing, error: BaseException | None) -> None:
        with self._lock:
            if self._under_way.get(growing.key) is growing:
                del self._under_way[growing.key]
            if isinstance(error, (Damaged, OSError)) or (
                isinstance(error, BrokeOff) and not error.harmless
            ):
                now = time.monotonic()
                self._avoided = {key: end for key, end in self._avoided.items() if end > now}
                self._avoided[growing.key] = now + AVOIDED
        self.changed.set()

    def _looked_up(self, hit: bool) -> None:
        if self._watch.by is not None:
            self._watch.by.looked_up(hit)

    def _given(self, count: int) -> None:
        if self._watch.by is not None:
            self._watch.by.given_from_cache(count)

    # --- fetching

    def fetch(self, image: Image, elsewhere: Open) -> bool:
        """Have all of an image; False: it cannot be kept. `StoreError`."""
        key = self._key(image)
        if key is None:
            return False
        file = self._whole_or_growing(key, elsewhere)
        if file is None:
            return False
        try:
            return not isinstance(file, GrowingFile) or file.wait_whole()
        finally:
            file.close()

    # --- what is there, and what goes

    def entries(self) -> list[Entry]:
        return _native(self._directory.entries)

    def keys(self) -> list[Key]:
        """What is there or coming."""
        return _native(self._directory.keys)

    def size(self) -> tuple[int, int]:
        """(bytes that count, most that may)."""
        return _native(self._directory.used), self._directory.limit

    @contextlib.contextmanager
    def tending(self) -> Iterator[None]:
        """One process of the host at a time looks after what is there."""
        descriptor = _native(self._directory.open_turn)
        try:
            yield
        finally:
            os.close(descriptor)

    def queued(self) -> list[str]:
        return _native(self._queue.list)

    def enqueue(self, image_id: str) -> None:
        """Have it fetched in the background."""
        _native(lambda: self._queue.add(image_id))
        self.asked.set()

    def taken(self, image_id: str) -> contextlib.AbstractContextManager[bool]:
        """See `Queue.taken`."""
        return self._queue.taken(image_id)

    def dequeue(self, image_id: str) -> bool:
        return _native(lambda: self._queue.remove(image_id))

    def drop(self, image_id: str) -> bool:
        """Whether there was a copy. What the disk refuses is tried again by who tends it."""
        if not self.enabled:
            return False
        return self._drop(lambda key: key.image_id == image_id) > 0

    def drop_keys(self, keys: Iterable[Key]) -> int:
        """How many whole copies there were."""
        unwanted = frozenset(keys)
        return self._drop(unwanted.__contains__) if unwanted else 0

    def _drop(self, unwanted: Callable[[Key], bool]) -> int:
        self._forget(unwanted)
        try:
            return self._told(_native(lambda: self._directory.drop(unwanted)))
        except OSError as ex:
            LOG.error('The cache cannot be cleared of images: %s', ex.strerror)
            return 0

    def clear(self) -> int:
        """Drop all that is whole; how many there were."""
        return self._told(_native(self._directory.clear))

    def _forget(self, unwanted: Callable[[Key], bool]) -> None:
        """Who reads it reads on, and nobody else joins."""
        with self._lock:
            kept = {key: one for key, one in self._under_way.items() if not unwanted(key)}
            self._under_way = kept

    def clear_queue(self) -> int:
        return _native(self._queue.clear)

    def prune(self) -> tuple[int, int]:
        """(files, bytes) that were over the limit and are gone."""
        files, size = _native(self._directory.prune)
        return self._told(files), size

    def clean(self, everything: bool = True) -> int:
        """How many files of no use are gone; those that Glance has left only with `everything`."""
        before = time.time() - self._stall
        return _native(lambda: self._directory.clean(before, everything))

    def _told(self, count: int) -> int:
        """So many copies have gone. Nothing is told of none, or who tends it would never rest."""
        if count:
            self.changed.set()
        return count


def _native(function: Callable[[], T]) -> T:
    return concurrency.blocking(POOL, function)
