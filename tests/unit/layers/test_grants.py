# SPDX-License-Identifier: Apache-2.0
"""A store that decides who reads is told when members or the visibility change, and only then."""

from __future__ import annotations

import io

import pytest

from glance_lite import plugins
from glance_lite.errors import Duplicate, Gone, NotFound, StoreUnavailable, Unavailable
from glance_lite.maintenance.sweeper import Sweeper
from glance_lite.model import Changes, LocationStep, NewLocation
from glance_lite.testing.layers import caller, make_upload
from tests.backends import vendor
from tests.unit.db.helpers import age, rows
from tests.unit.layers.conftest import admin, beta, owner

STORES = """
[DEFAULT]
enabled_backends = fast:file,ram:memory,guarded:acl
[guarded]
"""


@pytest.fixture
def made(make, tmp_path, monkeypatch):
    path = {'acl': 'tests.unit.layers.acl_store:AclStore'}
    vendor.install(monkeypatch, tmp_path / 'site', plugins.STORES, path)
    return make('location, db', STORES)


@pytest.fixture
def store(made):
    return made.parts.gateway.stores['guarded'].driver


def upload(made, store='guarded', **fields):
    image = made.create(**fields)
    return made.outer.upload(owner(), image.id, make_upload(b'data'), store)


def change(made, image, **fields):
    return made.outer.update_image(admin(), image.id, Changes(fields=fields))


def notes(made):
    return [row['kind'] for row in rows(made.db, 'gl_operations')]


def sweep(made):
    for row in rows(made.db, 'gl_operations'):
        age(made.db, row['serial'], 3600)
    return Sweeper(made.parts.conf, made.chain.inner).sweep()


# --- when


def test_members_and_visibility(made, store):
    image = upload(made)
    assert store.new() == [(False, ())]
    made.outer.add_member(owner(), image.id, 'gamma')
    assert store.new() == [(False, ('gamma',))]
    made.outer.add_member(owner(), image.id, 'beta')
    assert store.new() == [(False, ('beta', 'gamma'))]
    made.outer.remove_member(owner(), image.id, 'gamma')
    assert store.new() == [(False, ('beta',))]
    for visibility, told in [
        ('public', (True, ())),
        ('community', (True, ())),
        # Members of a private image cannot read it; Glance would let them, in the store.
        ('private', (False, ())),
        ('shared', (False, ('beta',))),
    ]:
        change(made, image, visibility=visibility)
        assert store.new() == [told]
    assert notes(made) == []


def test_nothing_else_tells_it(made, store):
    image = upload(made)
    made.outer.add_member(owner(), image.id, 'beta')
    store.new()
    change(made, image, name='new')
    made.outer.update_image(owner(), image.id, Changes(add_tags=frozenset('t')))
    made.outer.update_image(owner(), image.id, Changes(properties={'a': 'b'}))
    made.outer.update_member(beta(), image.id, 'beta', 'accepted')
    made.outer.set_active(admin(), image.id, False)
    made.outer.set_active(admin(), image.id, True)
    made.read(image)
    made.outer.list_members(owner(), image.id)
    made.outer.delete_image(owner(), image.id)
    assert store.new() == []


def test_an_image_elsewhere_costs_nothing(made, store):
    image = upload(made, 'ram')
    written = []
    made.db.claim_grant = lambda *args: written.append(args)
    made.outer.add_member(owner(), image.id, 'beta')
    change(made, image, visibility='public')
    queued = made.create()
    made.outer.add_member(owner(), queued.id, 'beta')
    assert store.new() == written == []


def test_without_such_a_store_nothing_is_asked(make):
    made = make('location, db')
    image = made.active()
    for name in ('claim_grant', 'peek'):
        setattr(made.chain.layers[0].next, name, None)
    made.outer.add_member(owner(), image.id, 'beta')
    made.outer.remove_member(owner(), image.id, 'beta')
    change(made, image, visibility='public')


def test_an_upload_is_told_for_those_who_are_let_in_already(made, store):
    image = made.create()
    made.outer.add_member(owner(), image.id, 'beta')
    assert store.new() == []
    made.outer.upload(owner(), image.id, make_upload(b'data'), 'guarded')
    assert store.new() == [(False, ('beta',))]
    upload(made, visibility='public')
    assert store.new() == [(True, ())]


def registered(made, store, name='there'):
    url = store.add(name, io.BytesIO(b'data'), 4)
    return NewLocation(url)


def test_data_that_is_registered_by_a_patch(made, store):
    image = made.create(visibility='public')
    step = LocationStep('add', '-', (registered(made, store),))
    made.outer.update_image(admin(), image.id, Changes(locations=(step,)))
    assert store.new() == [(True, ())]


def test_data_that_is_registered_the_new_way(made, store):
    image = made.create()
    made.outer.add_member(owner(), image.id, 'beta')
    service = caller('services', 'service')
    service.is_admin = True
    made.outer.add_location(service, image.id, registered(made, store))
    assert made.chain.inner.import_next(admin())
    assert store.new() == [(False, ('beta',))]
    assert notes(made) == []


@pytest.mark.parametrize(
    ('act', 'error'),
    [
        (lambda made, image: made.outer.add_member(owner(), image.id, 'beta'), Duplicate),
        (lambda made, image: made.outer.remove_member(owner(), image.id, 'delta'), NotFound),
        (lambda made, image: made.outer.add_member(caller('eve'), image.id, 'eve'), NotFound),
    ],
)
def test_what_is_refused_is_not_told(made, store, act, error):
    image = upload(made)
    made.outer.add_member(owner(), image.id, 'beta')
    store.new()
    with pytest.raises(error):
        act(made, image)
    assert store.new() == []
    assert notes(made) == []


def test_an_upload_that_is_refused_in_the_end(made, store):
    image = made.create()
    inner = made.chain.layers[0].next
    inner.commit_upload = lambda *args: (_ for _ in ()).throw(Gone('deleted'))
    with pytest.raises(Gone):
        made.outer.upload(owner(), image.id, make_upload(b'data'), 'guarded')
    assert store.new() == []
    assert notes(made) == []


# --- how


def test_it_is_told_outside_of_any_transaction(made, store):
    """While the store thinks, others write; SQLite has one writer at a time."""
    image = upload(made)
    store.meanwhile = lambda: made.create(name='meanwhile')
    made.outer.add_member(owner(), image.id, 'beta')
    assert {row['name'] for row in rows(made.db, 'images')} == {None, 'meanwhile'}


def test_the_store_ends_with_what_holds_in_the_end(made, store):
    """Another one's change comes between our reading and our telling."""
    image = upload(made)
    store.new()

    def other():
        store.meanwhile = lambda: None
        made.outer.add_member(owner(), image.id, 'gamma')

    store.meanwhile = other
    made.outer.add_member(owner(), image.id, 'beta')
    # The other's was said first, then ours, which was old by then, and then what holds.
    assert store.new() == [
        (False, ('beta', 'gamma')),
        (False, ('beta',)),
        (False, ('beta', 'gamma')),
    ]


def failing(error):
    def fail():
        raise error

    return fail


@pytest.mark.parametrize('error', [StoreUnavailable('away'), OSError(5, 'broken'), KeyError('x')])
def test_a_store_that_fails_is_told_later_and_the_change_stays(made, store, error, caplog):
    image = upload(made)
    store.new()
    store.meanwhile = failing(error)
    made.outer.add_member(owner(), image.id, 'beta')
    change(made, image, visibility='community')
    change(made, image, visibility='shared')
    assert [member.member_id for member in made.outer.list_members(owner(), image.id)] == ['beta']
    assert notes(made) == ['grant'] * 3
    assert 'is told to its stores later' in caplog.text
    assert sweep(made) == 3  # it fails still
    assert notes(made) == ['grant'] * 3
    store.meanwhile = lambda: None
    made.parts.gateway.stores['guarded'].health.close()  # it has failed too often meanwhile
    assert sweep(made) == 3
    assert store.new()[-1] == (False, ('beta',))
    assert notes(made) == []


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize('where', ['before', 'change', 'store', 'end'])
def test_a_process_that_ends_leaves_a_note(made, store, where):
    image = upload(made)
    store.new()
    inner = made.chain.layers[0].next
    names = {'before': 'add_member', 'change': 'add_member', 'end': 'end_operation'}
    real = getattr(inner, names.get(where, 'add_member'))

    def die(*args):
        if where == 'change':
            real(*args)
        raise Killed

    if where == 'store':
        store.meanwhile = failing(Killed())
    else:
        setattr(inner, names[where], die)
    with pytest.raises(Killed):
        made.outer.add_member(owner(), image.id, 'beta')
    setattr(inner, names.get(where, 'add_member'), real)
    store.meanwhile = lambda: None
    assert notes(made) == ['grant']
    sweep(made)
    assert store.new()[-1] == (False, () if where == 'before' else ('beta',))
    assert notes(made) == []


def test_a_change_whose_answer_is_lost_is_told(made, store):
    image = upload(made)
    store.new()
    inner = made.chain.layers[0].next
    real = inner.add_member

    def lost(*args):
        real(*args)
        raise Unavailable('the answer was lost')

    inner.add_member = lost
    with pytest.raises(Unavailable):
        made.outer.add_member(owner(), image.id, 'beta')
    inner.add_member = real
    sweep(made)
    assert store.new() == [(False, ('beta',))]


def test_of_an_image_deleted_meanwhile_nothing_is_left(made, store):
    image = upload(made)
    store.meanwhile = failing(StoreUnavailable('away'))
    made.outer.add_member(owner(), image.id, 'beta')
    store.meanwhile = lambda: None
    made.outer.delete_image(owner(), image.id)
    store.new()
    sweep(made)
    assert store.new() == []
    assert notes(made) == []


def test_a_location_that_vanished_holds_nothing_up(made, store, caplog):
    """The store has lost the data: the member is a member all the same."""
    image = upload(made)
    store._held.clear()
    made.outer.add_member(owner(), image.id, 'beta')
    assert notes(made) == ['grant']
    assert image.id in caplog.text


def test_a_store_that_was_told_by_nobody_lets_nobody_in(made, store):
    upload(made, visibility='private')
    assert store.new() in ([], [(False, ())])
