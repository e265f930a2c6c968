# SPDX-License-Identifier: Apache-2.0
"""The swift driver against the kit, on a real Swift: TempAuth and Keystone, threads and green."""

from __future__ import annotations

import contextlib
import json
import threading
import tracemalloc
import uuid

import pytest

from glance_lite.store import (
    BadStoreConfiguration,
    BadStoreUri,
    ObjectExists,
    ObjectNotFound,
    StoreError,
    StoreUnavailable,
)
from glance_lite.testing.faults import Source
from glance_lite.testing.stores import StoreConformance, pattern
from store_drivers import swift_account
from store_drivers.swift_pieces import Piece
from tests.backends import databases, keystone, swift
from tests.backends.swift_stores import Tenants, keystone_settings, make_store
from tests.conformance import green
from tests.conformance.zeros import Zeros
from tests.sizes import full

pytestmark = pytest.mark.peer

MIB = 1024 * 1024


@pytest.fixture(scope='class')
def store(request):
    return request.cls.make()


class Cases(StoreConformance):
    large = 4 * MIB

    @pytest.fixture
    def driver(self, store):
        yield store
        for url, _, _ in store.list():
            store.delete(store.parse(url))


class TestSwift(Cases):
    #: more than five segments
    large = full(5 * MIB + 1, 1024 * MIB + 1)

    @staticmethod
    def make():
        return make_store(swift.swift('tempauth'))


class TestWithKeystoneAndSeveralContainers(Cases):
    @staticmethod
    def make():
        server, region = swift.swift('keystone'), keystone.cloud().region()
        swift.serve(server, region)
        account = region.user('images', roles=(swift.OPERATOR,))
        return make_store(
            server, swift_store_multiple_containers_seed=1, **keystone_settings(region, account)
        )


class TestAccountsOfProjects(Cases):
    @staticmethod
    def make():
        acting = Tenants().as_owner()
        acting.schemes = ('swift+http', *acting.schemes)  # which the catalog has here
        return acting

    @pytest.fixture
    def driver(self, store):
        yield store
        for url in self._added:
            with contextlib.suppress(ObjectNotFound):
                store.delete(store.parse(url))


def test_under_eventlet():
    green.passes(__file__, 'TestSwift')


# --- what is Swift's own


@pytest.fixture(scope='module')
def tempauth():
    return swift.swift('tempauth')


@pytest.fixture
def made(tempauth):
    return make_store(tempauth)


def names(driver, container=None):
    entries = driver._own().entries(container or driver.settings['swift_store_container'])
    return sorted(entry['name'] for entry in entries)


def test_memory_stays_flat_where_the_size_is_not_known(tempauth):
    size = full(50, 1024) * MIB
    driver = make_store(tempauth, swift_store_large_object_chunk_size=20)
    tracemalloc.start()
    try:
        url = driver.add('name', Zeros(size), None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB
    assert driver.size(driver.parse(url)) == size
    driver.delete(driver.parse(url))
    assert names(driver) == []


def test_segments_may_be_written_to_a_file_first(tempauth, tmp_path):
    driver = make_store(
        tempauth, swift_buffer_on_upload=True, swift_upload_buffer_dir=str(tmp_path)
    )
    for sized in (True, False):
        data = pattern(4 * MIB)
        url = driver.add(f'name-{sized}', Source(data, sized=sized), len(data) if sized else None)
        assert b''.join(driver.get(driver.parse(url))) == data
    assert list(tmp_path.iterdir()) == []


def test_of_two_large_uploads_of_one_name_one_wins(made):
    """The one that began first, whatever it is that comes from its source meanwhile."""
    begun, go_on = threading.Event(), threading.Event()
    first, second = pattern(4 * MIB), bytes(4 * MIB)

    def stall():
        begun.set()
        assert go_on.wait(60)

    urls = []
    source = Source(first, stall_at=3 * MIB, stall=stall)
    thread = threading.Thread(target=lambda: urls.append(made.add('name', source, len(first))))
    thread.start()
    try:
        assert begun.wait(60)
        with pytest.raises(ObjectExists):
            made.add('name', Source(second), len(second))
    finally:
        go_on.set()
        thread.join()
    assert b''.join(made.get(made.parse(urls[0]))) == first
    assert len(names(made)) == 6  # five segments


def test_what_lies_in_another_container_is_read_and_deleted(tempauth, made):
    former = make_store(tempauth)
    url = former.add('name', Source(pattern(4 * MIB)), 4 * MIB)
    place = made.parse(url)
    assert not made.owns(url)
    assert b''.join(made.get(place)) == pattern(4 * MIB)
    made.delete(place)
    assert names(former) == []
    with pytest.raises(ObjectNotFound):
        made.delete(place)
    former._own().do('DELETE', place.container)
    # Or its account is not the one that we think: nobody may say that the data is gone.
    for verb in (made.delete, made.size, made.get):
        with pytest.raises(BadStoreUri):
            verb(place)


def test_credentials_of_an_old_url_are_used(tempauth, made):
    user, key = list(swift.TEMPAUTH.items())[1]
    other = make_store(tempauth, swift_store_user=user, swift_store_key=key)
    other.add('name', Source(b'theirs'), 6)
    address = tempauth.auth_url.partition('://')[2]
    container = other.settings['swift_store_container']
    place = made.parse(f'swift+http://{user}:{key}@{address}/{container}/name')
    assert b''.join(made.get(place)) == b'theirs'
    made.delete(place)
    assert names(other) == []


def test_credentials_that_are_good_for_nothing_say_nothing_of_the_store(tempauth, made):
    address = tempauth.auth_url.partition('://')[2]
    nobody = f'127.0.0.1:{databases.free_port()}/auth/v1.0'
    for where in (f'test:nobody:key@{address}', f'test:tester:key@{nobody}'):
        place = made.parse(f'swift+http://{where}/images/name')
        for verb in (made.get, made.size, made.delete):
            with pytest.raises(BadStoreUri):
                verb(place)


def test_segments_of_others_go_with_their_manifest(made):
    """As Glance names them, as the client of Swift does, and as a static large object has them."""
    account, container = made._own(), made.settings['swift_store_container']
    beside = f'{container}_segments'
    account.do('PUT', container)
    account.do('PUT', beside)
    for name, place in [
        ('glance-00001', container),
        ('client/1690000000.0/8/4/00000000', beside),
        ('static-part', beside),
    ]:
        account.do('PUT', place, name, body=Piece(Source(b'data'), 4, True))
    for name, prefix in [('glance', f'{container}/glance-'), ('client', f'{beside}/client/')]:
        account.do('PUT', container, name, headers={'X-Object-Manifest': prefix})
    manifest = json.dumps([{'path': f'/{beside}/static-part'}]).encode()
    answer = account.ask(
        'PUT',
        container,
        'static',
        body=Piece(Source(manifest), len(manifest), True),
        query={'multipart-manifest': 'put'},
    )
    answer.close()
    for name in ('glance', 'client', 'static'):
        key = made.parse(f'swift+config://ref1/{container}/{name}')
        assert b''.join(made.get(key)) == b'data'
        made.delete(key)
    assert names(made) == names(made, beside) == []


def test_nobody_deletes_by_a_manifest_that_names_what_is_of_others(made):
    url = made.add('other', Source(b'data'), 4)
    account, container = made._own(), made.settings['swift_store_container']
    account.do('PUT', container, 'bad', headers={'X-Object-Manifest': f'{container}/oth'})
    with pytest.raises(StoreError, match='may be those of others'):
        made.delete(made.parse(f'swift+config://ref1/{container}/bad'))
    assert b''.join(made.get(made.parse(url))) == b'data'


def test_names_that_others_begin_with_are_left_alone(made):
    for name in ('a', 'a-1', 'a-00001x', 'ab'):
        made.add(name, Source(b'data'), 4)
    made.delete(made.parse(made.locate('a')[0]))
    assert names(made) == ['a-00001x', 'a-1', 'ab']
    assert {url.rpartition('/')[2] for url, _, _ in made.list()} == {'a-00001x', 'a-1', 'ab'}


def test_what_a_killed_upload_left_is_listed_and_deleted_by_its_name(made):
    account, container = made._own(), made.settings['swift_store_container']
    account.do('PUT', container)
    mark = uuid.uuid4().hex
    for name in (f'name+{mark}', f'name-{mark}-00001', f'name-{mark}-00002'):
        account.do('PUT', container, name, body=Piece(Source(b'data'), 4, True))
    ((url, size, _),) = made.list()
    assert (url, size) == (made.locate('name')[0], 12)
    made.delete(made.parse(url))
    assert names(made) == []
    with pytest.raises(ObjectNotFound):
        made.delete(made.parse(url))


def test_what_is_wrong_is_told_at_start(tempauth):
    for settings, said in [
        ({'swift_store_key': 'wrong'}, 'default_swift_reference: .* refuses ref1'),
        ({'swift_store_create_container_on_put': False}, 'swift_store_container: there is no'),
    ]:
        with pytest.raises(BadStoreConfiguration, match=rf'\[swift\] {said}'):
            make_store(tempauth, **settings)


def test_a_certificate_that_is_not_trusted_is_told_at_start():
    with swift.Alone(tls=True) as own:
        with pytest.raises(BadStoreConfiguration, match='swift_store_cacert: the certificate'):
            make_store(own.server)
        for settings in (
            {'swift_store_cacert': own.server.ca},
            {'swift_store_auth_insecure': True},
        ):
            driver = make_store(own.server, **settings)
            url = driver.add('name', Source(b'data'), 4)
            driver.delete(driver.parse(url))


def test_a_server_that_is_down_is_not_a_wrong_setting(tempauth, monkeypatch):
    monkeypatch.setattr(swift_account, 'PAUSE', 0.01)
    address = f'http://127.0.0.1:{databases.free_port()}/auth/v1.0'
    with pytest.raises(StoreUnavailable):
        make_store(tempauth, swift_store_auth_address=address)
