# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from glance_lite.api.healthcheck import Healthcheck
from tests.api.harness import ONE_STORE

NEWEST = ['v2.17', 'v2.15']
SEVERAL = ['v2.13', 'v2.12', 'v2.11', 'v2.10', 'v2.9', 'v2.8']
ALWAYS = ['v2.7', 'v2.6', 'v2.5', 'v2.4', 'v2.3', 'v2.2', 'v2.1', 'v2.0']


def ids(answer):
    return [one['id'] for one in answer.json['versions']]


@pytest.mark.parametrize('path, status', [
    ('/', 300), ('/versions', 200), ('/versions/', 200),
    ('/v1', 300), ('/v2.99/images', 300), ('/foo', 300),
])  # fmt: skip
def test_the_document(app, path, status):
    answer = app.get(path, project=None)
    assert answer.status == status
    assert ids(answer) == NEWEST + SEVERAL + ALWAYS
    assert [one['status'] for one in answer.json['versions']][:2] == ['CURRENT', 'SUPPORTED']
    link = answer.json['versions'][0]['links'][0]
    assert link == {'rel': 'self', 'href': 'http://image.example:9292/v2/'}


def test_one_store_lists_fewer(make_app):
    app = make_app(stores=ONE_STORE)
    assert ids(app.get('/versions')) == [*NEWEST, 'v2.9', *ALWAYS]


def test_a_cache_lists_more(make_app, tmp_path):
    app = make_app(default=f'image_cache_dir = {tmp_path}/cache')
    assert ids(app.get('/versions'))[:5] == ['v2.18', 'v2.17', 'v2.16', 'v2.15', 'v2.14']


def test_public_endpoint_is_the_base_of_links(make_app):
    app = make_app(default='public_endpoint = https://image.example/prefix')
    link = app.get('/versions').json['versions'][0]['links'][0]
    assert link['href'] == 'https://image.example/prefix/v2/'
    created = app.request('POST', '/v2/images', {})
    assert created.headers['location'].startswith('https://image.example/prefix/v2/images/')


def test_a_proxy_is_believed_when_configured(make_app):
    app = make_app(more='[oslo_middleware]\nenable_proxy_headers_parsing = true')
    headers = {'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'cloud.example'}
    link = app.get('/versions', headers=headers).json['versions'][0]['links'][0]
    assert link['href'] == 'https://cloud.example/v2/'


@pytest.mark.parametrize('path', ['/v2', '/v2.3'])
def test_a_bare_version_leads_to_its_root(app, path):
    answer = app.get(path)
    assert (answer.status, answer.headers['location']) == (302, 'http://image.example:9292/v2/')


@pytest.mark.parametrize('path', ['/v2/images', '/v2.0/images', '/v2.17/images'])
def test_every_listed_minor_version_is_served(app, path):
    assert app.get(path).json['images'] == []


def test_negotiation_by_accept(app):
    accept = {'Accept': 'application/vnd.openstack.images-v2.3'}
    assert app.get('/images', headers=accept).status == 200
    accept = {'Accept': 'application/vnd.openstack.images-v2.99'}
    assert app.get('/images', headers=accept).status == 300


@pytest.mark.parametrize('path', ['/v2/', '/v2/foo', '/v2/images/x/y', '/v2/schemas'])
def test_unknown_paths(app, path):
    assert app.get(path).status == 404


@pytest.mark.parametrize('method, path, allow', [
    ('PUT', '/v2/images', 'GET, POST'),
    ('FOO', '/v2/images', 'GET, POST'),
    ('HEAD', '/v2/images/x', 'GET, PATCH, DELETE'),
    ('POST', '/v2/images/x/file', 'GET, HEAD, PUT'),
])  # fmt: skip
def test_wrong_methods(app, method, path, allow):
    answer = app.request(method, path)
    assert (answer.status, answer.headers['allow']) == (405, allow)


# --- request ids, error bodies, healthcheck


def test_a_request_id_is_made(app):
    assert app.get('/v2/images').headers['x-openstack-request-id'].startswith('req-')


def test_a_request_id_is_taken_over(app):
    answer = app.get('/v2/images', headers={'X-Openstack-Request-Id': 'abc'})
    assert answer.headers['x-openstack-request-id'] == 'req-abc'


@pytest.mark.parametrize('given', ['a' * 65, 'a b', 'a\x1b[31m', 'ä'.encode().decode('latin-1')])
def test_a_request_id_that_does_not_fit_is_replaced(app, given):
    answer = app.get('/v2/images', headers={'X-Openstack-Request-Id': given})
    assert answer.status == 200
    assert given not in answer.headers['x-openstack-request-id']


@pytest.mark.parametrize('accept, kind', [
    (None, 'text/plain; charset=UTF-8'),
    ('text/plain', 'text/plain; charset=UTF-8'),
    ('*/*', 'text/html; charset=UTF-8'),
    ('text/html', 'text/html; charset=UTF-8'),
    ('application/json', 'application/json'),
])  # fmt: skip
def test_error_bodies_follow_accept(app, accept, kind):
    headers = {'Accept': accept} if accept else {}
    answer = app.get('/v2/images/x', headers=headers)
    assert answer.status == 404
    assert answer.headers['content-type'].lower() == kind.lower()
    assert b'No image found with ID x' in answer.body
    if kind == 'application/json':
        assert answer.json == {
            'message': 'No image found with ID x',
            'code': '404 Not Found',
            'title': 'Not Found',
        }


def test_markup_in_an_error_is_escaped(app):
    answer = app.get('/v2/images/<script>', headers={'Accept': 'text/html'})
    assert b'<script>' not in answer.body


def test_healthcheck_is_outside_identity(app):
    answer = app.get('/healthcheck', project=None)
    assert (answer.status, answer.body) == (200, b'OK')


def test_healthcheck_sees_a_store_that_is_gone(app, tmp_path):
    (tmp_path / 'fast').rmdir()
    answer = app.get('/healthcheck', project=None)
    assert answer.status == 503
    assert b'store fast' in answer.body
    assert str(tmp_path).encode() not in answer.body


def test_healthcheck_serves_on_without_a_store_that_is_not_the_default(app, tmp_path):
    """Or a balancer would take all hosts out for images that are elsewhere."""
    (tmp_path / 'cheap').rmdir()
    assert app.get('/healthcheck', project=None).body == b'OK'
    answer = app.get('/healthcheck', project=None, headers={'Accept': 'application/json'})
    assert answer.status == 200 and answer.json['healthy'] is True
    assert answer.json['parts']['store cheap'] is False
    detailed = Healthcheck(app.service, None, detailed=True)
    (body,) = detailed(app.environ('GET', '/healthcheck'), lambda *args: None)
    assert body == b'OK\nstore cheap: A directory of store cheap is gone'


def test_healthcheck_tells_of_a_broken_policy_and_serves_on(make_app, tmp_path, monkeypatch):
    app = make_app()
    (tmp_path / 'policy.yaml').write_text('get_image: [')
    monkeypatch.setattr(app.service.enforcer, '_next_look', 0.0)
    assert app.get('/v2/images').status == 200
    answer = app.get('/healthcheck', project=None, headers={'Accept': 'application/json'})
    assert answer.status == 200 and answer.json['healthy'] is True
    assert answer.json['parts']['policy'] is False
    assert app.get('/healthcheck', project=None).body == b'OK'
    detailed = Healthcheck(app.service, None, detailed=True)
    (body,) = detailed(app.environ('GET', '/healthcheck'), lambda *args: None)
    assert body.startswith(b'OK\npolicy: ') and b'policy.yaml cannot be read' in body


def test_healthcheck_sees_a_database_that_is_gone(make_app, tmp_path):
    app = make_app()
    app.service.stop()
    for path in tmp_path.glob('glance.sqlite*'):
        path.unlink()
    (tmp_path / 'glance.sqlite').mkdir()
    answer = app.get('/healthcheck', project=None, headers={'Accept': 'application/json'})
    assert answer.status == 503
    assert answer.json['parts']['layer db'] is False
    assert answer.json['parts']['store fast'] is True


# --- identity


def test_no_token_is_401(app):
    assert app.get('/v2/images', project=None).status == 401


def test_anonymous_callers_read_what_policy_lets_them(make_app, tmp_path):
    (tmp_path / 'policy.yaml').write_text('"get_images": "@"\n"get_image": "@"\n')
    app = make_app(default='allow_anonymous_access = true')
    public = app.active(visibility='public', roles='admin,member,reader')
    private = app.active(visibility='private')
    shown = app.get('/v2/images', project=None).json['images']
    assert [one['id'] for one in shown] == [public['id']]
    assert app.get(f'/v2/images/{private["id"]}', project=None).status == 404


def test_anonymous_callers_change_nothing_whatever_policy_says(make_app, tmp_path):
    (tmp_path / 'policy.yaml').write_text('"add_image": "@"\n"delete_image": "@"\n')
    app = make_app(default='allow_anonymous_access = true')
    public = app.create(visibility='public', roles='admin,member,reader')
    assert app.request('POST', '/v2/images', {}, project=None).status == 403
    assert app.request('DELETE', f'/v2/images/{public["id"]}', project=None).status == 403


def test_hostile_service_catalog(app):
    for value in ('{', '[' * 100_000, '5'):
        answer = app.get('/v2/images', headers={'X-Service-Catalog': value})
        assert answer.status == 400
    assert app.get('/v2/images', headers={'X-Service-Catalog': ''}).status == 200


def test_roles_are_compared_in_lower_case(app):
    assert app.request('POST', '/v2/images', {}, roles='MEMBER').status == 201


def test_unauthenticated_flavor_is_nobody(make_app):
    app = make_app(flavor='')
    assert app.get('/v2/images', project=None).status == 403
    assert app.request('POST', '/v2/images', {}, project=None).status == 403


def test_local_flavor_serves_this_machine_only(make_app):
    app = make_app(flavor='local')
    here = {'Host': 'localhost:9292'}
    for host in ('localhost:9292', '127.0.0.1', '[::1]:9292'):
        answer = app.request('POST', '/v2/images', {}, project=None, headers={'Host': host})
        assert answer.status == 201
    environ = app.environ('GET', '/v2/images', project=None, headers=here)
    environ['REMOTE_ADDR'] = '192.0.2.1'
    assert app.send(environ).status == 403
    # A page of another site, and one whose name was made to resolve to this machine.
    for page in ({**here, 'Origin': 'http://evil.example'}, {'Host': 'evil.example:9292'}):
        assert app.request('POST', '/v2/images', {}, project=None, headers=page).status == 403
