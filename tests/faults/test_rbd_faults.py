# SPDX-License-Identifier: Apache-2.0
"""The rbd driver when its cluster fails: what it says, what is left, and that it recovers."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid

import pytest

from glance_lite.store import (
    BadStoreConfiguration,
    InUse,
    LeftBehind,
    ObjectNotFound,
    StoreDenied,
    StoreFull,
    StoreUnavailable,
)
from glance_lite.testing.faults import Source
from glance_lite.testing.stores import pattern
from store_drivers import ceph as ceph_driver
from tests.backends import ceph
from tests.conformance.test_rbd import make_store
from tests.sizes import full

pytestmark = pytest.mark.peer

MIB = 1024 * 1024
SIZE = 9 * MIB
#: what a pool has that never held more than this; the first of all removals makes the last one
ALWAYS = {'rbd_directory', 'rbd_info', 'rbd_trash'}


@pytest.fixture(scope='module')
def own():
    with ceph.Alone() as own:
        yield own


@pytest.fixture
def pool(own):
    with own.cluster.pool() as pool:
        yield pool


@pytest.fixture
def client(own, pool, tmp_path):
    return own.cluster.client(tmp_path, pool)


@pytest.fixture
def driver(client, pool):
    """It waits for seconds, where an operator waits for half a minute."""
    return make_store(client, pool, rbd_store_chunk_size=1, rados_connect_timeout=3)


def interrupted(act, at=5 * MIB):
    """A source that does something when so many bytes have been read."""
    return Source(pattern(SIZE), stall_at=at, stall=act)


def read(driver, url):
    return b''.join(driver.get(driver.parse(url)))


def sweep(driver, name):
    """What the sweeper does for a name of an upload that failed, until it succeeds."""
    deadline = time.monotonic() + 60
    for url in driver.locate(name):
        while True:
            with contextlib.suppress(ObjectNotFound, InUse, StoreUnavailable):
                driver.delete(driver.parse(url))
            try:
                driver.delete(driver.parse(url))
            except ObjectNotFound:
                break
            except (InUse, StoreUnavailable):
                assert time.monotonic() < deadline, 'it cannot be removed'
                time.sleep(0.5)


def works(driver):
    url = driver.add(str(uuid.uuid4()), Source(b'data'), 4)
    assert read(driver, url) == b'data'
    driver.delete(driver.parse(url))


def objects(cluster, pool):
    """All that is stored in a pool, in whatever form."""
    with cluster.connected() as connection, connection.open_ioctx(pool) as opened:
        return {found.key for found in opened.list_objects()}


@pytest.fixture
def nothing_left(own, pool, driver):
    """After the test, when what it failed with has been swept: not one object, of any kind."""
    yield
    works(driver)
    assert list(driver.list()) == []
    assert objects(own.cluster, pool) == ALWAYS


@contextlib.contextmanager
def within(seconds):
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


# --- OSDs


@pytest.mark.usefixtures('nothing_left')
@pytest.mark.parametrize('sized', full([False], [True, False]))
def test_an_osd_that_hangs_in_an_upload(own, driver, sized):
    name = str(uuid.uuid4())
    try:
        with within(90), pytest.raises(LeftBehind, match='Store rbd'):
            driver.add(name, interrupted(lambda: own.freeze('osd')), SIZE if sized else None)
        with within(30), pytest.raises(StoreUnavailable):
            driver.check()
    finally:
        own.thaw('osd')
    assert driver.locate(name)
    sweep(driver, name)


@pytest.mark.usefixtures('nothing_left')
def test_an_osd_that_ends_in_an_upload(own, driver):
    name = str(uuid.uuid4())
    try:
        with within(90), pytest.raises(LeftBehind):
            driver.add(name, interrupted(lambda: own.stop('osd')), SIZE)
    finally:
        own.start('osd')
    sweep(driver, name)


def test_an_osd_that_hangs_in_a_download(own, driver):
    url = driver.add(str(uuid.uuid4()), Source(pattern(SIZE)), SIZE)
    key = driver.parse(url)
    chunks = driver.get(key)
    next(chunks)
    own.freeze('osd')
    try:
        with within(60), pytest.raises(StoreUnavailable):
            list(chunks)
        chunks.close()
        for ask in full((driver.get,), (driver.get, driver.size, driver.delete)):
            with within(30), pytest.raises(StoreUnavailable):
                ask(key)
    finally:
        own.thaw('osd')
    assert read(driver, url) == pattern(SIZE)


def test_an_osd_that_is_stopped_for_a_moment_is_waited_for(own, driver):
    """Nobody notices: not who reads, and not who writes."""
    url = driver.add(str(uuid.uuid4()), Source(pattern(SIZE)), SIZE)
    chunks = driver.get(driver.parse(url))
    first = next(chunks)

    def blink():
        own.freeze('osd')
        time.sleep(1)
        own.thaw('osd')

    blink()
    assert first + b''.join(chunks) == pattern(SIZE)
    other = driver.add(str(uuid.uuid4()), interrupted(blink), SIZE)
    assert read(driver, other) == pattern(SIZE)


# --- monitors


@pytest.mark.usefixtures('nothing_left')
def test_monitors_that_are_away(own, client, pool, driver):
    """What is open is read on. An upload needs a snapshot, of which a monitor gives the number."""
    url = driver.add(str(uuid.uuid4()), Source(pattern(SIZE)), SIZE)
    name = str(uuid.uuid4())
    own.freeze('mon')
    try:
        assert read(driver, url) == pattern(SIZE)
        driver.check()
        with within(90), pytest.raises(StoreUnavailable):
            driver.add(name, Source(pattern(SIZE)), SIZE)
        with within(30), pytest.raises(StoreUnavailable):
            driver.delete(driver.parse(url))
        with within(30), pytest.raises(StoreUnavailable, match='Store rbd cannot be reached'):
            make_store(client, pool, rados_connect_timeout=3)
    finally:
        own.thaw('mon')
    sweep(driver, name)
    assert read(driver, url) == pattern(SIZE)
    driver.delete(driver.parse(url))


def test_monitors_that_are_down_and_back(own, driver, monkeypatch):
    """The connection is made again; those who wait for it at the same time wait once."""
    url = driver.add(str(uuid.uuid4()), Source(b'data'), 4)
    driver._cluster._link.retired = True
    own.stop('mon')
    try:
        with within(30), pytest.raises(StoreUnavailable, match='Store rbd cannot be reached'):
            read(driver, url)
    finally:
        own.start('mon')
    assert read(driver, url) == b'data'


# --- room


@pytest.mark.usefixtures('nothing_left')
def test_a_pool_whose_quota_is_used_up(own, pool, driver):
    """A write is refused, and not kept waiting; what is there can be read, and removed."""
    name = str(uuid.uuid4())
    deadline = time.monotonic() + 60
    while driver.room() is None:  # the manager has not been told yet of the new pool
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert driver.room()[1] > 100 * MIB
    url = driver.add(name, Source(pattern(SIZE)), SIZE)
    set_quota = {'prefix': 'osd pool set-quota', 'pool': pool, 'field': 'max_bytes'}
    own.cluster.command(**set_quota, val=str(2 * MIB))
    deadline = time.monotonic() + 60
    while True:
        try:
            works(driver)
        except StoreFull as ex:
            assert str(ex) == 'Store rbd is full'
            break
        assert time.monotonic() < deadline
        time.sleep(0.5)
    size, free = driver.room()
    assert SIZE <= size < SIZE + MIB and free == 0
    assert [found for found, _, _ in driver.list()] == [url]
    assert read(driver, url) == pattern(SIZE)
    driver.delete(driver.parse(url))
    own.cluster.command(**set_quota, val='0')
    wait_for_room(driver)


def wait_for_room(driver):
    deadline = time.monotonic() + 60
    while True:
        try:
            return works(driver)
        except StoreFull:
            assert time.monotonic() < deadline
            time.sleep(0.5)


@pytest.mark.usefixtures('nothing_left')
def test_a_cluster_that_fills_up_in_an_upload(own, pool, driver):
    """Before anything was ever removed from the pool, for which librbd wants room."""

    def fill():
        for name, ratio in (('nearfull', 0.0001), ('backfillfull', 0.0002), ('full', 0.0003)):
            own.cluster.command(f'osd set-{name}-ratio', ratio=ratio)
        deadline = time.monotonic() + 60
        while ',full' not in own.cluster.command('osd pool ls', detail='detail'):
            assert time.monotonic() < deadline
            time.sleep(0.2)

    try:
        for size in (SIZE, None):
            with within(60), pytest.raises(StoreFull):
                driver.add(str(uuid.uuid4()), interrupted(fill), size)
            assert list(driver.list()) == []
    finally:
        for name, ratio in (('full', 0.95), ('backfillfull', 0.90), ('nearfull', 0.85)):
            own.cluster.command(f'osd set-{name}-ratio', ratio=ratio)
    wait_for_room(driver)


# --- users


def test_a_user_that_is_revoked(own, client, pool, driver, monkeypatch):
    """A connection outlives the key it was opened with, but not for long."""
    url = driver.add(str(uuid.uuid4()), Source(b'data'), 4)
    key = client.keyring.read_text().split()[3]
    own.cluster.revoke(client)
    assert read(driver, url) == b'data'
    driver._cluster._link._until = 0.0
    asks = (read, lambda driver, url: driver.delete(driver.parse(url)), lambda *_: works(driver))
    for ask in asks:
        with pytest.raises(StoreDenied, match='Store rbd refuses the user') as error:
            ask(driver, url)
        assert key not in str(error.value)
    own.cluster.allow(client, pool)
    assert client.keyring.read_text().split()[3] != key
    assert read(driver, url) == b'data'


def test_a_user_who_may_only_read(own, client, pool, driver):
    url = driver.add(str(uuid.uuid4()), Source(b'data'), 4)
    own.cluster.allow(client, pool, profile='profile rbd-read-only')
    driver._cluster._link._until = 0.0
    assert read(driver, url) == b'data'
    for ask in (works, lambda driver: driver.delete(driver.parse(url))):
        with pytest.raises(StoreDenied):
            ask(driver)
    assert read(driver, url) == b'data'


def test_a_client_that_was_shut_out_comes_back(own, driver):
    """By another who took its lock, or by an operator."""
    url = driver.add(str(uuid.uuid4()), Source(b'data'), 4)
    address = driver._cluster._link.handle.get_addrs()
    own.cluster.command('osd blocklist', blocklistop='add', addr=address)
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(StoreUnavailable):
            if driver._cluster._link.retired:
                break
            read(driver, url)
        assert time.monotonic() < deadline
    works(driver)
    assert read(driver, url) == b'data'


# --- librbd

READER = """
import sys
from glance_lite.testing.stores import make_driver
from store_drivers.rbd import RbdStore
conf, user, pool, url = sys.argv[1:]
driver = make_driver(
    RbdStore, 'rbd', rbd_store_ceph_conf=conf, rbd_store_user=user, rbd_store_pool=pool)
driver.start()
for _ in range(100):
    assert driver.size(driver.parse(url)) == 4
    assert b''.join(driver.get(driver.parse(url))) == b'data'
print('fine')
"""


def test_a_device_that_is_closed_as_soon_as_it_is_open(client, pool, driver):
    """librbd once looked at it after that: what was free by then was mostly as before."""
    url = driver.add(str(uuid.uuid4()), Source(b'data'), 4)
    done = subprocess.run(
        [sys.executable, '-c', READER, client.conf, client.user, pool, url],
        env={**os.environ, 'MALLOC_PERTURB_': '165'},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, 'fine\n'), done.stderr
    driver.delete(driver.parse(url))


@pytest.mark.usefixtures('nothing_left')
def test_many_are_deleted_at_once(driver):
    """To unprotect a snapshot librbd waits in a thread of librados for another one of them."""
    urls = [driver.add(str(uuid.uuid4()), Source(b'data'), 4) for _ in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool, within(60):
        list(pool.map(lambda url: driver.delete(driver.parse(url)), urls, timeout=60))


# --- processes

UPLOADER = """
import sys
from glance_lite.testing.stores import make_driver
from store_drivers.rbd import RbdStore
conf, user, pool, name = sys.argv[1:]
driver = make_driver(
    RbdStore, 'rbd', rbd_store_ceph_conf=conf, rbd_store_user=user, rbd_store_pool=pool,
    rbd_store_chunk_size=1, rados_connect_timeout=5)
driver.start()
class Source:
    given = 0
    def read(self, size):
        if self.given == 4 * 1024 * 1024:
            print('NOW', flush=True)
            sys.stdin.readline()
        self.given += size
        return b'x' * size
try:
    print(driver.add(name, Source(), 40 * 1024 * 1024), flush=True)
except Exception as ex:
    print(type(ex).__name__, flush=True)
"""


@contextlib.contextmanager
def uploader(client, pool, name):
    """A process that is in the middle of an upload, and goes on when it is told."""
    command = [sys.executable, '-c', UPLOADER, client.conf, client.user, pool, name]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == 'NOW\n'
            yield process
        finally:
            process.kill()


@pytest.mark.usefixtures('nothing_left')
def test_a_process_that_is_killed(client, pool, driver):
    """What it left cannot be removed as long as the cluster takes it for alive, and then is."""
    name = str(uuid.uuid4())
    with uploader(client, pool, name) as process:
        process.kill()
        process.wait()
        (url,) = driver.locate(name)
        with pytest.raises(InUse):
            driver.delete(driver.parse(url))
        with pytest.raises(ObjectNotFound):
            driver.get(driver.parse(url))
        sweep(driver, name)


@pytest.mark.usefixtures('nothing_left')
def test_a_process_that_wakes_up_when_it_was_swept(client, pool, driver):
    """It writes nothing any more, not even objects that belong to no device."""
    name = str(uuid.uuid4())
    with uploader(client, pool, name) as process:
        os.kill(process.pid, signal.SIGSTOP)
        sweep(driver, name)
        url = driver.add(f'{name}-7', Source(b'second'), 6)
        time.sleep(1)  # placement groups learn one by one whom they must not listen to
        os.kill(process.pid, signal.SIGCONT)
        process.stdin.write('go on\n')
        process.stdin.flush()
        assert process.stdout.readline().strip() in ('LeftBehind', 'StoreUnavailable')
    assert read(driver, url) == b'second'
    driver.delete(driver.parse(url))
    sweep(driver, name)


# --- at start


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        ({'rbd_store_pool': 'nowhere'}, r'\[rbd\] rbd_store_pool: there is no pool nowhere'),
        ({'rbd_store_pool': '.mgr'}, r'\[rbd\] rbd_store_(user|pool): '),
        ({'rbd_store_user': 'nobody'}, r'\[rbd\] rbd_store_user: .* refuses client.nobody'),
        ({'rbd_store_user': None}, r'\[rbd\] rbd_store_user: .* refuses client.admin'),
        ({'rbd_store_ceph_conf': '/nowhere.conf'}, r'\[rbd\] rbd_store_ceph_conf: /nowhere.conf'),
        ({'rbd_store_chunk_size': 64}, r'\[rbd\] rbd_store_chunk_size: .* at most 32 MiB'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_at_start(client, pool, settings, sentence):
    with pytest.raises(BadStoreConfiguration, match=sentence):
        make_store(client, pool, rados_connect_timeout=5, **settings)


def test_a_key_that_is_wrong_is_told_at_start(own, client, pool):
    key = client.keyring.read_text().split()[3]
    client.keyring.write_text(client.keyring.read_text().replace(key, key[:8] + 'A' * 30 + '=='))
    with pytest.raises(BadStoreConfiguration, match='is missing or has another key') as error:
        make_store(client, pool, rados_connect_timeout=5)
    assert key[:8] not in str(error.value)


def test_a_connection_is_made_anew_now_and_then(driver):
    works(driver)
    first = driver._cluster._link
    assert ceph_driver.LIFETIME == 600
    works(driver)
    assert driver._cluster._link is first
    first._until = time.monotonic()
    works(driver)
    assert driver._cluster._link is not first
