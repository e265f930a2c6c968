# SPDX-License-Identifier: Apache-2.0
"""Signed uploads to a Glance 33 and to glance-lite, with one Barbican, and the same answers."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from glance_lite.signatures import CERTIFICATE, HASH_METHOD, KEY_TYPE, SIGNATURE, SIGNED
from tests import signing
from tests.peers import glance33, secrets
from tests.peers.lite import V21
from tests.peers.secrets import DATA, METHODS, Setting
from tests.servers.processes import until

PAGE = glance33.ROOT / 'doc' / 'source' / 'differences.rst'


@pytest.fixture(scope='module')
def setting(tmp_path_factory):
    with secrets.running(tmp_path_factory) as setting:
        yield setting


@dataclasses.dataclass(frozen=True)
class Case:
    """An upload, the status that both answer, or how glance-lite differs on purpose.

    `properties` makes those of the image from the setting; `ours` is (mark in
    doc/source/differences.rst, status of glance-lite).
    """

    status: int
    properties: Callable[[Setting], dict]
    data: Any = DATA
    ours: tuple[str, int] | None = None
    token: bool = True
    key_manager: str = 'up'


def changed(status: int, **values: Any) -> Case:
    """An image that is signed well, but for these properties."""
    return Case(status, lambda it: it.signed(**values))


def secret(status: int, **fields: str) -> Case:
    """What the image names as its certificate is a secret of this kind."""
    return Case(status, lambda it: it.signed(**{CERTIFICATE: it.vault.store(it.token, **fields)}))


def certificate(status: int, make: Callable[[], signing.Issued], **values: Any) -> Case:
    """The image names a certificate of its own."""
    return Case(status, lambda it: it.signed(**{CERTIFICATE: it.keep(make().pem)}, **values))


def foreign(it: Setting) -> dict:
    pem = signing.selfsigned(signing.key('RSA-PSS')).pem
    return it.signed(**{CERTIFICATE: it.vault.store_certificate(it.bob.token(), pem)})


def chunks(data: bytes) -> tuple[bytes, ...]:
    """To be sent without a length."""
    return tuple(data[at : at + 60_000] for at in range(0, len(data), 60_000))


def expired() -> signing.Issued:
    return signing.root().issue('old', signing.key('RSA-PSS'), end=-signing.DAY / 2)


AWAY = ('key-manager-away', 503)

CASES: dict[str, Case] = {
    **{
        f'{kind} {method}': Case(204, lambda it, k=kind, m=method: it.signed(k, m))
        for kind, methods in METHODS.items()
        for method in methods
    },
    **{
        f'other data, {kind}': Case(400, lambda it, k=kind: it.signed(k, 'SHA-384'), DATA + b'.')
        for kind in METHODS
    },
    'no bytes': Case(204, lambda it: it.signed(data=b''), b''),
    'no bytes, though some were signed': Case(400, lambda it: it.signed(), b''),
    'chunked': Case(204, lambda it: it.signed(), chunks(DATA)),
    'chunked, other data': Case(400, lambda it: it.signed(), chunks(DATA[1:])),
    **{f'without {name}': changed(204, **{name: None}) for name in sorted(SIGNED)},
    'signature is not base64': changed(400, **{SIGNATURE: 'no!'}),
    'signature is empty': changed(400, **{SIGNATURE: ''}),
    'signature is not one': changed(400, **{SIGNATURE: 'QUJD'}),
    'signature beyond ASCII': changed(400, **{SIGNATURE: 'é'}),
    'unknown hash method': changed(400, **{HASH_METHOD: 'MD5'}),
    'another hash method': changed(400, **{HASH_METHOD: 'SHA-512'}),
    'unknown key type': changed(400, **{KEY_TYPE: 'RSA'}),
    'another key type': changed(400, **{KEY_TYPE: 'DSA'}),
    'another curve': changed(204, kind='ECC_SECP384R1', **{KEY_TYPE: 'ECC_SECP521R1'}),
    'no such certificate': changed(400, **{CERTIFICATE: str(uuid.uuid4())}),
    'id is none': changed(400, **{CERTIFICATE: 'mine'}),
    'id is empty': changed(400, **{CERTIFICATE: ''}),
    'id is a path': changed(400, **{CERTIFICATE: '../../v1/secrets'}),
    'id is a url': Case(
        204,
        lambda it: it.signed(
            **{CERTIFICATE: f'http://elsewhere.example/{it.certificates["RSA-PSS"]}'}
        ),
    ),
    'certificate of another project': Case(400, foreign),
    'expired certificate': certificate(204, expired),
    'key of another certificate': certificate(
        400, lambda: signing.selfsigned(signing.KEYS['RSA-PSS']())
    ),
    'key of no known type': certificate(400, lambda: signing.selfsigned(signing.key('Ed25519'))),
    'secret is a passphrase': secret(
        400, secret_type='passphrase', payload='abc', payload_content_type='text/plain'
    ),
    'secret is opaque': secret(400, payload='abc', payload_content_type='text/plain'),
    'secret is no certificate inside': secret(
        400,
        secret_type='certificate',
        payload='QUJD',
        payload_content_type='application/octet-stream',
        payload_content_encoding='base64',
    ),
    'secret has nothing in it yet': Case(
        500,
        lambda it: it.signed(**{CERTIFICATE: it.vault.store(it.token, secret_type='certificate')}),
        ours=('empty-certificate', 400),
    ),
    'no token': Case(400, lambda it: it.signed(), token=False),
    'key manager is down': Case(400, lambda it: it.signed(), ours=AWAY, key_manager='down'),
    'key manager is broken': Case(400, lambda it: it.signed(), ours=AWAY, key_manager='broken'),
}


@pytest.mark.peer
@pytest.mark.parametrize('name', CASES)
def test_same_answers_about_signatures(setting, name):
    case = CASES[name]
    wanted = (case.status, case.ours[1] if case.ours else case.status)
    for client, status in zip(setting.services, wanted, strict=True):
        image = setting.create(client, case.properties(setting))
        getattr(setting.relay, case.key_manager)()
        try:
            data = iter(case.data) if isinstance(case.data, tuple) else case.data
            assert setting.put(client, image, data, case.token) == status
        finally:
            setting.relay.up()
        assert setting.status(client, image) == ('active' if status == 204 else 'queued')
        sent = b''.join(case.data) if isinstance(case.data, tuple) else case.data
        assert setting.data(client, image) == (sent if status == 204 else b'')


@pytest.mark.peer
def test_a_signature_may_be_mended_and_is_not_looked_at_again(setting):
    for client in setting.services:
        image = setting.create(client, setting.signed(**{SIGNATURE: 'QUJD'}))
        assert setting.put(client, image, DATA) == 400
        good = [{'op': 'replace', 'path': f'/{SIGNATURE}', 'value': setting.signed()[SIGNATURE]}]
        path = f'/v2/images/{image}'
        assert client.send(setting.who, 'PATCH', path, good, V21).status_code == 200
        assert setting.put(client, image, DATA) == 204
        # What is there already is not verified, whatever is said of it.
        bad = [{'op': 'replace', 'path': f'/{SIGNATURE}', 'value': 'QUJD'}]
        assert client.send(setting.who, 'PATCH', path, bad, V21).status_code == 200
        assert setting.status(client, image) == 'active'
        assert setting.data(client, image) == DATA


@pytest.mark.peer
def test_a_silent_key_manager_holds_up_nobody_else(setting):
    """The server has one thread for all requests."""
    _, ours = setting.services
    image, other = (setting.create(ours, properties) for properties in (setting.signed(), {}))
    setting.relay.silent()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(setting.put, ours, image, DATA)
        until(lambda: setting.status(ours, image) == 'saving', 'the upload waits')
        assert setting.put(ours, other, DATA) == 204
        assert not waiting.done()
        # Its connection breaks.
        setting.relay.down()
        assert waiting.result(60) == 503
    setting.relay.up()
    assert setting.status(ours, image) == 'queued'


def test_each_difference_about_signatures_is_told():
    told = re.findall(r'``test_same_answers_about_signatures``: ``([a-z0-9-]+)``', PAGE.read_text())
    assert set(told) == {case.ours[0] for case in CASES.values() if case.ours}
