# SPDX-License-Identifier: Apache-2.0
"""Accounts of projects on a real Swift with Keystone: who reads, who deletes, and with what."""

from __future__ import annotations

import dataclasses
import http.server
import threading
import uuid

import pytest

from glance_lite.store import (
    BadStoreConfiguration,
    BadStoreUri,
    Caller,
    ObjectNotFound,
    StoreDenied,
    StoreError,
)
from glance_lite.testing.faults import Source
from glance_lite.testing.stores import pattern
from store_drivers.swift import SwiftStore
from tests.backends.swift_stores import Tenants, caller_of

pytestmark = pytest.mark.peer

MIB = 1024 * 1024


@pytest.fixture(scope='module')
def tenants():
    return Tenants()


@pytest.fixture(scope='module')
def owner(tenants):
    return tenants.as_owner()


@pytest.fixture
def url(owner):
    url = owner.add(str(uuid.uuid4()), Source(b'data'), 4)
    yield url
    try:
        owner.delete(owner.parse(url))
    except ObjectNotFound:
        pass


def read(driver, url):
    return b''.join(driver.get(driver.parse(url)))


def containers(tenants):
    account = tenants.as_service()._own()
    return [entry['name'] for entry in account.entries()]


def test_an_image_is_in_the_account_of_its_project_and_its_container_goes_with_it(
    tenants, owner, url
):
    place = owner.parse(url)
    assert place.account.url == f'{tenants.server.url}/v1/AUTH_{tenants.owner.project_id}'
    assert place.container == f'{tenants.store.settings["swift_store_container"]}_{place.name}'
    assert place.container in containers(tenants)
    owner.delete(place)
    assert place.container not in containers(tenants)


@pytest.mark.parametrize('size', [4, 4 * MIB])
def test_a_failed_upload_leaves_no_container(tenants, owner, size):
    before = containers(tenants)
    with pytest.raises(Exception, match='broke'):
        owner.add(str(uuid.uuid4()), Source(pattern(size), size - 1), size)
    assert containers(tenants) == before


def test_who_reads_is_what_the_store_was_told(tenants, owner, url):
    somebody, theirs = tenants.somebody()
    for public, projects, lets in [
        (False, (somebody.project_id,), True),
        (False, ('other',), False),
        (True, (), True),
        (False, (), False),
    ]:
        tenants.as_service().acl(owner.parse(url), public, projects)
        if lets:
            assert read(theirs, url) == b'data'
        else:
            with pytest.raises(StoreDenied):
                read(theirs, url)
        assert read(owner, url) == b'data'
        with pytest.raises(StoreDenied):
            theirs.delete(theirs.parse(url))


def test_the_projects_of_operators_may_write(owner, url):
    place = owner.parse(url)
    owner.acl(place, False, ('one', 'two'))
    head = owner._account_of(place).head(place.container)
    assert head['X-Container-Read'] == 'one:*,two:*'
    assert head['X-Container-Write'] == 'operators:*'


def test_the_service_does_in_the_background_what_the_owner_could(tenants, owner, url):
    service = tenants.as_service()
    place = owner.parse(url)
    assert service.locate(place.name) == (url,)
    assert read(service, url) == b'data'
    service.delete(place)
    with pytest.raises(ObjectNotFound):
        owner.size(place)


def test_a_token_that_ends_during_an_upload_is_followed_by_the_services(tenants):
    caller = caller_of(tenants.owner)
    driver = tenants.store.acting_for(caller)
    size = 4 * MIB

    def revoke():
        tenants.region.cloud.revoke(caller.token)

    url = driver.add(
        str(uuid.uuid4()), Source(pattern(size), stall_at=size // 2, stall=revoke), size
    )
    service = tenants.as_service()
    assert read(service, url) == pattern(size)
    # It is for the upload alone: whoever comes with such a token later is told.
    with pytest.raises(StoreDenied):
        driver.size(driver.parse(url))
    with pytest.raises(StoreDenied):
        driver.delete(driver.parse(url))
    service.delete(service.parse(url))


class Listening:
    """A server that somebody wants a token to be sent to."""

    def __enter__(self):
        self.asked = asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self):
                asked.append(dict(self.headers))
                self.send_response(404)
                self.end_headers()

            def log_message(self, *args):
                """Nothing."""

        self._server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.host = f'127.0.0.1:{self._server.server_port}'
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()


def test_no_token_goes_where_no_catalog_points(tenants, owner, url):
    own = tenants.server.url.partition('//')[2]
    place = owner.parse(url)
    rest = f'{place.container}/{place.name}'
    account = f'AUTH_{tenants.owner.project_id}'
    with Listening() as other:
        for bad in (
            f'swift+http://{other.host}/v1/{account}/{rest}',
            f'swift+http://{other.host}/{rest}',
            f'swift+https://{own}/v1/{account}/{rest}',
            f'swift+http://{own}/v2/{account}/{rest}',
            f'swift+http://{own}/v1/{account}/more/{rest}',
            f'swift+http://{own}/v1/%2e%2e/{rest}',
        ):
            for driver in (owner, tenants.as_service()):
                for verb in (driver.get, driver.size, driver.delete):
                    with pytest.raises(BadStoreUri):
                        verb(driver.parse(bad))
        assert other.asked == []


def test_only_what_the_store_would_write_can_be_registered(owner, url):
    assert owner.owns(url)
    place = owner.parse(url)
    for bad in (
        url.replace(place.container, 'photos'),
        url.replace(f'/{place.name}', f'/{uuid.uuid4()}', 1),
        'swift+config://ref1/images/name',
    ):
        assert not owner.owns(bad)


def test_without_credentials_of_its_own_it_acts_for_users_alone(tenants):
    settings = {
        **tenants.store.settings,
        'swift_store_user': None,
        'swift_store_key': None,
        'swift_store_auth_address': None,
    }
    store = SwiftStore('swift', settings)
    store.start()
    store.check()
    driver = store.acting_for(caller_of(tenants.owner))
    url = driver.add(str(uuid.uuid4()), Source(b'data'), 4)
    service = store.acting_for(Caller(tenants.owner.project_id))
    for act in (
        lambda: service.size(service.parse(url)),
        lambda: service.delete(service.parse(url)),
        lambda: service.locate('name'),
    ):
        with pytest.raises(StoreDenied):
            act()
    driver.delete(driver.parse(url))


def test_a_caller_whose_catalog_has_no_object_store_is_told(tenants):
    caller = dataclasses.replace(caller_of(tenants.owner), catalog=())
    driver = tenants.store.acting_for(caller)
    with pytest.raises(StoreError, match='no catalog says'):
        driver.add(str(uuid.uuid4()), Source(b'data'), 4)


def test_configurations_that_make_no_sense(tenants, tmp_path):
    for name, value in [
        ('swift_store_config_file', str(tmp_path / 'references')),
        ('swift_store_auth_version', '1'),
        ('swift_store_key', None),
    ]:
        with pytest.raises(BadStoreConfiguration, match=name):
            SwiftStore('swift', {**tenants.store.settings, name: value})
