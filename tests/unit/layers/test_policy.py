# SPDX-License-Identifier: Apache-2.0
"""The policy layer: which rule each operation asks, and 404 before 403.

What a caller may not see is not found, whatever else it may not do; what it may see and not
change is forbidden; and a refusal changes nothing.
"""

from __future__ import annotations

import pytest

from glance_lite.cache.operations import CacheOperations
from glance_lite.errors import Conflict, Forbidden, ImageNotFound, NotFound
from glance_lite.layer import overrides
from glance_lite.layers.policy import Policy
from glance_lite.model import Changes, Query, Wanted
from glance_lite.operations import OPERATIONS, is_inner
from glance_lite.testing.layers import caller, make_upload
from tests.unit.layers.conftest import admin, beta, nobody, owner

LAYERS = 'policy, location, db'
OLD_DEFAULTS = '[oslo_policy]\nenforce_new_defaults = false\nenforce_scope = false\n'

#: (operation, rule that is asked, what the operation is called with after the image's id)
ON_AN_IMAGE = [
    ('update_image', 'modify_image', lambda: (Changes(fields={'name': 'new'}),)),
    ('update_image', 'publicize_image', lambda: (Changes(fields={'visibility': 'public'}),)),
    ('update_image', 'communitize_image', lambda: (Changes(fields={'visibility': 'community'}),)),
    ('delete_image', 'delete_image', lambda: ()),
    ('set_active', 'deactivate', lambda: (False,)),
    ('set_active', 'reactivate', lambda: (True,)),
    ('upload', 'upload_image', lambda: (make_upload(), None)),
    ('download', 'download_image', lambda: (Wanted(),)),
    ('download', 'download_from_store', lambda: (Wanted(prefer=('fast',)),)),
    ('delete_from_store', 'get_image_location', lambda: ('fast',)),
    ('delete_from_store', 'delete_image_location', lambda: ('fast',)),
    ('list_members', 'get_members', lambda: ()),
    ('add_member', 'add_member', lambda: ('gamma',)),
    ('update_member', 'modify_member', lambda: ('beta', 'accepted')),
    ('remove_member', 'delete_member', lambda: ('beta',)),
]
on_an_image = pytest.mark.parametrize(
    ('name', 'rule', 'arguments'),
    ON_AN_IMAGE,
    ids=[f'{name}-{rule}' for name, rule, _ in ON_AN_IMAGE],
)
#: Rules that would refuse the owner by default, or before the rule in question is asked.
EVERYTHING = {rule: '@' for _, rule, _ in ON_AN_IMAGE}


def shared(made, **fields):
    """An active image of alpha that beta is a member of."""
    image = made.active(**fields)
    made.db.add_member(owner(), image.id, 'beta')
    return image


def snapshot(made, image):
    """Everything a refusal might have changed."""
    members = made.db.list_members(admin(), image.id) if image.visibility == 'shared' else ()
    return made.now(image), members, made.files()


def test_every_operation_of_clients_is_asked_about():
    # What a project uses of its limits is its own, and there is no rule for it.
    asked = {name for name in OPERATIONS if not is_inner(name)} - {'list_usage'}
    # Handlers of the cache ask `admit`: the older routes have another rule for the same thing.
    cache = {name for name, one in vars(CacheOperations).items() if hasattr(one, '__operation__')}
    assert set(overrides(Policy)) == asked - cache


@on_an_image
def test_what_is_seen_and_refused_is_forbidden(make, name, rule, arguments):
    made = make(LAYERS, rules={**EVERYTHING, rule: '!'})
    image = shared(made)
    before = snapshot(made, image)
    for ctx in (owner(), admin()):
        with pytest.raises(Forbidden, match=rule):
            getattr(made.outer, name)(ctx, image.id, *arguments())
    assert snapshot(made, image) == before


@on_an_image
def test_what_the_rules_hide_is_not_found_even_if_the_rest_is_refused(make, name, rule, arguments):
    made = make(LAYERS, rules={**EVERYTHING, rule: '!', 'get_image': '!'})
    image = shared(made)
    before = snapshot(made, image)
    with pytest.raises(ImageNotFound) as caught:
        getattr(made.outer, name)(owner(), image.id, *arguments())
    assert caught.value.message == ImageNotFound(image.id).message
    assert snapshot(made, image) == before


@on_an_image
def test_images_of_others_are_not_found_whatever_is_refused(make, name, rule, arguments):
    made = make(LAYERS, rules={rule: '!'})
    image = made.active(visibility='private')
    before = snapshot(made, image)
    with pytest.raises(ImageNotFound):
        getattr(made.outer, name)(beta(), image.id, *arguments())
    with pytest.raises(ImageNotFound):
        getattr(made.outer, name)(nobody(), image.id, *arguments())
    assert snapshot(made, image) == before


@pytest.mark.parametrize('name', sorted({name for name, rule, _ in ON_AN_IMAGE}))
def test_public_images_of_others_are_seen_and_not_changed(make, name):
    made = make(LAYERS)
    image = made.active(visibility='public')
    arguments = next(make_them for one, _, make_them in ON_AN_IMAGE if one == name)
    if name == 'download':
        assert made.read(image, beta()) == b'some data'
        return
    before = snapshot(made, image)
    with pytest.raises(Forbidden):
        getattr(made.outer, name)(beta(), image.id, *arguments())
    assert snapshot(made, image) == before


@pytest.mark.parametrize('rules', [{'get_image': '!'}, {'get_image': 'role:admin'}])
def test_who_may_not_see_an_image_does_not_find_it(make, rules):
    made = make(LAYERS, rules=rules)
    image = made.create()
    with pytest.raises(ImageNotFound):
        made.outer.get_image(owner(), image.id)


def test_a_list_shows_what_could_be_shown_alone(make):
    made = make(LAYERS, rules={'get_image': "'yes':%(seen)s"})
    seen = made.create(properties={'seen': 'yes'})
    made.create(properties={'seen': 'no'})
    made.create()
    query = Query(limit=3)
    page = made.outer.list_images(owner(), query)
    assert [image.id for image in page.images] == [seen.id]
    assert page.full, 'there may be more, though this page shows less than was asked for'
    assert page.marker == made.db.list_images(owner(), query).marker


def test_who_may_not_list_is_told_so(make):
    with pytest.raises(Forbidden, match='get_images'):
        make(LAYERS, rules={'get_images': '!'}).outer.list_images(owner(), Query())


@pytest.mark.parametrize(
    ('rules', 'fields'),
    [
        ({'add_image': '!'}, {}),
        ({}, {'visibility': 'public'}),
        ({'communitize_image': '!'}, {'visibility': 'community'}),
        ({'add_image': "'alpha':%(owner)s"}, {'owner': 'beta'}),
    ],
)
def test_a_refused_image_is_not_made(make, rules, fields):
    made = make(LAYERS, rules=rules)
    with pytest.raises(Forbidden):
        made.outer.create_image(owner(), Changes(fields=fields))
    assert not made.db.list_images(admin(), Query(visibility='all')).images


def test_readers_change_nothing(make):
    made = make(LAYERS)
    image = shared(made)
    assert made.outer.get_image(caller('alpha', 'reader'), image.id).id == image.id
    for name, _, arguments in ON_AN_IMAGE:
        if name == 'list_members':
            continue
        with pytest.raises(Forbidden):
            getattr(made.outer, name)(caller('alpha', 'reader'), image.id, *arguments())
    with pytest.raises(Forbidden):
        made.outer.create_image(caller('alpha', 'reader'), Changes())


def test_making_public_is_asked_before_changing(make):
    made = make(LAYERS)
    image = made.create()
    with pytest.raises(Forbidden, match='publicize_image'):
        made.outer.update_image(owner(), image.id, Changes(fields={'visibility': 'public'}))
    change = Changes(fields={'visibility': 'public'})
    assert made.outer.update_image(admin(), image.id, change).visibility == 'public'


def test_rules_may_ask_for_attributes_and_properties(make):
    rules = {'delete_image': "'yes':%(disposable)s", 'modify_image': "'queued':%(status)s"}
    made = make(LAYERS, rules=rules)
    kept, thrown, data = (
        made.create(),
        made.create(properties={'disposable': 'yes'}),
        made.active(),
    )
    with pytest.raises(Forbidden):
        made.outer.delete_image(owner(), kept.id)
    made.outer.delete_image(owner(), thrown.id)
    made.outer.update_image(owner(), kept.id, Changes(fields={'name': 'x'}))
    with pytest.raises(Forbidden):
        made.outer.update_image(owner(), data.id, Changes(fields={'name': 'x'}))


# --- data


def test_data_of_a_deactivated_image_is_for_administrators(make):
    made = make(LAYERS)
    image = made.active()
    made.outer.set_active(owner(), image.id, False)
    with pytest.raises(Forbidden, match='deactivated'):
        made.read(image, owner())
    assert made.read(image, admin()) == b'some data'


def test_a_deactivated_image_one_may_not_see_is_not_found(make):
    made = make(LAYERS, rules={'get_image': 'role:admin'})
    image = made.active()
    made.db.set_active(admin(), image.id, False)
    with pytest.raises(ImageNotFound):
        made.outer.download(owner(), image.id, Wanted())


def test_who_may_not_choose_the_store_may_still_read(make):
    made = make(LAYERS, rules={'download_from_store': '!'})
    assert made.read(made.active(), owner()) == b'some data'


def test_details_of_stores_are_not_for_everybody(make):
    made = make(LAYERS)
    assert [store.type for store in made.outer.list_stores(owner(), False)] == [None, None]
    with pytest.raises(Forbidden, match='stores_info_detail'):
        made.outer.list_stores(owner(), True)
    assert [store.type for store in made.outer.list_stores(admin(), True)] == ['file', 'memory']


# --- members


@pytest.mark.parametrize('visibility', ['public', 'private', 'community'])
def test_only_shared_images_have_members(make, visibility):
    made = make(LAYERS)
    image = made.create(visibility=visibility)
    for name, arguments in (
        ('list_members', ()),
        ('add_member', ('beta',)),
        ('update_member', ('beta', 'accepted')),
        ('remove_member', ('beta',)),
    ):
        with pytest.raises(Forbidden, match='Only shared images'):
            getattr(made.outer, name)(owner(), image.id, *arguments)
    with pytest.raises(NotFound):
        made.outer.get_member(owner(), image.id, 'beta')


def test_a_member_decides_for_itself_and_reads_of_itself(make):
    made = make(LAYERS)
    image = shared(made)
    assert made.outer.update_member(beta(), image.id, 'beta', 'accepted').status == 'accepted'
    assert made.outer.get_member(beta(), image.id, 'beta').status == 'accepted'
    assert made.read(image, beta()) == b'some data'
    for name, arguments in (('add_member', ('gamma',)), ('remove_member', ('beta',))):
        with pytest.raises(Forbidden):
            getattr(made.outer, name)(beta(), image.id, *arguments)


def test_a_member_that_may_not_be_seen_is_not_found(make):
    made = make(LAYERS, rules={'get_member': '!'})
    image = shared(made)
    with pytest.raises(NotFound) as refused:
        made.outer.get_member(owner(), image.id, 'beta')
    with pytest.raises(NotFound) as missing:
        made.outer.get_member(owner(), image.id, 'gamma')
    assert refused.value.message.replace('beta', 'gamma') == missing.value.message
    assert made.outer.list_members(owner(), image.id) == ()


# --- with the rules of old, ownership is asked for beside them


@pytest.mark.parametrize(
    'name',
    ['update_image', 'delete_image', 'set_active', 'upload', 'delete_from_store', 'add_member',
     'remove_member'],
)  # fmt: skip
def test_old_defaults_let_only_owners_and_administrators_change(make, name):
    made = make(LAYERS, OLD_DEFAULTS)
    image = shared(made)
    before = snapshot(made, image)
    arguments = next(make_them for one, _, make_them in ON_AN_IMAGE if one == name)
    with pytest.raises(Forbidden, match='own'):
        getattr(made.outer, name)(beta(), image.id, *arguments())
    assert snapshot(made, image) == before


def test_old_defaults_do_not_let_an_owner_accept_for_a_member(make):
    made = make(LAYERS, OLD_DEFAULTS)
    image = shared(made)
    with pytest.raises(Forbidden, match='owner'):
        made.outer.update_member(owner(), image.id, 'beta', 'accepted')
    assert made.outer.update_member(beta(), image.id, 'beta', 'rejected').status == 'rejected'
    assert made.outer.update_member(admin(), image.id, 'beta', 'accepted').status == 'accepted'


def test_allowed_and_impossible_is_what_the_next_layer_says(make):
    made = make(LAYERS)
    with pytest.raises(Conflict):
        made.outer.upload(owner(), made.active().id, make_upload(), None)
