# SPDX-License-Identifier: Apache-2.0
"""Operations that their process did not end, on every engine."""

from __future__ import annotations

import dataclasses
import datetime
import json
import subprocess

import pytest

from glance_lite.db import sweeps
from glance_lite.model import FAILED_UPLOAD
from glance_lite.process import Process
from tests.backends.fixtures import context
from tests.unit.db.helpers import age, create, fill, rows, set_operation, set_row, stored
from tests.unit.db.test_operations import at_once, claim, room

EXPIRY = 60.0


@pytest.fixture
def dead():
    """The pid of a process that has ended."""
    process = subprocess.Popen(['true'])
    process.wait()
    return process.pid


def found(db):
    return [operation.serial for operation in db.find_abandoned(context(), EXPIRY)]


def elsewhere(db):
    return dataclasses.replace(db.process, host='another')


# --- what is abandoned


def test_what_is_under_way_is_left_alone(db):
    claim(db, create(db))
    assert found(db) == []


def test_a_dead_process_of_this_boot_is_found_at_once(db, dead):
    taken, _ = claim(db, create(db))
    set_operation(db, taken.serial, pid=dead)
    assert found(db) == [taken.serial]


def test_a_process_that_is_younger_than_its_operation_is_another_one(db):
    taken, _ = claim(db, create(db))
    (row,) = rows(db, 'gl_operations')
    set_operation(db, taken.serial, started=row['started'] - datetime.timedelta(days=10000))
    assert found(db) == [taken.serial]


@pytest.mark.parametrize('other', [{'host': 'another'}, {'boot_id': 'of another boot'}], ids=str)
def test_of_another_host_or_boot_only_the_silence_is_known(db, dead, other):
    taken, _ = claim(db, create(db))
    set_operation(db, taken.serial, pid=dead, **other)
    assert found(db) == []
    age(db, taken.serial, EXPIRY - 5)
    assert found(db) == []
    age(db, taken.serial, 10)
    assert found(db) == [taken.serial]


def test_a_sign_of_life_counts_for_what_is_held_and_no_more(db):
    ours, _ = claim(db, create(db))
    others, _ = claim(db, create(db))
    lost, _ = claim(db, create(db))
    for taken in (ours, others, lost):
        age(db, taken.serial, 2 * EXPIRY)
    held = {ours.serial: ours.state, lost.serial: lost.state}
    (swept,) = [at for at in db.find_abandoned(context(), EXPIRY) if at.serial == lost.serial]
    db.take_over(context(), swept)
    age(db, lost.serial, 2 * EXPIRY)
    db.refresh(context(), held)
    assert found(db) == [others.serial, lost.serial]


# --- taking it


def test_of_many_sweepers_one_takes_it(db):
    taken, _ = claim(db, create(db))
    age(db, taken.serial, 2 * EXPIRY)
    (abandoned,) = db.find_abandoned(context(), EXPIRY)
    results = at_once(5, lambda number: db.take_over(context(), abandoned))
    assert not [result for result in results if isinstance(result, Exception)]
    assert sum(result is not None for result in results) == 1


def test_a_sign_of_life_in_between_saves_it(db):
    taken, source = claim(db, create(db))
    age(db, taken.serial, 2 * EXPIRY)
    (abandoned,) = db.find_abandoned(context(), EXPIRY)
    db.refresh(context(), {taken.serial: taken.state})
    assert db.take_over(context(), abandoned) is None
    assert db.commit_upload(context(), taken, source, stored()).status == 'active'


def test_an_upload_that_is_taken_gives_everything_back(db):
    image = create(db)
    taken, _ = claim(db, image, **room(6))
    left = db.take_over(context(), taken)
    now = db.get_image(context(), image.id)
    assert (now.status, now.size) == ('queued', None)
    assert now.properties == {FAILED_UPLOAD: sweeps.GIVEN_UP}
    assert rows(db, 'gl_reservations') == []
    assert len(rows(db, 'gl_operations')) == 1
    db.end_operation(context(), left)
    assert rows(db, 'gl_operations') == []
    # Even now whoever had it may wake up and write.
    later, source = claim(db, image)
    assert later.name == f'{image.id}-{later.serial}'
    db.commit_upload(context(), later, source, stored())
    assert rows(db, 'gl_failures') == []


def test_a_sweeper_that_dies_is_followed_by_another(db, dead):
    image = create(db)
    taken, _ = claim(db, image)
    first = db.take_over(context(), taken)
    assert found(db) == []
    set_operation(db, taken.serial, pid=dead)
    (abandoned,) = db.find_abandoned(context(), EXPIRY)
    second = db.take_over(context(), abandoned)
    assert second.name == image.id
    db.end_operation(context(), first)
    assert len(rows(db, 'gl_operations')) == 1
    db.end_operation(context(), second)
    assert rows(db, 'gl_operations') == []


def test_what_is_taken_belongs_to_the_process_that_took_it(db):
    taken, _ = claim(db, create(db))
    set_operation(db, taken.serial, **dataclasses.asdict(elsewhere(db)))
    db.take_over(context(), taken)
    (row,) = rows(db, 'gl_operations')
    assert Process(row['host'], row['boot_id'], row['pid']) == db.process


@pytest.mark.parametrize('status', ['saving', 'uploading', 'importing'])
def test_what_a_glance_writes_meanwhile_is_left_alone(db, status):
    """It takes the image's id as the name, so nothing may be removed under that now."""
    image = create(db)
    taken, _ = claim(db, image)
    first = db.take_over(context(), taken)
    set_row(db, image.id, status=status)
    assert db.take_over(context(), first) is None
    set_row(db, image.id, status='active')
    assert db.take_over(context(), first) is not None


def test_a_later_upload_of_ours_does_not_hold_up_the_sweep(db):
    image = create(db)
    taken, _ = claim(db, image)
    first = db.take_over(context(), taken)
    claim(db, image)
    assert db.take_over(context(), first) is not None
    assert db.get_image(context(), image.id).status == 'saving'


def test_an_upload_of_an_image_deleted_meanwhile(db):
    image = create(db)
    taken, _ = claim(db, image, **room(6))
    db.commit_delete(context(), db.claim_delete(context(), image.id))
    assert db.take_over(context(), taken).image is None
    assert rows(db, 'images')[0]['status'] == 'deleted'
    assert (
        rows(db, 'image_properties') == rows(db, 'gl_failures') == rows(db, 'gl_reservations') == []
    )


@pytest.mark.parametrize('in_use', [False, True])
def test_a_delete_that_is_taken_says_what_to_remove(db, in_use):
    image = fill(db, create(db, properties={'a': '1'}))
    claimed = db.claim_delete(context(), image.id)
    age(db, claimed.serial, 2 * EXPIRY)
    (abandoned,) = db.find_abandoned(context(), EXPIRY)
    left = db.take_over(context(), abandoned)
    assert left.kind == 'delete'
    assert left.locations == claimed.locations
    # Whoever had it is too late, either way.
    db.abort_delete(context(), claimed)
    db.commit_delete(context(), claimed)
    assert len(rows(db, 'gl_operations')) == 1
    if in_use:
        db.abort_delete(context(), left)
        assert db.get_image(context(), image.id).locations == image.locations
    else:
        db.commit_delete(context(), left)
    assert rows(db, 'gl_operations') == []


def test_a_search_is_one_statement(db, statements):
    for _ in range(3):
        claim(db, create(db))
    with statements() as seen:
        found(db)
    assert len(seen) == 1


def test_signs_of_life_are_one_statement(db, statements):
    taken = [claim(db, create(db))[0] for _ in range(3)]
    with statements() as seen:
        db.refresh(context(), {at.serial: at.state for at in taken})
    assert len([text for text in seen if text.startswith('UPDATE')]) == 1
    assert seen.transactions == 1


def test_the_note_of_a_delete_is_read_as_it_was_written(db):
    image = fill(db, create(db), store='cheap')
    claimed = db.claim_delete(context(), image.id)
    (row,) = rows(db, 'gl_operations')
    assert json.loads(row['kept'])['status'] == 'active'
    assert [at.store for at in db.take_over(context(), claimed).locations] == ['cheap']
