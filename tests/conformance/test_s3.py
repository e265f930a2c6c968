# SPDX-License-Identifier: Apache-2.0
"""The s3 driver against the kit, on a real radosgw: HTTP and HTTPS, threads and green threads."""

from __future__ import annotations

import uuid

import pytest

from glance_lite.testing.stores import StoreConformance
from store_drivers.s3 import S3Store
from tests.backends import radosgw
from tests.conformance import green
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
    values = {opt.dest: opt.default for opt in S3Store.opts} | {
        's3_store_host': gateway.http,
        's3_store_access_key': user.access,
        's3_store_secret_key': user.secret,
        's3_store_bucket': f'images{uuid.uuid4().hex[:12]}',
        's3_store_create_bucket_on_put': True,
        's3_store_large_object_chunk_size': 5,
        **settings,
    }
    driver = S3Store('s3', values)
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
