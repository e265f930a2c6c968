# SPDX-License-Identifier: Apache-2.0
"""Signed images and keys of encrypted ones in process, with a real Barbican that may be away."""

from __future__ import annotations

import contextlib
import logging
import threading
import time

import pytest

from glance_lite import key_manager
from glance_lite.layers.encryption_keys import KEY, POLICY
from glance_lite.model import FAILED_UPLOAD
from tests import signing
from tests.api.harness import App
from tests.backends import barbican, keystone

KIND, METHOD, DATA = 'ECC_SECP384R1', 'SHA-384', b'what was signed'

#: Deletes fail once.
STORES = """
enabled_backends = fast:faulty
[glance_store]
default_backend = fast
[fast]
faulty_type = file
filesystem_store_datadir = {{directory}}/fast
{in_store}
[controller]
layers = auth, policy, location, faults, db
[faults]
{in_database}
"""


class Vault:
    """What alice has in Barbican, and a service that reaches it through a relay."""

    def __init__(self, relay, directory):
        self.relay = relay
        self.barbican = barbican.vault()
        self.alice = keystone.cloud().region().user('alice')
        self.token = self.alice.token()
        pem = signing.selfsigned(signing.key(KIND)).pem
        self.certificate = self.barbican.store_certificate(self.token, pem)
        self.app = App(directory, more=self.barbican.settings(relay.address))

    def send(self, method, path, body=None, **kwargs):
        headers = {'X-Auth-Token': self.token}
        return self.app.request(
            method, path, body, project=self.alice.project_id, headers=headers, **kwargs
        )

    def signed(self):
        properties = signing.properties(signing.key(KIND), KIND, METHOD, self.certificate, DATA)
        return self.create(**properties)

    def encrypted(self):
        """(id of an image, id of its key)"""
        key = self.barbican.store(self.token, payload='a key', payload_content_type='text/plain')
        return self.create(**{KEY: key, POLICY: 'on_image_deletion'}), key

    def create(self, **properties):
        fields = {'disk_format': 'raw', 'container_format': 'bare', **properties}
        return self.app.create(project=self.alice.project_id, **fields)['id']

    def put(self, image, data=DATA):
        kind = 'application/octet-stream'
        return self.send('PUT', f'/v2/images/{image}/file', data, kind=kind)


@pytest.fixture(scope='module')
def vault(tmp_path_factory):
    with keystone.relay(barbican.vault().url) as relay:
        made = Vault(relay, tmp_path_factory.mktemp('vault'))
        yield made
        made.app.close()


@pytest.fixture(autouse=True)
def barbican_is_up(vault):
    vault.relay.up()


@pytest.mark.peer
def test_the_owner_can_read_why_an_upload_was_refused(vault):
    image = vault.signed()
    answer = vault.put(image, b'something else')
    assert answer.status == 400
    found = vault.send('GET', f'/v2/images/{image}').json
    assert found['status'] == 'queued'
    assert found[FAILED_UPLOAD] in answer.body.decode()
    assert vault.put(image).status == 204
    assert FAILED_UPLOAD not in vault.send('GET', f'/v2/images/{image}').json


@pytest.fixture
def silence(vault, monkeypatch):
    """A context in which Barbican takes connections and never answers, and nobody is patient."""

    @contextlib.contextmanager
    def silent():
        with monkeypatch.context() as patch:
            patch.setattr(key_manager, 'PATIENCE', 1)
            vault.relay.silent()
            yield
        # Those that wait are let go.
        vault.relay.down()
        vault.relay.up()

    return silent


@pytest.mark.peer
def test_a_silent_key_manager_is_not_waited_for(vault, silence):
    signed, (encrypted, key) = vault.signed(), vault.encrypted()
    with silence():
        begin = time.monotonic()
        answer = vault.put(signed)
        assert answer.status == 503 and int(answer.headers['retry-after']) > 0
        assert vault.send('DELETE', f'/v2/images/{encrypted}').status == 204
        assert time.monotonic() - begin < 15
    assert vault.barbican.has(vault.token, key)
    assert vault.put(signed).status == 204


@pytest.mark.peer
def test_a_silent_key_manager_gets_no_more_than_so_many_questions(vault, silence):
    images = [vault.signed() for _ in range(key_manager.MOST + 1)]
    with silence():
        for image in images:
            assert vault.put(image).status == 503
        waiting = [one for one in threading.enumerate() if one.name == 'key manager']
        assert len(waiting) == key_manager.MOST
    for one in waiting:
        one.join(30)
    assert vault.put(images[-1]).status == 204


@pytest.mark.peer
@pytest.mark.parametrize(
    ('faults', 'status'),
    [
        ({'in_store': 'fault = before delete 1 fail InUse'}, 409),
        ({'in_database': 'fault = before claim_delete 1 fail Unavailable'}, 503),
    ],
)
def test_an_image_that_stays_keeps_its_key(vault, tmp_path, monkeypatch, faults, status):
    """The store needs its data, or the database is away."""
    stores = STORES.format(**{'in_store': '', 'in_database': '', **faults})
    app = App(tmp_path, stores=stores, more=vault.barbican.settings())
    monkeypatch.setattr(vault, 'app', app)
    image, key = vault.encrypted()
    assert vault.put(image).status == 204
    assert vault.send('DELETE', f'/v2/images/{image}').status == status
    assert vault.send('GET', f'/v2/images/{image}').json['status'] == 'active'
    assert vault.barbican.has(vault.token, key)
    assert vault.send('DELETE', f'/v2/images/{image}').status == 204
    assert not vault.barbican.has(vault.token, key)
    app.close()


@pytest.mark.peer
def test_the_log_names_a_key_that_stays(vault, caplog):
    image, key = vault.encrypted()
    vault.relay.down()
    with caplog.at_level(logging.WARNING):
        assert vault.send('DELETE', f'/v2/images/{image}').status == 204
    assert f'The encryption key {key} of image {image} stays: ' in caplog.text
    assert vault.token not in caplog.text
