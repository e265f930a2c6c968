# SPDX-License-Identifier: Apache-2.0
"""What the auditor reads and notes: on every engine."""

from __future__ import annotations

import dataclasses

import pytest
import sqlalchemy as sa

from glance_lite.audit.values import DAMAGED, Finding
from glance_lite.db import tables
from tests.backends.fixtures import context
from tests.unit.db.helpers import create, execute, fill, rows, set_row, stored
from tests.unit.db.test_deferred import deferred
from tests.unit.db.test_operations import at_once


def second(db, image, store='cheap'):
    """One more copy of an image."""
    claim = db.claim_copy(context(), image.id, store)
    db.commit_copy(context(), claim, stored(5, store, f'file:///{store}/{image.id}'))


def copies(db, image=None):
    found = db.list_copies(context(), 0, 1000)
    return [one for one in found if image is None or one.image_id == image.id]


def quarantine(db, copy, text='other bytes'):
    finding = Finding(DAMAGED, copy.image_id, copy.location.store, 'file:///x', text)
    return db.quarantine(context(), copy, finding)


def states(db):
    return [row['status'] for row in rows(db, 'image_locations')]


def test_copies_by_id_in_pages(db):
    images = [fill(db, create(db)) for _ in range(5)]
    second(db, images[0])
    create(db), deferred(db)
    gone = fill(db, create(db))
    db.commit_delete(context(), db.claim_delete(context(), gone.id))
    deactivated = fill(db, create(db))
    db.set_active(context('operators', admin=True), deactivated.id, False)
    found, after = [], 0
    while page := db.list_copies(context(), after, 2):
        found += page
        after = page[-1].location.id
    assert [one.image_id for one in found] == [
        *(image.id for image in images), images[0].id, deactivated.id,
    ]  # fmt: skip
    one = found[0]
    assert (one.size, one.checksum, one.os_hash_algo) == (5, 'c' * 32, 'sha512')
    assert (one.location.store, one.location.url, one.fault) == ('fast', 'file:///data/x', None)
    assert one.image().locations == (one.location,)


def test_a_page_is_one_statement(db, statements):
    for _ in range(3):
        fill(db, create(db))
    with statements() as seen:
        assert len(db.list_copies(context(), 0, 1000)) == 3
    assert len(seen) == 1
    with statements() as seen:
        db.list_dataless(context(), '', 1000)
    assert len(seen) == 1


def test_the_last_copy_is_noted_and_stays(db):
    fill(db, create(db))
    (copy,) = copies(db)
    assert quarantine(db, copy) is False
    assert states(db) == ['active']
    (copy,) = copies(db)
    assert copy.fault == DAMAGED
    (found,) = db.list_quarantine(context(), 0, 10)
    assert (found.served, found.text, found.store) == (True, 'other bytes', 'fast')
    since = found.since
    assert quarantine(db, copy, 'worse') is False
    (found,) = db.list_quarantine(context(), 0, 10)
    assert (found.text, found.since) == ('worse', since)


def test_a_second_copy_makes_the_difference(db):
    image = fill(db, create(db))
    (copy,) = copies(db)
    quarantine(db, copy)
    second(db, image)
    assert quarantine(db, copy) is True
    assert states(db) == ['quarantined', 'active']
    now = db.get_image(context(), image.id)
    assert [location.good for location in now.locations] == [False, True]
    # The other one is bad as well: it is all there is.
    assert quarantine(db, copies(db)[1]) is False
    assert states(db) == ['quarantined', 'active']
    assert db.release_copy(context(), copy.location.id)
    assert states(db) == ['active', 'active']
    assert not db.release_copy(context(), copy.location.id)


def test_both_at_once(db):
    """Two who find the two copies of an image bad in the same moment: one of them is served."""
    for _ in range(3):
        image = fill(db, create(db))
        second(db, image)
        mine = copies(db, image)
        results = at_once(2, lambda number, mine=mine: quarantine(db, mine[number]))
        assert sorted(results) == [False, True]


def test_what_has_changed_is_not_noted(db):
    image = fill(db, create(db))
    (copy,) = copies(db)
    set_row(db, image.id, os_hash_value='b' * 128)
    assert quarantine(db, copy) is None
    (copy,) = copies(db)
    gone = dataclasses.replace(copy, location=dataclasses.replace(copy.location, id=4711))
    assert quarantine(db, gone) is None
    db.commit_delete(context(), db.claim_delete(context(), image.id))
    assert quarantine(db, copy) is None
    assert rows(db, 'gl_quarantine') == []


def test_copies_that_are_gone_are_forgotten(db):
    image, other = fill(db, create(db)), fill(db, create(db))
    for copy in copies(db):
        quarantine(db, copy)
    db.commit_delete(context(), db.claim_delete(context(), image.id))
    assert [one.image_id for one in db.list_quarantine(context(), 0, 10)] == [other.id]
    assert db.collect_quarantine(context()) == 1
    assert [row['image_id'] for row in rows(db, 'gl_quarantine')] == [other.id]
    assert db.collect_quarantine(context()) == 0


def test_a_delete_takes_what_is_in_quarantine_along(db):
    for later in (False, True):
        image = fill(db, create(db))
        second(db, image)
        assert quarantine(db, copies(db, image)[0])
        if later:
            db.defer_delete(context(), image.id)
            claim = db.take_deferred(context(), 0)
        else:
            claim = db.claim_delete(context(), image.id)
        assert [found.store for found in claim.locations] == ['fast', 'cheap']
        db.commit_delete(context(), claim)


def test_usage_counts_it_as_before(counting):
    image = fill(counting, create(counting))
    second(counting, image)
    assert counting.count_usage(context(), 'alpha').size == 10
    quarantine(counting, copies(counting)[0])
    assert counting.count_usage(context(), 'alpha').size == 10


def test_images_without_data(db):
    image, deactivated = fill(db, create(db)), fill(db, create(db))
    fill(db, create(db)), create(db)
    empty = fill(db, create(db), size=0)
    db.set_active(context('operators', admin=True), deactivated.id, False)
    table = tables.image_locations
    gone = [image.id, deactivated.id, empty.id]
    execute(db, sa.delete(table).where(table.c.image_id.in_(gone)))
    wanted = sorted([image.id, deactivated.id])
    assert list(db.list_dataless(context(), '', 10)) == wanted
    assert list(db.list_dataless(context(), '', 1)) == wanted[:1]
    assert list(db.list_dataless(context(), wanted[0], 10)) == wanted[1:]


def test_images_that_somebody_writes(db):
    written = [create(db) for _ in range(3)]
    for image, status in zip(written, ('saving', 'uploading', 'importing'), strict=True):
        set_row(db, image.id, status=status)
    ours, idle = fill(db, create(db)), fill(db, create(db))
    db.claim_copy(context(), ours.id, 'cheap')
    ids = [image.id for image in (*written, ours, idle)]
    assert db.find_busy(context(), ids) == frozenset(ids[:-1])


def test_locations_of_images(db):
    image, later, other = fill(db, create(db)), deferred(db), fill(db, create(db))
    second(db, image)
    found = db.list_locations_of(context(), [image.id, later.id, 'nosuch'])
    assert sorted(one.store for one in found) == ['cheap', 'fast', 'fast']
    assert db.list_locations_of(context(), [other.id])[0].url == 'file:///data/x'


def test_positions(db):
    assert db.get_position(context(), 'a') is None
    for text in ('{"after": 1}', '{"after": 2}'):
        db.set_position(context(), 'a', text)
        assert db.get_position(context(), 'a') == text
    db.set_position(context(), 'b', '1')
    db.set_position(context(), 'a', None)
    assert [row['name'] for row in rows(db, 'gl_positions')] == ['b']


@pytest.mark.parametrize('engine_name', ['sqlite'], indirect=True)
def test_pages_are_read_in_the_order_of_keys(db):
    """However many images there are, and whatever the engine knows of them."""
    sent = []

    def on_execute(connection, cursor, statement, parameters, *rest):
        sent.append((statement, parameters))

    sa.event.listen(db.database.engine, 'before_cursor_execute', on_execute)
    db.list_copies(context(), 0, 10)
    db.list_dataless(context(), 'a', 10)
    db.list_placed(context(), 'a', 10)
    sa.event.remove(db.database.engine, 'before_cursor_execute', on_execute)
    with db.database.engine.connect() as connection:
        for statement, parameters in sent:
            plan = connection.exec_driver_sql(f'EXPLAIN QUERY PLAN {statement}', parameters)
            text = '\n'.join(row[3] for row in plan)
            assert 'TEMP B-TREE' not in text and 'SCAN' not in text, text
            assert 'ix_images_deleted' not in text, text
