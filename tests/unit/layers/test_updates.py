# SPDX-License-Identifier: Apache-2.0
"""What is brought up to date in the background, on a directory and a store in memory."""

from __future__ import annotations

import datetime
import hashlib

import pytest
import sqlalchemy as sa

from glance_lite.db import tables
from glance_lite.errors import ConfigurationError, StoreUnavailable
from glance_lite.maintenance.keeper import Keeper
from tests.unit.db.helpers import execute, rows, set_row
from tests.unit.layers.conftest import admin, owner
from tests.unit.layers.test_audit import audit, flip, path
from tests.unit.layers.test_location import copied

DATA = b'some data'


@pytest.fixture
def made(make):
    return make('location, db')


def run(made, duty):
    return dict(Keeper(made.parts.conf, made.chain.inner).run(duty))


def want(made, image, **stores):
    made.chain.inner.want_placement(admin(), image.id, stores)


def stores(made, image):
    return sorted(found.store for found in made.now(image).locations)


def pending(made):
    return [
        (row['store'], row['attempts'], row['problem']) for row in rows(made.db, 'gl_placements')
    ]


def hurry(made):
    """As if the time to try again had come."""
    then = datetime.datetime(2026, 1, 1)
    execute(made.db, sa.update(tables.placements).values(due=then))


# --- where images are


def test_nothing_to_do(made):
    made.active()
    assert run(made, 'place') == {}


def test_an_image_is_copied(made):
    image = made.active()
    want(made, image, ram=True)
    assert run(made, 'place') == {'copied': 1, 'bytes': len(DATA)}
    assert stores(made, image) == ['fast', 'ram'] and pending(made) == []
    want(made, image, ram=True)  # it is so already
    assert run(made, 'place') == {} and pending(made) == []


def test_an_image_is_moved(made):
    image, other = made.active(), made.active()
    want(made, image, ram=True, fast=False)
    found = run(made, 'place')
    assert (found['copied'], found['removed']) == (1, 1)
    assert stores(made, image) == ['ram'] and stores(made, other) == ['fast']
    assert made.files() == [other.id] and pending(made) == []
    assert made.read(made.now(image)) == DATA


def test_nothing_goes_before_its_copy_is_made(made, monkeypatch):
    image = made.active()
    want(made, image, ram=True, fast=False)
    driver = made.parts.gateway.stores['ram'].driver
    with monkeypatch.context() as patch:

        def add(*args):
            raise StoreUnavailable('away')

        patch.setattr(driver, 'add', add)
        assert run(made, 'place')['failed'] == 1
    assert stores(made, image) == ['fast'] and made.read(image) == DATA
    assert ('fast', 0, None) in pending(made)
    assert [found for found in pending(made) if found[0] == 'ram' and found[1] == 1]
    # What failed has its time; until then nothing that depends on it is done, either.
    assert run(made, 'place') == {}
    execute(made.db, sa.delete(tables.operations))
    hurry(made)
    assert run(made, 'place')['removed'] == 1
    assert stores(made, image) == ['ram']


def test_the_last_copy_does_not_go(made):
    image = made.active()
    want(made, image, fast=False)
    assert run(made, 'place')['failed'] == 1
    assert pending(made) == [('fast', 1, 'There is no copy in another store')]
    assert made.read(image) == DATA


def test_a_copy_does_not_go_when_the_other_one_is_bad(made):
    image = copied(made)
    flip(path(made, image))
    want(made, image, ram=False)
    assert run(made, 'place')['failed'] == 1
    assert pending(made) == [('ram', 1, 'The copy in store fast is not good')]
    assert stores(made, image) == ['fast', 'ram']


def test_a_bad_copy_is_none(made):
    """One in quarantine does not count as the copy that is wanted."""
    image = copied(made)
    made.active()
    flip(path(made, image))
    assert audit(made)[1]['quarantined'] == 1
    want(made, image, fast=True)
    assert run(made, 'place')['copied'] == 1
    assert [found.good for found in made.now(image).locations].count(True) == 2


def test_images_that_are_gone_or_empty(made):
    gone, queued = made.active(), made.create()
    for image in (gone, queued):
        want(made, image, ram=True)
    made.outer.delete_image(owner(), gone.id)
    assert run(made, 'place')['failed'] == 1
    assert pending(made) == [('ram', 1, 'The image is queued and has no data')]


def test_standing_rules(make):
    made = make(
        'location, db',
        '[maintenance]\n'
        'placement_rule = tag:archive to ram only\n'
        'placement_rule = visibility:public to fast,ram\n',
    )
    archived = made.active(tags=['archive'])
    public = made.active(visibility='public')
    private = made.active()
    found = run(made, 'place')
    assert (found['ruled'], found['copied'], found['removed']) == (2, 2, 1)
    assert stores(made, archived) == ['ram']
    assert stores(made, public) == ['fast', 'ram']
    assert stores(made, private) == ['fast']
    assert run(made, 'place') == {}


def test_a_rule_that_is_none_stops_the_start(make):
    made = make('location, db', '[maintenance]\nplacement_rule = everything\n')
    with pytest.raises(ConfigurationError, match='placement_rule'):
        Keeper(made.parts.conf, made.chain.inner)


# --- hashes and usage

NOTHING = {'os_hash_value': None, 'os_hash_algo': None, 'checksum': None}


def test_data_without_a_hash_is_hashed(made):
    image, other = made.active(), made.active()
    set_row(made.db, image.id, **NOTHING)
    assert run(made, 'hash') == {'hashed': 1, 'bytes': len(DATA)}
    now = made.now(image)
    assert now.checksum == hashlib.md5(DATA).hexdigest()
    assert now.os_hash_value == hashlib.sha512(DATA).hexdigest() == other.os_hash_value
    assert run(made, 'hash') == {}


def test_what_cannot_be_hashed_is_left(made):
    image, good = made.active(), made.active()
    for one in (image, good):
        set_row(made.db, one.id, **NOTHING)
    path(made, image).write_bytes(b'short')
    assert run(made, 'hash') == {'unread': 1, 'hashed': 1, 'bytes': len(DATA)}
    assert made.now(image).os_hash_value is None


def test_usage_is_recounted(make):
    made = make('location, db', '[DEFAULT]\nuser_storage_quota = 1TB\n')
    made.active(), made.active(project='beta')
    assert run(made, 'recount') == {'projects': 2, 'wrong': 0}
    execute(made.db, sa.update(tables.usage).values(size=4711))
    assert run(made, 'recount') == {'projects': 2, 'wrong': 2}
    assert {row['size'] for row in rows(made.db, 'gl_usage')} == {len(DATA)}
