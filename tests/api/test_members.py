# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.api.harness import ADMIN, BETA

GAMMA = {'project': 'gamma'}


@pytest.fixture
def path(app):
    return f'/v2/images/{app.create()["id"]}/members'


def test_the_life_of_a_membership(app, path):
    answer = app.request('POST', path, {'member': 'beta'})
    assert answer.status == 200
    member = answer.json
    assert set(member) == {
        'member_id', 'image_id', 'status', 'created_at', 'updated_at', 'schema',
    }  # fmt: skip
    assert (member['member_id'], member['status']) == ('beta', 'pending')
    assert member['schema'] == '/v2/schemas/member'
    assert app.request('POST', path, {'member': 'beta'}).status == 409
    listed = {'members': [member], 'schema': '/v2/schemas/members'}
    assert app.get(path).json == app.get(path, **BETA).json == listed
    assert app.get(path + '/beta', **BETA).json == member
    for status in ('accepted', 'rejected', 'pending'):
        changed = app.request('PUT', path + '/beta', {'status': status}, **BETA)
        assert (changed.status, changed.json['status']) == (200, status)
    assert app.request('DELETE', path + '/beta').status == 204
    assert app.request('DELETE', path + '/beta').status == 404
    assert app.get(path).json['members'] == []
    assert app.get(path, **BETA).status == 404
    assert app.request('POST', path, {'member': 'beta'}).status == 200


def test_members_see_themselves_only(app, path):
    for name in ('beta', 'gamma'):
        app.request('POST', path, {'member': name})
    assert [one['member_id'] for one in app.get(path).json['members']] == ['beta', 'gamma']
    assert [one['member_id'] for one in app.get(path, **BETA).json['members']] == ['beta']
    assert app.get(path + '/gamma', **BETA).status == 404


def test_who_may_do_what(app, path):
    app.request('POST', path, {'member': 'beta'})
    # The owner cannot accept for the member, the member cannot share on.
    assert app.request('PUT', path + '/beta', {'status': 'accepted'}).status == 403
    assert app.request('POST', path, {'member': 'gamma'}, **BETA).status == 403
    assert app.request('DELETE', path + '/beta', **BETA).status == 403
    # Whoever does not see the image does not see its members.
    for method, more in (('GET', ''), ('GET', '/beta'), ('DELETE', '/beta')):
        assert app.request(method, path + more, **GAMMA).status == 404
    assert app.request('POST', path, {'member': 'gamma'}, **GAMMA).status == 404
    assert app.request('PUT', path + '/beta', {'status': 'accepted'}, **ADMIN).status == 200


@pytest.mark.parametrize('visibility', ['private', 'public', 'community'])
def test_only_shared_images_have_members(app, visibility):
    image = app.create(visibility=visibility, owner='alpha', **ADMIN)
    path = f'/v2/images/{image["id"]}/members'
    assert app.request('POST', path, {'member': 'beta'}).status == 403
    assert app.get(path).status == 403


@pytest.mark.parametrize('body', [
    {}, [], '', '"beta"', {'member': ''}, {'member': ' '}, {'member': ['x']}, {'member': 5},
    {'member': None}, {'member': 'x' * 256}, {'members': 'beta'}, {'member': '\U0001f600'},
])  # fmt: skip
def test_bodies_that_name_no_member(app, path, body):
    assert app.request('POST', path, body).status == 400


@pytest.mark.parametrize(
    'body', [{}, {'status': 'x'}, {'status': ['accepted']}, [], {'status': None}]
)
def test_bodies_that_name_no_status(app, path, body):
    app.request('POST', path, {'member': 'beta'})
    assert app.request('PUT', path + '/beta', body, **BETA).status == 400


def test_a_member_that_is_not_there(app, path):
    assert app.get(path + '/nobody').status == 404
    for method, body in (('PUT', {'status': 'accepted'}), ('DELETE', None)):
        assert app.request(method, path + '/nobody', body).status == 404
    assert app.request('PUT', path + '/nobody', {'status': 'accepted'}, **ADMIN).status == 404


def test_member_quota(make_app):
    app = make_app(default='image_member_quota = 1')
    path = f'/v2/images/{app.create()["id"]}/members'
    assert app.request('POST', path, {'member': 'beta'}).status == 200
    assert app.request('POST', path, {'member': 'gamma'}).status == 413
