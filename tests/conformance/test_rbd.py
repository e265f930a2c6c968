# SPDX-License-Identifier: Apache-2.0
"""The rbd driver against the kit, on a real Ceph, under threads and green threads."""

from __future__ import annotations

import pytest

from glance_lite.testing.stores import StoreConformance
from store_drivers.rbd import RbdStore
from tests.backends import ceph
from tests.conformance import green
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
    values = {opt.dest: opt.default for opt in RbdStore.opts} | {
        'rbd_store_ceph_conf': client.conf,
        'rbd_store_user': client.user,
        'rbd_store_pool': pool,
        'rados_connect_timeout': 30,
        **settings,
    }
    driver = RbdStore('rbd', values)
    driver.start()
    return driver


@pytest.fixture(scope='module')
def store(client, pool):
    return make_store(client, pool, rbd_store_chunk_size=1)


class TestRbd(StoreConformance):
    """With objects so small that there are several."""

    large = full(5 * MIB + 1, 1024 * MIB + 1)
    hostile = (
        'rbd://a/b', 'rbd://a/b/c', 'rbd://a/b/c/d/e', 'rbd://a/b//d', f'rbd://{FSID}/images/a/snap',
        'rbd://', 'rbd://a%00b/c/d/e', 'rbd://a\nb', 'rbd://a@b', 'RBD://a',
    )  # fmt: skip

    @pytest.fixture
    def driver(self, store):
        yield store
        for url, _, _ in store.list():
            store.delete(store.parse(url))


def test_under_eventlet():
    green.passes(__file__, 'TestRbd')
