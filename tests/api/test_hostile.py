# SPDX-License-Identifier: Apache-2.0
"""Everything from outside is hostile: 4xx with a reason, never 5xx, never a traceback.

The first of these are the inputs to which Glance 33 answers 500 or nothing at all.
"""

from __future__ import annotations

import json
import random

import pytest

from tests.api.harness import ADMIN, OCTETS, V20, V21, App
from tests.sizes import full


@pytest.fixture(scope='module')
def app(tmp_path_factory):
    app = App(tmp_path_factory.mktemp('hostile'))
    yield app
    app.close()


def refused(answer):
    assert 400 <= answer.status < 500, answer
    assert b'Traceback' not in answer.body
    assert answer.headers['x-openstack-request-id']


@pytest.mark.parametrize('path', [
    '/v2/images/\xff', '/v2/images/\xff/file', '/v2/\xff', '/v2/images/a\0b',
    '/v2/images/\x80/members/\xfe', '/v2/stores/\xff/x', '/v2/images/' + 'x' * 100_000,
    '/v2/images/..%2f..%2fetc%2fpasswd', '/v2/images/../../etc/passwd', '/v2/images/%00',
    '/v2/images/{image_id}', '/v2/images/ /file', '/v2/images/a\r\nb: c',
])  # fmt: skip
@pytest.mark.parametrize('method', ['GET', 'DELETE', 'PATCH', 'PUT', 'POST'])
def test_paths(app, method, path):
    environ = app.environ(method, '/')
    environ['PATH_INFO'] = path  # as a server hands it over
    refused(app.send(environ))


@pytest.mark.parametrize('body, kind', [
    ('[]', 'application/json'),
    ('5', 'application/json'),
    ('null', 'application/json'),
    ('"x"', 'application/json'),
    ('', 'application/json'),
    ('{', 'application/json'),
    ('{"name": NaN}', 'application/json'),
    ('{"min_ram": 1e999}', 'application/json'),
    ('{"min_ram": 99999999999999999999999999}', 'application/json'),
    ('{"min_ram": 1.5}', 'application/json'),
    ('{"name": "\\ud800"}', 'application/json'),
    ('{"\\ud800": "x"}', 'application/json'),
    ('{"name": "a\\u0000b"}', 'application/json'),
    ('{"name": "\U0001f600"}', 'application/json'),
    ('{"tags": ["\\udfff"]}', 'application/json'),
    ('{"a":' * 5000 + '1' + '}' * 5000, 'application/json'),
    ('[' * 200_000, 'application/json'),
    (b'\xff\xfe{}', 'application/json'),
    (b'{"name": "\xff"}', 'application/json'),
    ('{"name": "' + 'x' * 2_000_000 + '"}', 'application/json'),
    ('name=x', 'application/x-www-form-urlencoded'),
    (json.dumps({str(n): 'x' for n in range(1000)}), 'application/json'),
    (json.dumps({'tags': [str(n) for n in range(1000)]}), 'application/json'),
])  # fmt: skip
def test_bodies(app, body, kind):
    refused(app.request('POST', '/v2/images', body, kind=kind))


def test_bodies_where_none_belongs(app):
    image = app.create()
    path = f'/v2/images/{image["id"]}'
    for method, more in (('GET', ''), ('DELETE', ''), ('PUT', '/tags/x'), ('GET', '/members'),
                         ('POST', '/actions/deactivate'), ('DELETE', '/members/x')):  # fmt: skip
        assert app.request(method, path + more, 'x', **ADMIN).status == 400
    assert app.get(path).json == image


@pytest.mark.parametrize('value', ['-1', 'x', '99999999999999999999', '1 2', '+5', '\xff'])
@pytest.mark.parametrize('path', ['/v2/images', '/v2/images/x/file', '/v2/images/x/members'])
def test_lengths(app, path, value):
    method = 'PUT' if path.endswith('file') else 'POST'
    refused(app.request(method, path, 'x', kind=OCTETS, headers={'Content-Length': value}))


@pytest.mark.parametrize('header', [
    'Range', 'Content-Range', 'If-Range', 'X-Image-Meta-Store', 'X-Openstack-Image-Size',
    'X-Openstack-Request-Id', 'Accept', 'Accept-Encoding', 'X-Roles', 'X-Service-Catalog',
    'X-Forwarded-For', 'X-Forwarded-Proto', 'Forwarded', 'Origin', 'Expect', 'Host',
])  # fmt: skip
@pytest.mark.parametrize(
    'value', ['', '\xff', 'x' * 10_000, '%s%n', '[', '{"a":', "'--", '\x1b[2J']
)
def test_headers(app, header, value):
    image = app.create(disk_format='raw', container_format='bare')
    path = f'/v2/images/{image["id"]}'
    for method, more, body in (('GET', '', None), ('GET', '/file', None), ('PUT', '/file', b'x')):
        answer = app.request(method, path + more, body, kind=OCTETS if body else None,
                             headers={header: value})  # fmt: skip
        assert answer.status < 500, answer
        for name, sent in answer.headers.items():
            assert '\n' not in sent and '\r' not in sent, name
        assert '\x1b' not in answer.headers['x-openstack-request-id']


def test_over_long_request_id(app):
    answer = app.get('/v2/images', headers={'X-Openstack-Request-ID': 'a' * 100_000})
    assert answer.status == 200 and len(answer.headers['x-openstack-request-id']) < 100


@pytest.mark.parametrize('kind', [V21, V20])
@pytest.mark.parametrize('seed', range(full(20, 500)))
def test_random_patches(app, kind, seed):
    """Any JSON as a patch: an answer below 500, and an image that can still be read."""
    chance = random.Random(seed)
    image = app.create(foo='bar')

    def value(depth=0):
        kinds = ['text', 'number', 'null', 'bool', 'list', 'dict', 'path', 'op']
        pick = chance.choice(kinds if depth < 4 else kinds[:4])
        if pick == 'list':
            return [value(depth + 1) for _ in range(chance.randrange(3))]
        if pick == 'dict':
            names = ['op', 'path', 'value', 'add', 'replace', 'remove', 'x']
            return {chance.choice(names): value(depth + 1) for _ in range(chance.randrange(4))}
        return {
            'text': chance.choice(['', 'x', '/', '~', '/foo', '\x7f', 'é']),
            'number': chance.choice([0, -1, 2**63, 1.5]),
            'null': None,
            'bool': True,
            'path': chance.choice(['/foo', '/name', '/tags', '/min_ram', '/visibility', '/a~1']),
            'op': chance.choice(['add', 'replace', 'remove', 'test']),
        }[pick]

    for _ in range(50):
        body = [value(1) for _ in range(chance.randrange(1, 4))]
        answer = app.request('PATCH', f'/v2/images/{image["id"]}', body, kind=kind)
        assert answer.status < 500, (body, answer)
    assert app.get(f'/v2/images/{image["id"]}').json['id'] == image['id']


def test_nobody_learns_what_another_project_has(app):
    """Every route of a hidden image answers as if there were no such image."""
    image = app.active(secret='property')
    hidden, absent = image['id'], '00000000-0000-4000-8000-000000000000'
    for method, path, body, kind in (
        ('GET', '/v2/images/{}', None, None),
        ('PATCH', '/v2/images/{}', [{'op': 'replace', 'path': '/name', 'value': 'x'}], V21),
        ('PATCH', '/v2/images/{}', [{'op': 'replace', 'path': '/owner', 'value': 'x'}], V21),
        ('PATCH', '/v2/images/{}', [{'op': 'remove', 'path': '/secret'}], V21),
        ('DELETE', '/v2/images/{}', None, None),
        ('GET', '/v2/images/{}/file', None, None),
        ('HEAD', '/v2/images/{}/file', None, None),
        ('PUT', '/v2/images/{}/file', b'x', OCTETS),
        ('GET', '/v2/images/{}/members', None, None),
        ('POST', '/v2/images/{}/members', {'member': 'beta'}, None),
        ('GET', '/v2/images/{}/members/beta', None, None),
        ('PUT', '/v2/images/{}/members/beta', {'status': 'accepted'}, None),
        ('DELETE', '/v2/images/{}/members/beta', None, None),
        ('PUT', '/v2/images/{}/tags/x', None, None),
        ('DELETE', '/v2/images/{}/tags/x', None, None),
        ('POST', '/v2/images/{}/actions/deactivate', None, None),
        ('POST', '/v2/images/{}/actions/reactivate', None, None),
        ('DELETE', '/v2/stores/fast/{}', None, None),
    ):
        there, gone = (
            app.request(method, path.format(one), body, kind=kind, project='beta')
            for one in (hidden, absent)
        )
        assert there.status == gone.status == 404, (method, path, there)
        assert there.body.replace(hidden.encode(), b'') == gone.body.replace(absent.encode(), b'')


def test_owner_patch_does_not_reveal_what_policy_hides(app):
    """Auth decided before policy had said that the image is not to be seen."""
    image = app.active(visibility='community')
    step = {'op': 'replace', 'path': '/owner', 'value': 'beta'}
    assert app.patch(image['id'], step, project='beta', roles='').status == 404
