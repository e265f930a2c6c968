# SPDX-License-Identifier: Apache-2.0
"""Who may write at all, and for whom."""

from __future__ import annotations

import uuid

import pytest

from glance_lite.errors import Forbidden, ImageNotFound
from glance_lite.imports.jobs import ImportRequest
from glance_lite.layer import overrides
from glance_lite.layers.auth import Auth
from glance_lite.metadefs.auth import MetadefAuth
from glance_lite.model import Changes, NewLocation, Query
from glance_lite.operations import OPERATIONS, is_inner, is_write
from glance_lite.tasks import NewTask
from glance_lite.testing.layers import make_upload
from tests.unit.layers.conftest import admin, beta, nobody, owner

PUBLIC_WRITES = {name for name in OPERATIONS if is_write(name) and not is_inner(name)}
#: Those on metadata definitions have tests of their own.
IMAGE_WRITES = PUBLIC_WRITES - set(overrides(MetadefAuth))


@pytest.fixture
def made(make):
    return make('auth, location, db')


def test_no_write_goes_past_it():
    assert set(overrides(Auth)) == PUBLIC_WRITES


@pytest.mark.parametrize('name', sorted(IMAGE_WRITES))
def test_anonymous_callers_change_nothing(made, name):
    image = made.active(visibility='public')
    queued = made.create(visibility='public')
    arguments = {
        'create_image': (Changes(),),
        'update_image': (image.id, Changes(fields={'name': 'mine'})),
        'delete_image': (image.id,),
        'set_active': (image.id, False),
        'upload': (queued.id, make_upload(), None),
        'delete_from_store': (image.id, 'fast'),
        'add_location': (queued.id, NewLocation('http://images.example/x')),
        'stage': (queued.id, make_upload()),
        'import_image': (image.id, ImportRequest('copy-image')),
        'add_member': (image.id, 'beta'),
        'update_member': (image.id, 'beta', 'accepted'),
        'remove_member': (image.id, 'beta'),
        'create_task': (NewTask('import', {}),),
        'queue_for_cache': (image.id,),
        'drop_from_cache': (image.id, None),
        'clear_cache': (None,),
        'clean_cache': (),
        'prune_cache': (),
    }[name]
    with pytest.raises(Forbidden, match='Anonymous'):
        getattr(made.outer, name)(nobody(), *arguments)
    assert made.now(image) == image and made.now(queued) == queued
    assert len(made.outer.list_images(admin(), Query()).images) == 2


def test_anonymous_callers_read_what_is_public(made):
    public, private = made.active(visibility='public'), made.active(visibility='private')
    assert made.outer.get_image(nobody(), public.id) == public
    assert made.read(public, nobody()) == b'some data'
    assert [image.id for image in made.outer.list_images(nobody(), Query()).images] == [public.id]
    with pytest.raises(ImageNotFound):
        made.outer.get_image(nobody(), private.id)


def test_an_image_belongs_to_who_made_it(made):
    assert made.outer.create_image(owner(), Changes()).owner == 'alpha'


@pytest.mark.parametrize('project', ['beta', None, ''])
def test_nobody_makes_images_for_others(made, project):
    with pytest.raises(Forbidden):
        made.outer.create_image(owner(), Changes(fields={'owner': project}))
    assert not made.outer.list_images(admin(), Query()).images


@pytest.mark.parametrize('project', ['beta', None])
def test_an_administrator_makes_images_for_others(made, project):
    image = made.outer.create_image(admin(), Changes(fields={'owner': project}))
    assert made.now(image).owner == project


def test_only_an_administrator_gives_an_image_away(made):
    image = made.create()
    change = Changes(fields={'owner': 'beta'})
    with pytest.raises(Forbidden):
        made.outer.update_image(owner(), image.id, change)
    assert made.now(image).owner == 'alpha'
    assert made.outer.update_image(admin(), image.id, change).owner == 'beta'


def test_only_an_administrator_says_who_owns_it_already(made):
    image = made.create()
    change = Changes(fields={'owner': 'alpha', 'name': 'new'})
    with pytest.raises(Forbidden):
        made.outer.update_image(owner(), image.id, change)
    assert made.outer.update_image(admin(), image.id, change).name == 'new'


def test_taking_an_image_one_cannot_see_does_not_tell_that_it_is_there(made):
    image = made.create(visibility='private')
    with pytest.raises(ImageNotFound):
        made.outer.update_image(beta(), image.id, Changes(fields={'owner': 'beta'}))
    with pytest.raises(ImageNotFound):
        made.outer.update_image(beta(), str(uuid.uuid4()), Changes(fields={'owner': 'beta'}))


def test_taking_an_image_that_policy_hides_does_not_tell_that_it_is_there(make):
    made = make('auth, policy, location, db', rules={'get_image': '!'})
    image = made.create()
    with pytest.raises(ImageNotFound):
        made.outer.update_image(owner(), image.id, Changes(fields={'owner': 'beta'}))


@pytest.mark.parametrize('ctx', [owner, admin], ids=['owner', 'admin'])
@pytest.mark.parametrize('name', ['os_glance_import_task', 'os_glance', 'os_glance_'])
def test_the_services_own_properties_are_not_for_clients(made, ctx, name):
    image = made.create(properties={name: 'kept'})
    for change in (Changes(properties={name: 'x'}), Changes(remove=frozenset([name]))):
        with pytest.raises(Forbidden, match='os_glance'):
            made.outer.update_image(ctx(), image.id, change)
    with pytest.raises(Forbidden, match='os_glance'):
        made.outer.create_image(ctx(), Changes(properties={name: 'x'}))
    assert made.now(image).properties == {name: 'kept'}


@pytest.mark.parametrize('whose', ['alpha', None])
@pytest.mark.parametrize('visibility', ['shared', 'community', 'public'])
def test_only_its_own_project_changes_an_image_whatever_policy_says(made, whose, visibility):
    queued = made.create(whose, visibility=visibility)
    image = made.active(project=whose, visibility=visibility)
    if whose:
        for one in (queued, image):
            made.db.add_member(admin(), one.id, 'beta') if visibility == 'shared' else None
    for call in (
        lambda ctx: made.outer.update_image(ctx, image.id, Changes(fields={'name': 'mine'})),
        lambda ctx: made.outer.update_image(ctx, image.id, Changes(add_tags=frozenset(['mine']))),
        lambda ctx: made.outer.delete_image(ctx, image.id),
        lambda ctx: made.outer.set_active(ctx, image.id, False),
        lambda ctx: made.outer.upload(ctx, queued.id, make_upload(), None),
        lambda ctx: made.outer.delete_from_store(ctx, image.id, 'fast'),
    ):
        with pytest.raises(Forbidden, match='not one of your project'):
            call(beta())
    assert made.now(image) == image and made.now(queued) == queued
    assert made.read(image, admin()) == b'some data'
    assert made.outer.update_image(admin(), image.id, Changes(fields={'name': 'new'})).name == 'new'


def test_changing_an_image_that_policy_hides_does_not_tell_that_it_is_there(make):
    made = make('auth, policy, location, db', rules={'get_image': '!', 'delete_image': '@'})
    image = made.create(visibility='public')
    with pytest.raises(ImageNotFound):
        made.outer.delete_image(beta(), image.id)
    assert made.now(image) == image
