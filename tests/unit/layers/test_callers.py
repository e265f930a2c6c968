# SPDX-License-Identifier: Apache-2.0
"""A store in which each project has an account is told for whom it acts."""

from __future__ import annotations

import pytest

from glance_lite import plugins
from glance_lite.context import service_context
from glance_lite.maintenance.sweeper import Sweeper
from glance_lite.model import Changes
from glance_lite.store import Caller
from glance_lite.testing.layers import caller, make_upload
from tests.backends import vendor
from tests.unit.db.helpers import age, rows
from tests.unit.layers.conftest import nobody

STORES = """
[DEFAULT]
enabled_backends = fast:file,ram:memory,theirs:accounts
[theirs]
"""
CATALOG = [{'type': 'object-store', 'endpoints': [{'publicURL': 'https://swift/v1/AUTH_a'}]}]


@pytest.fixture
def made(make, tmp_path, monkeypatch):
    path = {'accounts': 'tests.unit.layers.accounts_store:AccountsStore'}
    vendor.install(monkeypatch, tmp_path / 'site', plugins.STORES, path)
    return make('location, db', STORES)


@pytest.fixture
def store(made):
    return made.parts.gateway.stores['theirs'].driver


def person(project, *roles, token=None):
    return caller(
        project,
        'member',
        *roles,
        auth_token=token or f'token-of-{project}',
        service_catalog=CATALOG,
    )


def of(project):
    return Caller(project, f'token-of-{project}', tuple(CATALOG))


SERVICE = Caller('alpha')


def upload(made, ctx=None, **fields):
    image = made.create(**fields)
    return made.outer.upload(ctx or person('alpha'), image.id, make_upload(b'data'), 'theirs')


def sweep(made):
    for row in rows(made.db, 'gl_operations'):
        age(made.db, row['serial'], 3600)
    return Sweeper(made.parts.conf, made.chain.inner).sweep()


def test_an_owner_acts_with_the_token_of_the_request(made, store):
    image = upload(made)
    assert store.acts() == [('add', of('alpha')), ('acl', of('alpha'))]
    made.read(image, person('alpha'))
    assert store.acts() == [('get', of('alpha'))]
    made.outer.add_member(person('alpha'), image.id, 'beta')
    assert store.acts() == [('acl', of('alpha'))]
    made.outer.delete_image(person('alpha'), image.id)
    assert store.acts() == [('delete', of('alpha'))]


def test_others_read_with_their_own_token_or_as_nobody(made, store):
    image = upload(made, visibility='public')
    store.acts()
    made.read(image, person('beta'))
    made.read(image, nobody())
    assert store.acts() == [('get', of('beta')), ('get', SERVICE)]


def test_an_administrator_does_what_the_service_may(made, store):
    admin = person('operators', 'admin')
    image = upload(made, admin)
    # The owner could neither read nor delete what is in the account of the administrators.
    assert store.acts() == [('add', SERVICE), ('acl', SERVICE)]
    made.read(image, admin)
    made.outer.update_image(admin, image.id, Changes(fields={'visibility': 'public'}))
    assert store.acts() == [('get', SERVICE), ('acl', SERVICE)]


def test_what_a_token_could_not_delete_is_deleted_by_the_service(made, store):
    image = upload(made)
    store.ended.add('token-of-alpha')
    store.acts()
    made.outer.delete_image(person('alpha'), image.id)
    assert store.acts() == []
    sweep(made)
    assert store.acts() == [('delete', Caller(None))]
    assert list(store.list()) == []


@pytest.mark.parametrize('deleted', [False, True])
def test_what_a_killed_upload_left_is_looked_for_in_the_account_of_its_owner(made, store, deleted):
    image = made.create()
    made.db.claim_upload(service_context(), image.id, make_upload(b'data'), 'theirs')
    if deleted:
        made.outer.delete_image(person('alpha'), image.id)
    store.acts()
    sweep(made)
    assert [act for act in store.acts() if act[0] == 'locate'] == 2 * [('locate', SERVICE)]


def test_stores_without_accounts_are_told_nothing(make):
    made = make('location, db')
    image = made.active()
    ctx = person('alpha')
    layer = made.layer('location')
    assert layer._callers.of(ctx, 'alpha') is None
    assert made.read(image, ctx) == b'some data'
