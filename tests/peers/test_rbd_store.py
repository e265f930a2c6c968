# SPDX-License-Identifier: Apache-2.0
"""The rbd driver and glance_store's on the same pool: what one has stored the other reads."""

from __future__ import annotations

import contextlib
import uuid

import pytest

from glance_lite.store import BadStoreUri, InUse, ObjectExists, ObjectNotFound, StillNeeded
from glance_lite.testing.faults import Source
from glance_lite.testing.stores import pattern
from tests.backends import ceph
from tests.conformance.test_rbd import make_store
from tests.peers.published import Published, Refused

pytestmark = pytest.mark.peer

MIB = 1024 * 1024
SIZES = (0, 1, 5 * MIB + 1)


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


@pytest.fixture(scope='module', params=['alone', 'several and thin'])
def both(request, client, pool):
    """Our driver and theirs, as the only store and as one of several."""
    rest = request.param != 'alone'
    ours = make_store(client, pool, rbd_store_chunk_size=1, rbd_thin_provisioning=rest)
    with Published('rbd', dict(ours.settings), several=rest) as theirs:
        yield ours, theirs


@pytest.fixture
def ours(both):
    ours, _ = both
    yield ours
    left = [url for url, _, _ in ours.list()]
    for url in left:
        remove(ours, url)
    assert left == []


@pytest.fixture
def theirs(both):
    return both[1]


@pytest.fixture
def name():
    return str(uuid.uuid4())


@pytest.fixture
def opened(cluster, pool):
    """The pool, for somebody who may do anything."""
    with cluster.connected() as connection, connection.open_ioctx(pool) as opened:
        yield opened


@pytest.fixture
def cloned(cluster, pool):
    """While a block with it runs there is a clone of an image: of `version` 1, which needs its
    snapshot to be protected, or 2, which does not."""
    import rbd

    @contextlib.contextmanager
    def cloned(name, version):
        clone = f'clone-{uuid.uuid4()}'
        with cluster.connected() as connection:
            connection.conf_set('rbd_default_clone_format', str(version))
            with connection.open_ioctx(pool) as opened:
                rbd.RBD().clone(opened, name, 'snap', opened, clone)
                try:
                    yield
                finally:
                    rbd.RBD().remove(opened, clone)

    return cloned


def read(driver, url):
    return b''.join(driver.get(driver.parse(url)))


def remove(driver, url):
    driver.delete(driver.parse(url))


def in_trash(opened):
    import rbd

    return [entry['name'] for entry in rbd.RBD().trash_list(opened)]


@pytest.mark.parametrize('size', SIZES)
def test_what_they_store_we_read_size_and_delete(ours, theirs, name, size):
    data = pattern(size)
    url = theirs.add(name, data, 'rbd')
    assert (url,) == ours.locate(name)
    assert [(found, length) for found, length, _ in ours.list()] == [(url, size)]
    assert read(ours, url) == data and ours.size(ours.parse(url)) == size
    with pytest.raises(ObjectExists):
        ours.add(name, Source(b'other'), 5)
    remove(ours, url)
    with pytest.raises(Refused, match='NotFound'):
        theirs.size(url)


@pytest.mark.parametrize('sized', [True, False])
@pytest.mark.parametrize('size', SIZES)
def test_what_we_store_they_read_size_and_delete(ours, theirs, name, size, sized):
    data = pattern(size)
    url = ours.add(name, Source(data, sized=sized), size if sized else None)
    assert theirs.get(url) == data and theirs.size(url) == size
    with pytest.raises(Refused, match='Duplicate'):
        theirs.add(name, b'other', 'rbd')
    theirs.delete(url)
    with pytest.raises(ObjectNotFound):
        ours.size(ours.parse(url))


def test_urls_of_times_with_one_pool(ours, theirs, opened, name):
    """They name the device alone, and what is read is not its snapshot, if it has one."""
    import rbd

    rbd.RBD().create(opened, name, 4, old_format=False, features=rbd.RBD_FEATURE_LAYERING)
    with rbd.Image(opened, name) as image:
        image.write(b'data', 0)
    old = f'rbd://{name}'
    assert read(ours, old) == theirs.get(old) == b'data'
    assert ours.size(ours.parse(old)) == theirs.size(old) == 4
    remove(ours, old)
    with pytest.raises(Refused, match='NotFound'):
        theirs.size(old)
    url = ours.add(name, Source(b'data'), 4)
    assert read(ours, old) == theirs.get(old) == b'data'
    remove(ours, old)
    with pytest.raises(Refused, match='NotFound'):
        theirs.size(url)
    assert in_trash(opened) == []


def test_what_was_stored_before_the_pool_was_changed(client, cluster, pool, theirs):
    """A download was refused, and a delete left the data and said nothing."""
    url = theirs.add(str(uuid.uuid4()), b'data', 'rbd')
    elsewhere = url.replace(url.split('/')[2], str(uuid.uuid4()))
    with cluster.pool() as new:
        cluster.allow(client, pool, new)
        now = make_store(client, new)
        for old in (url, elsewhere):
            assert read(now, old) == b'data' and now.size(now.parse(old)) == 4
            assert not now.owns(old)
        remove(now, url)
        with pytest.raises(Refused, match='NotFound'):
            theirs.size(url)
        for verb in (now.size, now.delete, now.get):
            with pytest.raises(BadStoreUri, match='rbd has no pool gone'):
                verb(now.parse(url.replace(pool, 'gone')))
        cluster.allow(client, pool)


def test_neither_writes_over_an_upload_of_the_other(ours, theirs, name):
    def attempt():
        with pytest.raises(Refused, match='Duplicate'):
            theirs.add(name, b'other', 'rbd')

    data = pattern(5 * MIB)
    url = ours.add(name, Source(data, stall_at=3 * MIB, stall=attempt), len(data))
    assert read(ours, url) == data
    remove(ours, url)


@pytest.mark.parametrize('whose', ['ours', 'theirs'])
def test_what_a_clone_needs_is_in_use_for_both(ours, theirs, cloned, name, whose):
    if whose == 'ours':
        url = ours.add(name, Source(b'data'), 4)
    else:
        url = theirs.add(name, b'data', 'rbd')
    with cloned(name, 1):
        with pytest.raises(InUse) as error:
            remove(ours, url)
        assert not isinstance(error.value, StillNeeded)
        with pytest.raises(Refused, match='InUseByStore'):
            theirs.delete(url)
        assert read(ours, url) == theirs.get(url) == b'data'
    if whose == 'ours':
        theirs.delete(url)
    else:
        remove(ours, url)


@pytest.mark.parametrize('whose', ['ours', 'theirs'])
def test_what_a_clone_of_the_newer_kind_needs_is_not_left_in_the_trash(
    ours, theirs, opened, cloned, name, whose
):
    """Both move it there. They leave it there; we take it up once more, theirs as well."""
    url = theirs.add(name, b'data', 'rbd')
    with cloned(name, 2):
        if whose == 'theirs':
            theirs.delete(url)
        with pytest.raises(StillNeeded):
            remove(ours, url)
        with pytest.raises(Refused, match='NotFound'):
            theirs.get(url)
        with pytest.raises(ObjectNotFound):
            read(ours, url)
        with pytest.raises(StillNeeded):
            remove(ours, url)
        assert in_trash(opened) == [name]
    remove(ours, url)
    assert in_trash(opened) == []
    with pytest.raises(ObjectNotFound):
        remove(ours, url)
