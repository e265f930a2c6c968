# SPDX-License-Identifier: Apache-2.0
"""The vmware driver against the kit, on govmomi's vCenter: threads and green threads."""

from __future__ import annotations

import re
import uuid

import pytest

from glance_lite.store import BadStoreConfiguration, ObjectExists, StoreDenied, StoreFull
from glance_lite.testing.faults import Source
from glance_lite.testing.stores import StoreConformance, make_driver, pattern
from store_drivers.vmware import VMwareStore
from tests.backends import vcsim
from tests.conformance import green
from tests.sizes import full

pytestmark = pytest.mark.peer

MIB = 1024 * 1024


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    with vcsim.running(tmp_path_factory.mktemp('vcsim') / 'own') as server:
        yield server


@pytest.fixture(autouse=True)
def _clean(request):
    """What no driver knows of is left neither."""
    server = request.getfixturevalue('server') if 'server' in request.fixturenames else None
    yield
    if server is not None:
        assert [name for name in server.files() if name.endswith(('.part', '.claim/'))] == []


def make_store(server, **settings):
    values = {
        'vmware_server_host': f'localhost:{server.port}',
        'vmware_server_username': vcsim.USER,
        'vmware_server_password': vcsim.PASSWORD,
        'vmware_ca_file': server.ca,
        'vmware_store_image_dir': f'/images/{uuid.uuid4().hex[:8]}',
        'vmware_datastores': [f'{vcsim.DATACENTER}:{vcsim.DATASTORES[0]}'],
        **settings,
    }
    driver = make_driver(VMwareStore, 'vsphere', **values)
    driver.start()
    return driver


@pytest.fixture(scope='class')
def store(request, server):
    return make_store(server, **request.cls.settings)


class Cases(StoreConformance):
    large = full(9 * MIB + 1, 1024 * MIB + 1)
    settings = {}
    hostile = ('vsphere://other/folder/openstack_glance/x?dcPath=DC0&dsName=LocalDS_0',)

    def elsewhere(self, driver):
        url = driver.locate('name')[0]
        return url.replace('/images/', '/vm/'), url.replace('dsName=', 'dsName=other')

    @pytest.fixture
    def driver(self, store):
        yield store
        for url, _, _ in store.list():
            store.delete(store.parse(url))


class TestVMware(Cases):
    pass


class TestSeveralDatastores(Cases):
    """Of one weight, so that whichever has more room at the moment is taken."""

    large = 2 * MIB
    settings = {'vmware_datastores': [f'DC0:{name}:10' for name in vcsim.DATASTORES]}


def test_under_eventlet():
    green.passes(__file__, 'TestVMware')


# --- which datastore


@pytest.fixture
def two(server):
    """A heavy one and a light one; each has the room that a test gives it."""
    first, second = vcsim.DATASTORES
    yield make_store(server, vmware_datastores=[f'DC0:{first}:1', f'DC0:{second}:20'])
    for name in vcsim.DATASTORES:
        server.control('free', datastore=name, bytes=str(1024**4))


def test_the_heaviest_with_room_is_taken(server, two):
    first, second = vcsim.DATASTORES
    for free, size, chosen in (
        ((9000, 5000), 4000, second),
        ((9000, 5000), 5000, second),
        ((9000, 5000), 5001, first),
        ((9000, 5000), None, second),
        ((9000, 0), None, first),
        ((9000, 0), 0, first),
    ):
        for name, bytes_ in zip(vcsim.DATASTORES, free, strict=True):
            server.control('free', datastore=name, bytes=str(bytes_))
        data = pattern(size or 0)
        url = two.add(str(uuid.uuid4()), Source(data, sized=size is not None), size)
        assert f'dsName={chosen}&dcPath=DC0' in url
        two.delete(two.parse(url))
    with pytest.raises(StoreFull):
        two.add(str(uuid.uuid4()), Source(pattern(9001)), 9001)
    assert list(two.list()) == []
    assert two.room()[1] == 9000


def test_of_equal_weight_that_with_most_room_is_taken(server):
    driver = make_store(server, vmware_datastores=[f'DC0:{name}' for name in vcsim.DATASTORES])
    for free in ((9000, 5000), (5000, 9000)):
        for name, bytes_ in zip(vcsim.DATASTORES, free, strict=True):
            server.control('free', datastore=name, bytes=str(bytes_))
        url = driver.add(str(uuid.uuid4()), Source(b'data'), 4)
        assert f'dsName={vcsim.DATASTORES[free.index(9000)]}&' in url
        driver.delete(driver.parse(url))


def test_a_name_is_taken_on_all_datastores(server, two):
    server.control('free', datastore=vcsim.DATASTORES[1], bytes='0')
    url = two.add('name', Source(b'data'), 4)
    server.control('free', datastore=vcsim.DATASTORES[1], bytes='9000')
    with pytest.raises(ObjectExists):
        two.add('name', Source(b'other'), 5)
    assert b''.join(two.get(two.parse(url))) == b'data'
    two.delete(two.parse(url))


def test_a_directory_that_is_removed_is_made_again(server):
    driver = make_store(server)
    directory = driver.settings['vmware_store_image_dir']
    (found,) = server.directory.glob(f'tmp/*{directory}')
    found.rmdir()
    url = driver.add('name', Source(b'data'), 4)
    assert b''.join(driver.get(driver.parse(url))) == b'data'
    driver.delete(driver.parse(url))


# --- sessions and certificates


def test_a_session_that_has_ended_is_renewed(server):
    driver = make_store(server)
    data = pattern(3 * MIB)
    url = driver.add('name', Source(data), len(data))
    key = driver.parse(url)
    verbs = [
        lambda: b''.join(driver.get(key)) == data,
        lambda: driver.size(key) == len(data),
        lambda: [found for found, _, _ in driver.list()] == [url],
        lambda: driver.check() is None,
        # In the middle of an upload; it is noticed at its end.
        lambda: (
            driver.delete(driver.parse(driver.add('long', expiring(server, data), len(data))))
            is None
        ),
        lambda: driver.delete(key) is None,
    ]
    for verb in verbs:
        server.control('expire')
        assert verb()
    assert list(driver.list()) == []


def expiring(server, data):
    return Source(data, stall_at=len(data) // 2, stall=lambda: server.control('expire'))


@pytest.mark.parametrize('form', [str, str.upper, lambda text: ':'.join(re.findall('..', text))])
def test_a_certificate_is_known_by_its_thumbprint(server, form):
    driver = make_store(server, vmware_ca_file=None, vmware_thumbprint=form(server.thumbprint))
    url = driver.add('name', Source(b'data'), 4)
    assert b''.join(driver.get(driver.parse(url))) == b'data'
    driver.delete(driver.parse(url))


@pytest.mark.filterwarnings('ignore:Unverified HTTPS request')
def test_nobody_is_trusted_without_reason(server):
    unknown = {'vmware_ca_file': None}
    with pytest.raises(BadStoreConfiguration, match='vmware_ca_file: the certificate'):
        make_store(server, **unknown)
    with pytest.raises(BadStoreConfiguration, match='vmware_thumbprint: the certificate'):
        make_store(server, **unknown, vmware_thumbprint='0' * 40)
    with pytest.raises(BadStoreConfiguration, match='vmware_thumbprint: the certificate'):
        # It is not less strict for that.
        make_store(server, **unknown, vmware_thumbprint='0' * 40, vmware_insecure=True)
    make_store(server, **unknown, vmware_insecure=True).check()


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        ({'vmware_server_password': 'wrong'}, 'vmware_server_password: the server refuses'),
        ({'vmware_server_username': 'nobody'}, 'vmware_server_password: the server refuses'),
        ({'vmware_datastores': ['DC9:LocalDS_0']}, 'vmware_datastores: .*no datacenter DC9'),
        ({'vmware_datastores': ['DC0:none']}, 'vmware_datastores: datacenter DC0 has no datastore'),
    ],
)
def test_what_is_wrong_is_told_at_start(server, settings, sentence):
    with pytest.raises(BadStoreConfiguration, match=sentence) as error:
        make_store(server, **settings)
    assert vcsim.PASSWORD not in str(error.value)


def test_a_password_that_is_changed(server):
    driver = make_store(server)
    url = driver.add('name', Source(b'data'), 4)
    server.control('password', to='other')
    try:
        server.control('expire')
        with pytest.raises(StoreDenied) as error:
            driver.size(driver.parse(url))
        assert vcsim.PASSWORD not in str(error.value)
    finally:
        server.control('password', to=vcsim.PASSWORD)
    driver.delete(driver.parse(url))
