# SPDX-License-Identifier: Apache-2.0
"""Lists, on every engine: filters, order, pages and views against the same thing in Python."""

from __future__ import annotations

import datetime
import itertools
import operator
import random

import pytest

from glance_lite.errors import Invalid
from glance_lite.model import Changes, Condition, Query
from tests.backends.fixtures import context
from tests.unit.db.helpers import create, fill, rows, set_row, share

PROJECTS = ('alpha', 'beta')
VISIBILITIES = ('public', 'private', 'shared', 'community')


def found(db, project='alpha', *, admin=False, **query):
    query.setdefault('limit', 100)
    return db.list_images(context(project, admin=admin), Query(**query)).images


def names(db, project='alpha', **query):
    return [image.name for image in found(db, project, **query)]


def where(field, op, value):
    return {'conditions': (Condition(field, op, value),)}


@pytest.fixture
def crowd(db):
    """Forty images with many equal and many missing values."""
    chance = random.Random(7)
    made = []
    base = datetime.datetime(2024, 5, 1, 12, 0, 0)
    for _ in range(40):
        image = create(
            db,
            name=chance.choice(['b', 'a', 'c', None]),
            disk_format=chance.choice(['raw', 'qcow2']),
            visibility='private',
            properties={'os_distro': chance.choice(['debian', 'suse'])},
            tags=chance.sample(['x', 'y', 'z'], 2),
        )
        when = base + datetime.timedelta(seconds=chance.randrange(4))
        values = {'created_at': when, 'updated_at': when + datetime.timedelta(seconds=5)}
        values['size'] = chance.choice([None, 10, 20])
        set_row(db, image.id, **values)
        made.append(db.get_image(context(), image.id))
    return made


def in_order(images, *keys):
    """What `keys` (name, direction) make of the images; NULL is the smallest value."""
    keys = list(keys)
    last = 'asc' if keys and all(direction == 'asc' for _, direction in keys) else 'desc'
    keys += [(name, last) for name in ('created_at', 'id') if name not in dict(keys)]
    images = list(images)
    for name, direction in reversed(keys):
        images.sort(
            key=lambda image, name=name: (
                getattr(image, name) is not None,
                getattr(image, name) or type(getattr(image, name) or 0)(),
            ),
            reverse=direction == 'desc',
        )
    return [image.id for image in images]


ORDERS = [
    (('created_at', 'desc'),),
    (('name', 'asc'),),
    (('name', 'desc'),),
    (('size', 'asc'),),
    (('size', 'desc'),),
    (('size', 'asc'), ('name', 'desc')),
    (('disk_format', 'desc'), ('size', 'desc'), ('created_at', 'asc')),
    (('id', 'asc'),),
    (('updated_at', 'asc'), ('status', 'asc')),
]


@pytest.mark.parametrize('order', ORDERS, ids=str)
def test_pages_put_together_are_the_whole_list(db, crowd, order):
    wanted = in_order(crowd, *order)
    assert [image.id for image in found(db, sort=order)] == wanted
    for limit in (1, 7, 40):
        marker, seen = None, []
        while True:
            page = db.list_images(context(), Query(sort=order, limit=limit, marker=marker))
            seen += [image.id for image in page.images]
            if not page.full:
                break
            marker = page.marker
        assert seen == wanted, limit


def test_a_listed_image_is_the_image_that_is_shown(db, crowd):
    fill(db, crowd[0])
    for image in found(db):
        assert image == db.get_image(context(), image.id)


@pytest.mark.parametrize(
    ('field', 'op', 'value', 'matches'),
    [
        ('name', 'eq', 'a', lambda i: i.name == 'a'),
        ('name', 'in', ('a', 'c'), lambda i: i.name in ('a', 'c')),
        ('disk_format', 'eq', 'raw', lambda i: i.disk_format == 'raw'),
        ('size', 'ge', 11, lambda i: (i.size or 0) >= 11),
        ('size', 'le', 10, lambda i: i.size is not None and i.size <= 10),
        ('size', 'ge', 10**30, lambda i: False),
        ('size', 'le', 10**30, lambda i: i.size is not None),
        ('size', 'eq', 2**63, lambda i: False),
        ('status', 'eq', 'active', lambda i: False),
        ('protected', 'eq', False, lambda i: True),
        ('owner', 'eq', 'alpha', lambda i: True),
        ('owner', 'eq', 'beta', lambda i: False),
        ('name', 'eq', "a' OR 'a'='a", lambda i: False),
    ],
)
def test_filters(db, crowd, field, op, value, matches):
    wanted = {image.id for image in crowd if matches(image)}
    assert {image.id for image in found(db, **where(field, op, value))} == wanted


@pytest.mark.parametrize('op', ['eq', 'ne', 'gt', 'ge', 'lt', 'le'])
@pytest.mark.parametrize('zone', [None, datetime.timezone(datetime.timedelta(hours=2))])
def test_times(db, crowd, op, zone):
    middle = datetime.datetime(2024, 5, 1, 12, 0, 2)
    wanted = {i.id for i in crowd if getattr(operator, op)(i.created_at, middle)}
    value = middle
    if zone:
        value = middle.replace(tzinfo=datetime.UTC).astimezone(zone)
    assert {image.id for image in found(db, **where('created_at', op, value))} == wanted


def test_properties_and_tags_must_all_be_there(db, crowd):
    for distro, tags in itertools.product(['debian', 'suse'], [('x',), ('x', 'y'), ('q',)]):
        wanted = {
            i.id for i in crowd if i.properties['os_distro'] == distro and set(tags) <= set(i.tags)
        }
        got = found(db, properties={'os_distro': distro}, tags=tags)
        assert {image.id for image in got} == wanted
    assert found(db, properties={'os_distro': 'debian', 'unheard_of': 'x'}) == ()


def test_a_removed_property_or_tag_no_longer_matches(db):
    image = create(db, properties={'a': '1'}, tags=['t'])
    gone = Changes(remove=frozenset(['a']), remove_tags=frozenset(['t']))
    db.update_image(context(), image.id, gone)
    assert found(db, properties={'a': '1'}) == found(db, tags=('t',)) == ()


def test_hidden_images_are_listed_only_when_asked_for(db):
    create(db, name='seen')
    create(db, name='hidden', os_hidden=True)
    assert names(db) == ['seen']
    assert names(db, hidden=True) == ['hidden']


# --- who sees what

#: visibility filter -> (owner, visibility) seen by alpha; * is either owner
VIEWS = {
    None: {('alpha', v) for v in VISIBILITIES} | {('beta', 'public')},
    'all': {('alpha', v) for v in VISIBILITIES} | {('beta', 'public'), ('beta', 'community')},
    'public': {('alpha', 'public'), ('beta', 'public')},
    'private': {('alpha', 'private')},
    'shared': {('alpha', 'shared')},
    'community': {('alpha', 'community'), ('beta', 'community')},
}


@pytest.fixture
def everything(db):
    for owner, visibility in itertools.product(PROJECTS, VISIBILITIES):
        create(db, owner, name=f'{owner} {visibility}', visibility=visibility)


@pytest.mark.parametrize('visibility', VIEWS, ids=str)
def test_views_of_a_project(db, everything, visibility):
    wanted = sorted(f'{owner} {seen}' for owner, seen in VIEWS[visibility])
    assert sorted(names(db, visibility=visibility)) == wanted


@pytest.mark.parametrize('visibility', VIEWS, ids=str)
def test_views_of_an_administrator(db, everything, visibility):
    """Everything of everybody, but others' community images only when asked for, as Glance."""
    wanted = {
        f'{owner} {seen}'
        for owner, seen in itertools.product(PROJECTS, VISIBILITIES)
        if visibility in (seen, 'all')
        or (visibility is None and (seen != 'community' or owner == 'alpha'))
    }
    assert set(names(db, admin=True, visibility=visibility)) == wanted


def test_nobody_sees_what_is_public(db, everything):
    assert set(names(db, None)) == {'alpha public', 'beta public'}
    assert names(db, None, visibility='private') == names(db, None, visibility='shared') == []


def test_shared_images_by_the_status_of_the_member(db):
    for status in ('pending', 'accepted', 'rejected'):
        image = create(db, 'beta', name=status, visibility='shared')
        share(db, image, 'alpha', status)
    assert names(db) == ['accepted']
    for status in ('pending', 'accepted', 'rejected'):
        assert names(db, member_status=status) == [status]
    assert sorted(names(db, member_status='all')) == ['accepted', 'pending', 'rejected']
    assert names(db, visibility='shared') == ['accepted']
    assert names(db, 'gamma', member_status='all') == []


def test_an_image_that_matches_twice_is_listed_once(db):
    image = create(db, 'alpha', name='mine', visibility='shared')
    share(db, image, 'alpha', 'accepted')
    create(db, 'alpha', name='public', visibility='public')
    assert sorted(names(db)) == ['mine', 'public']


def test_deleted_images_are_not_listed(db):
    image = create(db)
    db.commit_delete(context(), db.claim_delete(context(), image.id))
    assert found(db) == found(db, admin=True) == ()


# --- markers


def test_an_unknown_or_hidden_marker_is_invalid(db):
    secret = create(db, 'beta', visibility='private')
    for marker in ('no-such-image', secret.id, '', "' OR 1=1"):
        with pytest.raises(Invalid):
            found(db, marker=marker)


def test_a_marker_with_no_value_in_the_sorted_column(db):
    ids = [create(db, name=name).id for name in (None, None, 'a')]
    for sort in ((('name', 'asc'),), (('name', 'desc'),)):
        whole = [image.id for image in found(db, sort=sort)]
        assert sorted(whole) == sorted(ids)
        for number, marker in enumerate(whole):
            assert [i.id for i in found(db, sort=sort, marker=marker)] == whole[number + 1 :]


def test_limit_zero_is_an_empty_page(db):
    create(db)
    page = db.list_images(context(), Query(limit=0))
    assert (list(page.images), page.full, page.marker) == ([], False, None)


def test_sorting_by_something_that_is_no_column_is_invalid(db):
    with pytest.raises(Invalid):
        found(db, sort=(('os_distro', 'asc'),))


# --- cost


def test_a_list_is_at_most_four_statements(db, crowd, statements):
    with statements() as sent:
        db.list_images(context(), Query(limit=25))
    assert len(sent) <= 4
    with statements() as again:
        db.list_images(context(), Query(limit=25, marker=crowd[3].id, tags=('x',)))
    assert len(again) <= 4
    assert rows(db, 'image_tags')


@pytest.mark.parametrize('other', ['Secret', 'sécret', 'secret '])
def test_a_filter_finds_no_property_of_a_like_name(db, other):
    """Who may read the one but not the other would learn its value."""
    create(db, properties={'secret': 'kept'})
    assert not db.list_images(context('alpha'), Query(properties={other: 'kept'})).images
    assert db.list_images(context('alpha'), Query(properties={'secret': 'kept'})).images
