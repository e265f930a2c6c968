# SPDX-License-Identifier: Apache-2.0
"""The s3 driver against the kit, on a real radosgw: HTTP and HTTPS, threads and green threads."""

from __future__ import annotations

import hashlib
import socket
import tracemalloc
import uuid
from urllib.parse import urlsplit

import pytest

from glance_lite.store import ObjectExists, ObjectNotFound
from glance_lite.testing.faults import Source
from glance_lite.testing.stores import StoreConformance, make_driver, pattern
from store_drivers import s3
from store_drivers.memory import MemoryStore
from store_drivers.s3 import S3Store
from tests.backends import radosgw
from tests.conformance import green
from tests.conformance.zeros import Zeros
from tests.sizes import full

pytestmark = pytest.mark.peer

MIB = 1024 * 1024


@pytest.fixture(scope='module')
def gateway():
    return radosgw.gateway()


@pytest.fixture(scope='module')
def user(gateway):
    with gateway.user() as user:
        yield user


def make_store(gateway, user, **settings):
    """A driver with a bucket of its own, whose parts are as small as S3 lets them be."""
    values = {
        's3_store_host': gateway.http,
        's3_store_access_key': user.access,
        's3_store_secret_key': user.secret,
        's3_store_bucket': f'images{uuid.uuid4().hex[:12]}',
        's3_store_create_bucket_on_put': True,
        's3_store_large_object_chunk_size': 5,
        **settings,
    }
    driver = make_driver(S3Store, 's3', **values)
    driver.start()
    return driver


@pytest.fixture(scope='class')
def store(request, gateway, user):
    return make_store(gateway, user, **request.cls.settings(gateway))


class Cases(StoreConformance):
    #: more than two parts
    large = full(11 * MIB + 1, 1024 * MIB + 1)

    @staticmethod
    def settings(gateway):
        return {}

    def elsewhere(self, driver):
        (url,) = driver.locate('name')
        host, bucket = url.split('/')[2:4]
        return url.replace(host, 'images.example'), url.replace(bucket, 'other-bucket')

    @pytest.fixture
    def driver(self, store):
        yield store
        for url, _, _ in store.list():
            store.delete(store.parse(url))


class TestS3(Cases):
    pass


class TestS3OverTls(Cases):
    large = 6 * MIB

    @staticmethod
    def settings(gateway):
        return {
            's3_store_host': gateway.https,
            's3_store_cacert': gateway.ca,
            's3_store_large_object_size': 0,
            's3_store_enable_data_integrity_protection': True,
            's3_store_response_checksum_validation': 'when_supported',
        }


def test_under_eventlet():
    green.passes(__file__, 'TestS3 and not Tls')


# --- what is S3's own


def test_memory_stays_flat_where_the_size_is_not_known(gateway, user):
    size = full(100, 1024) * MIB
    driver = make_store(gateway, user)
    driver.check()
    tracemalloc.start()
    try:
        url = driver.add(str(uuid.uuid4()), Zeros(size), None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Six parts on their way and one that is being read.
    assert peak < 45 * MIB
    assert driver.size(driver.parse(url)) == size
    driver.delete(driver.parse(url))


def test_the_bucket_may_be_in_the_name_of_the_host(gateway, user, monkeypatch):
    real = socket.getaddrinfo

    def resolve(host, *args, **kwargs):
        return real('127.0.0.1' if str(host).endswith('.localhost') else host, *args, **kwargs)

    monkeypatch.setattr(socket, 'getaddrinfo', resolve)
    host = f'http://localhost:{gateway.http.rpartition(":")[2]}'
    driver = make_store(gateway, user, s3_store_host=host, s3_store_bucket_url_format='virtual')
    asked = []
    driver._bucket._client.meta.events.register(
        'before-send.s3', lambda request, **kwargs: asked.append(request.url)
    )
    url = driver.add('name', Source(b'data'), 4)
    assert b''.join(driver.get(driver.parse(url))) == b'data'
    bucket = driver.settings['s3_store_bucket']
    assert {urlsplit(one).hostname for one in asked} == {f'{bucket}.localhost'}


@pytest.mark.parametrize('secure', [True, False])
def test_data_that_change_on_the_way_are_noticed(gateway, user, secure):
    """By TLS, or else by what is signed."""
    host = gateway.https if secure else gateway.http
    driver = make_store(gateway, user, s3_store_host=host, s3_store_cacert=gateway.ca)
    hashes = []

    def look(request, **kwargs):
        if request.method == 'PUT' and request.body:
            hashes.append(request.headers['X-Amz-Content-SHA256'].decode())

    driver._bucket._client.meta.events.register('before-send.s3', look)
    data = pattern(6 * MIB)
    for size in (1000, len(data)):
        url = driver.add(str(uuid.uuid4()), Source(data[:size]), size)
        driver.delete(driver.parse(url))
    parts = data[:1000], data[: 5 * MIB], data[5 * MIB :]
    signed = {hashlib.sha256(part).hexdigest() for part in parts}
    # The claim of the larger one has no bytes, and its hash is known without any work.
    hashes = {one for one in hashes if one != hashlib.sha256(b'').hexdigest()}
    assert hashes == ({'UNSIGNED-PAYLOAD'} if secure else signed)


@pytest.mark.parametrize('size', [0, 1000, 11 * MIB])
def test_the_server_copies(gateway, user, size, monkeypatch):
    """By one request, or by several where one may not be enough."""
    monkeypatch.setattr(s3, 'COPY_WHOLE', 6 * MIB)
    monkeypatch.setattr(s3, 'COPY_PART', 5 * MIB)
    one, other = make_store(gateway, user), make_store(gateway, user)
    url = one.add('name', Source(pattern(size)), size)
    copied = other.copy_from(one, one.parse(url), 'copy')
    assert b''.join(other.get(other.parse(copied))) == pattern(size)
    assert [(found, length) for found, length, _ in other.list()] == [(copied, size)]
    with pytest.raises(ObjectExists):
        other.copy_from(one, one.parse(url), 'copy')
    with pytest.raises(ObjectNotFound):
        other.copy_from(one, s3.Object(*one.locate('nothing')[0].split('/')[3:]), 'second')
    assert one.copy_from(one, one.parse(url), 'beside') == one.locate('beside')[0]
    assert [found for found, _, _ in other.list()] == [copied]


def test_there_is_no_copy_between_servers_or_users(gateway, user):
    driver = make_store(gateway, user)
    with gateway.user() as somebody:
        assert driver.copy_from(make_store(gateway, somebody), 'name', 'copy') is None
    assert driver.copy_from(MemoryStore('ram', {'memory_store_size': None}), 'n', 'copy') is None
    assert list(driver.list()) == []
