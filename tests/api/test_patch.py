# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.api.harness import ADMIN, V20


def add(path, value):
    return {'op': 'add', 'path': path, 'value': value}


def replace(path, value):
    return {'op': 'replace', 'path': path, 'value': value}


def remove(path):
    return {'op': 'remove', 'path': path}


@pytest.fixture
def image(app):
    return app.create(foo='bar', name='old', tags=['a'])


def test_properties(app, image):
    answer = app.patch(image['id'], add('/new', '1'), replace('/foo', '2'), add('/foo', '3'))
    assert answer.status == 200
    assert (answer.json['new'], answer.json['foo']) == ('1', '3')
    answer = app.patch(image['id'], remove('/new'))
    assert 'new' not in answer.json
    assert app.get(f'/v2/images/{image["id"]}').json == answer.json


def test_attributes(app, image):
    steps = [
        replace('/name', 'new'), add('/min_ram', 5), replace('/protected', True),
        replace('/os_hidden', True), replace('/tags', ['b', 'c']), add('/container_format', 'bare'),
        replace('/visibility', 'private'), replace('/disk_format', 'raw'),
    ]  # fmt: skip
    changed = app.patch(image['id'], *steps).json
    for step in steps:
        assert changed[step['path'][1:]] == step['value']
    assert app.patch(image['id'], replace('/name', None)).json['name'] is None


def test_nothing_changes_nothing(app, image):
    assert app.patch(image['id']).json == image


@pytest.mark.parametrize('step, status', [
    (replace('/nope', 'x'), 409),
    (remove('/nope'), 409),
    (add('/name', 5), 400),
    (add('/tags/-', 'x'), 400),
    (add('/foo/bar', 'x'), 400),
    (add('foo', 'x'), 400),
    (add('/a~2b', 'x'), 400),
    (add('/a~', 'x'), 400),
    (add(5, 'x'), 400),
    (add(None, 'x'), 400),
    (add(['foo'], 'x'), 400),
    ({'op': 'add', 'path': '/foo'}, 400),
    ({'op': 'test', 'path': '/foo', 'value': 'bar'}, 400),
    ({'op': 'move', 'from': '/foo', 'path': '/bar'}, 400),
    ({'op': 'copy', 'from': '/foo', 'path': '/bar'}, 400),
    ({'op': ['add'], 'path': '/foo', 'value': 'x'}, 400),
    ({'op': None}, 400),
    ({}, 400),
    (5, 400),
    (None, 400),
    ([], 400),
    (add('/foo', None), 400),
    (add('/foo', 5), 400),
    (add('/' + 'n' * 256, 'x'), 400),
    (replace('/visibility', None), 400),
    (replace('/min_ram', -1), 400),
    (replace('/min_disk', 2**31), 400),
    (replace('/tags', 'x'), 400),
    (add('/foo', 'a\U0001f600'), 400),
    (remove('/name'), 403),
    (remove('/tags'), 403),
    (remove('/status'), 403),
    (replace('/id', 'x'), 403),
    (replace('/status', 'active'), 403),
    (replace('/size', 5), 403),
    (replace('/self', 'x'), 403),
    (replace('/os_hash_value', 'x'), 403),
    (add('/deleted', 'x'), 403),
    (add('/os_glance_x', 'x'), 403),
    (remove('/os_glance_x'), 403),
    (replace('/owner', 'beta'), 403),
    (replace('/visibility', 'public'), 403),
    (add('/locations/-', {'url': 'file:///etc/passwd', 'metadata': {}}), 403),
    (add('/locations/1', {'url': 'http://example/', 'metadata': {}}), 403),
    (replace('/locations', []), 403),
    (remove('/locations/0'), 403),
])  # fmt: skip
def test_refused_steps_change_nothing(app, image, step, status):
    answer = app.patch(image['id'], add('/before', 'x'), step)
    assert answer.status == status, answer
    assert app.get(f'/v2/images/{image["id"]}').json == image


def test_escapes_of_json_pointers(app, image):
    changed = app.patch(image['id'], add('/a~1b~0c', 'x')).json
    assert changed['a/b~c'] == 'x'
    assert 'a/b~c' not in app.patch(image['id'], remove('/a~1b~0c')).json


@pytest.mark.parametrize('steps, expected', [
    ([add('/x', '1'), remove('/x')], {'foo': 'bar'}),
    ([remove('/foo'), add('/foo', '2')], {'foo': '2'}),
    ([add('/x', '1'), replace('/x', '2')], {'foo': 'bar', 'x': '2'}),
    ([replace('/foo', '1'), remove('/foo')], {}),
])  # fmt: skip
def test_steps_follow_each_other(app, image, steps, expected):
    changed = app.patch(image['id'], *steps).json
    assert {name: changed[name] for name in ('foo', 'x') if name in changed} == expected


@pytest.mark.parametrize('steps', [
    [remove('/foo'), remove('/foo')],
    [remove('/foo'), replace('/foo', 'x')],
    [add('/x', '1'), remove('/x'), remove('/x')],
])  # fmt: skip
def test_steps_that_contradict_each_other(app, image, steps):
    assert app.patch(image['id'], *steps).status == 409
    assert app.get(f'/v2/images/{image["id"]}').json == image


def test_the_older_media_type(app, image):
    def patch(*steps):
        return app.patch(image['id'], *steps, kind=V20)

    assert patch({'add': '/new', 'value': 'x'}).json['new'] == 'x'
    assert patch({'replace': '/new', 'value': 'y'}).json['new'] == 'y'
    assert patch({'add': '/new', 'value': 'z'}).status == 409
    assert patch({'add': '/name', 'value': 'z'}).status == 409
    assert patch({'replace': '/name', 'value': 'z'}).json['name'] == 'z'
    assert 'new' not in patch({'remove': '/new'}).json
    assert patch({'add': 5}).status == 400
    assert patch({'add': '/a', 'replace': '/b', 'value': 'x'}).status == 400
    assert patch({}).status == 400


@pytest.mark.parametrize('kind', ['application/json', None, 'text/plain', 'x' * 300])
def test_other_media_types_are_refused(app, image, kind):
    answer = app.request('PATCH', f'/v2/images/{image["id"]}', '[]', kind=kind)
    assert answer.status == 415
    assert answer.headers['accept-patch'] == (
        'application/openstack-images-v2.0-json-patch, application/openstack-images-v2.1-json-patch'
    )


@pytest.mark.parametrize(
    'body', ['', '{}', 'x[]', '5', 'null', '[' * 100_000, '[NaN]', '"\\ud800"']
)
def test_bodies_that_are_no_patch(app, image, body):
    kind = 'application/openstack-images-v2.1-json-patch'
    answer = app.request('PATCH', f'/v2/images/{image["id"]}', body, kind=kind)
    assert answer.status == 400


def test_formats_are_fixed_once_there_is_data(app):
    image = app.active()
    for name in ('disk_format', 'container_format'):
        assert app.patch(image['id'], replace(f'/{name}', 'ami')).status == 403


def test_administrators_change_owners_and_publish(app, image):
    steps = [replace('/owner', 'beta'), replace('/visibility', 'public')]
    changed = app.patch(image['id'], *steps, **ADMIN).json
    assert (changed['owner'], changed['visibility']) == ('beta', 'public')


def test_updated_at_never_goes_back(app, image):
    changed = app.patch(image['id'], add('/x', '1')).json
    assert changed['updated_at'] >= image['updated_at']
    assert changed['created_at'] == image['created_at']
