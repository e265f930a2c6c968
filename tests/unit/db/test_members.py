# SPDX-License-Identifier: Apache-2.0
"""Members, on every engine."""

from __future__ import annotations

import pytest

from glance_lite.errors import Duplicate, Forbidden, ImageNotFound, Invalid, NotFound
from tests.backends.fixtures import context
from tests.unit.db.helpers import create, rows, share


@pytest.fixture
def image(db):
    return create(db, visibility='shared')


def ids(members):
    return [member.member_id for member in members]


def test_a_new_member_is_pending(db, image):
    made = db.add_member(context(), image.id, 'beta')
    assert (made.image_id, made.member_id, made.status) == (image.id, 'beta', 'pending')
    assert db.get_member(context(), image.id, 'beta') == made
    assert made.image.id == image.id


def test_the_owner_sees_all_and_a_member_itself(db, image):
    for member in ('beta', 'gamma'):
        share(db, image, member)
    assert ids(db.list_members(context(), image.id)) == ['beta', 'gamma']
    assert ids(db.list_members(context('beta'), image.id)) == ['beta']
    assert db.get_member(context('beta'), image.id, 'beta').status == 'pending'
    with pytest.raises(NotFound):
        db.get_member(context('beta'), image.id, 'gamma')


def test_a_stranger_sees_nothing(db, image):
    share(db, image, 'beta')
    for call in (
        lambda: db.list_members(context('gamma'), image.id),
        lambda: db.get_member(context('gamma'), image.id, 'beta'),
        lambda: db.add_member(context('gamma'), image.id, 'gamma'),
        lambda: db.update_member(context('gamma'), image.id, 'beta', 'accepted'),
        lambda: db.remove_member(context('gamma'), image.id, 'beta'),
    ):
        with pytest.raises(ImageNotFound):
            call()
    assert [row['status'] for row in rows(db, 'image_members')] == ['pending']


def test_twice_the_same_member_is_a_duplicate(db, image):
    share(db, image, 'beta')
    with pytest.raises(Duplicate):
        db.add_member(context(), image.id, 'beta')
    assert len(rows(db, 'image_members')) == 1


@pytest.mark.parametrize('visibility', ['public', 'private', 'community'])
def test_only_shared_images_have_members(db, visibility):
    image = create(db, visibility=visibility)
    with pytest.raises(Forbidden):
        db.add_member(context(), image.id, 'beta')
    with pytest.raises(Forbidden):
        db.list_members(context(), image.id)


@pytest.mark.parametrize('status', ['accepted', 'rejected', 'pending'])
def test_a_member_changes_its_status(db, image, status):
    share(db, image, 'beta')
    assert db.update_member(context('beta'), image.id, 'beta', status).status == status
    assert db.get_member(context(), image.id, 'beta').status == status


def test_an_unknown_status_is_invalid(db, image):
    share(db, image, 'beta')
    with pytest.raises(Invalid):
        db.update_member(context('beta'), image.id, 'beta', 'maybe')


def test_a_removed_member_sees_nothing_and_can_be_added_again(db, image):
    share(db, image, 'beta', 'accepted')
    db.remove_member(context(), image.id, 'beta')
    with pytest.raises(ImageNotFound):
        db.get_image(context('beta'), image.id)
    with pytest.raises(NotFound):
        db.remove_member(context(), image.id, 'beta')
    assert db.add_member(context(), image.id, 'beta').status == 'pending'
    assert ids(db.list_members(context(), image.id)) == ['beta']


def test_what_is_no_member_is_not_found(db, image):
    for member in ('nobody', '', 'x' * 300, "' OR 1=1 --"):
        with pytest.raises(NotFound):
            db.get_member(context(), image.id, member)
        with pytest.raises(NotFound):
            db.update_member(context(), image.id, member, 'accepted')


def test_a_member_name_that_no_column_takes_is_invalid(db, image, engine_name):
    if engine_name == 'sqlite':
        return  # it keeps no limits; the API checks them before
    with pytest.raises(Invalid):
        db.add_member(context(), image.id, 'x' * 256)
