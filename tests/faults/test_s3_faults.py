# SPDX-License-Identifier: Apache-2.0
"""The s3 driver when its radosgw fails: what it says, what is left, and that it recovers."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid

import pytest

from glance_lite.store import (
    BadStoreConfiguration,
    LeftBehind,
    ObjectExists,
    StoreDenied,
    StoreFull,
    StoreUnavailable,
)
from glance_lite.testing.faults import Source
from glance_lite.testing.stores import pattern
from store_drivers import s3_bucket
from tests.backends import radosgw
from tests.backends.wire import Wire
from tests.conformance.test_s3 import make_store
from tests.faults.uploader import kill_uploading

pytestmark = pytest.mark.peer

MIB = 1024 * 1024
#: three parts
SIZE = 11 * MIB


@pytest.fixture(scope='module')
def gateway():
    return radosgw.gateway()


@pytest.fixture(scope='module')
def user(gateway):
    with gateway.user() as user:
        yield user


@pytest.fixture(scope='module')
def own(user):
    with radosgw.Alone() as own:
        yield own
        stop(own)


@pytest.fixture
def victim(gateway):
    """A user whom a test may hurt."""
    with gateway.user() as user:
        yield user


@pytest.fixture
def quick(monkeypatch):
    """Seconds, where an operator waits for a minute."""
    monkeypatch.setattr(s3_bucket, 'READ', 3.0)
    monkeypatch.setattr(s3_bucket, 'ATTEMPTS', 2)


@pytest.fixture
def wire(gateway):
    with Wire('127.0.0.1', int(gateway.http.rpartition(':')[2])) as wire:
        yield wire


def stop(own):
    """It breaks its connections and is gone.

    Not killed: for half a minute the others would wait for it before they make a bucket.
    """
    pid = own._server['server_pid']
    os.kill(pid, signal.SIGTERM)
    while os.path.exists(f'/proc/{pid}'):
        time.sleep(0.05)
    own.stop()


def behind(wire, gateway, user, **settings):
    return make_store(gateway, user, s3_store_host=f'http://127.0.0.1:{wire.port}', **settings)


def interrupted(at, act, size=SIZE):
    """A source that does something when so many bytes have been read."""
    return Source(pattern(size), stall_at=at, stall=act)


def read(driver, url):
    return b''.join(driver.get(driver.parse(url)))


def sweep(driver, name):
    """What the sweeper does for a name of an upload that failed."""
    for url in driver.locate(name):
        driver.delete(driver.parse(url))


def works(driver, name):
    url = driver.add(name, Source(b'data'), 4)
    assert read(driver, url) == b'data'
    driver.delete(driver.parse(url))
    assert list(driver.list()) == []


@pytest.mark.parametrize('sized', [True, False])
def test_a_server_that_dies_in_an_upload(own, user, sized):
    driver = make_store(own.gateway, user)
    name = str(uuid.uuid4())
    works(driver, name)
    try:
        with pytest.raises(LeftBehind):
            driver.add(name, interrupted(7 * MIB, lambda: stop(own)), SIZE if sized else None)
    finally:
        own.start()
    assert [url for url, _, _ in driver.list()] == list(driver.locate(name))
    sweep(driver, name)
    works(driver, name)


def test_a_server_that_dies_in_a_download(own, user):
    driver = make_store(own.gateway, user)
    url = driver.add(str(uuid.uuid4()), Source(pattern(SIZE)), SIZE)
    chunks = driver.get(driver.parse(url))
    next(chunks)
    stop(own)
    try:
        with pytest.raises(StoreUnavailable):
            list(chunks)
        for ask in (driver.get, driver.size, driver.delete):
            with pytest.raises(StoreUnavailable):
                ask(driver.parse(url))
    finally:
        own.start()
    assert read(driver, url) == pattern(SIZE)


def test_a_network_that_is_cut_in_an_upload(quick, wire, gateway, user):
    driver = behind(wire, gateway, user)
    name = str(uuid.uuid4())
    started = time.monotonic()
    with pytest.raises(LeftBehind):
        driver.add(name, interrupted(7 * MIB, wire.cut), SIZE)
    assert time.monotonic() - started < 60
    wire.heal()
    sweep(driver, name)
    works(driver, name)


def test_a_network_that_is_cut_in_a_download(quick, wire, gateway, user):
    driver = behind(wire, gateway, user)
    url = driver.add(str(uuid.uuid4()), Source(pattern(SIZE)), SIZE)
    chunks = driver.get(driver.parse(url))
    next(chunks)
    wire.cut()
    with pytest.raises(StoreUnavailable):
        list(chunks)
    chunks.close()
    wire.heal()
    assert read(driver, url) == pattern(SIZE)


def test_connections_that_break_once_are_made_again(wire, gateway, user):
    driver = behind(wire, gateway, user)

    def reset():
        wire.drop()
        wire.heal()

    url = driver.add(str(uuid.uuid4()), interrupted(7 * MIB, reset), SIZE)
    assert read(driver, url) == pattern(SIZE)


def test_a_slow_server(wire, gateway, user):
    driver = behind(wire, gateway, user)
    wire.slow(4 * MIB)
    url = driver.add(str(uuid.uuid4()), Source(pattern(6 * MIB)), 6 * MIB)
    assert read(driver, url) == pattern(6 * MIB)


@pytest.mark.parametrize(
    ('request_', 'size'), [('PutObject', 1000), ('CompleteMultipartUpload', SIZE)]
)
def test_an_answer_that_is_lost(quick, wire, gateway, user, request_, size):
    """What was done is found out, and is neither taken for a failure nor for another's."""
    driver = behind(wire, gateway, user)
    works(driver, str(uuid.uuid4()))
    events = driver._bucket._client.meta.events
    lost = []

    def lose(request, **kwargs):
        if not lost and (size == SIZE or b'upload' in str(request.headers).encode()):
            lost.append(request.url)
            wire.mute()
            threading.Timer(1, wire.heal).start()

    events.register(f'before-send.s3.{request_}', lose)
    url = driver.add(str(uuid.uuid4()), Source(pattern(size)), size)
    assert lost
    assert read(driver, url) == pattern(size)
    assert [found for found, _, _ in driver.list()] == [url]


def test_a_quota_that_is_exhausted(gateway, victim):
    # Before the gateway has ever seen the user: it remembers for a while what it has seen.
    scope = ('--quota-scope=bucket', f'--uid={victim.name}')
    gateway.admin('quota', 'set', *scope, f'--max-size={6 * MIB}')
    gateway.admin('quota', 'enable', *scope)
    driver = make_store(gateway, victim)
    name = str(uuid.uuid4())
    works(driver, name)
    # Parts that are on their way together do not count yet: the seventh is the one too many.
    size = 33 * MIB
    for sized in (True, False):
        with pytest.raises(StoreFull) as error:
            driver.add(name, Source(pattern(size), sized=sized), size if sized else None)
        assert 's3' in str(error.value)
        assert list(driver.list()) == []
    works(driver, name)


def test_keys_that_are_revoked_in_an_upload(gateway, victim):
    driver = make_store(gateway, victim)
    name = str(uuid.uuid4())
    url = driver.add(name, Source(b'data'), 4)
    other = str(uuid.uuid4())

    def revoke():
        gateway.revoke(victim)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                driver.check()
            except StoreDenied:
                return
            time.sleep(0.2)

    with pytest.raises(LeftBehind) as error:
        driver.add(other, interrupted(7 * MIB, revoke), SIZE)
    for ask in (driver.get, driver.size, driver.delete):
        with pytest.raises(StoreDenied) as denied:
            ask(driver.parse(url))
        assert victim.access not in str(denied.value) and victim.secret not in str(denied.value)
    assert victim.access not in str(error.value)
    keys = (f'--access-key={victim.access}', f'--secret-key={victim.secret}')
    gateway.admin('key', 'create', f'--uid={victim.name}', *keys)
    sweep(driver, other)
    assert [found for found, _, _ in driver.list()] == [url]


def test_a_process_that_is_killed(gateway, user):
    """It leaves a claim and parts; both are found by the name, and by a list."""
    driver = make_store(gateway, user)
    name = str(uuid.uuid4())
    works(driver, name)
    kill_uploading(driver, name, 20 * MIB, 9 * MIB)
    assert len(list(driver._uploads())) == 1
    with pytest.raises(ObjectExists):
        driver.add(name, Source(b'data'), 4)
    sweep(driver, name)
    assert list(driver._uploads()) == []
    works(driver, name)


# --- at start


def test_a_server_that_is_down_does_not_keep_the_service_down(own, user):
    driver = make_store(own.gateway, user)
    stop(own)
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                driver.start()
    finally:
        own.start()
    driver.start()
    works(driver, str(uuid.uuid4()))


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        ({'s3_store_secret_key': 'wrong'}, 's3_store_access_key: the server refuses the keys'),
        ({'s3_store_create_bucket_on_put': False}, 's3_store_bucket: there is no bucket'),
        ({'s3_store_cacert': '/nowhere.pem'}, 's3_store_cacert: /nowhere.pem cannot be read'),
    ],
)
def test_what_is_wrong_is_told_at_start(gateway, user, settings, sentence):
    with pytest.raises(BadStoreConfiguration, match=sentence) as error:
        make_store(gateway, user, **settings)
    assert user.secret not in str(error.value)


def test_a_certificate_of_nobody_is_told_at_start(gateway, user):
    with pytest.raises(BadStoreConfiguration, match='s3_store_cacert: the certificate'):
        make_store(gateway, user, s3_store_host=gateway.https)
