# SPDX-License-Identifier: Apache-2.0
"""The vmware driver when its server fails: what it says, what is left, and that it recovers."""

from __future__ import annotations

import time
import uuid

import pytest

from glance_lite.store import (
    LeftBehind,
    ObjectExists,
    ObjectNotFound,
    StoreDenied,
    StoreUnavailable,
)
from glance_lite.testing.faults import Source
from glance_lite.testing.stores import pattern
from store_drivers import vsphere
from tests.backends import vcsim
from tests.backends.wire import Wire
from tests.conformance.test_vmware import make_store
from tests.faults.uploader import kill_uploading

pytestmark = pytest.mark.peer

MIB = 1024 * 1024
SIZE = 6 * MIB


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    with vcsim.running(tmp_path_factory.mktemp('vcsim') / 'own') as server:
        yield server


@pytest.fixture
def quick(monkeypatch):
    """Seconds, where an operator waits for a minute."""
    monkeypatch.setattr(vsphere, 'READ', 3.0)
    monkeypatch.setattr(vsphere, 'PATIENCE', 1.0)


@pytest.fixture
def wire(server):
    with Wire('127.0.0.1', server.port) as wire:
        yield wire


@pytest.fixture
def driver(server, wire):
    """It reaches its server over the wire."""
    driver = make_store(server, vmware_server_host=f'localhost:{wire.port}')
    yield driver
    wire.heal()
    for url, _, _ in driver.list():
        driver.delete(driver.parse(url))


def interrupted(act, size=SIZE):
    return Source(pattern(size), stall_at=size // 2, stall=act)


def read(driver, url):
    return b''.join(driver.get(driver.parse(url)))


def sweep(driver, name):
    """What the sweeper does for a name of an upload that failed."""
    for url in driver.locate(name):
        try:
            driver.delete(driver.parse(url))
        except ObjectNotFound:
            pass


def recovers(server, driver, name):
    """Nothing is left under the name, and it can be used."""
    sweep(driver, name)
    assert [found for found in server.files() if name in found] == []
    url = driver.add(name, Source(b'data'), 4)
    assert read(driver, url) == b'data'


@pytest.mark.parametrize(('how', 'sized'), [('cut', True), ('drop', False)])
def test_a_network_that_fails_in_an_upload(quick, server, wire, driver, how, sized):
    name = str(uuid.uuid4())
    started = time.monotonic()
    with pytest.raises(LeftBehind) as error:
        driver.add(name, interrupted(getattr(wire, how)), SIZE if sized else None)
    assert time.monotonic() - started < 30
    assert 'vsphere' in str(error.value) and vcsim.PASSWORD not in str(error.value)
    wire.heal()
    recovers(server, driver, name)


def test_a_network_that_is_back_at_once_leaves_nothing(server, wire, driver):
    """The upload fails, as its source cannot be read twice; what it left is removed by itself."""
    name = str(uuid.uuid4())

    def reset():
        wire.drop()
        wire.heal()

    with pytest.raises(StoreUnavailable) as error:
        driver.add(name, interrupted(reset), SIZE)
    assert not isinstance(error.value, LeftBehind)
    assert [found for found in server.files() if name in found] == []
    recovers(server, driver, name)


@pytest.mark.parametrize('how', ['cut', 'drop'])
def test_a_network_that_fails_in_a_download(quick, wire, driver, how):
    url = driver.add(str(uuid.uuid4()), Source(pattern(SIZE)), SIZE)
    chunks = driver.get(driver.parse(url))
    next(chunks)
    getattr(wire, how)()
    with pytest.raises(StoreUnavailable):
        list(chunks)
    chunks.close()
    for ask in (driver.size,) if how == 'cut' else (driver.get, driver.size, driver.delete):
        with pytest.raises(StoreUnavailable):
            ask(driver.parse(url))
    wire.heal()
    assert read(driver, url) == pattern(SIZE)


def test_a_server_that_hangs(quick, server, driver):
    url = driver.add(str(uuid.uuid4()), Source(b'data'), 4)
    server.freeze()
    try:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            driver.check()
        assert time.monotonic() - started < 10
    finally:
        server.thaw()
    driver.check()
    assert read(driver, url) == b'data'


def test_a_slow_server(wire, driver):
    wire.slow(2 * MIB)
    url = driver.add(str(uuid.uuid4()), Source(pattern(SIZE // 2)), SIZE // 2)
    assert read(driver, url) == pattern(SIZE // 2)


def test_a_datastore_that_is_full(tmp_path):
    """This server breaks off, or takes the whole upload and keeps a part: the driver looks."""
    most = SIZE - 64 * 1024
    with vcsim.running(tmp_path / 'small', most=most) as server:
        driver = make_store(server)
        kept = f'kept {most} of'
        # Of much more it breaks off, unless all has come before it looks.
        for size, sentence in ((2 * SIZE, f'failed|{kept}'), (SIZE, f'{kept} {SIZE} bytes')):
            for sized in (True, False):
                name = str(uuid.uuid4())
                with pytest.raises(StoreUnavailable, match=sentence):
                    driver.add(name, Source(pattern(size), sized=sized), size if sized else None)
                assert [found for found in server.files() if name in found] == []
        recovers(server, driver, name)


def test_a_password_that_is_changed_in_an_upload(server, driver):
    name = str(uuid.uuid4())

    def revoke():
        server.control('password', to='other')
        server.control('expire')

    try:
        with pytest.raises(LeftBehind) as error:
            driver.add(name, interrupted(revoke), SIZE)
        assert vcsim.PASSWORD not in str(error.value)
        with pytest.raises(StoreDenied):
            driver.check()
    finally:
        server.control('password', to=vcsim.PASSWORD)
    recovers(server, driver, name)


def test_a_server_that_is_down_does_not_keep_the_service_down(quick, server, wire, driver):
    wire.drop()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            driver.start()
    wire.heal()
    driver.start()
    recovers(server, driver, str(uuid.uuid4()))


def test_a_process_that_is_killed(server):
    """It leaves a claim and a part; both are among what is removed by the name."""
    driver = make_store(server)
    name = str(uuid.uuid4())
    kill_uploading(driver, name, 4 * MIB, 2 * MIB)
    left = {found.rpartition('/')[2] or found.split('/')[-2] for found in server.files()}
    assert {f'{name}.part', f'{name}.claim'} <= left
    with pytest.raises(ObjectExists):
        driver.add(name, Source(b'data'), 4)
    recovers(server, driver, name)
