# SPDX-License-Identifier: Apache-2.0
"""A Glance 33 and a glance-lite on one Barbican, and somebody who has certificates in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests import signing
from tests.backends import barbican, keystone
from tests.peers import glance33, lite
from tests.peers.lite import OCTETS, Who

#: More than a chunk, and not a round number of them.
DATA = bytes(range(256)) * 5000 + b'end'

#: kind of key -> hash methods it is tried with
METHODS = {
    'RSA-PSS': ('SHA-224', 'SHA-256', 'SHA-384', 'SHA-512'),
    'DSA': ('SHA-256',),
    'ECC_SECP384R1': ('SHA-384',),
    'ECC_SECP521R1': ('SHA-512',),
}


class Setting:
    """Both services, and what the owner of images has in Barbican."""

    def __init__(self, glance: lite.Client, ours: lite.Client, relay: keystone.Relay) -> None:
        self.services = (glance, ours)
        self.relay = relay
        self.vault = barbican.vault()
        region = keystone.cloud().region()
        self.alice, self.bob = region.user('alice'), region.user('bob')
        self.token = self.alice.token()
        self.who = Who(self.alice.project_id)
        self.headers = {'X-Auth-Token': self.token}
        self.certificates = {
            kind: self.keep(signing.selfsigned(signing.key(kind)).pem) for kind in METHODS
        }

    def keep(self, pem: bytes) -> str:
        return self.vault.store_certificate(self.token, pem)

    def signed(self, kind='RSA-PSS', method='SHA-256', data=DATA, **changed: Any) -> dict:
        """Properties of an image with this data; None takes one away."""
        made = signing.properties(signing.key(kind), kind, method, self.certificates[kind], data)
        return {name: value for name, value in {**made, **changed}.items() if value is not None}

    def create(self, client: lite.Client, properties: dict) -> str:
        body = {'disk_format': 'raw', 'container_format': 'bare', **properties}
        answer = client.send(self.who, 'POST', '/v2/images', body)
        assert answer.status_code == 201, answer.text
        return answer.json()['id']

    def put(self, client: lite.Client, image: str, data: Any, token: bool = True) -> int:
        headers = self.headers if token else {}
        answer = client.send(
            self.who, 'PUT', f'/v2/images/{image}/file', data, OCTETS, headers=headers
        )
        assert 'Traceback' not in answer.text and self.token not in answer.text
        return answer.status_code

    def status(self, client: lite.Client, image: str) -> str:
        return client.send(self.who, 'GET', f'/v2/images/{image}').json()['status']

    def data(self, client: lite.Client, image: str) -> bytes:
        return client.send(self.who, 'GET', f'/v2/images/{image}/file').content


@contextlib.contextmanager
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    """Both services, while the block runs; a relay is between them and Barbican."""
    with contextlib.ExitStack() as stack:
        relay = stack.enter_context(keystone.relay(barbican.vault().url))
        clients = []
        for name in ('glance', 'lite'):
            directory = tmp_path_factory.mktemp(name)
            stores = lite.make_stores(directory / 'stores')
            stores += barbican.vault().settings(relay.address)
            url = f'sqlite:///{directory}/glance.sqlite'
            if name == 'glance':
                glance33.manage(glance33.write_settings(directory, url, stores), 'db', 'sync')
                base = stack.enter_context(glance33.running(directory, url, stores))
            else:
                lite.manage(lite.write_settings(directory, url, stores, 1), 'db', 'sync')
                base = stack.enter_context(lite.running(directory, url, stores))
            clients.append(lite.Client(base))
        yield Setting(*clients, relay)
