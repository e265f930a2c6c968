# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re

import pytest

from tests.api.harness import ADMIN, BETA, ONE_STORE

NEW = {
    'name': None, 'disk_format': None, 'container_format': None, 'visibility': 'shared',
    'size': None, 'virtual_size': None, 'status': 'queued', 'checksum': None,
    'protected': False, 'min_ram': 0, 'min_disk': 0, 'owner': 'alpha', 'os_hidden': False,
    'os_hash_algo': None, 'os_hash_value': None, 'tags': [], 'schema': '/v2/schemas/image',
}  # fmt: skip
ID = '7a4b3a7e-26f1-4a53-a4a6-0a2f3a9a3a11'


def test_create_answers_with_the_image(app):
    answer = app.request('POST', '/v2/images', {'foo': 'bar'})
    assert answer.status == 201
    image = answer.json
    assert answer.headers['location'] == f'http://image.example:9292/v2/images/{image["id"]}'
    assert answer.headers['openstack-image-store-ids'] == 'fast,cheap'
    times = {image.pop('created_at'), image.pop('updated_at')}
    assert all(re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', time) for time in times)
    link = '/v2/images/' + image.pop('id')
    assert image == {**NEW, 'foo': 'bar', 'self': link, 'file': link + '/file'}


def test_create_takes_every_writable_attribute(app):
    wanted = {
        'id': ID, 'name': 'näme', 'visibility': 'private', 'protected': True, 'os_hidden': True,
        'owner': 'alpha', 'container_format': 'bare', 'disk_format': 'qcow2', 'min_ram': 1,
        'min_disk': 2, 'kernel_id': 'k', '': 'empty name',
    }  # fmt: skip
    image = app.create(**wanted, tags=['b', 'a', 'a'])
    assert {name: image[name] for name in wanted} == wanted
    assert sorted(image['tags']) == ['a', 'b']
    assert app.get(f'/v2/images/{ID}').json == image


@pytest.mark.parametrize('body, status', [
    ({'foo': 1}, 400),
    ({'foo': None}, 400),
    ({'id': 'abc'}, 400),
    ({'n' * 256: 'x'}, 400),
    ({'name': 'n' * 256}, 400),
    ({'visibility': 'x'}, 400),
    ({'disk_format': 'x'}, 400),
    ({'container_format': 5}, 400),
    ({'min_ram': -1}, 400),
    ({'min_disk': 2**31}, 400),
    ({'min_ram': '5'}, 400),
    ({'tags': 'x'}, 400),
    ({'tags': ['x' * 256]}, 400),
    ({'tags': [5]}, 400),
    ({'protected': 'yes'}, 400),
    ({'name': 'a\U0001f600'}, 400),
    ({'status': 'active'}, 403),
    ({'size': 5}, 403),
    ({'size': 'x'}, 400),
    ({'status': 'x'}, 400),
    ({'checksum': 'x'}, 403),
    ({'created_at': 'x'}, 403),
    ({'virtual_size': 1}, 403),
    ({'os_hash_value': 'x'}, 403),
    ({'self': 'x'}, 403),
    ({'file': 'x'}, 403),
    ({'schema': 'x'}, 403),
    ({'direct_url': 'x'}, 403),
    ({'stores': 'x'}, 403),
    ({'location': 'x'}, 403),
    ({'deleted': 'x'}, 403),
    ({'deleted_at': 'x'}, 403),
    ({'os_glance_foo': 'x'}, 403),
    ({'owner': 'beta'}, 403),
    ({'locations': []}, 403),
    ({'visibility': 'public'}, 403),
])  # fmt: skip
def test_create_refuses(app, body, status):
    answer = app.request('POST', '/v2/images', body)
    assert answer.status == status, answer
    assert app.get('/v2/images').json['images'] == []


def test_json_of_any_content_type_is_taken(app):
    answer = app.request('POST', '/v2/images', json.dumps({'name': 'x'}), kind='text/plain')
    assert answer.status == 201


def test_a_chunked_body_is_read(app):
    environ = app.environ('POST', '/v2/images', {'name': 'x'})
    del environ['CONTENT_LENGTH']
    environ['HTTP_TRANSFER_ENCODING'] = 'chunked'
    assert app.send(environ).json['name'] == 'x'


def test_an_id_is_never_used_twice(app):
    app.create(id=ID)
    assert app.request('POST', '/v2/images', {'id': ID}).status == 409
    assert app.request('POST', '/v2/images', {'id': ID}, **BETA).status == 409
    assert app.request('DELETE', f'/v2/images/{ID}').status == 204
    assert app.request('POST', '/v2/images', {'id': ID}).status == 409


def test_ids_in_capitals_stay_as_they_are(app):
    image = app.create(id=ID.upper(), disk_format='raw', container_format='bare')
    assert image['id'] == ID.upper()
    assert app.put(ID.upper(), b'data').status == 204
    assert app.get(f'/v2/images/{ID.upper()}/file').body == b'data'


def test_administrators_create_for_others(app):
    image = app.create(owner='beta', visibility='public', **ADMIN)
    assert (image['owner'], image['visibility']) == ('beta', 'public')


def test_quotas_of_counts(make_app):
    app = make_app(default='image_property_quota = 2\nimage_tag_quota = 1')
    assert app.request('POST', '/v2/images', {'a': '1', 'b': '2', 'c': '3'}).status == 413
    assert app.request('POST', '/v2/images', {'tags': ['a', 'b']}).status == 413
    image = app.create(a='1', b='2', tags=['a'])
    step = {'op': 'add', 'path': '/c', 'value': '3'}
    assert app.patch(image['id'], step).status == 413
    assert app.patch(image['id'], {'op': 'remove', 'path': '/a'}, step).status == 200
    assert app.request('PUT', f'/v2/images/{image["id"]}/tags/b').status == 413


@pytest.mark.parametrize('what', ['tags', 'properties'])
def test_5000_at_once_whatever_the_quota(make_app, what):
    app = make_app(default='image_property_quota = -1\nimage_tag_quota = -1')

    def body(count):
        names = [f'n{number}' for number in range(count)]
        return {'tags': names} if what == 'tags' else dict.fromkeys(names, 'x')

    assert app.request('POST', '/v2/images', body(5000)).status == 201
    assert app.request('POST', '/v2/images', body(5001)).status == 413


def test_one_store_is_not_shown(make_app):
    app = make_app(stores=ONE_STORE)
    answer = app.request('POST', '/v2/images', {})
    assert 'openstack-image-store-ids' not in answer.headers
    image = app.active()
    assert 'stores' not in image
    assert app.get('/v2/info/stores').status == 404
    assert app.request('DELETE', f'/v2/stores/file/{image["id"]}', **ADMIN).status == 404


def test_direct_url_is_shown_when_configured(make_app, tmp_path):
    app = make_app(default='show_image_direct_url = true')
    image = app.active()
    assert image['direct_url'] == f'file://{tmp_path}/fast/{image["id"]}'
    assert 'direct_url' not in app.create()


# --- who sees what


@pytest.mark.parametrize('visibility, seen', [
    ('private', False), ('shared', False), ('public', True), ('community', True),
])  # fmt: skip
def test_others_see(app, visibility, seen):
    image = app.create(visibility=visibility, **ADMIN)
    path = f'/v2/images/{image["id"]}'
    assert app.get(path).status == (200 if seen else 404)
    # What may be seen and not changed is 403; what is hidden is 404.
    refused = 403 if seen else 404
    assert app.request('DELETE', path).status == refused
    assert app.patch(image['id'], {'op': 'add', 'path': '/a', 'value': 'b'}).status == refused
    assert app.put(image['id'], b'x').status == refused
    assert app.request('POST', path + '/actions/deactivate').status == refused
    assert app.request('PUT', path + '/tags/x').status == refused
    assert app.get(path, **ADMIN).json == image


def test_delete(app, tmp_path):
    image = app.active()
    path = f'/v2/images/{image["id"]}'
    assert app.request('DELETE', path).status == 204
    assert app.get(path).status == 404
    assert app.request('DELETE', path).status == 404
    assert list((tmp_path / 'fast').iterdir()) == []


def test_a_protected_image_is_not_deleted(app):
    image = app.active(protected=True)
    assert app.request('DELETE', f'/v2/images/{image["id"]}').status == 403
    assert app.get(f'/v2/images/{image["id"]}/file').body == b'data'


def test_deactivate_and_reactivate(app):
    image = app.active()
    path = f'/v2/images/{image["id"]}'
    for _ in range(2):
        assert app.request('POST', path + '/actions/deactivate').status == 204
    shown = app.get(path).json
    # Where the data lies is for administrators then.
    assert shown['status'] == 'deactivated' and 'stores' not in shown
    assert 'stores' not in app.get('/v2/images').json['images'][0]
    assert app.get(path, **ADMIN).json['stores'] == 'fast'
    assert app.get(path + '/file').status == 403
    assert app.get(path + '/file', **ADMIN).body == b'data'
    for _ in range(2):
        assert app.request('POST', path + '/actions/reactivate').status == 204
    assert app.get(path + '/file').body == b'data'


def test_only_active_images_are_deactivated(app):
    path = f'/v2/images/{app.create()["id"]}/actions/deactivate'
    assert app.request('POST', path, **ADMIN).status == 403


def test_tags(app):
    path = f'/v2/images/{app.create()["id"]}'
    for _ in range(2):
        assert app.request('PUT', path + '/tags/größe').status == 204
    assert app.request('PUT', path + '/tags/' + 'x' * 256).status == 400
    assert app.get(path).json['tags'] == ['größe']
    assert app.request('DELETE', path + '/tags/größe').status == 204
    assert app.request('DELETE', path + '/tags/größe').status == 404


# --- the operator's schema


def schema_file(tmp_path, value):
    (tmp_path / 'schema-image.json').write_text(json.dumps(value))


def test_schema_file_describes_properties(make_app, tmp_path):
    schema_file(tmp_path, {'os_distro': {'type': 'string', 'enum': ['debian']}})
    app = make_app()
    assert app.get('/v2/schemas/image').json['properties']['os_distro']['enum'] == ['debian']
    assert app.request('POST', '/v2/images', {'os_distro': 'x'}).status == 400
    image = app.create(os_distro='debian')
    step = {'op': 'replace', 'path': '/os_distro', 'value': 'x'}
    assert app.patch(image['id'], step).status == 400


def test_schema_file_demands_properties(make_app, tmp_path):
    value = {'properties': {'os_distro': {'type': 'string'}}, 'required': ['os_distro']}
    schema_file(tmp_path, value)
    app = make_app()
    assert app.request('POST', '/v2/images', {}).status == 400
    image = app.create(os_distro='debian')
    assert app.patch(image['id'], {'op': 'remove', 'path': '/os_distro'}).status == 403
    assert app.patch(image['id'], {'op': 'add', 'path': '/a', 'value': 'b'}).status == 200


@pytest.mark.parametrize('name', ['image', 'images', 'member', 'members'])
def test_schemas(app, name):
    answer = app.get(f'/v2/schemas/{name}')
    assert (answer.status, answer.json['name']) == (200, name)
