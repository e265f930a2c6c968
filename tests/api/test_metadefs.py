# SPDX-License-Identifier: Apache-2.0
"""Metadata definitions through the whole application. What Glance answers is in tests/peers."""

from __future__ import annotations

import json
from urllib.parse import unquote_to_bytes, urlsplit

import pytest

from tests.api.harness import ADMIN, BETA, App

SPACES = '/v2/metadefs/namespaces'
PROPERTY = {'title': 'T', 'type': 'string'}
FULL = {
    'namespace': 'full',
    'visibility': 'public',
    'resource_type_associations': [{'name': 'OS::Nova::Flavor', 'prefix': 'hw:'}],
    'objects': [{'name': 'o', 'required': ['p'], 'properties': {'p': PROPERTY, 'q': PROPERTY}}],
    'properties': {'p': PROPERTY, 'q': {**PROPERTY, 'default': 1}},
    'tags': [{'name': 'a'}, {'name': 'b'}],
}
#: Places for a body: method, path, a body that is well.
BODIES = [
    ('POST', SPACES, {'namespace': 'new'}),
    ('PUT', SPACES + '/full', {'namespace': 'full'}),
    ('POST', SPACES + '/full/objects', {'name': 'new'}),
    ('PUT', SPACES + '/full/objects/o', {'name': 'o'}),
    ('POST', SPACES + '/full/properties', {'name': 'new', **PROPERTY}),
    ('PUT', SPACES + '/full/properties/p', {'name': 'p', **PROPERTY}),
    ('POST', SPACES + '/full/resource_types', {'name': 'New'}),
    ('POST', SPACES + '/full/tags', {'tags': [{'name': 'new'}]}),
    ('PUT', SPACES + '/full/tags/a', {'name': 'a'}),
]


@pytest.fixture
def full(app):
    answer = app.request('POST', SPACES, FULL, **ADMIN)
    assert answer.status == 201, answer
    return app


def listed(app, query='', **who):
    answer = app.get(SPACES + query, **who)
    assert answer.status == 200, answer
    return [one['namespace'] for one in answer.json['namespaces']]


def test_a_namespace_from_its_creation_to_its_end(full):
    found = full.get(SPACES + '/full').json
    assert found['self'] == SPACES + '/full' and found['owner'] == 'operators'
    assert found['objects'][0]['self'] == SPACES + '/full/objects/o'
    assert [one['name'] for one in found['tags']] == ['b', 'a']
    assert found['properties']['q']['default'] == '1'
    changed = full.request('PUT', SPACES + '/full', {'namespace': 'moved'}, **ADMIN).json
    assert (changed['namespace'], changed['visibility']) == ('moved', 'private')
    assert full.get(SPACES + '/moved').status == 404
    assert full.get(SPACES + '/moved', **ADMIN).json['objects'][0]['name'] == 'o'
    assert full.request('DELETE', SPACES + '/moved', **ADMIN).status == 204
    assert listed(full, **ADMIN) == []


def test_prefixes_are_put_before_and_taken_off(full):
    found = full.get(SPACES + '/full?resource_type=OS::Nova::Flavor').json
    assert set(found['properties']) == {'hw:p', 'hw:q'}
    assert set(found['objects'][0]['properties']) == {'hw:p', 'hw:q'}
    assert found['objects'][0]['required'] == ['hw:p']
    path = SPACES + '/full/properties/'
    assert full.get(path + 'hw:p?resource_type=OS::Nova::Flavor').json['name'] == 'p'
    assert full.get(path + 'p?resource_type=OS::Nova::Flavor').status == 404
    assert full.get(path + 'hw:p').status == 404


@pytest.mark.parametrize('name', ['plain', 'white space', 'line\nfeed', 'é', '%', 'a?b#c'])
def test_the_location_leads_to_the_namespace(app, name):
    answer = app.request('POST', SPACES, {'namespace': name, 'visibility': 'public'}, **ADMIN)
    assert answer.status == 201
    location = answer.headers['location']
    assert location.isascii() and location.isprintable() and ' ' not in location
    url = urlsplit(location)
    assert (url.netloc, url.query, url.fragment) == ('image.example:9292', '', '')
    environ = app.environ('GET', '/')
    # As a server decodes it.
    environ['PATH_INFO'] = unquote_to_bytes(url.path).decode('latin-1')
    assert app.send(environ).json['namespace'] == name


def test_the_location_of_a_public_endpoint(make_app):
    app = make_app(default='public_endpoint = https://images.example/image/')
    answer = app.request('POST', SPACES, {'namespace': 'n'}, **ADMIN)
    assert answer.headers['location'] == 'https://images.example/image' + SPACES + '/n'


def test_pages_and_their_links(app):
    for name in 'abcde':
        app.request('POST', SPACES, {'namespace': name, 'visibility': 'public'}, **ADMIN)
    path, found = SPACES + '?limit=2&sort_key=namespace&sort_dir=asc', []
    while path:
        page = app.get(path).json
        assert page['first'] == SPACES + '?limit=2&sort_key=namespace&sort_dir=asc'
        assert page['schema'] == '/v2/schemas/metadefs/namespaces'
        found.append(''.join(one['namespace'] for one in page['namespaces']))
        path = page.get('next')
    assert found == ['ab', 'cd', 'e']


def test_the_largest_page_is_the_operators(make_app):
    app = make_app(default='api_limit_max = 3\nlimit_param_default = 2')
    for name in 'abcde':
        app.request('POST', SPACES, {'namespace': name, 'visibility': 'public'}, **ADMIN)
    assert (len(listed(app)), len(listed(app, '?limit=100'))) == (2, 3)


def test_private_namespaces_are_for_their_project_and_administrators(app):
    for owner in ('alpha', 'beta'):
        body = {'namespace': f'of-{owner}', 'owner': owner, 'tags': [{'name': 't'}]}
        assert app.request('POST', SPACES, body, **ADMIN).status == 201
    assert listed(app) == ['of-alpha']
    assert listed(app, **BETA) == ['of-beta']
    assert listed(app, **ADMIN) == ['of-beta', 'of-alpha']
    for path in ('', '/tags', '/tags/t', '/objects', '/properties', '/resource_types'):
        hidden = app.get(SPACES + '/of-beta' + path)
        absent = app.get(SPACES + '/of-gamma' + path)
        assert hidden.status == absent.status == 404
        assert hidden.body == absent.body.replace(b'gamma', b'beta')


# --- what is hostile


@pytest.fixture(scope='module')
def same(tmp_path_factory):
    """An application for all who change nothing in it: one namespace, `FULL`."""
    app = App(tmp_path_factory.mktemp('same'))
    assert app.request('POST', SPACES, FULL, **ADMIN).status == 201
    yield app
    assert listed(app, **ADMIN) == ['full']
    app.close()


@pytest.mark.parametrize(('method', 'path', 'good'), BODIES)
def test_bodies_that_are_none(same, method, path, good):
    before = same.get(SPACES + '/full', **ADMIN).body
    deep = '[' * 5000 + ']' * 5000
    wrong = [[], [good], 'text', '', 'null', '5', '"x"', '{', b'\xff', deep, {}, {'name': None}]
    wrong += [{**good, 'created_at': 'x'}, {**good, 'color': 'red'}]
    first = next(iter(good))
    wrong += [
        {**good, first: value} for value in (None, 5, [5], {}, True, '\0', '\U0001f600', '\ud800')
    ]
    wrong += [{**good, first: 'x' * 81}]
    for body in wrong:
        kind = 'application/json'
        answer = same.request(method, path, body, kind=kind, **ADMIN)
        assert answer.status in (400, 403), (body, answer)
    assert same.request(method, path, b'[' + b' ' * 2**20 + b']', **ADMIN).status == 413
    assert same.get(SPACES + '/full', **ADMIN).body == before


#: What no name is.
NEVER = (None, 5, [5], {}, True, '\0', '\U0001f600', '\ud800')
NUMBERS = ('1e400', '-1e400', 'NaN', 'Infinity', '-Infinity')


@pytest.mark.parametrize('number', NUMBERS)
@pytest.mark.parametrize('name', ['minimum', 'maximum', 'maxLength', 'minItems'])
def test_numbers_that_are_none(same, number, name):
    text = f'{{"name": "n", "title": "t", "type": "integer", "{name}": {number}}}'
    answer = same.request('POST', SPACES + '/full/properties', text, **ADMIN)
    assert answer.status == 400, answer
    nested = f'{{"namespace": "n", "properties": {{"n": {text}}}}}'
    assert same.request('POST', SPACES, nested, **ADMIN).status == 400
    assert listed(same) == ['full']


PROPERTIES = [
    {'enum': [1]}, {'enum': [[]]}, {'enum': {}}, {'items': {}}, {'items': []},
    {'items': {'type': 'string', 'color': 'red'}}, {'items': {'type': 'string', 'enum': [1]}},
    {'items': {'type': 'string', 'enum': 5}}, {'required': ['a']}, {'color': 'red'},
    {'default': 'é'}, {'operators': [5]}, {'operators': [None]}, {'readonly': 1}, {'pattern': 5},
    {'type': 'number?'}, {'type': None}, {'title': None}, {'minLength': -1}, {'maxItems': 0.5},
]  # fmt: skip


@pytest.mark.parametrize('wrong', PROPERTIES, ids=str)
def test_properties_that_are_not_valid(same, wrong):
    one = {**PROPERTY, **wrong}
    for method, path, body in (
        ('POST', '/full/properties', {'name': 'n', **one}),
        ('PUT', '/full/properties/p', {'name': 'p', **one}),
        ('POST', '/full/objects', {'name': 'n', 'properties': {'n': one}}),
        ('PUT', '/full/objects/o', {'name': 'o', 'properties': {'n': one}}),
        ('POST', '', {'namespace': 'n', 'properties': {'n': one}}),
        ('POST', '', {'namespace': 'n', 'objects': [{'name': 'n', 'properties': {'n': one}}]}),
    ):
        answer = same.request(method, SPACES + path, body, **ADMIN)
        assert answer.status == 400, (method, path, answer)
    assert listed(same) == ['full']


@pytest.mark.parametrize('within', [
    {'tags': [{'name': 'x' * 81}]}, {'tags': [{'name': None}]}, {'tags': [[]]}, {'tags': {}},
    {'objects': [{'name': 'x' * 81}]}, {'objects': [5]}, {'objects': [{'name': 'o', 'x': 1}]},
    {'objects': [{'name': 'o', 'required': ['a,b']}]}, {'properties': {'x' * 81: PROPERTY}},
    {'resource_type_associations': [{'name': 'x' * 81}]},
    {'resource_type_associations': [{'name': 'X', 'prefix': 'x' * 81}]},
    {'resource_type_associations': ['X']}, {'owner': ''.ljust(256)}, {'namespace': ''},
    {'namespace': 'a/b'}, {'namespace': '/'},
])  # fmt: skip
def test_what_is_wrong_within_a_new_namespace(same, within):
    assert same.request('POST', SPACES, {'namespace': 'n', **within}, **ADMIN).status == 400
    assert listed(same, **ADMIN) == ['full']


@pytest.mark.parametrize('query', [
    'limit=x', 'limit=', 'limit=-1', 'limit=1.5', 'limit=%ff', 'sort_key=bogus', 'sort_key=',
    'sort_dir=x', 'sort_dir=', 'visibility=x', 'visibility=', 'sort_key=metadata',
    'sort_key=namespace_id', 'sort_key=__class__',
])  # fmt: skip
def test_lists_that_make_no_sense(same, query):
    assert same.get(f'{SPACES}?{query}').status == 400
    if query not in ('limit=', 'visibility=') and 'namespace' not in query:
        assert same.get(f'{SPACES}/full/tags?{query}').status == 400


@pytest.mark.parametrize('query', [
    'limit=' + '9' * 90, 'marker=full', 'color=red', 'resource_types=', 'resource_types=,,,',
    'resource_types=' + 'x' * 5000, "resource_types='; DROP TABLE images; --", 'x=' * 500,
])  # fmt: skip
def test_lists_that_are_odd(same, query):
    assert same.get(f'{SPACES}?{query}').status == 200
    assert same.get(f'{SPACES}/full?{query}').status == 200


def test_a_marker_of_another_project_tells_nothing(app):
    body = {'namespace': 'secret', 'owner': 'beta'}
    app.request('POST', SPACES, body, **ADMIN)
    hidden, absent = (app.get(f'{SPACES}?marker={name}') for name in ('secret', 'nobody'))
    assert hidden.status == absent.status == 404
    assert hidden.body == absent.body.replace(b'nobody', b'secret')


def test_names_in_paths(same):
    for path in ('%00', '%F0%9F%98%80', 'x' * 5000, "'--", '%22', '..', '*'):
        for part in ('', '/tags/', '/objects/', '/properties/'):
            place = f'{SPACES}/full{part}' if part else f'{SPACES}/'
            answer = same.send({**same.environ('GET', '/', **ADMIN), 'PATH_INFO': (place + path)})
            assert answer.status in (400, 404), (place, path, answer)
    assert same.request('POST', SPACES + '/full/tags/' + 'x' * 81, **ADMIN).status == 400


def test_many_at_once(app):
    tags = [{'name': f'tag{number}'} for number in range(5000)]
    assert app.request('POST', SPACES, {'namespace': 'n', 'tags': tags}, **ADMIN).status == 201
    assert len(app.get(SPACES + '/n/tags', **ADMIN).json['tags']) == 5000
    assert app.request('POST', SPACES + '/n/tags', {'tags': tags[:2]}, **ADMIN).status == 201
    assert len(app.get(SPACES + '/n/tags', **ADMIN).json['tags']) == 2


@pytest.mark.parametrize(
    ('part', 'one'),
    [
        ('tags', {'name': 'x'}),
        ('objects', {'name': 'x'}),
        ('resource_type_associations', {'name': 'x'}),
        ('properties', PROPERTY),
    ],
)
def test_5000_within_a_namespace(same, part, one):
    many = [one] * 5001
    within = {str(n): one for n in range(5001)} if part == 'properties' else many
    assert same.request('POST', SPACES, {'namespace': 'n', part: within}, **ADMIN).status == 413
    assert same.request('POST', SPACES + '/full/tags', {'tags': many}, **ADMIN).status == 413


def test_error_bodies_are_what_accept_says(same):
    answer = same.get(SPACES + '/nothing', headers={'Accept': 'application/json'})
    assert json.loads(answer.body)['code'] == '404 Not Found'
    answer = same.get(SPACES + '/<script>', headers={'Accept': '*/*'})
    assert b'<script>' not in answer.body
