# SPDX-License-Identifier: Apache-2.0
"""Signed uploads: what is kept, whom a certificate must lead to, and what an operator may set."""

from __future__ import annotations

import sys

import pytest

from glance_lite.certificates import CertificateManager
from glance_lite.errors import ConfigurationError, Invalid, PluginError, Unavailable
from glance_lite.model import FAILED_UPLOAD, Changes
from glance_lite.signatures import CERTIFICATE, HASH_METHOD, KEY_TYPE, SIGNATURE, SIGNED
from glance_lite.stream import CHUNK
from glance_lite.testing.layers import make_upload
from tests import signing
from tests.signing import DAY
from tests.unit.layers.conftest import owner

#: Two chunks and a half.
DATA = bytes(range(256)) * (5 * CHUNK // 512)
KIND, METHOD = 'ECC_SECP384R1', 'SHA-256'


@pytest.fixture
def directory(tmp_path):
    """The directory of certificates; ``mine.pem`` is its own issuer."""
    path = tmp_path / 'certificates'
    path.mkdir()
    keep(path, signing.selfsigned(signing.key(KIND)))
    return path


@pytest.fixture
def made(make, directory):
    return build(make, directory)


def build(make, directory, more='', manager='directory'):
    text = f'[image_signatures]\ncertificate_manager = {manager}\n'
    return make('location, db', f'{text}certificates_directory = {directory}\n{more}\n')


def keep(directory, issued, name='mine'):
    (directory / f'{name}.pem').write_bytes(issued.pem)


def image(made, data=DATA, kind=KIND, method=METHOD, **changed):
    """A queued image that is signed for this data."""
    signed = signing.properties(signing.key(kind), kind, method, 'mine', data)
    return made.create(properties={**signed, **changed})


def upload(made, queued, data=DATA, sized=True):
    return made.outer.upload(owner(), queued.id, make_upload(data, sized), None)


def refused(made, queued, data=DATA, error=Invalid, match=None, sized=True):
    """The upload is refused, nothing is kept, and the owner can read why."""
    with pytest.raises(error, match=match) as raised:
        upload(made, queued, data, sized)
    now = made.now(queued)
    assert now.status == 'queued' and not now.locations and now.checksum is None
    assert now.properties[FAILED_UPLOAD] == str(raised.value)
    assert not [name for name in made.files() if queued.id in name]


# --- the data


@pytest.mark.parametrize('sized', [True, False])
@pytest.mark.parametrize('method', signing.HASHES)
@pytest.mark.parametrize('kind', sorted(set(signing.KEYS) - {'Ed25519'}))
def test_what_was_signed_is_kept_and_nothing_else(made, directory, kind, method, sized):
    keep(directory, signing.selfsigned(signing.key(kind)))
    good = upload(made, image(made, DATA, kind, method), sized=sized)
    assert good.status == 'active' and made.read(good) == DATA
    made.outer.delete_image(owner(), good.id)
    # The last byte, so that everything before has gone to the store already.
    other = DATA[:-1] + b'!'
    refused(made, image(made, DATA, kind, method), other, match='of this data', sized=sized)


def test_no_bytes_may_be_signed(made):
    assert upload(made, image(made, b''), b'').status == 'active'


def test_no_bytes_are_not_what_was_signed(made):
    refused(made, image(made), b'', match='of this data')


def test_the_owner_mends_it_and_tries_again(made):
    queued = image(made, b'other')
    refused(made, queued)
    signature = signing.sign(signing.key(KIND), DATA, METHOD)
    made.db.update_image(owner(), queued.id, Changes(properties={SIGNATURE: signature}))
    now = upload(made, queued)
    assert now.status == 'active' and FAILED_UPLOAD not in now.properties


@pytest.mark.parametrize('name', sorted(SIGNED))
def test_a_part_of_the_properties_signs_nothing(made, name):
    queued = image(made, b'other')
    made.db.update_image(owner(), queued.id, Changes(remove=frozenset([name])))
    assert upload(made, queued).status == 'active'


# --- what the image says


@pytest.mark.parametrize(
    ('changed', 'match'),
    [
        ({SIGNATURE: ''}, 'empty'),
        ({SIGNATURE: 'no!'}, 'base64'),
        ({SIGNATURE: None}, 'base64'),
        ({SIGNATURE: 'A' * 60_000}, 'of this data'),
        ({HASH_METHOD: 'SHA-1'}, 'SHA-1'),
        ({HASH_METHOD: ''}, 'hash method'),
        ({KEY_TYPE: 'RSA-PSS'}, 'RSA-PSS'),
        ({KEY_TYPE: 'Ed25519'}, 'Ed25519'),
        ({CERTIFICATE: 'another'}, 'no certificate another'),
        *(
            ({CERTIFICATE: name}, 'no id')
            for name in ('', '../mine', './mine', '.mine', 'a/b', 'mine\n', 'ü', 'm' * 300, '\0')
        ),
    ],
)
def test_properties_that_make_no_sense_are_refused(made, changed, match):
    refused(made, image(made, **changed), match=match)


@pytest.mark.parametrize(
    'content', [b'', b'mine', b'-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n']
)
def test_a_damaged_certificate_is_refused(made, directory, content):
    (directory / 'mine.pem').write_bytes(content)
    refused(made, image(made), match='damaged')


def test_a_certificate_may_be_der(made, directory):
    der = signing.selfsigned(signing.key(KIND)).certificate.public_bytes(signing.DER)
    (directory / 'mine.pem').write_bytes(der)
    assert upload(made, image(made)).status == 'active'


def test_a_certificate_that_cannot_be_read_is_not_the_owners_fault(made, directory):
    (directory / 'mine.pem').unlink()
    (directory / 'mine.pem').mkdir()
    refused(made, image(made), error=Unavailable, match='at present')


# --- whom to trust


class Chain:
    """root > between > leaf, and a service that trusts what it is told."""

    def __init__(self, make, directory, leaf=None, between=None, root=None, trusted=None):
        self.root = root or signing.root()
        self.between = between or self.root.issue('between', signing.KEYS[KIND](), ca=True)
        self.leaf = leaf or self.between.issue('leaf', signing.key(KIND))
        chosen = (self.root, self.between) if trusted is None else trusted(self)
        bundle = directory / 'bundle'
        bundle.write_bytes(b''.join(one.pem for one in chosen))
        keep(directory, self.leaf)
        self.made = build(make, directory, f'trusted_certificates = {bundle}')


def test_what_leads_to_a_trusted_root_is_taken(make, directory):
    made = Chain(make, directory).made
    assert upload(made, image(made)).status == 'active'
    refused(made, image(made), DATA[1:], match='of this data')


ROOT = signing.root()
PEERS = {
    # name -> what is in place of a part of a good chain
    'another root of the same name': {'trusted': lambda it: (signing.root(), it.between)},
    'the one between is not there': {'trusted': lambda it: (it.root,)},
    'the root is not there': {'trusted': lambda it: (it.between,)},
    'nobody but itself': {'leaf': signing.selfsigned(signing.key(KIND))},
    'leaf is over': {'root': ROOT, 'leaf': ROOT.issue('leaf', signing.key(KIND), end=-DAY / 2)},
    'leaf is not yet': {'root': ROOT, 'leaf': ROOT.issue('leaf', signing.key(KIND), begin=DAY)},
    'the one between is over': {
        'root': ROOT,
        'between': ROOT.issue('between', signing.KEYS[KIND](), ca=True, end=-DAY / 2),
    },
    'the one between is no CA': {
        'root': ROOT,
        'between': ROOT.issue('between', signing.KEYS[KIND]()),
    },
    'the root is over': {'root': signing.root(end=-DAY)},
    'claims to be from the root': {
        'root': ROOT,
        'leaf': signing.root('root', signing.KEYS[KIND]()).issue('leaf', signing.key(KIND)),
    },
    'claims to be from the root, with a key that cannot have been': {
        'root': ROOT,
        'leaf': signing.root('root', signing.KEYS['Ed25519']()).issue('leaf', signing.key(KIND)),
    },
}


def _too_long():
    root = signing.root()
    first = root.issue('first', signing.KEYS[KIND](), ca=True, length=0)
    second = first.issue('second', signing.KEYS[KIND](), ca=True)
    leaf = second.issue('leaf', signing.key(KIND))
    return {'root': root, 'leaf': leaf, 'trusted': lambda it: (root, first, second)}


PEERS['longer than the first allows'] = _too_long()


@pytest.mark.parametrize('name', PEERS)
def test_only_what_leads_to_a_trusted_root_is_taken(make, directory, name):
    made = Chain(make, directory, **PEERS[name]).made
    refused(made, image(made), match='[Cc]ertificate')


# --- what an operator sets


def test_any_certificate_will_do_where_nobody_is_trusted(made, directory):
    keep(directory, signing.root().issue('leaf', signing.key(KIND), end=-DAY / 2))
    assert upload(made, image(made)).status == 'active'


@pytest.mark.parametrize('content', [None, b'', b'nothing', b'-----BEGIN CERTIFICATE-----'])
def test_trusted_certificates_must_be_there(make, directory, content):
    file = directory / 'bundle'
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r'\[image_signatures\] trusted_certificates: '):
        build(make, directory, f'trusted_certificates = {file}')


def test_the_directory_must_be_there(make, directory):
    with pytest.raises(ConfigurationError, match=r'\[image_signatures\] certificates_directory'):
        build(make, directory / 'nowhere')
    with pytest.raises(ConfigurationError, match=r'\[image_signatures\] certificates_directory'):
        make('location, db', '[image_signatures]\ncertificate_manager = directory\n')


def test_a_manager_that_nobody_has_stops_the_start(make, directory):
    with pytest.raises(PluginError, match='certificate_manager: there is no plug-in safe'):
        build(make, directory, manager='safe')


def test_a_key_manager_that_nobody_has_stops_the_start(make):
    with pytest.raises(ConfigurationError, match=r'\[key_manager\] backend: '):
        make('location, db', '[key_manager]\nbackend = safe\n')


def test_an_unsigned_upload_asks_nobody(make, directory, monkeypatch):
    monkeypatch.setattr(
        CertificateManager, 'get', lambda *args: pytest.fail('it was asked'), raising=True
    )
    made = build(make, directory)
    assert upload(made, made.create()).status == 'active'


@pytest.fixture
def lacking(monkeypatch):
    """As if the extra were not installed."""
    for package in ('cursive', 'castellan'):
        for name in [one for one in sys.modules if one.partition('.')[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)
    for name in ('verification', 'key_manager'):
        monkeypatch.delitem(sys.modules, f'glance_lite.{name}', raising=False)


def test_without_the_extra_signed_uploads_are_refused_and_others_are_not(make, lacking):
    made = make('location, db')
    assert upload(made, made.create()).status == 'active'
    (kept,) = made.files()
    with pytest.raises(Unavailable, match=r'img_signature.*pip install glance-lite\[signatures\]'):
        upload(made, image(made))
    assert made.files() == [kept]


@pytest.mark.parametrize('manager', ['directory', 'castellan'])
def test_without_the_extra_nobody_can_ask_for_it(make, directory, lacking, manager):
    needs = (
        r'\[image_signatures\] certificate_manager: .*; install it with: pip install glance-lite'
    )
    with pytest.raises(ConfigurationError, match=needs):
        build(make, directory, manager=manager)
