# SPDX-License-Identifier: Apache-2.0
"""The http driver against a real nginx, with an authority of its own."""

from __future__ import annotations

import ipaddress

import pytest

from glance_lite.guarded import Guard, Limits, Rules
from glance_lite.store import (
    BadStoreConfiguration,
    BadStoreUri,
    ObjectNotFound,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)
from glance_lite.testing.stores import ReadOnlyConformance, make_driver
from store_drivers.http import HttpStore
from tests.backends import web as servers
from tests.conformance import green
from tests.sizes import full

pytestmark = pytest.mark.peer


@pytest.fixture(scope='module')
def web(tmp_path_factory):
    with servers.running(tmp_path_factory.mktemp('web')) as web:
        yield web


def store(web, **settings):
    driver = make_driver(HttpStore, 'web', **settings)
    networks = (ipaddress.ip_network('127.0.0.0/8'),)
    rules = Rules(allowed_ports=frozenset(web.ports), allowed_networks=networks)
    driver.guard = Guard(rules, Limits(5, 20))
    driver.start()
    return driver


class TestHttp(ReadOnlyConformance):
    large = full(ReadOnlyConformance.large, 1024 * 1024 * 1024 + 1)
    #: under ``files``, by which url
    place = 'http'

    @pytest.fixture
    def driver(self, web):
        self.web = web
        return store(web, https_ca_certificates_file=str(web.authority))

    def url(self, name):
        return f'{self.web.http}/{name}'

    def add(self, driver, name, data, sized=True):
        self.web.put(name, data)
        return driver.parse(self.url(name))


def test_under_eventlet():
    green.passes(__file__, 'TestHttp and test_')


class TestHttps(TestHttp):
    def url(self, name):
        return f'{self.web.https}/{name}'


class TestWithoutRanges(TestHttp):
    def url(self, name):
        return f'{self.web.http}/whole/{name}'


class TestWithoutHead(TestHttp):
    def url(self, name):
        return f'{self.web.http}/nohead/{name}'


class TestBehindARedirect(TestHttp):
    def url(self, name):
        return f'{self.web.http}/moved/{name}'


def test_what_is_not_there_is_told_at_the_call(web):
    driver = store(web)
    for verb in (driver.get, driver.size):
        with pytest.raises(ObjectNotFound):
            verb(f'{web.http}/nothing')
        with pytest.raises(StoreDenied):
            verb(f'{web.http}/secret/nothing')
        with pytest.raises(StoreUnavailable):
            verb(f'{web.http}/broken')
        with pytest.raises(BadStoreUri):
            verb(f'{web.http}/to/?url=http://10.0.0.1/')


def test_an_authority_that_is_not_known(web):
    web.put('data', b'data')
    for verb in (store(web).get, store(web).size):
        with pytest.raises(StoreUnavailable):
            verb(f'{web.https}/data')
    assert store(web, https_insecure=True).size(f'{web.https}/data') == 4


def test_a_file_wins_over_insecure(web, tmp_path):
    """As in Glance."""
    web.put('data', b'data')
    file = tmp_path / 'other.pem'
    (tmp_path / 'x').mkdir()
    servers.make_certificates(tmp_path / 'x')
    file.write_bytes((tmp_path / 'x' / 'ca.pem').read_bytes())
    driver = store(web, https_insecure=True, https_ca_certificates_file=str(file))
    with pytest.raises(StoreUnavailable):
        driver.size(f'{web.https}/data')


def test_settings(web, tmp_path):
    (tmp_path / 'empty.pem').write_text('')
    for settings in (
        {'https_ca_certificates_file': str(tmp_path / 'nothing.pem')},
        {'https_ca_certificates_file': str(tmp_path / 'empty.pem')},
        {'http_proxy_information': {'ftp': 'x'}},
    ):
        with pytest.raises(BadStoreConfiguration, match=r'^\[web\] https?_'):
            store(web, **settings)


def test_a_proxy_is_asked(web):
    """The nginx is no proxy, but answers what it is asked like one: the request names it all."""
    web.put('data', b'data')
    driver = store(web, http_proxy_information={'http': web.http.removeprefix('http://')})
    assert driver.size(f'{web.http}/data') == 4
    assert b''.join(driver.get(f'{web.http}/data')) == b'data'


def test_a_size_that_nobody_tells(web):
    with pytest.raises(StoreError):
        store(web).size(f'{web.http}/refused')


def test_urls_in_logs(web):
    assert store(web).redact('http://user:secret@x/data') == 'http://***@x/data'
