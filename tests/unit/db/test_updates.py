# SPDX-License-Identifier: Apache-2.0
"""Rows of what is brought up to date in the background: on every engine."""

from __future__ import annotations

import datetime

import sqlalchemy as sa

from glance_lite.db import tables
from glance_lite.model import Digests
from glance_lite.updates.values import Hashed
from tests.backends.fixtures import context
from tests.unit.db.helpers import create, execute, fill, rows, set_row
from tests.unit.db.test_audits import second

NOTHING = {'os_hash_value': None, 'os_hash_algo': None, 'checksum': None}
DIGESTS = Digests('d' * 32, 'sha512', 'e' * 128)


def due(db):
    return db.list_placements(context(), '', 100, True)


def test_where_an_image_is_to_be(db):
    db.want_placement(context(), 'b', {'cheap': True, 'fast': False, 'far': True})
    db.want_placement(context(), 'a', {'cheap': True})
    first, second = db.list_placements(context(), '', 100, False)
    assert (first.image_id, second.image_id) == ('a', 'b')
    assert (second.wanted, second.unwanted) == (('cheap', 'far'), ('fast',))
    assert (second.attempts, second.problem) == (0, None)
    assert db.list_placements(context(), 'a', 100, False) == (second,)
    assert db.list_placements(context(), '', 1, False) == (first,)
    db.settle_placement(context(), 'b', 'cheap')
    assert due(db)[1].wanted == ('far',)
    db.settle_placement(context(), 'b', None)
    assert [one.image_id for one in due(db)] == ['a']


def test_what_fails_is_tried_later_and_later(db):
    db.want_placement(context(), 'a', {'cheap': True})
    waits = []
    for attempt in range(12):
        db.postpone_placement(context(), 'a', 'cheap', 'x' * 2000)
        assert due(db) == ()
        (row,) = rows(db, 'gl_placements')
        assert (row['attempts'], row['problem']) == (attempt + 1, 'x' * 1000)
        waits.append((row['due'] - row['since']).total_seconds())
    assert 50 < waits[0] < 100 and 110 < waits[1] < 160
    assert 6 * 3600 - 10 < waits[-1] < 6 * 3600 + 60
    # To want the same again is no reason to try at once, the contrary is.
    db.want_placement(context(), 'a', {'cheap': True})
    assert due(db) == ()
    db.want_placement(context(), 'a', {'cheap': False})
    (found,) = due(db)
    assert (found.unwanted, found.attempts, found.problem) == (('cheap',), 0, None)
    db.postpone_placement(context(), 'nosuch', 'cheap', 'x')


def test_nothing_to_do_is_one_statement(db, statements):
    with statements() as seen:
        assert due(db) == ()
    assert len(seen) == 1


def test_images_for_rules(db):
    image = fill(db, create(db, tags=['archive', 'x'], visibility='public'))
    second(db, image)
    other = fill(db, create(db, 'beta'))
    create(db)
    found = {one.image_id: one for one in db.list_placed(context(), '', 10)}
    assert found.keys() == {image.id, other.id}
    one = found[image.id]
    assert (one.visibility, one.owner, one.disk_format) == ('public', 'alpha', 'raw')
    assert (one.tags, one.stores) == ({'archive', 'x'}, {'fast', 'cheap'})
    assert found[other.id].stores == {'fast'} and not found[other.id].os_hidden
    assert abs(one.age) < datetime.timedelta(minutes=5)
    first, last = sorted(found)
    assert [one.image_id for one in db.list_placed(context(), first, 10)] == [last]
    assert db.list_placed(context(), last, 10) == ()


def test_a_page_of_images_is_three_statements(db, statements):
    for _ in range(3):
        fill(db, create(db, tags=['a']))
    with statements() as seen:
        assert len(db.list_placed(context(), '', 100)) == 3
    assert len(seen) == 3


def test_a_hash_is_noted_once(counting):
    db = counting
    image = fill(db, create(db))
    fill(db, create(db)), create(db)
    assert db.list_unhashed(context(), '', 10) == ()
    set_row(db, image.id, **NOTHING)
    assert db.list_unhashed(context(), '', 10) == (image.id,)
    assert db.list_unhashed(context(), image.id, 10) == ()
    before = db.get_image(context('operators', admin=True), image.id)
    assert db.set_digests(context(), Hashed(before, DIGESTS))
    now = db.get_image(context(), image.id)
    assert (now.checksum, now.os_hash_algo, now.os_hash_value) == (
        DIGESTS.checksum, 'sha512', DIGESTS.os_hash_value,
    )  # fmt: skip
    assert not db.set_digests(context(), Hashed(before, DIGESTS))
    assert db.count_usage(context(), 'alpha').size == 10


def test_a_hash_of_what_has_changed_is_not_noted(db):
    image = fill(db, create(db))
    set_row(db, image.id, **NOTHING)
    before = db.get_image(context('operators', admin=True), image.id)
    second(db, image)
    assert not db.set_digests(context(), Hashed(before, DIGESTS))
    before = db.get_image(context('operators', admin=True), image.id)
    db.commit_delete(context(), db.claim_delete(context(), image.id))
    assert not db.set_digests(context(), Hashed(before, DIGESTS))


def test_usage_is_counted_anew(counting):
    db = counting
    fill(db, create(db)), fill(db, create(db, 'beta'))
    assert set(db.list_projects(context())) == {'alpha', 'beta'}
    assert [db.recount_usage(context(), one) for one in ('alpha', 'beta')] == [0, 0]
    table = tables.usage
    execute(db, sa.update(table).where(table.c.project == 'alpha').values(size=4711, images=9))
    assert db.recount_usage(context(), 'alpha') == 2
    assert rows(db, 'gl_usage', project='alpha')[0]['size'] == 5


def test_where_nothing_is_counted_nothing_is_recounted(db):
    fill(db, create(db))
    assert db.recount_usage(context(), 'alpha') == 0
    assert rows(db, 'gl_usage') == []
