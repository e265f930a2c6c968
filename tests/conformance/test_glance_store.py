# SPDX-License-Identifier: Apache-2.0
"""Drivers of glance_store 5.7, as they are, against the kit."""

from __future__ import annotations

import uuid

import pytest

from glance_lite.errors import PluginError
from glance_lite.store import BadStoreConfiguration, BadStoreUri, Cap
from glance_lite.store_config import driver_class
from glance_lite.testing.faults import Source
from glance_lite.testing.stores import ReadOnlyConformance, StoreConformance, make_driver
from tests.backends import ceph, radosgw
from tests.backends import web as servers
from tests.conformance import green
from tests.conformance.test_stores import file_store
from tests.sizes import full

MIB = 1024 * 1024


def bridged(name, **settings):
    """A started store that runs a driver of glance_store."""
    driver = make_driver(driver_class(f'glance_store+{name}', 'test'), 'old', **settings)
    driver.start()
    return driver


class TestFile(StoreConformance):
    large = full(StoreConformance.large, 256 * 1024 * 1024 + 1)

    @pytest.fixture
    def driver(self, tmp_path):
        return bridged('file', filesystem_store_datadir=str(tmp_path / 'images'))


@pytest.fixture(scope='module')
def web(tmp_path_factory):
    with servers.running(tmp_path_factory.mktemp('web')) as web:
        yield web


@pytest.mark.peer
class TestHttp(ReadOnlyConformance):
    """Ranges are made by leaving out what comes before."""

    large = 3 * 1024 * 1024 + 1

    @pytest.fixture
    def driver(self, web):
        self.web = web
        return bridged('http', https_ca_certificates_file=str(web.authority))

    def add(self, driver, name, data, sized=True):
        self.web.put(name, data)
        return driver.parse(f'{self.web.http}/{name}')


@pytest.mark.peer
@pytest.mark.skipif(full(True, False), reason='It makes a client for each request')
class TestS3(StoreConformance):
    large = full(11 * MIB + 1, 64 * MIB + 1)

    @pytest.fixture(scope='class')
    @staticmethod
    def store():
        gateway = radosgw.gateway()
        with gateway.user() as user:
            yield bridged(
                's3',
                s3_store_host=gateway.http,
                s3_store_access_key=user.access,
                s3_store_secret_key=user.secret,
                s3_store_bucket=f'images{uuid.uuid4().hex[:12]}',
                s3_store_create_bucket_on_put=True,
                s3_store_bucket_url_format='path',
                s3_store_large_object_size=5,
                s3_store_large_object_chunk_size=5,
            )

    @pytest.fixture
    def driver(self, store):
        return store


@pytest.mark.peer
class TestRbd(StoreConformance):
    large = full(5 * MIB + 1, 64 * MIB + 1)

    @pytest.fixture(scope='class')
    @staticmethod
    def store(tmp_path_factory):
        cluster = ceph.cluster()
        with cluster.pool() as pool:
            client = cluster.client(tmp_path_factory.mktemp('ceph'), pool)
            yield bridged(
                'rbd',
                rbd_store_ceph_conf=client.conf,
                rbd_store_user=client.user,
                rbd_store_pool=pool,
                rbd_store_chunk_size=1,
            )

    @pytest.fixture
    def driver(self, store):
        return store


# --- beyond the kit


def test_the_kit_under_eventlet():
    green.passes(__file__, 'TestFile')


def test_cinder_is_loaded_and_configured():
    driver = bridged('cinder', cinder_mount_point_base='/var/lib/glance/elsewhere')
    assert driver.schemes == ('cinder',)
    assert Cap.WRITE in driver.caps
    options = {opt.dest for opt in driver.opts}
    assert {'cinder_volume_type', 'rootwrap_config', 'cinder_store_password'} <= options
    url = 'cinder://old/2c0a7a8e-3b5f-4c39-a0b5-0f9f2ba84d29'
    assert driver.parse(url) == url
    with pytest.raises(BadStoreUri):
        driver.parse('cinder://old/not-a-volume')


@pytest.mark.parametrize(
    ('kind', 'said'),
    [
        ('glance_store+nosuch', 'there is no driver nosuch in glance_store.drivers (known: cinder'),
        ('memory+swift', 'MemoryStore is one driver, and takes no +swift'),
    ],
)
def test_a_type_that_is_none_is_a_sentence(kind, said):
    with pytest.raises(PluginError) as caught:
        driver_class(kind, '[DEFAULT] enabled_backends')
    assert caught.value.message.startswith(f'[DEFAULT] enabled_backends: {said}')


def test_without_the_name_of_a_driver_there_is_none():
    kind = driver_class('glance_store', 'test')
    with pytest.raises(BadStoreConfiguration, match=r'for example glance_store\+swift'):
        kind('old', {})


def test_wrong_settings_are_a_sentence_without_secrets(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(BadStoreConfiguration, match=r'\[old\] file: ') as caught:
        bridged('file', filesystem_store_datadir=str(tmp_path / 'file' / 'below'))
    assert '\n' not in str(caught.value)


def test_data_of_a_glance_is_read_and_removed(tmp_path):
    """Two stores of one directory: the library's driver, and ours."""
    old = bridged('file', filesystem_store_datadir=str(tmp_path / 'images'))
    new = file_store(filesystem_store_datadir=str(tmp_path / 'images'))
    url = new.add('a-name', Source(b'data'), 4)
    assert b''.join(old.get(old.parse(url), 1, 2)) == b'at'
    old.delete(old.parse(url))
    url = old.add('a-name', Source(b'data'), 4)
    assert b''.join(new.get(new.parse(url))) == b'data'


def test_a_driver_has_a_long_name_too(tmp_path):
    name = 'glance.store.filesystem.Store'
    driver = bridged(name, filesystem_store_datadir=str(tmp_path / 'images'))
    assert driver.schemes == ('file', 'filesystem')


def test_urls_are_told_without_what_stands_before_an_at():
    driver = make_driver(driver_class('glance_store+s3', 'test'), 'old')
    assert driver.redact('s3://key:secret@host/bucket/a') == 's3://***@host/bucket/a'
    assert driver.redact('s3://host/bucket/a') == 's3://host/bucket/a'
