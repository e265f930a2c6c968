# SPDX-License-Identifier: Apache-2.0
"""Rows of registered images and of changed locations, on every engine."""

from __future__ import annotations

import json

import pytest

from glance_lite.errors import Conflict, Gone, Invalid, LimitExceeded
from glance_lite.model import (
    FAILED_UPLOAD,
    Changes,
    Digests,
    Location,
    NewLocation,
    Relocation,
    Reservation,
)
from tests.backends.fixtures import context
from tests.unit.db.helpers import age, create, fill, rows
from tests.unit.db.test_operations import at_once

URL = 'https://user:secret@images.example/data?signature=1'
FOUND = Digests('c' * 32, 'sha512', 'a' * 128)
EXPIRY = 60.0


def register(db, project='alpha', **more):
    image = create(db, project)
    new = NewLocation(URL, {'store': 'web'}, **more)
    db.claim_import(context(project), image.id, new, 'web')
    return image


def show(db, image):
    return db.get_image(context(image.owner), image.id)


def test_from_registration_to_the_hash(db):
    image = register(db)
    assert show(db, image).status == 'importing'
    assert rows(db, 'tasks')[0]['status'] == 'pending'
    claim = db.take_import(context())
    assert (claim.image_id, claim.new.url, claim.store) == (image.id, URL, 'web')
    assert rows(db, 'tasks')[0]['status'] == 'processing'
    placed = db.place_import(context(), claim, 5, True, 'sha512')
    assert (placed.image.status, placed.image.size) == ('active', 5)
    assert (placed.image.os_hash_algo, placed.image.os_hash_value) == ('sha512', None)
    assert db.is_held(context(), claim)
    db.commit_import(context(), claim, FOUND)
    shown = show(db, image)
    assert (shown.checksum, shown.os_hash_algo, shown.os_hash_value) == (
        'c' * 32, 'sha512', 'a' * 128,
    )  # fmt: skip
    assert [(one.url, dict(one.metadata)) for one in shown.locations] == [(URL, {'store': 'web'})]
    (task,) = rows(db, 'tasks')
    assert (task['status'], task['type']) == ('success', 'location_import')
    assert rows(db, 'gl_operations') == []


def test_a_task_shows_no_secret(db):
    image = register(db, validation={'os_hash_algo': 'md5', 'os_hash_value': 'ab' * 16})
    (info,) = rows(db, 'task_info')
    assert json.loads(info['input']) == {
        'image_id': image.id,
        'loc_url': 'https://***@images.example/data?***',
        'validation_data': {'os_hash_algo': 'md5', 'os_hash_value': 'ab' * 16},
    }


def test_what_does_not_become_anything(db):
    image = register(db)
    claim = db.take_import(context())
    db.place_import(context(), claim, 5, False, 'sha512')
    db.abort_import(context(), claim, 'it is broken')
    shown = show(db, image)
    assert (shown.status, shown.size, shown.locations) == ('queued', None, ())
    assert shown.properties == {FAILED_UPLOAD: 'it is broken'}
    assert rows(db, 'gl_operations') == []
    assert rows(db, 'tasks')[0]['status'] == 'failure'
    assert rows(db, 'task_info')[0]['message'] == 'it is broken'
    # Once more, with nothing of the last time.
    db.claim_import(context('alpha'), image.id, NewLocation(URL), 'web')
    assert show(db, image).properties == {}


def test_an_active_image_stays_so_without_a_hash(db):
    image = register(db)
    claim = db.take_import(context())
    db.place_import(context(), claim, 5, True, 'sha512')
    db.abort_import(context(), claim, 'it is broken')
    shown = show(db, image)
    assert (shown.status, shown.size, len(shown.locations)) == ('active', 5, 1)
    assert shown.properties == {}
    assert shown.os_hash_algo is None, 'nobody hashes it any more'


def test_who_was_silent_has_it_no_more(db):
    image = register(db)
    late = db.take_import(context())
    db.place_import(context(), late, 5, False, 'sha512')
    age(db, late.serial, EXPIRY + 1)
    (found,) = db.find_abandoned(context(), EXPIRY)
    assert db.take_over(context(), found) is None
    assert not db.is_held(context(), late)
    assert db.find_abandoned(context(), EXPIRY) == (), "what waits is nobody's"
    claim = db.take_import(context())
    assert claim.serial == late.serial
    with pytest.raises(Gone):
        db.place_import(context(), late, 5, False, 'sha512')
    with pytest.raises(Gone):
        db.commit_import(context(), late, FOUND)
    db.abort_import(context(), late, 'too late')
    # Placed twice, it is there once.
    db.place_import(context(), claim, 5, False, 'sha512')
    db.commit_import(context(), claim, FOUND)
    assert show(db, image).status == 'active'
    assert len(rows(db, 'image_locations')) == 1


def test_one_is_taken_once(db):
    register(db)
    taken = at_once(6, lambda number: db.take_import(context()))
    assert len([claim for claim in taken if claim is not None]) == 1


def test_two_of_a_project_at_a_time(db):
    for _ in range(3):
        register(db)
    other = register(db, 'beta')
    claims = [db.take_import(context()) for _ in range(4)]
    assert [claim is None for claim in claims] == [False, False, False, True]
    assert claims[2].image_id == other.id
    db.commit_import(context(), claims[0], FOUND)
    assert db.take_import(context()) is not None


def test_it_goes_with_the_image(db):
    image = register(db)
    claim = db.take_import(context())
    db.commit_delete(context('alpha'), db.claim_delete(context('alpha'), image.id))
    assert not db.is_held(context(), claim)
    assert rows(db, 'gl_operations') == []
    assert rows(db, 'tasks')[0]['status'] == 'failure'
    with pytest.raises(Gone):
        db.place_import(context(), claim, 5, False, 'sha512')


@pytest.mark.parametrize('comes_back', [True, False])
def test_a_delete_that_a_store_refuses(db, comes_back):
    image = register(db)
    claim = db.take_import(context())
    db.place_import(context(), claim, 5, False, 'sha512')
    delete = db.claim_delete(context('alpha'), image.id)
    assert not db.is_held(context(), claim) and db.take_import(context()) is None
    if comes_back:
        db.abort_delete(context('alpha'), delete)
        assert show(db, image).status == 'importing'
        assert db.take_import(context()).serial == claim.serial
    else:
        db.commit_delete(context('alpha'), delete)
        assert rows(db, 'gl_operations') == []


def test_who_may_not_register(db):
    with pytest.raises(Conflict):
        image = create(db)
        fill(db, image)
        db.claim_import(context('alpha'), image.id, NewLocation(URL), 'web')
    with pytest.raises(Invalid):
        image = create(db, disk_format=None)
        db.claim_import(context('alpha'), image.id, NewLocation(URL), 'web')
    assert rows(db, 'tasks') == []


def test_room(db):
    register(db, riders=(Reservation('alpha', None, 9),))
    register(db, riders=(Reservation('alpha', None, 9),))
    first, second = (db.take_import(context()) for _ in range(2))
    db.place_import(context(), first, 5, True, 'sha512')
    with pytest.raises(LimitExceeded):
        db.place_import(context(), second, 5, True, 'sha512')
    assert rows(db, 'gl_reservations') == []


# --- patches


def test_locations_change_with_the_image(db):
    image = fill(db, create(db))
    (old,) = image.locations
    new = Location(0, 'rbd://a/b', {'store': 'fast'})
    change = Relocation((old.id,), (new,), remove=frozenset({old.id}))
    changes = Changes(fields={'name': 'moved'})
    claim = db.relocate(context('alpha'), image.id, changes, change)
    assert (claim.image.name, [one.url for one in claim.image.locations]) == (
        'moved', ['rbd://a/b'],
    )  # fmt: skip
    assert [one.url for one in claim.locations] == [old.url]
    (row,) = rows(db, 'gl_operations')
    assert (row['kind'], row['serial']) == ('location', claim.serial)
    db.commit_delete(context('alpha'), claim)
    assert rows(db, 'gl_operations') == []


def test_locations_that_changed_meanwhile(db):
    image = fill(db, create(db))
    change = Relocation((4711,), (Location(0, 'rbd://a/b', {}),))
    with pytest.raises(Conflict):
        db.relocate(context('alpha'), image.id, Changes(fields={'name': 'moved'}), change)
    assert show(db, image).name is None


def test_room_for_more_locations(db):
    image = fill(db, create(db))
    rider = Reservation('alpha', None, 12)
    for number, fits in enumerate((True, False)):
        expected = tuple(one.id for one in show(db, image).locations)
        change = Relocation(expected, (Location(0, f'rbd://a/{number}', {}),))
        if fits:
            db.relocate(context('alpha'), image.id, Changes().riding(rider), change)
            continue
        with pytest.raises(LimitExceeded):
            db.relocate(context('alpha'), image.id, Changes().riding(rider), change)
    assert len(show(db, image).locations) == 2
