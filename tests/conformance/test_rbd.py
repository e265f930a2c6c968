# SPDX-License-Identifier: Apache-2.0
"""The rbd driver against the kit, on a real Ceph, under threads and green threads."""

from __future__ import annotations

import threading
import time
import tracemalloc
import uuid

import pytest

from glance_lite.store import InUse, ObjectExists, ObjectNotFound
from glance_lite.testing.faults import Source
from glance_lite.testing.stores import StoreConformance, make_driver, pattern
from store_drivers import rbd as rbd_driver
from store_drivers.memory import MemoryStore
from store_drivers.rbd import RbdStore
from tests.backends import ceph
from tests.conformance import green
from tests.conformance.zeros import Zeros
from tests.sizes import full

pytestmark = pytest.mark.peer

MIB = 1024 * 1024
FSID = '00000000-0000-4000-8000-000000000000'


@pytest.fixture(scope='module')
def cluster():
    return ceph.cluster()


@pytest.fixture(scope='module')
def pool(cluster):
    with cluster.pool() as pool:
        yield pool


@pytest.fixture(scope='module')
def client(cluster, pool, tmp_path_factory):
    return cluster.client(tmp_path_factory.mktemp('ceph'), pool)


def make_store(client, pool, **settings):
    values = {
        'rbd_store_ceph_conf': client.conf,
        'rbd_store_user': client.user,
        'rbd_store_pool': pool,
        'rados_connect_timeout': 30,
        **settings,
    }
    driver = make_driver(RbdStore, 'rbd', **values)
    driver.start()
    return driver


@pytest.fixture(scope='module')
def store(client, pool):
    return make_store(client, pool, rbd_store_chunk_size=1)


class TestRbd(StoreConformance):
    """With objects so small that there are several."""

    large = full(5 * MIB + 1, 1024 * MIB + 1)
    hostile = (
        'rbd://a/b', 'rbd://a/b/c', 'rbd://a/b/c/d/e', 'rbd://a/b//d',
        'rbd://', 'rbd://a%00b/c/d/e', 'rbd://a\nb', 'rbd://a@b', 'RBD://a',
    )  # fmt: skip

    def elsewhere(self, driver):
        (url,) = driver.locate('name')
        fsid, pool = url.split('/')[2:4]
        return url.replace(fsid, FSID), url.replace(pool, 'volumes')

    @pytest.fixture
    def driver(self, store):
        yield store
        for url, _, _ in store.list():
            store.delete(store.parse(url))


def test_under_eventlet():
    green.passes(__file__, 'TestRbd')


# --- what is Ceph's own


def read(driver, url):
    return b''.join(driver.get(driver.parse(url)))


@pytest.fixture
def quick(client, pool):
    """With the settings that an operator begins with; nothing is left."""
    driver = make_store(client, pool)
    yield driver
    for url, _, _ in driver.list():
        driver.delete(driver.parse(url))


@pytest.fixture
def opened(cluster, pool):
    """The pool, for somebody who may do anything."""
    with cluster.connected() as connection, connection.open_ioctx(pool) as opened:
        yield opened


@pytest.fixture
def counted(monkeypatch):
    """Calls of librbd, as (name, how many writes were on their way)."""
    import rbd

    calls = []

    class Counted(rbd.Image):
        on_the_way = 0

        def resize(self, size):
            calls.append(('resize', size))
            super().resize(size)

        def aio_write(self, data, offset, told):
            self.on_the_way += 1
            calls.append(('write', self.on_the_way))

            def count(completion):
                self.on_the_way -= 1
                told(completion)

            return super().aio_write(data, offset, count)

    monkeypatch.setattr(rbd, 'Image', Counted)
    return calls


def test_what_others_find(quick, opened, cluster, pool):
    """Objects of 8 MiB, the features that ceph.conf says, and a snapshot that can be cloned."""
    import rbd

    size = 21 * MIB + 1
    url = quick.add('name', Source(pattern(size)), size)
    assert url == f'rbd://{cluster.fsid}/{pool}/name/snap'
    with rbd.Image(opened, 'name', snapshot='snap', read_only=True) as image:
        assert image.is_protected_snap('snap')
        assert (image.size(), image.stat()['order'], image.features()) == (size, 23, 61)
        assert image.read(0, size) == pattern(size)
    assert quick.describe() == {
        'chunk_size': 8 * MIB,
        'pool': pool,
        'thin_provisioning': False,
        'fsid': cluster.fsid,
    }
    assert quick.room()[1] > 100 * MIB


@pytest.mark.parametrize('version', [1, 2])
def test_a_clone_by_another_client(quick, cluster, pool, tmp_path, version):
    """One who may read our pool, as Nova and Cinder may, has a copy on write in its own."""
    import rados
    import rbd

    url = quick.add('name', Source(pattern(3 * MIB)), 3 * MIB)
    with cluster.pool() as vms:
        nova = cluster.client(tmp_path, vms)
        caps = f'profile rbd pool={vms}, profile rbd-read-only pool={pool}'
        cluster.user(nova.user, nova.keyring, mon='profile rbd', osd=caps)
        settings = {'rbd_default_clone_format': str(version)}
        with (
            rados.Rados(conffile=nova.conf, rados_id=nova.user, conf=settings) as connection,
            connection.open_ioctx(pool) as theirs,
            connection.open_ioctx(vms) as disks,
        ):
            rbd.RBD().clone(theirs, 'name', 'snap', disks, 'disk', features=61)
            with rbd.Image(disks, 'disk') as disk:
                assert disk.read(0, 3 * MIB) == pattern(3 * MIB)
                disk.write(b'other', 0)
                assert disk.read(0, 5) == b'other'
                assert read(quick, url) == pattern(3 * MIB)
                disk.flatten()
            rbd.RBD().remove(disks, 'disk')


def test_an_unknown_size_grows_twice_as_large_and_is_trimmed(store, counted, opened):
    size = 100 * MIB + 1
    url = store.add('name', Zeros(size, b'x'), None)
    sizes = [size for name, size in counted if name == 'resize']
    assert sizes == [8 * MIB, 16 * MIB, 32 * MIB, 64 * MIB, 128 * MIB, size]
    assert store.size(store.parse(url)) == size
    assert sum(found.key.startswith('rbd_data') for found in opened.list_objects()) == 101
    store.delete(store.parse(url))


def test_several_writes_are_on_their_way(store, counted):
    url = store.add('name', Zeros(40 * MIB, b'x'), 40 * MIB)
    assert max(count for name, count in counted if name == 'write') > 4
    assert max(count for name, count in counted if name == 'write') <= 16
    store.delete(store.parse(url))


@pytest.mark.parametrize('sized', [True, False])
def test_memory_stays_flat(quick, sized):
    size = full(100, 1024) * MIB
    tracemalloc.start()
    try:
        url = quick.add('name', Zeros(size, b'x'), size if sized else None)
        assert tracemalloc.get_traced_memory()[1] < 30 * MIB
        tracemalloc.reset_peak()
        assert sum(len(chunk) for chunk in quick.get(quick.parse(url))) == size
        assert tracemalloc.get_traced_memory()[1] < 40 * MIB
        tracemalloc.reset_peak()
        for _ in quick.get(quick.parse(url)):
            time.sleep(0.0125)  # slower than it comes
        assert tracemalloc.get_traced_memory()[1] < 18 * MIB
    finally:
        tracemalloc.stop()


def test_zeros_take_no_room_and_no_time(client, pool, opened):
    """A disk of a few GiB with hardly anything in it."""
    driver = make_store(client, pool, rbd_thin_provisioning=True)
    size = full(4, 32) * 1024 * MIB

    class Disk(Zeros):
        def read(self, wanted):
            first = self.left == self.size
            piece = super().read(wanted)
            return b'boot' + bytes(len(piece) - 4) if first else piece

    url = driver.add('name', Disk(size), size)
    (found,) = [found for found in opened.list_objects() if found.key.startswith('rbd_data')]
    assert opened.stat(found.key)[0] == rbd_driver.BLOCK
    chunks = driver.get(driver.parse(url))
    first = next(chunks)
    assert first == b'boot' + bytes(len(first) - 4)
    began = time.monotonic()
    assert sum(len(chunk) for chunk in chunks) == size - len(first)
    assert (size - len(first)) / (time.monotonic() - began) > 200 * MIB
    driver.delete(driver.parse(url))


def test_zeros_here_and_there(client, pool):
    driver = make_store(client, pool, rbd_thin_provisioning=True, rbd_store_chunk_size=1)
    block = rbd_driver.BLOCK
    data = b''.join(
        bytes(block + n) + b'x' * n for n in (1, block - 1, block, block + 1, 3 * block)
    )
    for sized in (True, False):
        name = str(uuid.uuid4())
        url = driver.add(
            name, Source(data + bytes(block), sized=sized), len(data) + block if sized else None
        )
        assert read(driver, url) == data + bytes(block)
        driver.delete(driver.parse(url))


def test_a_copy_into_another_pool(client, cluster, quick, store, pool, opened):
    """By librbd, which leaves out what holds nothing."""
    size = 21 * MIB + 1
    url = quick.add('name', Zeros(size), size)
    with cluster.pool() as second:
        cluster.allow(client, pool, second)
        try:
            other = make_store(client, second)
            copied = other.copy_from(quick, quick.parse(url), 'copy')
            assert copied == other.locate('copy')[0]
            assert read(other, copied) == bytes(size)
            with pytest.raises(ObjectExists):
                other.copy_from(quick, quick.parse(url), 'copy')
            with pytest.raises(ObjectNotFound):
                other.copy_from(other, other.parse(other.locate('nothing')[0]), 'again')
            other.delete(other.parse(copied))
        finally:
            cluster.allow(client, pool)


def test_there_is_no_copy_from_where_our_user_may_not_read(cluster, quick, tmp_path):
    url = quick.add('name', Source(b'data'), 4)
    with cluster.pool() as second:
        other = make_store(cluster.client(tmp_path, second), second)
        assert other.copy_from(quick, quick.parse(url), 'copy') is None
        assert other.copy_from(MemoryStore('ram', {'memory_store_size': None}), 'n', 'copy') is None
        assert list(other.list()) == []


def test_all_share_one_connection(client, pool, monkeypatch):
    driver = make_store(client, pool)
    made = []
    real = driver._cluster._connect
    monkeypatch.setattr(driver._cluster, '_connect', lambda: made.append(1) or real())
    driver._cluster._link.retired = True
    seen = set()

    def work():
        driver.check()
        seen.add(driver._cluster.link())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == len(seen) == 1


def test_a_device_that_somebody_has_open_keeps_its_snapshot(quick, opened, monkeypatch):
    """Whether that is seen beforehand, or has just come about."""
    import rbd

    class Blind(rbd.Image):
        def watchers_list(self):
            return []

    url = quick.add('name', Source(b'data'), 4)
    with rbd.Image(opened, 'name') as image:
        for seen in (rbd.Image, Blind):
            monkeypatch.setattr(rbd, 'Image', seen)
            with pytest.raises(InUse):
                quick.delete(quick.parse(url))
            assert image.is_protected_snap('snap')
            assert read(quick, url) == b'data'
