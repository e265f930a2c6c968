# SPDX-License-Identifier: Apache-2.0
"""Deletes that are put off: rows as Glance's, taken by one, given back, purged."""

from __future__ import annotations

import dataclasses
import datetime

import pytest
import sqlalchemy as sa

from glance_lite.db import admin, tables
from glance_lite.errors import Conflict, Duplicate, Forbidden, ImageNotFound
from glance_lite.model import Changes, NewLocation, Query
from tests.backends.fixtures import context, make_conf, make_layer
from tests.unit.db.helpers import create, execute, fill, rows, set_row, share
from tests.unit.db.test_operations import at_once

HOUR = 3600.0


def deferred(db, **fields):
    image = fill(db, create(db, **fields))
    assert db.defer_delete(context(), image.id).serial == 0
    return image


def older(db, image, seconds):
    """It was deleted some time before."""
    (row,) = rows(db, 'images', id=image.id)
    then = row['deleted_at'] - datetime.timedelta(seconds=seconds)
    set_row(db, image.id, deleted_at=then, updated_at=then)


def state(db, image):
    """(status, deleted) of the image and of its locations."""
    found = [*rows(db, 'images', id=image.id), *rows(db, 'image_locations', image_id=image.id)]
    return [(row['status'], bool(row['deleted'])) for row in found]


def test_the_image_is_gone_and_its_rows_say_where_its_data_is(db):
    image = fill(db, create(db, properties={'a': '1'}, tags=['t']))
    share(db, image, 'beta')
    db.defer_delete(context(), image.id)
    assert state(db, image) == [('pending_delete', True)] * 2
    for table in ('image_properties', 'image_tags', 'image_members'):
        (row,) = rows(db, table)
        assert row['deleted']
    # All at one time, so that what goes with it can be told from what went before.
    tabled = ('images', 'image_locations', 'image_properties', 'image_tags', 'image_members')
    assert len({rows(db, table)[0]['deleted_at'] for table in tabled}) == 1
    assert rows(db, 'gl_operations') == []
    for ctx in (context(), context('operators', admin=True)):
        with pytest.raises(ImageNotFound):
            db.get_image(ctx, image.id)
        with pytest.raises(ImageNotFound):
            db.defer_delete(ctx, image.id)
        assert db.list_images(ctx, Query()).images == ()
        with pytest.raises(Duplicate):
            db.create_image(ctx, Changes(fields={'id': image.id}))


def test_a_protected_image_stays(db):
    image = fill(db, create(db, protected=True))
    with pytest.raises(Forbidden):
        db.defer_delete(context(), image.id)
    assert state(db, image) == [('active', False)] * 2


def test_what_never_had_data_is_deleted_at_once(db):
    image = create(db)
    db.defer_delete(context(), image.id)
    assert state(db, image) == [('deleted', True)]


def test_a_deactivated_image_waits_as_well(db):
    """Glance calls it deleted and leaves its data for ever."""
    image = fill(db, create(db))
    db.set_active(context(), image.id, False)
    db.defer_delete(context(), image.id)
    assert state(db, image) == [('pending_delete', True)] * 2


def test_one_that_is_imported_is_deleted_at_once(db):
    image = create(db)
    db.claim_import(context(), image.id, NewLocation('http://a/b'), 'web')
    claim = db.take_import(context())
    db.place_import(context(), claim, 5, False, None)
    left = db.defer_delete(context(), image.id)
    assert state(db, image) == [('deleted', True)] * 2
    assert [found.url for found in left.locations] == ['http://a/b']


def test_the_hash_of_one_that_is_deferred_is_given_up(db):
    image = create(db)
    db.claim_import(context(), image.id, NewLocation('http://a/b'), 'web')
    db.place_import(context(), db.take_import(context()), 5, True, None)
    db.defer_delete(context(), image.id)
    assert rows(db, 'gl_operations') == []
    assert [row['status'] for row in rows(db, 'tasks')] == ['failure']


def test_a_placeholder_of_glance_is_no_data(db):
    image = fill(db, create(db))
    table = tables.image_locations
    execute(db, sa.insert(table).values(
        image_id=image.id, value='pending://parallel-import/x', status='pending', deleted=False,
        created_at=datetime.datetime(2026, 1, 1),
    ))  # fmt: skip
    db.defer_delete(context(), image.id)
    assert state(db, image)[1:] == [('pending_delete', True), ('deleted', True)]


# --- it is taken


def test_it_is_taken_when_its_time_has_come(db):
    image = deferred(db)
    assert db.take_deferred(context(), HOUR) is None
    older(db, image, HOUR + 1)
    claim = db.take_deferred(context(), HOUR)
    assert (claim.image_id, claim.kind) == (image.id, 'delete')
    assert claim.locations == image.locations
    assert state(db, image) == [('deleted', True)] * 2
    assert len(rows(db, 'gl_operations')) == 1
    assert db.take_deferred(context(), 0) is None
    db.commit_delete(context(), claim)
    assert rows(db, 'gl_operations') == []


def test_who_is_put_off_first_is_taken_first(db):
    images = [deferred(db) for _ in range(3)]
    for number, image in enumerate(images):
        older(db, image, 100 * number)
    taken = [db.take_deferred(context(), 0).image_id for _ in images]
    assert taken == [image.id for image in reversed(images)]


def test_of_many_one_takes_it(db):
    images = {deferred(db).id for _ in range(3)}
    results = at_once(6, lambda number: db.take_deferred(context(), 0))
    assert not [result for result in results if isinstance(result, Exception)]
    taken = [claim.image_id for claim in results if claim is not None]
    assert len(taken) == len(set(taken))
    while (claim := db.take_deferred(context(), 0)) is not None:
        taken.append(claim.image_id)
    assert sorted(taken) == sorted(images)


def test_a_search_for_nothing_is_one_statement(db, statements):
    fill(db, create(db))
    deferred(db)
    with statements() as seen:
        assert db.take_deferred(context(), HOUR) is None
    assert len([text for text in seen if 'images' in text]) == 1


def test_locations_that_were_put_off_before_go_with_it(db):
    """Glance leaves them so when one of several copies is deleted."""
    image = fill(db, create(db))
    table = tables.image_locations
    execute(db, sa.insert(table).values(
        image_id=image.id, value='file:///cheap/x', meta_data='{"store": "cheap"}',
        status='pending_delete', deleted=True, created_at=datetime.datetime(2026, 1, 1),
        deleted_at=datetime.datetime(2026, 1, 2),
    ))  # fmt: skip
    db.defer_delete(context(), image.id)
    claim = db.take_deferred(context(), 0)
    assert [found.store for found in claim.locations] == ['fast', 'cheap']


def test_one_whose_locations_were_purged_is_just_deleted(db):
    image = deferred(db)
    execute(db, sa.delete(tables.image_locations))
    assert db.take_deferred(context(), 0).serial == 0
    assert state(db, image) == [('deleted', True)]


def test_what_is_in_use_is_put_off_again_and_holds_up_nobody(db):
    images = [deferred(db) for _ in range(10)]  # more than are looked at in one go
    for _ in images:
        db.abort_delete(context(), db.take_deferred(context(), 0))
    assert rows(db, 'gl_operations') == []
    assert state(db, images[0]) == [('pending_delete', True)] * 2
    later = deferred(db)
    assert db.take_deferred(context(), 0).image_id == later.id
    assert db.take_deferred(context(), 0) is None
    set_row(db, images[3].id, updated_at=datetime.datetime(2026, 1, 1))
    assert db.take_deferred(context(), 0).image_id == images[3].id


def test_of_two_copies_the_one_that_is_left_comes_back(db):
    image = fill(db, create(db))
    db.defer_delete(context(), image.id)
    table = tables.image_locations
    execute(db, sa.insert(table).values(
        image_id=image.id, value='file:///cheap/x', status='pending_delete', deleted=True,
        created_at=datetime.datetime(2026, 1, 1),
    ))  # fmt: skip
    claim = db.take_deferred(context(), 0)
    db.abort_delete(context(), dataclasses.replace(claim, locations=claim.locations[1:]))
    assert state(db, image) == [
        ('pending_delete', True), ('deleted', True), ('pending_delete', True)
    ]  # fmt: skip


def test_one_that_was_restored_meanwhile_is_not_taken(db):
    image = deferred(db)
    set_row(db, image.id, status='active', deleted=False)
    assert db.take_deferred(context(), 0) is None
    assert state(db, image) == [('active', False), ('pending_delete', True)]
    # It has no data that anybody sees, as in Glance; deleted again it waits again.
    db.defer_delete(context(), image.id)
    assert len(db.take_deferred(context(), 0).locations) == 1


def test_who_takes_it_and_ends_is_followed_by_a_sweeper(db):
    image = deferred(db)
    claim = db.take_deferred(context(), 0)
    left = db.take_over(context(), claim)
    assert left.locations == image.locations
    db.abort_delete(context(), left)
    assert state(db, image) == [('pending_delete', True)] * 2


def test_one_that_cannot_be_decrypted_waits_and_holds_up_nobody(database_url):
    sealed, plain = make_layer(database_url, 'k' * 16), make_layer(database_url)
    try:
        image, other = deferred(sealed), deferred(plain)
        older(plain, image, 10)
        assert plain.take_deferred(context(), 0).image_id == other.id
        assert plain.take_deferred(context(), 0) is None
        assert state(plain, image) == [('pending_delete', True)] * 2
        set_row(plain, image.id, updated_at=datetime.datetime(2026, 1, 1))
        assert sealed.take_deferred(context(), 0).locations == image.locations
    finally:
        sealed.stop()
        plain.stop()


# --- what else sees it


def test_a_purge_leaves_what_says_where_data_is(db, database_url):
    image, gone = deferred(db), fill(db, create(db))
    db.commit_delete(context(), db.claim_delete(context(), gone.id))
    for one in (image, gone):
        older(db, one, 10 * 86400)
    execute(db, sa.update(tables.image_locations).values(deleted_at=datetime.datetime(2026, 1, 1)))
    conf = make_conf(database_url)
    admin.purge(conf, 1, -1)
    admin.purge_images_table(conf, 1, -1)
    assert state(db, image) == [('pending_delete', True)] * 2
    assert state(db, gone) == []
    db.commit_delete(context(), db.take_deferred(context(), 0))
    execute(db, sa.update(tables.image_locations).values(deleted_at=datetime.datetime(2026, 1, 1)))
    admin.purge(conf, 1, -1)
    admin.purge_images_table(conf, 1, -1)
    assert state(db, image) == []


def test_no_patch_makes_or_ends_the_waiting(db):
    image = fill(db, create(db))
    with pytest.raises(Conflict):
        db.update_image(context(), create(db).id, Changes(fields={'status': 'pending_delete'}))
    db.defer_delete(context(), image.id)
    with pytest.raises(ImageNotFound):
        db.update_image(context(), image.id, Changes(fields={'status': 'active'}))
