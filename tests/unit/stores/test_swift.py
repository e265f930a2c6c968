# SPDX-License-Identifier: Apache-2.0
"""Urls, references, settings and pieces of the swift driver: all that needs no server."""

from __future__ import annotations

import io
import urllib.parse

import pytest

from glance_lite.store import BadStoreConfiguration, BadStoreUri, StoreError
from glance_lite.testing.faults import Source
from glance_lite.testing.stores import make_driver, pattern
from store_drivers import swift_pieces
from store_drivers.swift import SwiftStore
from store_drivers.swift_locations import Storage
from store_drivers.swift_login import plugin_of
from store_drivers.swift_pieces import MIB, Buffered, Piece, Pieces

KEY = 'p@ss:word/with%signs'
QUOTED = urllib.parse.quote(KEY)
AUTH = 'keystone.example:5000/v3'
FILE = """
[ref1]
auth_address = https://keystone.example:5000/v3/
user = service:glance
key = {key}
[credential]
auth_address = https://keystone.example:5000/v3
application_credential_id = an-id
application_credential_secret = "a secret"
[other]
auth_address = http://other.example:8080/auth/v1.0
auth_version = 1
user = test:tester
key = 'testing'
[old]
auth_address = old.example/v2.0
auth_version = 2
user = service:glance
key = older
project_domain_name = Images
user_domain_id = u1
"""


def store(**settings):
    values = {
        'swift_store_auth_address': f'https://{AUTH}',
        'swift_store_user': 'service:glance',
        'swift_store_key': KEY,
        'swift_store_container': 'images',
        **settings,
    }
    return make_driver(SwiftStore, 'deep', **values)


@pytest.fixture
def several(tmp_path):
    """A store with a file of references."""
    file = tmp_path / 'swift.conf'
    file.write_text(FILE.format(key=KEY))

    def make(**settings):
        return store(swift_store_config_file=str(file), **settings)

    return make


# --- urls


def test_all_forms_of_a_url_name_the_same_object(several):
    made = several()
    own = made._known['ref1']
    for url in (
        'swift+config://ref1/images/name',
        f'swift+https://service%3Aglance:{QUOTED}@{AUTH}/images/name',
        f'swift://service:glance:{QUOTED}@{AUTH}/images/name',
        f'swift://service%3Aglance:{QUOTED}@KEYSTONE.example:5000/v3/images/name',
        # Whatever password the user had then, and however the server was reached.
        f'swift+http://service:glance:former@{AUTH}/images/name',
        'swift://service:glance:former@keystone.example:5000/v2.0/images/name',
        # As Glance writes where an application credential is all there is.
        f'swift+https://{AUTH}/images/name',
    ):
        place = made.parse(url)
        assert (place.account, place.container, place.name) == (own, 'images', 'name')
        assert made.owns(url)


@pytest.mark.parametrize(
    ('url', 'reference', 'container'),
    [
        ('swift+config://other/images/name', 'other', 'images'),
        ('swift+config://credential/images_3a/name', 'credential', 'images_3a'),
        ('swift+http://test:tester:gone@other.example:8080/auth/v1.0/images/name', 'other', None),
        ('swift+config://ref1/former/name', 'ref1', 'former'),
        ('swift+config://old/f/name', 'old', 'f'),
    ],
)
def test_what_was_stored_elsewhere_is_read_and_cannot_be_registered(
    several, url, reference, container
):
    made = several()
    place = made.parse(url)
    assert place.account == made._known[reference]
    assert container in (None, place.container)
    assert not made.owns(url)


def test_credentials_of_a_url_that_nobody_configured_are_used_as_they_are(several):
    made = several()
    access = made.parse(f'swift://former:user:its%20key@{AUTH}/images/name').account
    assert (access.user, access.key, access.auth_url) == (
        'former:user',
        'its key',
        f'https://{AUTH}',
    )
    access = made.parse('swift+http://former:user:key@gone.example/v3/images/name').account
    assert (access.user, access.key) == ('former:user', 'key')
    assert access.auth_url == 'http://gone.example/v3'
    assert KEY not in repr(access)
    # Not the credential of the application, to which the user was unknown.
    only = several(default_swift_reference='credential')
    access = only.parse(f'swift://former:user:key@{AUTH}/images/name').account
    assert (access.user, access.key, access.application) == ('former:user', 'key', False)


def test_two_references_to_one_account_are_one_key(tmp_path):
    file = tmp_path / 'swift.conf'
    section = '[{}]\nauth_address = https://k/v3\nuser = a:b\nkey = {}\n'
    file.write_text(section.format('one', 'new') + section.format('two', 'old'))
    made = store(swift_store_config_file=str(file), default_swift_reference='one')
    one, two = (made.parse(f'swift+config://{name}/images/name') for name in ('one', 'two'))
    assert repr(one) == repr(two)


@pytest.mark.parametrize(
    'url',
    [
        'swift+config://nobody/images/name',
        'swift+config://me:secret@ref1/images/name',
        'swift+config://ref1/images/a/name',
        'swift+config://ref1/name',
        'swift+config://ref1/../name',
        'swift+config://ref1/images/..',
        'swift+config://ref1/images/',
        'swift+config://ref1/images/na me',
        'swift+config://ref1/images/name?multipart-manifest=get',
        'swift+config://ref1/images/name#part',
        'swift+ftp://ref1/images/name',
        'swift://images/name',
        'swift://stranger.example/images/name',
        f'swift://nokey@{AUTH}/images/name',
        f'swift://user:key@{AUTH}/images/name',
        f'swift://a:user:@{AUTH}/images/name',
        'swift://a:user:key@:5000/images/name',
        'swift://a:user:key@host:port/v3/images/name',
        'swift://a:user:key@http://host/v3/images/name',
        f'swift://a:user:key@{AUTH}/images/\n',
        'http://keystone.example/images/name',
    ],
)
def test_other_urls_are_refused(several, url):
    made = several()
    with pytest.raises(BadStoreUri):
        made.parse(url)
    assert not made.owns(url)


@pytest.mark.parametrize(
    'url',
    [
        f'swift+https://service%3Aglance:{QUOTED}@{AUTH}/images/name',
        f'swift://service:glance:{KEY}@{AUTH}/images/name',
        f'nonsense://x:{KEY}@@/',
    ],
)
def test_no_url_tells_a_credential(url):
    shown = store().redact(url)
    assert KEY not in shown and QUOTED not in shown and 'glance' not in shown
    assert store().redact('swift+config://ref1/images/name') == 'swift+config://ref1/images/name'


@pytest.mark.parametrize(
    ('seed', 'container'), [(0, 'images'), (1, 'images_3'), (8, 'images_3a1b2c3d'),
                            (9, 'images_3a1b2c3d-4')],
)  # fmt: skip
def test_containers_are_named_as_glance_names_them(seed, container):
    made = store(swift_store_multiple_containers_seed=seed)
    name = '3A1B2C3D-4444-4444-8444-444444444444'
    (url,) = made.locate(name)
    assert url == f'swift+config://ref1/{container}/{name}'
    assert made.owns(url)
    assert not made.owns(f'swift+config://ref1/images_zz/{name}')


def test_accounts_of_projects():
    made = store(swift_store_multi_tenant=True)
    place = made.parse('swift+http://Swift.example:8080/v1/AUTH_p/images_name/name')
    assert place.account == Storage('http://swift.example:8080/v1/AUTH_p')
    assert (place.container, place.name) == ('images_name', 'name')
    # Of the time when there was one account.
    assert made.parse('swift+config://ref1/images/name').account == made._known['ref1']


# --- settings


def test_references(several):
    known = several()._known
    assert set(known) == {'ref1', 'credential', 'other', 'old'}
    assert (known['ref1'].user, known['ref1'].key) == ('service:glance', KEY)
    assert known['ref1'].auth_url == f'https://{AUTH}'
    default = (('project_domain_id', 'default'), ('user_domain_id', 'default'))
    assert known['ref1'].domains == default
    assert known['credential'].application
    assert (known['credential'].user, known['credential'].key) == ('an-id', 'a secret')
    assert (known['other'].version, known['other'].key) == ('1', 'testing')
    assert (known['old'].version, known['old'].auth_url) == ('3', 'https://old.example/v2.0')
    assert dict(known['old'].domains) == {'project_domain_name': 'Images', 'user_domain_id': 'u1'}
    for access in known.values():
        assert plugin_of(access) is not None


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        (None, 'cannot be read'),
        ('key = secret', 'MissingSectionHeader'),
        ('[ref1]\nkey = secret', r'\[ref1\] auth_address: must be set'),
        ('[ref1]\nauth_address = https://k\nkey = secret', r'\[ref1\] user: must be set'),
        ('[ref1]\nauth_address = https://k\nuser = a:b', r'\[ref1\] key: must be set'),
        ('[ref1]\nauth_address = https://k\nuser = b\nkey = secret', 'PROJECT:USER'),
        ('[ref1]\nauth_address = ftp://k\nuser = a:b\nkey = secret', 'auth_address: must be'),
        ('[ref1]\nauth_address = https://k\nuser = a:b\nkey = "secret', 'quote is not closed'),
        ('[two]\nauth_address = https://k\nuser = a:b\nkey = secret', 'no section ref1'),
        ('\xff\xfe', 'ini file'),
    ],
)
def test_files_that_make_no_sense(tmp_path, text, said):
    file = tmp_path / 'swift.conf'
    if text is not None:
        file.write_bytes(text.encode('latin-1'))
    with pytest.raises(BadStoreConfiguration, match=said) as caught:
        store(swift_store_config_file=str(file))
    assert 'secret' not in str(caught.value)


@pytest.mark.parametrize(
    ('option', 'value'),
    [
        ('swift_store_auth_address', None),
        ('swift_store_auth_address', 'ftp://x'),
        ('swift_store_user', 'nobody'),
        ('swift_store_key', None),
        ('swift_store_container', 'a/b'),
        ('swift_store_container', ''),
        ('swift_buffer_on_upload', True),
    ],
)
def test_settings_that_make_no_sense(option, value):
    named = {'swift_buffer_on_upload': 'swift_upload_buffer_dir'}.get(option, option)
    with pytest.raises(BadStoreConfiguration, match=rf'\[deep\] {named}: '):
        store(**{option: value})


def test_nobody_says_who_we_are():
    nothing = dict.fromkeys(
        ('swift_store_auth_address', 'swift_store_user', 'swift_store_key'), None
    )
    with pytest.raises(BadStoreConfiguration, match='swift_store_config_file'):
        store(**nothing)


def test_a_file_of_certificates_that_is_not_there():
    with pytest.raises(BadStoreConfiguration, match='swift_store_cacert: /nowhere'):
        store(swift_store_cacert='/nowhere').start()


# --- pieces


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(swift_pieces, 'MIB', 8)


def read(piece):
    return b''.join(bytes(chunk) for chunk in piece)


@pytest.mark.parametrize('sized', [True, False])
@pytest.mark.parametrize('size', [1, 7, 8, 9, 15, 16, 17, 40, 41])
def test_pieces_are_all_of_the_source_and_no_more(small, size, sized):
    data = pattern(size)
    pieces = Pieces(Source(data, sized=sized), size if sized else None, 16)
    found = [read(piece) for piece in pieces]
    assert b''.join(found) == data
    assert all(len(one) == 16 for one in found[:-1]) and 0 < len(found[-1]) <= 16


@pytest.mark.parametrize(
    ('size', 'sized', 'whole'),
    [(0, True, True), (23, True, True), (24, True, False), (0, False, True), (7, False, True),
     (8, False, False)],
)  # fmt: skip
def test_what_is_small_is_one_piece(small, size, sized, whole):
    pieces = Pieces(Source(pattern(size), sized=sized), size if sized else None, 16)
    piece = pieces.whole(24)
    assert (piece is not None) == whole
    if piece is not None:
        assert read(piece) == pattern(size)
        assert piece.complete


def test_of_very_large_images_segments_are_larger():
    assert Pieces(Source(b''), 10 * MIB, 1024)._least == 1049
    assert Pieces(Source(b''), 10 * MIB, MIB)._least == MIB


def test_a_source_that_ends_early_is_an_error():
    piece = Piece(io.BytesIO(b'1234'), 5, True)
    with pytest.raises(StoreError, match='less have come'):
        read(piece)
    assert isinstance(piece.error, StoreError)
    assert not piece.complete and not piece.rewind()


def test_what_was_not_sent_can_be_sent_again():
    piece = Piece(Source(b'5678', sized=False), 8, False, first=b'1234')
    assert next(iter(piece)) == b'1234'
    assert piece.rewind()
    assert read(piece) == b'12345678'
    assert not piece.rewind()


def test_a_buffered_piece_can_be_sent_as_often_as_need_be(tmp_path):
    original = Piece(Source(b'12345678'), 8, True)
    buffered = Buffered(original, str(tmp_path))
    assert buffered.len == 8
    for _ in range(3):
        assert read(buffered) == b'12345678'
        assert buffered.complete and buffered.rewind()
    assert original.complete
    buffered.close()
    with pytest.raises(StoreError, match='cannot be written'):
        Buffered(Piece(Source(b'1'), 1, True), str(tmp_path / 'nowhere'))
