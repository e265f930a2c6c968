# SPDX-License-Identifier: Apache-2.0
"""The commit protocol, on every engine: claims, commits, aborts, fences and reservations."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from glance_lite.db import sweeps
from glance_lite.errors import (
    Conflict,
    Forbidden,
    Gone,
    ImageNotFound,
    Invalid,
    LimitExceeded,
    NotFound,
)
from glance_lite.model import FAILED_UPLOAD, Changes, Reservation
from tests.backends.fixtures import context
from tests.unit.db.helpers import Source, create, fill, rows, set_row, stored


def claim(db, image, project='alpha', **source):
    source = Source(**source)
    return db.claim_upload(context(project), image.id, source, 'fast'), source


def room(amount, limit=10):
    return {'size': amount, 'count': amount or 0, 'riders': (Reservation('alpha', amount, limit),)}


def at_once(count, work):
    """Run `work(number)` in threads that start together; what each gave or raised."""
    gate, results = threading.Barrier(count), [None] * count

    def one(number):
        gate.wait()
        try:
            results[number] = work(number)
        except Exception as ex:
            results[number] = ex

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# --- uploads


def test_an_upload_from_claim_to_commit(db):
    image = create(db)
    taken, source = claim(db, image)
    assert db.get_image(context(), image.id).status == 'saving'
    assert taken.name == image.id
    assert len(rows(db, 'gl_operations')) == 1
    db.confirm_upload(context(), taken, source)
    done = db.commit_upload(context(), taken, source, stored(5))
    assert (done.status, done.size, done.virtual_size) == ('active', 5, 10)
    assert (done.checksum, done.os_hash_algo) == ('c' * 32, 'sha512')
    assert [(at.url, at.store) for at in done.locations] == [('file:///data/x', 'fast')]
    assert rows(db, 'gl_operations') == []
    assert db.get_image(context(), image.id) == done


def test_an_aborted_upload_leaves_the_image_as_it_was(db):
    image = create(db)
    taken, source = claim(db, image)
    left = db.abort_upload(context(), taken, source, 'the client went away')
    again = db.get_image(context(), image.id)
    assert (again.status, again.size, again.checksum, again.locations) == ('queued', None, None, ())
    assert again.properties == {FAILED_UPLOAD: 'the client went away'}
    # The row stays until the bytes are gone, and as long as it does the name is not given again.
    (operation,) = rows(db, 'gl_operations')
    assert operation['serial'] == left.serial and operation['state'] != taken.state
    other, _ = claim(db, image)
    assert other.name == f'{image.id}-{other.serial}'
    db.end_operation(context(), db.abort_upload(context(), other, source, 'once more'))
    db.end_operation(context(), left)
    assert rows(db, 'gl_operations') == []
    last, source = claim(db, image)
    assert last.name == image.id
    done = db.commit_upload(context(), last, source, stored())
    assert (done.status, done.properties) == ('active', {})
    assert rows(db, 'gl_failures') == []


def test_an_upload_can_be_given_up_once_only(db):
    taken, source = claim(db, create(db))
    assert db.abort_upload(context(), taken, source, 'no') is not None
    assert db.abort_upload(context(), taken, source, 'no') is None
    with pytest.raises(Gone):
        db.commit_upload(context(), taken, source, stored())
    db.end_operation(context(), taken)  # not as it was claimed
    assert len(rows(db, 'gl_operations')) == 1


def test_the_reason_is_written_over_by_the_next_one(db):
    image = create(db, properties={'a': '1'})
    for reason in ('the first', 'the second'):
        taken, source = claim(db, image)
        assert db.get_image(context(), image.id).properties == {'a': '1'}
        db.end_operation(context(), db.abort_upload(context(), taken, source, reason))
        assert db.get_image(context(), image.id).properties[FAILED_UPLOAD] == reason
    assert len(rows(db, 'image_properties', image_id=image.id)) == 2


def test_only_a_queued_image_takes_data(db):
    image = fill(db, create(db))
    with pytest.raises(Conflict):
        claim(db, image)
    saving = create(db)
    claim(db, saving)
    with pytest.raises(Conflict):
        claim(db, saving)


@pytest.mark.parametrize('missing', ['disk_format', 'container_format'])
def test_formats_must_be_set_before_data(db, missing):
    with pytest.raises(Invalid, match=missing):
        claim(db, create(db, **{missing: None}))


def test_of_many_uploads_at_once_one_gets_the_image(db):
    image = create(db)
    results = at_once(6, lambda number: claim(db, image)[0])
    won = [result for result in results if not isinstance(result, Exception)]
    assert len(won) == 1
    assert all(isinstance(r, Conflict) for r in results if isinstance(r, Exception))
    assert len(rows(db, 'gl_operations')) == 1


@pytest.mark.parametrize('by', ['us', 'a Glance beside us'])
def test_an_image_deleted_during_the_upload_is_gone(db, by):
    image = create(db)
    taken, source = claim(db, image)
    if by == 'us':
        db.commit_delete(context(), db.claim_delete(context(), image.id))
    else:
        set_row(db, image.id, status='deleted', deleted=True)
    with pytest.raises(Gone):
        db.confirm_upload(context(), taken, source)
    with pytest.raises(Gone):
        db.commit_upload(context(), taken, source, stored())
    assert rows(db, 'image_locations') == []
    db.end_operation(context(), db.abort_upload(context(), taken, source, 'deleted'))
    assert rows(db, 'images')[0]['status'] == 'deleted'
    assert rows(db, 'image_properties') == []
    assert rows(db, 'gl_operations') == []


def test_a_swept_upload_cannot_commit_and_the_next_has_a_name_of_its_own(db):
    image = create(db)
    taken, source = claim(db, image)
    assert db.take_over(context(), taken).name == image.id
    assert db.take_over(context(), taken) is None
    again = db.get_image(context(), image.id)
    assert (again.status, again.properties) == ('queued', {FAILED_UPLOAD: sweeps.GIVEN_UP})
    later, _ = claim(db, image)
    assert later.name == f'{image.id}-{later.serial}'
    # the one that was given up wakes up: nothing it does reaches the image
    for call in (
        lambda: db.confirm_upload(context(), taken, source),
        lambda: db.commit_upload(context(), taken, source, stored(url='file:///stale')),
    ):
        with pytest.raises(Gone):
            call()
    assert db.abort_upload(context(), taken, source, 'woke up') is None
    assert db.get_image(context(), image.id).status == 'saving'
    done = db.commit_upload(context(), later, source, stored(url='file:///new'))
    assert [at.url for at in done.locations] == ['file:///new']


def test_a_stranger_cannot_claim(db):
    image = create(db, visibility='private')
    with pytest.raises(ImageNotFound):
        claim(db, image, project='beta')


# --- deletes


def test_a_delete_takes_everything_and_says_what_to_remove(db):
    image = fill(db, create(db, properties={'a': '1'}, tags=['t'], visibility='shared'))
    db.add_member(context(), image.id, 'beta')
    taken = db.claim_delete(context(), image.id)
    assert [at.url for at in taken.locations] == ['file:///data/x']
    with pytest.raises(ImageNotFound):
        db.get_image(context(), image.id)
    for table in ('image_properties', 'image_tags', 'image_members', 'image_locations'):
        assert all(row['deleted'] for row in rows(db, table)), table
    assert len(rows(db, 'gl_operations')) == 1
    db.commit_delete(context(), taken)
    assert rows(db, 'gl_operations') == []


def test_an_aborted_delete_brings_everything_back(db):
    image = fill(db, create(db, properties={'a': '1'}, tags=['t', 'u'], visibility='shared'))
    db.add_member(context(), image.id, 'beta')
    db.update_image(context(), image.id, Changes(remove_tags=frozenset(['u'])))
    before = db.get_image(context(), image.id)
    db.abort_delete(context(), db.claim_delete(context(), image.id))
    after = db.get_image(context(), image.id)
    assert after.replace(updated_at=before.updated_at) == before
    assert after.tags == ('t',)
    assert len(db.list_members(context(), image.id)) == 1
    assert rows(db, 'gl_operations') == []


def test_a_protected_image_stays(db):
    image = create(db, protected=True)
    with pytest.raises(Forbidden):
        db.claim_delete(context(), image.id)
    assert db.get_image(context(), image.id) == image


def test_of_many_deletes_at_once_one_removes_the_bytes(db):
    image = fill(db, create(db))
    results = at_once(5, lambda number: db.claim_delete(context(), image.id))
    assert sum(not isinstance(result, Exception) for result in results) == 1
    assert all(isinstance(r, ImageNotFound) for r in results if isinstance(r, Exception))


def test_a_location_can_be_taken_off_unless_it_is_the_last(db):
    image = fill(db, create(db))
    (only,) = image.locations
    with pytest.raises(Forbidden):
        db.claim_location(context(), image.id, only.id)
    with pytest.raises(NotFound):
        db.claim_location(context(), image.id, only.id + 1000)
    with pytest.raises(Conflict):
        db.claim_location(context(), create(db).id, 1)


# --- reservations


def test_a_reservation_ends_with_its_upload(db):
    image = create(db)
    taken, source = claim(db, image, **room(6))
    assert [row['amount'] for row in rows(db, 'gl_reservations')] == [6]
    with pytest.raises(LimitExceeded):
        claim(db, create(db), **room(5))
    db.confirm_upload(context(), taken, source)
    db.commit_upload(context(), taken, source, stored(6))
    assert rows(db, 'gl_reservations') == []
    with pytest.raises(LimitExceeded):
        claim(db, create(db), **room(5))
    claim(db, create(db), **room(4))


def test_a_refused_claim_leaves_the_image_queued(db):
    image = create(db)
    with pytest.raises(LimitExceeded):
        claim(db, image, **room(11))
    assert db.get_image(context(), image.id).status == 'queued'
    assert rows(db, 'gl_operations') == rows(db, 'gl_reservations') == []


def test_an_aborted_upload_gives_its_room_back(db):
    taken, source = claim(db, create(db), **room(10))
    db.abort_upload(context(), taken, source, 'no')
    assert rows(db, 'gl_reservations') == []
    claim(db, create(db), **room(10))


def test_an_unknown_size_is_reserved_when_it_is_known(db):
    taken, source = claim(db, create(db), size=None, riders=(Reservation('alpha', None, 10),))
    source.count = 8
    db.confirm_upload(context(), taken, source)
    with pytest.raises(LimitExceeded):
        claim(db, create(db), **room(3))
    source.count = 11
    with pytest.raises(LimitExceeded):
        db.confirm_upload(context(), taken, source)


def test_of_uploads_that_fit_singly_only_as_many_get_in_as_fit_together(db):
    images = [create(db) for _ in range(6)]
    results = at_once(6, lambda number: claim(db, images[number], **room(4)))
    refused = [result for result in results if isinstance(result, Exception)]
    assert all(isinstance(result, LimitExceeded) for result in refused), refused
    assert len(refused) == 4
    assert [row['amount'] for row in rows(db, 'gl_reservations')] == [4, 4]


# --- cost


def test_claim_confirm_and_commit_are_one_transaction_each(db, statements):
    image = create(db)
    with statements() as sent:
        taken, source = claim(db, image)
    assert sent.transactions == 1
    with statements() as sent:
        db.confirm_upload(context(), taken, source)
    assert sent.transactions == 1
    with statements() as sent:
        db.commit_upload(context(), taken, source, stored())
    assert sent.transactions == 1


def test_what_is_committed_meanwhile_counts(db):
    """Counted neither as reserved any more nor as used yet, it let others in beside it."""
    if db.database.sqlite:
        pytest.skip('one writes at a time')
    first, second = create(db), create(db)
    taken, source = claim(db, first, **room(6))
    sums = []

    def commit(connection, cursor, statement, parameters, context_, executemany):
        if 'sum(' in statement.lower():
            sums.append(statement)
            if len(sums) == 2:  # between two that would count
                db.commit_upload(context(), taken, source, stored(6))

    sa.event.listen(db.database.engine, 'before_cursor_execute', commit)
    try:
        with pytest.raises(LimitExceeded):
            claim(db, second, **room(6))
    finally:
        sa.event.remove(db.database.engine, 'before_cursor_execute', commit)
    assert sums


def test_a_connection_that_died_in_the_pool_is_replaced(db):
    """On MariaDB every write failed until the process was started anew."""
    if db.database.sqlite:
        pytest.skip('there is no connection')
    create(db)
    engine = db.database.engine
    other = sa.create_engine(engine.url, poolclass=sa.pool.NullPool)
    queries = {
        'mysql': (
            (
                'SELECT id FROM information_schema.processlist'
                ' WHERE db = database() AND id <> connection_id()'
            ),
            'KILL {}',
        ),
        'postgresql': (
            (
                'SELECT pid FROM pg_stat_activity'
                ' WHERE datname = current_database() AND pid <> pg_backend_pid()'
            ),
            'SELECT pg_terminate_backend({})',
        ),
    }
    who, kill = queries[db.database.backend]
    with other.connect() as connection:
        found = connection.execute(sa.text(who)).scalars().all()
        for number in found:
            connection.execute(sa.text(kill.format(number)))
    assert found
    for _ in range(3):
        assert create(db).status == 'queued'
