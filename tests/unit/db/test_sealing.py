# SPDX-License-Identifier: Apache-2.0
"""Urls that the database has encrypted: Glance's format, and everything that works on them."""

from __future__ import annotations

import json
import logging
import re

import pytest

from glance_lite.db import sealing, tables
from glance_lite.db.sealing import Sealer
from glance_lite.errors import ConfigurationError, Unavailable
from glance_lite.model import UNREADABLE, Changes, Location, NewLocation, Query, Relocation
from tests.backends.fixtures import context, make_conf, make_layer
from tests.unit.db.helpers import create, fill, rows

KEY = '0123456789abcdef'
URL = 'swift+http://user:secret@keystone/v3/images/x'

#: What Glance 33 made of a url with a key.
VECTORS = [
    ('0123456789abcdef', 'file:///x/0123456',
     '3nQjsvymHfcFwSLIQpaI9i5kQa7i4QQ54I6cfrWEEPqeGuXSr70YyQ1FkP47kZri'),
    ('0123456789abcdef01234567', 'file:///x/0123456789012345',
     'sCwQe6gtE11dZHbJm5f5OZRgg8H0YCq6BvGzIxeeKNu36uCwASbVqyLXaaiV1udD'),
    ('0123456789abcdef0123456789abcdef', 'http://h/é',
     'n-zVPJ5-SAuJQfNiKqAk8g0NK_eCu64dtT9xFW9SRdI='),
]  # fmt: skip


@pytest.mark.parametrize(('key', 'url', 'value'), VECTORS)
def test_what_glance_has_encrypted_is_read(key, url, value):
    assert Sealer(key.encode()).unseal(value) == url


@pytest.mark.parametrize('length', [*range(3, 40), 4096])
@pytest.mark.parametrize('size', sealing.SIZES)
def test_what_is_sealed_is_unsealed(size, length):
    sealer = Sealer(b'k' * size)
    url = 'x:é'.ljust(length, '/')
    first, second = sealer.seal(url), sealer.seal(url)
    assert first != second and ':' not in first
    assert sealer.unseal(first) == sealer.unseal(second) == url


def test_without_a_key_nothing_changes():
    assert Sealer(None).seal(URL) == URL


@pytest.mark.parametrize('key', ['x', 'x' * 15, 'x' * 31, 'x' * 33, 'é' * 16 + 'x'])
def test_a_key_that_aes_does_not_take_stops_the_start(key):
    with pytest.raises(ConfigurationError, match='metadata_encryption_key: it must have 16, 24 or'):
        sealing.key_of(make_conf('sqlite://', key=key))


STRANGE = {
    **{text: text for text in ('', 'x', 'AAAA', 'A' * 44, 'A' * 43 + '=', 'é', '/etc/passwd')},
    'of another key': Sealer(b'f' * 16).seal(URL),
    # by somebody who writes to the database and has the key
    'no url': Sealer(KEY.encode()).seal('/etc/passwd'),
}


@pytest.mark.parametrize('name', STRANGE)
def test_what_cannot_be_decrypted_is_told_once_and_not_shown(name, caplog):
    value = STRANGE[name]
    sealer = Sealer(KEY.encode())
    assert sealer.unseal(value) == sealer.unseal('another') == UNREADABLE
    (told,) = caplog.messages
    assert 'metadata_encryption_key is not the one' in told
    assert len(value) < 9 or value not in told


# --- the layer


@pytest.fixture
def make(database_url):
    """A ``db`` layer with a key, on the one database."""
    made = []

    def make(key):
        made.append(make_layer(database_url, key))
        return made[-1]

    yield make
    for layer in made:
        layer.stop()


@pytest.fixture
def db(make):
    return make(KEY)


def values(db):
    return [row['value'] for row in rows(db, 'image_locations')]


def urls(db, image):
    """As a read and as a list have them."""
    (listed,) = db.list_images(context(), Query()).images
    read = db.get_image(context(), image.id)
    assert read.locations == listed.locations
    return [found.url for found in read.locations]


def assert_nowhere(db, *texts):
    """Nothing that is written anywhere has one of the texts in it."""
    for metadata in (tables.glance, tables.own):
        for name in metadata.tables:
            found = json.dumps(rows(db, name), default=str)
            assert not any(text in found for text in texts), name


def test_an_upload(db):
    image = fill(db, create(db), url=URL)
    assert image.locations[0].url == URL
    assert urls(db, image) == [URL]
    assert_nowhere(db, 'swift', 'secret')


def test_a_delete_notes_nothing_in_the_clear(db):
    image = fill(db, create(db), url=URL)
    claim = db.claim_delete(context(), image.id)
    assert_nowhere(db, 'swift', 'secret')
    assert [found.url for found in db.take_over(context(), claim).locations] == [URL]


def test_a_delete_that_is_aborted_brings_it_back(db):
    image = fill(db, create(db), url=URL)
    db.abort_delete(context(), db.claim_delete(context(), image.id))
    assert urls(db, image) == [URL]


def test_locations_are_exchanged(db):
    image = fill(db, create(db), url=URL)
    (there,) = image.locations
    changed = Relocation(
        (there.id,),
        (Location(0, URL, {'a': 'b'}), Location(0, URL + '2')),
        drop=frozenset({there.id}),
    )
    db.relocate(context(), image.id, Changes(), changed)
    assert urls(db, image) == [URL, URL + '2']
    first, second = db.get_image(context(), image.id).locations
    taken = Relocation((first.id, second.id), remove=frozenset({second.id}))
    claim = db.relocate(context(), image.id, Changes(), taken)
    assert [found.url for found in claim.locations] == [URL + '2']
    assert urls(db, image) == [URL]
    assert_nowhere(db, 'swift', 'secret')


def test_a_registration_is_placed_once(db):
    image = create(db)
    db.claim_import(context(), image.id, NewLocation(URL, {'store': 'fast'}), 'fast')
    # Its task tells the owner of the url, without what is secret in it.
    assert_nowhere(db, 'secret')
    claim = db.take_import(context())
    assert claim.new.url == URL
    for _ in range(2):
        db.place_import(context(), claim, 5, True, None)
    assert urls(db, image) == [URL]


def test_orphans_are_looked_for_by_url(db):
    fill(db, create(db), url=URL)
    assert [found.url for found in db.list_locations(context(), 0, 10)] == [URL]


def test_what_was_written_before_there_was_a_key(make):
    before, after = make(None), make(KEY)
    image = fill(before, create(before), url=URL)
    assert urls(after, image) == [URL]
    claim = after.claim_delete(context(), image.id)
    assert [found.url for found in claim.locations] == [URL]


@pytest.mark.parametrize('key', [None, 'f' * 16])
def test_without_the_key_nothing_is_shown_and_nothing_is_lost(make, key, caplog):
    caplog.set_level(logging.DEBUG)
    with_key, without = make(KEY), make(key)
    image = fill(with_key, create(with_key), url=URL)
    (before,) = rows(with_key, 'image_locations')
    (there,) = without.get_image(context(), image.id).locations
    assert urls(without, image) == [UNREADABLE]
    assert there.metadata == {'store': 'fast'}
    dropped = Relocation(
        (there.id,), (Location(0, UNREADABLE, {'a': 'b'}),), drop=frozenset({there.id})
    )
    for act in (
        lambda: without.claim_delete(context(), image.id),
        lambda: without.relocate(context(), image.id, Changes(), dropped),
        lambda: without.list_locations(context(), 0, 10),
    ):
        with pytest.raises(Unavailable, match='cannot be decrypted'):
            act()
    assert rows(with_key, 'image_locations') == [before]
    assert urls(with_key, image) == [URL]
    assert not [line for line in caplog.messages if 'secret' in line or before['value'] in line]


def test_a_direct_read_knows_the_key(db, engine_name):
    """PostgreSQL is asked past SQLAlchemy."""
    if engine_name != 'postgresql':
        pytest.skip('the others have one way')
    image = fill(db, create(db), url=URL)
    assert db.database.query(
        lambda connection: (type(connection).__name__, sealing.unseal(connection, values(db)[0]))
    ) == ('Direct', URL)
    assert image.locations[0].url == URL


def test_no_statement_compares_values(db, statements):
    """What is encrypted twice differs, so it would find nothing."""
    with statements() as seen:
        image = fill(db, create(db), url=URL)
        image = db.update_image(context(), image.id, Changes(fields={'name': 'n'}))
        db.commit_delete(context(), db.claim_delete(context(), image.id))
    about = [text for text in seen if 'image_locations' in text]
    assert about
    compared = re.compile(r'image_locations\.value\s*(=|<|>|!=|IN\b|LIKE\b|IS\b)', re.I)
    assert not [text for text in about if compared.search(text)]
