# SPDX-License-Identifier: Apache-2.0
"""The swift driver when its Swift fails: what it says, what is left, and that it recovers."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid

import pytest

from glance_lite.store import (
    BadStoreConfiguration,
    LeftBehind,
    ObjectExists,
    ObjectNotFound,
    StoreDenied,
    StoreFull,
    StoreUnavailable,
)
from glance_lite.testing.faults import Broken, Source
from glance_lite.testing.stores import pattern
from store_drivers import swift_account
from tests.backends import keystone, swift
from tests.backends.swift_stores import keystone_settings, make_store
from tests.backends.wire import Wire
from tests.faults.uploader import kill_uploading

pytestmark = pytest.mark.peer

#: what the options for sizes count in; a segment
MB = 1000 * 1024
#: four segments
SIZE = 3 * MB + 500
#: an upload is in its third segment
AT = 2 * MB + 100_000


@pytest.fixture(scope='module')
def server():
    return swift.swift('tempauth')


@pytest.fixture(scope='module')
def own():
    """A server to hurt."""
    with swift.Alone(tls=True) as own:
        yield own


@pytest.fixture(scope='module')
def driver_of_own(own):
    return make_store(own.server, swift_store_cacert=own.server.ca)


@pytest.fixture
def wire(server):
    with Wire('127.0.0.1', server.port) as wire:
        yield wire


@pytest.fixture
def quick(monkeypatch):
    """Seconds, where an operator waits for a minute."""
    monkeypatch.setattr(swift_account, 'READ', 2.0)
    monkeypatch.setattr(swift_account, 'ATTEMPTS', 2)
    monkeypatch.setattr(swift_account, 'PAUSE', 0.1)


@pytest.fixture
def name():
    return str(uuid.uuid4())


def behind(wire, server, **settings):
    """A driver for which all of the server is at the other end of the wire."""
    address = f'http://127.0.0.1:{wire.port}'
    return make_store(
        server,
        swift_store_auth_address=f'{address}/auth/v1.0',
        swift_store_endpoint=f'{address}/v1/AUTH_test',
        **settings,
    )


def interrupted(act, at=AT, size=SIZE, sized=True):
    """A source that does something when so many bytes have been read."""
    return Source(pattern(size), stall_at=at, stall=act, sized=sized)


def read(driver, url):
    return b''.join(driver.get(driver.parse(url)))


def sweep(driver, name):
    """What the sweeper does for a name of an upload that failed."""
    for url in driver.locate(name):
        driver.delete(driver.parse(url))


def left(driver):
    """Names of objects, claims and segments, as somebody else is told."""
    container = driver.settings['swift_store_container']
    return swift.swift('tempauth').admin('GET', f'AUTH_test/{container}').text.split()


def works(driver, name):
    url = driver.add(name, Source(b'data'), 4)
    assert read(driver, url) == b'data'
    driver.delete(driver.parse(url))
    assert left(driver) == []


@contextlib.contextmanager
def fails(kind, driver):
    """With an error that tells of the store, and of no credential. Within a time."""
    started = time.monotonic()
    with pytest.raises(kind) as error:
        yield
    assert time.monotonic() - started < 60
    assert 'swift' in str(error.value)
    assert driver.settings['swift_store_key'] not in str(error.value)
    assert 'AUTH_tk' not in str(error.value)


def test_a_server_that_dies_in_an_upload(quick, own, driver_of_own, name):
    driver = driver_of_own
    works(driver, name)
    try:
        with fails(LeftBehind, driver):
            driver.add(name, interrupted(own.stop), SIZE)
    finally:
        own.start()
    assert [url for url, _, _ in driver.list()] == list(driver.locate(name))
    sweep(driver, name)
    works(driver, name)


def test_a_server_that_dies_in_a_download(quick, own, driver_of_own, name):
    driver = driver_of_own
    size = 11 * MB
    url = driver.add(name, Source(pattern(size)), size)
    chunks = driver.get(driver.parse(url))
    next(chunks)
    own.stop()
    try:
        with fails(StoreUnavailable, driver):
            list(chunks)
        for ask in (driver.get, driver.size, driver.delete):
            with fails(StoreUnavailable, driver):
                ask(driver.parse(url))
        for _ in range(2):
            with fails(StoreUnavailable, driver):
                driver.start()
    finally:
        own.start()
    driver.start()
    assert read(driver, url) == pattern(size)
    sweep(driver, name)
    assert left(driver) == []


@pytest.mark.parametrize('buffered', [False, True])
def test_tokens_that_end_in_an_upload(own, name, tmp_path, buffered):
    """The request that is under way goes on; for the next one there is another token."""
    buffer = {'swift_buffer_on_upload': True, 'swift_upload_buffer_dir': str(tmp_path)}
    driver = make_store(
        own.server, swift_store_cacert=own.server.ca, **(buffer if buffered else {})
    )

    def forget():
        # The server must have seen the beginning of the request.
        time.sleep(0 if buffered else 1.5)
        own.server.forget_tokens()

    url = driver.add(name, interrupted(forget), SIZE)
    own.server.forget_tokens()
    assert read(driver, url) == pattern(SIZE)
    own.server.forget_tokens()
    sweep(driver, name)
    assert left(driver) == []


def test_a_network_that_is_cut_in_an_upload(quick, wire, server, name):
    driver = behind(wire, server)
    with fails(LeftBehind, driver):
        driver.add(name, interrupted(wire.cut, sized=False), None)
    wire.heal()
    sweep(driver, name)
    works(driver, name)


@pytest.mark.parametrize('again', [0, 1])
def test_a_network_that_is_cut_in_a_download(quick, wire, server, name, again):
    driver = behind(wire, server, swift_store_retry_get_count=again)
    size = 11 * MB
    url = driver.add(name, Source(pattern(size)), size)
    chunks = driver.get(driver.parse(url))
    first = next(chunks)
    wire.cut()
    if again:
        threading.Timer(3, wire.heal).start()
        assert first + b''.join(chunks) == pattern(size)
    else:
        with fails(StoreUnavailable, driver):
            list(chunks)
    chunks.close()
    wire.heal()
    sweep(driver, name)
    works(driver, name)


def test_connections_that_break_in_an_upload(wire, server, name, tmp_path):
    """What has been read cannot be read again, unless it is in a file."""

    def reset():
        wire.drop()
        wire.heal()

    driver = behind(wire, server)
    with fails(StoreUnavailable, driver):
        driver.add(name, interrupted(reset), SIZE)
    assert left(driver) == []
    driver = behind(
        wire, server, swift_buffer_on_upload=True, swift_upload_buffer_dir=str(tmp_path)
    )

    def reset_later():
        wire.slow(MB)
        threading.Timer(0.5, reset).start()

    url = driver.add(name, interrupted(reset_later), SIZE)
    assert read(driver, url) == pattern(SIZE)
    sweep(driver, name)
    assert left(driver) == [] and list(tmp_path.iterdir()) == []


def test_a_slow_server(wire, server, name):
    driver = behind(wire, server)
    wire.slow(2 * MB)
    url = driver.add(name, Source(pattern(SIZE)), SIZE)
    assert read(driver, url) == pattern(SIZE)
    sweep(driver, name)
    assert left(driver) == []


def test_an_answer_that_is_lost(quick, wire, server, name, monkeypatch):
    """What was done is found out, and is neither taken for a failure nor for another's."""
    driver = behind(wire, server)

    def lose():
        wire.mute()
        threading.Timer(2.5, wire.heal).start()

    url = driver.add(name, interrupted(lose, at=0, size=1000), 1000)
    assert read(driver, url) == pattern(1000)
    sweep(driver, name)
    send, lost = swift_account.Client.send, []

    def losing(client, method, url, **parameters):
        if 'X-Object-Manifest' in parameters.get('headers', {}) and not lost:
            lost.append(url)
            lose()
        return send(client, method, url, **parameters)

    monkeypatch.setattr(swift_account.Client, 'send', losing)
    url = driver.add(name, Source(pattern(SIZE)), SIZE)
    assert lost and read(driver, url) == pattern(SIZE)
    sweep(driver, name)
    assert left(driver) == []


@pytest.mark.parametrize('sized', [True, False])
def test_a_quota_that_is_exhausted(server, name, sized):
    driver = make_store(server)
    works(driver, name)
    container = driver.settings['swift_store_container']
    server.admin('POST', f'AUTH_test/{container}', X_Container_Meta_Quota_Bytes=str(MB + MB // 2))
    with fails(StoreFull, driver):
        driver.add(name, Source(pattern(SIZE), sized=sized), SIZE if sized else None)
    assert left(driver) == []
    if sized:
        with fails(StoreFull, driver):
            driver.add(name, Source(pattern(2 * MB)), 2 * MB)
    works(driver, name)


def test_credentials_that_are_revoked_in_an_upload(name):
    cloud = keystone.cloud()
    region, server = cloud.region(), swift.swift('keystone')
    swift.serve(server, region)
    account = region.user('images', roles=(swift.OPERATOR,))
    driver = make_store(server, **keystone_settings(region, account))
    url, other = driver.add(str(uuid.uuid4()), Source(b'data'), 4), str(uuid.uuid4())

    def may(enabled):
        cloud.admin.identity.update_user(account.user_id, is_enabled=enabled)

    with fails(LeftBehind, driver):
        driver.add(name, interrupted(lambda: may(False)), SIZE)
    for ask in (driver.get, driver.size, driver.delete):
        with fails(StoreDenied, driver):
            ask(driver.parse(url))
    with fails(LeftBehind, driver):  # as far as we know
        driver.add(other, Source(b'data'), 4)
    may(True)
    time.sleep(1)  # Keystone refuses tokens of the second in which others were revoked
    sweep(driver, name)
    with pytest.raises(ObjectNotFound):
        sweep(driver, other)
    assert [found for found, _, _ in driver.list()] == [url]
    driver.delete(driver.parse(url))
    assert list(driver.list()) == []


def test_a_process_that_is_killed(server, name):
    """It leaves a claim and segments; both are found by the name, and by a list."""
    driver = make_store(server)
    works(driver, name)
    kill_uploading(driver, name, 5_000_000, 2_500_000)
    assert len(left(driver)) >= 3
    assert [url for url, _, _ in driver.list()] == list(driver.locate(name))
    with fails(ObjectExists, driver):
        driver.add(name, Source(b'data'), 4)
    sweep(driver, name)
    works(driver, name)


def test_a_source_that_breaks_in_a_segment(server, name):
    """The server has been promised more than comes."""
    driver = make_store(server)
    for at in (10, AT):
        with pytest.raises(Broken):
            driver.add(name, Source(pattern(SIZE), fail_at=at), SIZE)
        assert left(driver) == []


# --- at start


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        ({'swift_store_key': 'wrong'}, 'default_swift_reference: .* refuses'),
        ({'swift_store_create_container_on_put': False}, 'swift_store_container: there is no'),
        ({'swift_store_cacert': '/nowhere.pem'}, 'swift_store_cacert: /nowhere.pem cannot be'),
    ],
)
def test_what_is_wrong_is_told_at_start(server, settings, sentence):
    with pytest.raises(BadStoreConfiguration, match=sentence) as error:
        make_store(server, **settings)
    assert not {'wrong', swift.TEMPAUTH['test:tester']} & set(str(error.value).split())


def test_a_certificate_of_nobody_is_told_at_start(own):
    with pytest.raises(BadStoreConfiguration, match='swift_store_cacert: the certificate'):
        make_store(own.server)
