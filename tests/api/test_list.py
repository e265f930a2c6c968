# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.api.harness import ADMIN, BETA


@pytest.fixture
def three(app):
    """Three images: a (bare raw, with data), b (with properties and tags), c (hidden)."""
    app.active(b'12345', name='a', min_ram=5)
    app.create(name='b', foo='bar', colour='red', tags=['x', 'y'], protected=True)
    app.create(name='c', os_hidden=True, tags=['x'])
    return app


def names(app, query='', **kwargs):
    answer = app.get('/v2/images' + query, **kwargs)
    assert answer.status == 200, answer
    return sorted(image['name'] for image in answer.json['images'])


@pytest.mark.parametrize('query, expected', [
    ('', 'ab'),
    ('?name=a', 'a'),
    ('?name=eq:a', 'a'),
    ('?name=in:a,b', 'ab'),
    ('?name=in:"a",z', 'a'),
    ('?name=in:', ''),
    ('?name=', ''),
    ('?status=queued', 'b'),
    ('?status=in:queued,active', 'ab'),
    ('?status=x', ''),
    ('?disk_format=raw', 'a'),
    ('?container_format=in:bare', 'a'),
    ('?foo=bar', 'b'),
    ('?foo=bar&colour=red', 'b'),
    ('?foo=bar&colour=green', ''),
    ('?foo=in:bar', ''),
    ('?nobody=knows', ''),
    ('?tag=x', 'b'),
    ('?tag=x&tag=y', 'b'),
    ('?tag=x&tag=z', ''),
    ('?tag=', ''),
    ('?os_hidden=true', 'c'),
    ('?os_hidden=True', 'c'),
    ('?os_hidden=false', 'ab'),
    ('?protected=true', 'b'),
    ('?protected=false', 'a'),
    ('?size_min=5', 'a'),
    ('?size_max=5', 'a'),
    ('?size_min=6', ''),
    ('?size=5', 'a'),
    ('?min_ram=5', 'a'),
    ('?min_ram_min=1', 'a'),
    ('?min_ram_max=4', 'b'),
    ('?size_min=99999999999999999999999999', ''),
    ('?checksum=827ccb0eea8a706c4c34a16891f84e7b', 'a'),
    ('?os_hash_algo=sha512', 'a'),
    ('?owner=alpha', 'ab'),
    ('?owner=beta', ''),
    ('?created_at=gt:2020-01-01T00:00:00Z', 'ab'),
    ('?created_at=lt:2020-01-01', ''),
    ('?updated_at=gte:2020-01-01T00:00:00%2B05:00', 'ab'),
    ('?created_at=neq:2020-01-01T00:00:00Z', 'ab'),
    ('?created_at=2020-01-01T00:00:00Z', ''),
    ('?visibility=shared', 'ab'),
    ('?visibility=private', ''),
    ('?visibility=all', 'ab'),
    ('?limit=0', ''),
    ('?limit=100000', 'ab'),
    ('?deleted=true', 'ab'),
    ('?locations=true', ''),
    ('?foo_min=5', ''),
    ('?name_min=99999999999999999999', ''),
])  # fmt: skip
def test_filters(three, query, expected):
    assert names(three, query) == list(expected)


@pytest.mark.parametrize('query', [
    'name=neq:a', 'name=x:y', 'status=gt:x', 'name=in:"a', 'name=in:a"b',
    'created_at=abc', 'created_at=foo:2020-01-01', 'created_at=', 'updated_at=in:x',
    'created_at=gt:99999999999-01-01', 'protected=abc', 'protected=True', 'os_hidden=yes',
    'visibility=x', 'visibility=', 'member_status=x', 'member_status=',
    'limit=', 'limit=-1', 'limit=x', 'limit=1.5', 'limit=' + '9' * 5000,
    'marker=', 'marker=x', 'sort=', 'sort=name:x', 'sort=x', 'sort=name:asc:desc',
    'sort_key=x', 'sort_dir=x', 'sort=name&sort_key=size', 'sort=min_ram',
    'sort_key=name&sort_dir=asc&sort_dir=desc', 'size_min=x', 'size_max=1.5', 'min_ram=x',
    'size=', 'changes-since=', 'changes-since=2020-01-01T00:00:00Z', 'name=%ff', '%ff=1',
    'name=%00', 'tag=%f0%9f%98%80', '&'.join(f'a{number}=1' for number in range(2000)),
])  # fmt: skip
def test_queries_that_make_no_sense(app, query):
    assert app.get('/v2/images?' + query).status == 400


def test_the_two_ways_to_sort(app):
    for name, ram in (('b', 1), ('a', 2), ('c', 1)):
        app.create(name=name, disk_format='raw' if ram == 1 else 'iso')

    def order(query):
        images = app.get('/v2/images?' + query).json['images']
        return ''.join(image['name'] for image in images)

    assert order('sort=name:asc') == order('sort_key=name&sort_dir=asc') == 'abc'
    assert order('sort=name') == order('sort_key=name') == 'cba'
    assert order('sort=disk_format:desc,name:asc') == 'bca'
    assert order('sort_key=disk_format&sort_key=name&sort_dir=asc') == 'abc'
    assert order('sort_key=name&sort_key=name&sort_dir=asc') == 'abc'


def test_pages(app):
    made = [app.create(name=f'{number:02}', tags=['t', 'u'])['name'] for number in range(7)]
    path = '/v2/images?limit=3&sort=name:asc&tag=t&tag=u'
    seen = []
    while path:
        page = app.get(path).json
        assert page['first'].startswith('/v2/images?limit=3') and 'marker' not in page['first']
        assert page['schema'] == '/v2/schemas/images'
        seen += [image['name'] for image in page['images']]
        path = page.get('next')
        # The filters stay in the link, each of them.
        assert path is None or ('tag=t&tag=u' in path and 'sort=name%3Aasc' in path)
    assert seen == made


def test_default_limit(make_app):
    app = make_app(default='limit_param_default = 2\napi_limit_max = 3')
    for _ in range(5):
        app.create()
    page = app.get('/v2/images').json
    assert len(page['images']) == 2 and 'limit' not in page['first']
    assert page['next'] == f'/v2/images?marker={page["images"][-1]["id"]}'
    assert len(app.get('/v2/images?limit=1000').json['images']) == 3


def test_a_hidden_marker_is_unknown(app):
    image = app.create()
    assert app.get(f'/v2/images?marker={image["id"]}').status == 200
    assert app.get(f'/v2/images?marker={image["id"]}', **BETA).status == 400


def test_views(app):
    for visibility in ('private', 'shared', 'public', 'community'):
        app.create(name=visibility, visibility=visibility, **ADMIN)
    app.create(name='mine', visibility='community')
    assert names(app) == ['mine', 'public']
    assert names(app, '?visibility=community') == ['community', 'mine']
    assert names(app, '?visibility=all') == ['community', 'mine', 'public']
    assert names(app, '?visibility=private') == []
    everything = ['community', 'mine', 'private', 'public', 'shared']
    assert names(app, '?visibility=all', **ADMIN) == everything
    assert names(app, '', **ADMIN) == ['community', 'private', 'public', 'shared']
    assert names(app, '', project='other', roles='admin') == ['private', 'public', 'shared']


def test_shared_images_by_member_status(app):
    image = app.create(name='shared')
    app.request('POST', f'/v2/images/{image["id"]}/members', {'member': 'beta'})
    assert names(app, '', **BETA) == []
    for query in ('visibility=shared&member_status=pending', 'member_status=all'):
        assert names(app, '?' + query, **BETA) == ['shared']
    path = f'/v2/images/{image["id"]}/members/beta'
    assert app.request('PUT', path, {'status': 'accepted'}, **BETA).status == 200
    assert names(app, '', **BETA) == ['shared']
    assert app.get(f'/v2/images/{image["id"]}', **BETA).json['name'] == 'shared'
