# SPDX-License-Identifier: Apache-2.0
"""Images as block devices of Ceph: ``rbd://FSID/POOL/IMAGE-ID/snap``, as Glance names them.

A device exists from the first byte on, but what is read, and what others clone, is its protected
snapshot ``snap``, which is made when all bytes are in: a name never holds half an image. Several
writes and reads are on their way at a time, in pieces that are never cut across objects.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from oslo_config import cfg

from glance_lite.store import (
    BadStoreUri,
    Cap,
    InUse,
    LeftBehind,
    ObjectExists,
    ObjectNotFound,
    Source,
    StillNeeded,
    StoreDenied,
    StoreDriver,
    StoreError,
)
from store_drivers import rbd_names
from store_drivers.ceph import DENIED, Cluster, Link, Mutex
from store_drivers.rbd_device import Device, Reading, read_piece
from store_drivers.rbd_names import SNAPSHOT, Key

#: Bytes of one write or read. PERF: what is larger is mapped by the allocator, each time anew
#: (1 GiB: more than a second of processor time).
PIECE = 1024 * 1024
#: Bytes of one upload that are on their way at a time.
ON_THE_WAY = 16 * 1024 * 1024
#: By how many bytes a device of unknown size grows at most.
GROWTH = 8 * 1024**3
#: With thin provisioning, zeros are left out in units of this many bytes.
BLOCK = 64 * 1024
#: Objects of a device have at least 4 KiB and at most 32 MiB.
ORDERS = range(12, 26)

_ZEROS = bytes(BLOCK)

OPTIONS: list[cfg.Opt] = [
    cfg.IntOpt(
        'rbd_store_chunk_size',
        default=8,
        min=1,
        help='Size in MiB of the objects that an image is divided into; a power of two, and at '
        'most 32.',
    ),
    cfg.StrOpt('rbd_store_pool', default='images', help='Pool in which the images are.'),
    cfg.StrOpt(
        'rbd_store_user',
        help='User of the cluster, without "client.": its keyring is where ceph.conf says. '
        'client.admin if it is not set.',
    ),
    cfg.StrOpt(
        'rbd_store_ceph_conf',
        default='',
        help='Path of ceph.conf. Where it is not set, the usual places are looked at.',
    ),
    cfg.IntOpt(
        'rados_connect_timeout',
        default=-1,
        help='Seconds to wait for monitors and OSDs, before a request fails. Where it is 0 or '
        'less, what ceph.conf says, or 30 seconds.',
    ),
    cfg.BoolOpt(
        'rbd_thin_provisioning',
        default=False,
        help='Do not write what is nothing but zeros: it takes no room, and no time.',
    ),
]


class RbdStore(StoreDriver):
    """A pool of a Ceph cluster."""

    schemes = ('rbd',)
    caps = Cap.WRITE | Cap.LIST | Cap.COPY
    opts = OPTIONS
    needs = 'apt-get install python3-rbd python3-rados, in a venv with --system-site-packages'
    io = 'native'

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        self._pool: str = settings['rbd_store_pool']
        self._thin: bool = settings['rbd_thin_provisioning']
        self._object_size = settings['rbd_store_chunk_size'] * 1024 * 1024
        self._order = self._object_size.bit_length() - 1
        self._piece = min(PIECE, 1 << self._order)
        self.chunk_size = self._piece
        names = ('rbd_store_ceph_conf', 'rbd_store_user', 'rados_connect_timeout')
        connection = (name, *(settings[name] for name in names))
        self._cluster = Cluster(*connection)
        #: For what makes librbd wait, in a thread that serves answers, for an answer, which the
        #: other thread serves: by one at a time.
        self._unprotecting = Cluster(*connection, threads=2)
        self._turn = Mutex()

    # --- start

    def start(self) -> None:
        if self._order not in ORDERS:
            self._cluster.wrong('rbd_store_chunk_size', 'objects of a device have at most 32 MiB')
        if not rbd_names.is_name(self._pool):
            self._cluster.wrong('rbd_store_pool', f'{self._pool!r} is not a name of a pool')
        self._cluster.load(self.needs)
        self._unprotecting.load(self.needs)
        import rbd

        self._rbd = rbd
        self._ops = rbd.RBD()
        self._cluster.connect()
        link = self._cluster.link()
        try:
            link.handle.open_ioctx(self._pool).close()
        except self._cluster.errors as ex:
            if getattr(ex, 'errno', None) == errno.ENOENT:
                self._cluster.wrong('rbd_store_pool', f'there is no pool {self._pool}')
            raise self._cluster.told(ex, link) from ex
        try:
            self.check()
        except StoreDenied:
            self._cluster.wrong('rbd_store_user', f'the user may not read pool {self._pool}')
        with contextlib.suppress(StoreError):  # there is no need for it where nothing is written
            self._have_trash()

    def _have_trash(self) -> None:
        """librbd removes a device by way of its trash, and makes that by the first removal of all:
        for which a pool that has been filled before would have no room."""
        with self._asking() as (_, pool):
            try:
                pool.stat('rbd_trash')
            except self._cluster.nothing:
                name = str(uuid.uuid4())
                self._ops.create(pool, name, 0, self._order, old_format=False)
                self._ops.remove(pool, name)

    # --- names

    def _url(self, image: str) -> str:
        return rbd_names.write(self._cluster.fsid or '', Key(self._pool, image, SNAPSHOT))

    def parse(self, url: str) -> Key:
        return rbd_names.parse(url, self._pool)[1]

    def owns(self, url: str) -> bool:
        """Of our cluster and our pool alone."""
        try:
            fsid, key = rbd_names.parse(url, self._pool)
        except BadStoreUri:
            return False
        ours = (self._cluster.fsid or '').lower()
        return key.pool == self._pool and (fsid is None or fsid.lower() == ours)

    def locate(self, name: str) -> tuple[str, ...]:
        return (self._url(name),)

    # --- asking

    @contextlib.contextmanager
    def _asking(
        self, key: Key | None = None, cluster: Cluster | None = None
    ) -> Iterator[tuple[Link, Any]]:
        """The connection and the pool of a device, or ours. What the libraries raise, in our words.

        `BadStoreUri`: there is no such pool (any more), which says nothing of the others.
        """
        cluster = cluster or self._cluster
        link = cluster.link()
        name = key.pool if key else self._pool
        try:
            with self._open_pool(link, name) as pool:
                # In a full pool writes would not be refused but wait, and so would removals.
                pool.set_osdmap_full_try()
                yield link, pool
        except cluster.errors as ex:
            raise cluster.told(ex, link) from ex

    def _open_pool(self, link: Link, name: str) -> Any:
        try:
            return link.handle.open_ioctx(name)
        except self._cluster.nothing as ex:
            if name == self._pool:
                raise
            raise BadStoreUri(f'Store {self.name} has no pool {name}') from ex

    def _missing(self) -> ObjectNotFound:
        return ObjectNotFound(f'Store {self.name} does not hold the data')

    # --- in

    def add(self, name: str, source: Source, size: int | None) -> str:
        with self._asking() as (link, pool):
            features = self._prepare(link, name)

            def create() -> None:
                options = {'old_format': False, 'features': features}
                self._ops.create(pool, name, size or 0, self._order, **options)

            with self._making(link, pool, name, create), self._open(link, pool, name) as device:
                self._fill(device, source, size)
                _seal(device.image)
        return self._url(name)

    def _prepare(self, link: Link, name: str) -> int:
        """The features of a new device, where one can be made."""
        if not rbd_names.is_name(name):
            raise StoreError(f'{name!r} is not a name for a device')
        features = int(link.handle.conf_get('rbd_default_features') or 0)
        return features or int(self._rbd.RBD_FEATURE_LAYERING)

    @contextlib.contextmanager
    def _making(
        self, link: Link, pool: Any, name: str, create: Callable[[], None]
    ) -> Iterator[None]:
        """There is a new device while the block fills it; nothing is left of it if that fails."""
        try:
            create()
        except self._rbd.ImageExists as ex:
            raise ObjectExists(f'Store {self.name} holds {name} already') from ex
        except self._cluster.errors as ex:
            if self._cluster.is_silence(ex):
                # Nobody knows whether what now has the name, if anything has, is ours.
                raise self._left(link) from ex
            raise
        try:
            yield
        except BaseException as ex:
            if self._cluster.is_silence(ex):
                raise self._left(link) from ex
            self._undo(link, pool, name, ex)
            raise

    def _left(self, link: Link) -> LeftBehind:
        link.retired = True
        return LeftBehind(f'Store {self.name} does not answer, and may keep a part of the data')

    def _undo(self, link: Link, pool: Any, name: str, ex: BaseException) -> None:
        """Remove what a failed upload has left. `LeftBehind`, when the cluster does not let us."""
        try:
            self._remove(link, pool, Key(self._pool, name, SNAPSHOT))
        except ObjectNotFound:
            pass
        except (StoreError, *self._cluster.errors) as second:
            if isinstance(ex, Exception):
                raise self._left(link) from second

    def _fill(self, device: Device, source: Source, size: int | None) -> None:
        """Write all of a source to a device."""
        device.depth = ON_THE_WAY // self._piece
        written = room = 0
        whole = True
        while whole and (size is None or written < size):
            wanted = self._piece if size is None else min(self._piece, size - written)
            piece = read_piece(source, wanted)
            whole = len(piece) == wanted  # or that was the end
            if size is None and written + len(piece) > room:
                # Each time twice as large: it is a change of the device, for which all waits.
                room += min(max(room, 8 * self._object_size), GROWTH)
                device.image.resize(room)
            for start, run in self._runs(piece):
                device.write(run, written + start)
            written += len(piece)
        device.join()
        if size is None:
            device.image.resize(written)
        elif written < size:
            raise StoreError(f'{size} bytes were promised and {written} came')
        device.image.flush()

    def _runs(self, piece: bytes) -> Iterator[tuple[int, bytes]]:
        """(start, bytes) of what is to be written of a piece: without its zeros, if we are thin."""
        if not self._thin:
            if piece:
                yield 0, piece
            return
        start = None
        for at in range(0, len(piece), BLOCK):
            block = piece[at : at + BLOCK]
            if block == _ZEROS[: len(block)]:
                if start is not None:
                    yield start, piece[start:at]
                start = None
            elif start is None:
                start = at
        if start is not None:
            yield start, piece[start:]

    def copy_from(self, other: StoreDriver, key: Key, name: str) -> str | None:
        """librbd reads and writes, in threads of its own, and passes over what holds nothing."""
        if not isinstance(other, RbdStore) or other._cluster.fsid != self._cluster.fsid:
            return None
        with self._asking() as (link, pool):
            try:
                theirs = link.handle.open_ioctx(key.pool)
                device = self._read(link, theirs, key)
            except self._cluster.errors as ex:
                if getattr(ex, 'errno', None) in DENIED:
                    return None  # our user may not read there; theirs may
                raise
            with theirs, device:
                features = self._prepare(link, name)
                copy = functools.partial(device.image.copy, pool, name, features, self._order)
                with self._making(link, pool, name, copy), self._open(link, pool, name) as made:
                    _seal(made.image)
        return self._url(name)

    # --- out

    def _open(self, link: Link, pool: Any, name: str, **options: Any) -> Device:
        return Device(self._cluster, link, self._rbd.Image(pool, name, **options))

    def _read(self, link: Link, pool: Any, key: Key) -> Device:
        """A device that is only read. `ObjectNotFound`."""
        try:
            return self._open(link, pool, key.image, snapshot=key.snapshot, read_only=True)
        except self._rbd.ImageNotFound as ex:
            raise self._missing() from ex

    def get(self, key: Key, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        with self._asking(key) as (link, pool):
            device = self._read(link, pool, key)
            size = device.image.size()
        end = size if length is None else min(size, offset + length)
        return Reading(self._cluster, link, device, range(offset, end, self._piece), end)

    def size(self, key: Key) -> int:
        with self._asking(key) as (link, pool), self._read(link, pool, key) as device:
            return int(device.image.size())

    def list(self) -> Iterator[tuple[str, int, float]]:
        """All devices of the pool: those that are being written, or never were finished, too."""
        with self._asking() as (link, pool):
            for name in self._ops.list(pool):
                with contextlib.suppress(ObjectNotFound):
                    with self._read(link, pool, Key(self._pool, name, None)) as device:
                        image = device.image
                        found = image.size(), image.create_timestamp().timestamp()
                    yield self._url(name), *found

    # --- away

    def delete(self, key: Key) -> None:
        with self._asking(key) as (link, pool):
            self._remove(link, pool, key)

    def _remove(self, link: Link, pool: Any, key: Key) -> None:
        """Remove a device with its snapshot. `InUse`: it is as before. `StillNeeded`: it is in the
        trash, because of a clone that does not need its snapshot to be protected, or of a
        snapshot that others made."""
        snapshot = key.snapshot or SNAPSHOT
        try:
            self._free(link, pool, key, snapshot)
        except self._rbd.ImageNotFound:
            self._empty_trash(pool, key.image)
            return
        try:
            self._ops.remove(pool, key.image)
        except self._rbd.ImageNotFound as ex:
            raise self._missing() from ex
        except self._rbd.ImageBusy as ex:
            # Somebody has opened it just now. Without its snapshot it could be neither read nor
            # cloned by those who are told that it stays.
            with self._open(link, pool, key.image) as device:
                _seal(device.image, snapshot)
            raise self._in_use() from ex
        except self._rbd.ImageHasSnapshots:
            self._ops.trash_move(pool, key.image)
            self._empty_trash(pool, key.image)

    def _in_use(self) -> InUse:
        return InUse(f'The data is in use in store {self.name}')

    def _free(self, link: Link, pool: Any, key: Key, snapshot: str) -> None:
        """Take the snapshot off a device that nobody uses. `InUse`."""
        rbd = self._rbd
        with self._open(link, pool, key.image, read_only=True) as device:
            # We do not watch what we only read: it is others that write, or have crashed shortly.
            if any(device.image.watchers_list()):
                raise self._in_use()
            if snapshot not in [found['name'] for found in device.image.list_snaps()]:
                return
        with (
            self._turn.held(5 * link.patience),
            self._asking(key, self._unprotecting) as (link, pool),
        ):
            # What follows would wait for them for ever.
            self._unprotecting.reach_monitors(link)
            try:
                with self._open(link, pool, key.image) as device:
                    with contextlib.suppress(rbd.InvalidArgument):  # it is not protected
                        device.image.unprotect_snap(snapshot)
                    device.image.remove_snap(snapshot)
            except rbd.ImageBusy as ex:
                raise self._in_use() from ex
            except rbd.ImageNotFound:
                pass  # as of now

    def _empty_trash(self, pool: Any, name: str) -> None:
        """Remove from the trash what had this name. `StillNeeded`, `ObjectNotFound`."""
        rbd = self._rbd
        found = [entry['id'] for entry in self._ops.trash_list(pool) if entry['name'] == name]
        if not found:
            raise self._missing()
        for image_id in found:
            try:
                self._ops.trash_remove(pool, image_id)
            except rbd.ImageNotFound:
                continue
            except (rbd.ImageHasSnapshots, rbd.ImageBusy) as ex:
                raise StillNeeded(
                    f'The data is in the trash of store {self.name}, until no clone needs it'
                ) from ex

    # --- for people

    def describe(self) -> Mapping[str, Any]:
        return {
            'chunk_size': self._object_size,
            'pool': self._pool,
            'thin_provisioning': self._thin,
            'fsid': self._cluster.fsid,
        }

    def room(self) -> tuple[int, int] | None:
        with self._asking() as (link, _):
            return self._cluster.room(link, self._pool)

    def check(self) -> None:
        """An OSD answers. Monitors are not asked: without them everything can still be read."""
        with self._asking() as (_, pool), contextlib.suppress(self._cluster.nothing):
            pool.stat('rbd_directory')


def _seal(image: Any, snapshot: str = SNAPSHOT) -> None:
    """From here on it is an image, of which others make clones."""
    image.create_snap(snapshot)
    image.protect_snap(snapshot)
