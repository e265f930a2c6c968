# SPDX-License-Identifier: Apache-2.0
"""Whose turn a duty is, and deletes that are taken back: on every engine."""

from __future__ import annotations

import datetime
import subprocess

import pytest
import sqlalchemy as sa

from glance_lite.db import tables
from glance_lite.db.clock import db_now
from glance_lite.errors import Conflict, ImageNotFound
from glance_lite.model import Changes
from glance_lite.process import Process
from tests.backends.fixtures import context
from tests.unit.db.helpers import create, execute, fill, rows, share
from tests.unit.db.test_deferred import deferred, state
from tests.unit.db.test_operations import at_once

EXPIRY = 60.0
HOUR = 3600.0


def take(db, holder='me', period=HOUR, name='look'):
    return db.take_duty(context(), name, holder, period, EXPIRY)


def leave(db, holder='me', result=None, problem=None, name='look'):
    db.leave_duty(context(), name, holder, result, problem)


def only(db):
    (found,) = db.list_duties(context(), EXPIRY)
    return found


def set_duty(db, **values):
    execute(db, sa.update(tables.duties).values(**values))


def ago(db, column, seconds):
    (row,) = rows(db, 'gl_duties')
    set_duty(db, **{column: row[column] - datetime.timedelta(seconds=seconds)})


def elsewhere(db):
    """It is a process of another host that has the turn."""
    set_duty(db, host='elsewhere', boot_id='another')


def test_a_turn_from_take_to_leave(db):
    assert db.list_duties(context(), EXPIRY) == ()
    assert take(db)
    found = only(db)
    here = Process.this()
    assert (found.holder, found.alive) == (f'{here.host} ({here.pid})', True)
    assert (found.ended, found.result, found.problem) == (None, {}, None)
    assert not take(db, 'other')
    assert not take(db)  # a holder is used once
    assert db.keep_duty(context(), 'look', 'me')
    leave(db, result={'seen': 3})
    found = only(db)
    assert (found.holder, found.alive, found.result) == (None, False, {'seen': 3})
    assert found.ended >= found.began
    assert not take(db, 'other')
    assert not db.keep_duty(context(), 'look', 'me')


def test_it_is_due_a_period_after_its_end(db):
    take(db)
    leave(db, result={})
    assert take(db, 'by hand', period=0)
    leave(db, 'by hand', result={})
    ago(db, 'ended', HOUR - 10)
    assert not take(db)
    ago(db, 'ended', 20)
    assert take(db)


def test_a_failure_is_noted_and_tried_again_a_period_later(db):
    take(db)
    leave(db, problem='x' * 5000)
    assert only(db).problem == 'x' * 1000
    assert not take(db)
    ago(db, 'ended', HOUR + 1)
    take(db)
    leave(db, result={})
    assert only(db).problem is None


def test_one_that_was_broken_off_is_due_at_once(db):
    take(db)
    leave(db)
    assert take(db, 'other')


def test_duties_are_done_independently(db):
    assert take(db, 'a', name='look') and take(db, 'b', name='listen')
    assert [found.name for found in db.list_duties(context(), EXPIRY)] == ['listen', 'look']


def test_who_is_silent_loses_the_turn_and_who_is_not_keeps_it(db):
    take(db)
    elsewhere(db)
    ago(db, 'heartbeat', EXPIRY - 10)
    assert not take(db, 'other')
    db.keep_duty(context(), 'look', 'me')
    ago(db, 'heartbeat', EXPIRY - 10)
    assert not take(db, 'other')
    ago(db, 'heartbeat', 20)
    assert not only(db).alive
    assert take(db, 'other')
    # The loser is told, and what it leaves is not believed.
    assert not db.keep_duty(context(), 'look', 'me')
    leave(db, result={'seen': 1})
    assert (only(db).ended, only(db).result) == (None, {})
    assert db.keep_duty(context(), 'look', 'other')


def test_a_dead_process_of_this_host_loses_it_at_once(db):
    process = subprocess.Popen(['true'])
    process.wait()
    take(db)
    set_duty(db, pid=process.pid)
    assert take(db, 'other', period=HOUR)


@pytest.mark.parametrize('first', [True, False], ids=['first', 'again'])
def test_of_many_one_takes_it(db, first):
    if not first:
        take(db)
        leave(db, result={})
    for turn in range(5):
        taken = at_once(8, lambda number, turn=turn: take(db, f'{turn} {number}', period=0))
        assert sorted(map(str, taken)) == ['False'] * 7 + ['True']
        winner = f'{turn} {taken.index(True)}'
        assert rows(db, 'gl_duties')[0]['holder'] == winner
        leave(db, winner, result={})


def test_statements(db, statements):
    """What each process sends again and again: one while it is not its turn."""
    take(db)
    with statements() as seen:
        assert not take(db, 'other')
    assert (len(seen), seen.transactions) == (1, 0)
    with statements() as seen:
        assert db.keep_duty(context(), 'look', 'me')
    assert len([text for text in seen if 'gl_duties' in text]) == 1
    leave(db, result={})
    with statements() as seen:
        assert take(db, period=0)
    assert len([text for text in seen if 'gl_duties' in text]) == 3
    with statements() as seen:
        leave(db, result={'seen': 1})
    assert len([text for text in seen if 'gl_duties' in text]) == 1


def test_times_are_the_databases(db):
    take(db)
    with db.database.engine.connect() as connection:
        now = connection.execute(sa.select(db_now())).scalar_one()
    assert abs((now - only(db).began).total_seconds()) < 30


# --- taking deletes back


def test_a_deferred_image_is_restored_with_what_it_had(db):
    image = fill(db, create(db, properties={'a': '1', 'gone': '2'}, tags=['t', 'gone']))
    share(db, image, 'beta')
    changes = Changes(remove=frozenset({'gone'}), tags=frozenset({'t'}))
    db.update_image(context(), image.id, changes)
    # Else MariaDB, which keeps seconds, cannot tell it from what was deleted with the image.
    for table in (tables.image_properties, tables.image_tags):
        then = datetime.datetime(2026, 1, 1)
        execute(db, sa.update(table).where(table.c.deleted == sa.true()).values(deleted_at=then))
    before = db.get_image(context(), image.id)
    db.defer_delete(context(), image.id)
    found = db.restore_image(context('operators', admin=True), image.id)
    assert found.replace(updated_at=before.updated_at) == before
    assert found == db.get_image(context(), image.id)
    assert (dict(found.properties), found.tags) == ({'a': '1'}, ('t',))
    assert [member.member_id for member in db.list_members(context(), image.id)] == ['beta']
    assert state(db, image) == [('active', False)] * 2
    assert db.take_deferred(context(), 0) is None


def test_a_restored_image_counts_again(counting):
    image = fill(counting, create(counting), 7)
    counting.defer_delete(context(), image.id)
    assert counting.count_usage(context(), 'alpha').size == 0
    counting.restore_image(context(), image.id)
    assert counting.count_usage(context(), 'alpha').size == 7
    (row,) = rows(counting, 'gl_usage')
    assert (row['size'], row['images']) == (7, 1)


def test_only_a_deferred_image_is_restored(db):
    with pytest.raises(ImageNotFound):
        db.restore_image(context(), 'nosuch')
    alive = fill(db, create(db))
    with pytest.raises(Conflict, match='is active, and not pending_delete'):
        db.restore_image(context(), alive.id)
    image = deferred(db)
    claim = db.take_deferred(context(), 0)
    with pytest.raises(Conflict, match='is deleted, and not'):
        db.restore_image(context(), image.id)
    db.commit_delete(context(), claim)
    with pytest.raises(Conflict):
        db.restore_image(context(), image.id)


def test_restoring_and_removing_exclude_each_other(db):
    for _ in range(5):
        image = deferred(db)

        def work(number, image=image):
            if number:
                return db.restore_image(context(), image.id)
            return db.take_deferred(context(), 0)

        claim, restored = at_once(2, work)
        if claim is None:
            assert restored.status == 'active'
        else:
            assert isinstance(restored, Conflict) and claim.image_id == image.id
