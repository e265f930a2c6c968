# SPDX-License-Identifier: Apache-2.0
"""The flavor ``keystone`` as real processes of each server, on a real Keystone and memcached."""

from __future__ import annotations

import threading
import time

import pytest
import requests

from tests.backends import keystone
from tests.servers import processes

FIELDS = {'disk_format': 'raw', 'container_format': 'bare'}
DATA = b'some data' * 100_000


@pytest.fixture
def relay():
    with keystone.relay(keystone.cloud().url) as made:
        yield made


class Caller:
    """Sends requests with a token."""

    def __init__(self, url: str, token: str, **headers: str) -> None:
        self._url = url
        self._headers = {'X-Auth-Token': token, 'Connection': 'close', **headers}

    def __call__(self, method: str, path: str, **kwargs) -> requests.Response:
        headers = {**self._headers, **kwargs.pop('headers', {})}
        return requests.request(
            method, f'{self._url}/v2/{path}', headers=headers, timeout=120, **kwargs
        )


@pytest.mark.parametrize('kind', processes.SERVERS)
def test_a_service_behind_keystone(kind, relay, tmp_path):
    cloud = keystone.cloud()
    region = cloud.region(relay.url)
    settings = region.authtoken(
        relay.url,
        memcached_servers=keystone.memcached(),
        token_cache_time=600,
        http_connect_timeout=100,
        http_request_max_retries=0,
    )
    made = processes.settings(tmp_path, flavor='keystone', more=settings, default='debug = true')
    alice, nova = region.user('alice'), region.user('nova', roles=('service',))
    token, service, other = alice.token(), nova.token(), alice.token()
    gone = alice.token()
    cloud.revoke(gone)
    late = cloud.ending(alice.token(), time.time() - 60)
    with processes.SERVERS[kind](made) as server:
        mine = Caller(server.url, token)
        image = mine('POST', 'images', json=FIELDS).json()
        assert image['owner'] == alice.project_id
        octets = {'Content-Type': 'application/octet-stream'}
        path = f'images/{image["id"]}/file'
        assert mine('PUT', path, data=DATA, headers=octets).status_code == 204
        assert mine('GET', path).content == DATA
        for bad in ('garbage', gone, late):
            answer = Caller(server.url, bad)('GET', 'images')
            assert answer.status_code == 401
            assert answer.headers['WWW-Authenticate'] == f'Keystone uri="{cloud.url}"'
        carries_on = Caller(server.url, late, **{'X-Service-Token': service})
        assert carries_on('GET', 'images').status_code == 200

        # All processes know a token that one of them has seen.
        before = relay.validations()
        for _ in range(8):
            assert mine('GET', 'images').status_code == 200
        assert relay.validations() == before

        # While one waits for Keystone, others are served.
        relay.silent()
        asked = len(relay.requests)
        answers: list[requests.Response] = []
        waiting = threading.Thread(
            target=lambda: answers.append(Caller(server.url, other)('GET', 'images'))
        )
        waiting.start()
        # About the token, or, by a process that has not been asked yet, for one of its own.
        processes.until(lambda: len(relay.requests) > asked, 'Keystone is asked')
        for _ in range(8):
            assert mine('GET', f'images/{image["id"]}').status_code == 200
        assert requests.get(server.url + '/healthcheck', timeout=60).status_code == 200
        assert waiting.is_alive()
        relay.down()
        waiting.join(processes.PATIENCE)
        assert [answer.status_code for answer in answers] == [503]
        assert answers[0].headers['Retry-After']
        server.wait_for_line('CRITICAL .*Unable to validate token: ')

        relay.up()
        assert Caller(server.url, other)('GET', 'images').status_code == 200
        log = server.text()
        assert 'Traceback' not in log
        for secret in (token, service, other, gone, late, keystone.PASSWORD):
            assert secret not in log
