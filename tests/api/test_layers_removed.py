# SPDX-License-Identifier: Apache-2.0
"""The whole application with one of its layers taken out, and what then still works."""

from __future__ import annotations

import itertools

import pytest

from glance_lite.conf.controller import LAYERS
from glance_lite.context import service_context
from glance_lite.errors import ConfigurationError
from tests.api.harness import ADMIN, BETA

NEEDED = ('location', 'db')
#: Everything that a layer can be told to do.
SETTINGS = """
property_protection_file = protections.conf
user_storage_quota = 1MB
image_property_quota = 5
image_tag_quota = 5
"""
EVENTS = '[oslo_messaging_notifications]\ndriver = log\n'
PROTECTIONS = """
[^secret_]
create = admin
read = admin
update = admin
delete = admin
[.*]
create = @
read = @
update = @
delete = @
"""
ANONYMOUS = {'project': None}


@pytest.fixture
def build(make_app, tmp_path):
    """The application with these layers, all of them configured."""

    def make(layers):
        (tmp_path / 'protections.conf').write_text(PROTECTIONS)
        (tmp_path / 'policy.yaml').write_text('{}')
        chosen = f'[controller]\nlayers = {", ".join(layers)}\n'
        return make_app(default=SETTINGS, more=EVENTS + chosen)

    return make


@pytest.fixture(params=[None, *(name for name in LAYERS if name not in NEEDED)])
def app(build, request):
    """With all layers, and without each that can be left out; `removed` says which."""
    app = build([name for name in LAYERS if name != request.param])
    app.removed = request.param
    return app


def one(app):
    """An image of alpha with data, shared with beta, and with a property for administrators."""
    image = app.create(
        project='alpha', roles='admin,member,reader', visibility='shared', disk_format='raw',
        container_format='bare', owner='alpha', secret_code='1', colour='red',
    )  # fmt: skip
    assert app.put(image['id'], b'data').status == 204
    path = f'/v2/images/{image["id"]}'
    assert app.request('POST', f'{path}/members', {'member': 'beta'}).status == 200
    return path


# --- what works with every list of layers


def test_the_life_of_an_image(app):
    path = one(app)
    shown = app.get(path)
    assert shown.status == 200 and shown.json['status'] == 'active'
    assert shown.json['colour'] == 'red' and shown.json['owner'] == 'alpha'
    assert app.get(f'{path}/file').body == b'data'
    assert app.get(f'{path}/file', headers={'Range': 'bytes=1-2'}).body == b'at'
    change = {'op': 'replace', 'path': '/colour', 'value': 'blue'}
    assert app.patch(shown.json['id'], change).json['colour'] == 'blue'
    assert app.request('PUT', f'{path}/tags/t').status == 204
    listed = app.get('/v2/images?colour=blue&tag=t&sort=name:asc').json['images']
    assert [image['id'] for image in listed] == [shown.json['id']]
    for action in ('deactivate', 'reactivate'):
        assert app.request('POST', f'{path}/actions/{action}').status == 204
    assert app.request('DELETE', path).status == 204
    assert app.get(path).status == 404
    assert not list((app.directory / 'fast').iterdir())


def test_sharing(app):
    path = one(app)
    assert app.get(path, **BETA).status == 200
    assert app.get(path, project='gamma').status == 404
    accepted = app.request('PUT', f'{path}/members/beta', {'status': 'accepted'}, **BETA)
    assert accepted.status == 200 and accepted.json['status'] == 'accepted'
    assert len(app.get('/v2/images?visibility=shared', **BETA).json['images']) == 1
    assert app.request('DELETE', f'{path}/members/beta').status == 204
    assert app.get(path, **BETA).status == 404


def test_images_of_others_are_not_found(app):
    """The database says so, whatever the layers."""
    image = app.create(visibility='private')
    path = f'/v2/images/{image["id"]}'
    change = {'op': 'replace', 'path': '/name', 'value': 'x'}
    answers = [
        app.get(path, **BETA),
        app.get(f'{path}/file', **BETA),
        app.patch(image['id'], change, **BETA),
        app.request('DELETE', path, **BETA),
        app.put(image['id'], b'x', **BETA),
    ]
    assert {answer.status for answer in answers} == {404}
    assert app.get('/v2/images', **BETA).json['images'] == []
    assert app.get(path).json['name'] is None


def test_what_stands_beside_images(app):
    assert len(app.get('/v2/info/stores').json['stores']) == 2
    body = {'namespace': 'n', 'visibility': 'public', 'tags': [{'name': 't'}]}
    assert app.request('POST', '/v2/metadefs/namespaces', body, **ADMIN).status == 201
    assert app.get('/v2/metadefs/namespaces/n/tags').json['tags'] == [{'name': 't'}]
    assert app.get('/v2/tasks', **ADMIN).json['tasks'] == []
    assert app.get('/healthcheck').status == 200


# --- what a layer does is done while it is there, and only then


def by(app, layer, done, undone):
    """`done` while the layer is there."""
    return undone if app.removed == layer else done


def test_hidden_properties_are_hidden_by_their_layer_alone(app):
    path = one(app)
    assert ('secret_code' in app.get(path).json) is by(app, 'property_protection', False, True)
    assert 'secret_code' in app.get(path, **ADMIN).json
    answer = app.patch(path[-36:], {'op': 'remove', 'path': '/secret_code'})
    assert answer.status == by(app, 'property_protection', 409, 200)


def test_rules_are_asked_by_their_layer_alone(app):
    path = one(app)
    reader = {'roles': 'reader'}
    change = {'op': 'replace', 'path': '/name', 'value': 'x'}
    assert app.patch(path[-36:], change, **reader).status == by(app, 'policy', 403, 200)
    assert app.get(f'{path}/file', **reader).status == by(app, 'policy', 403, 200)
    assert app.get('/v2/tasks').status == by(app, 'policy', 403, 200)


def test_quotas_are_kept_by_their_layer_alone(app):
    image = app.create(disk_format='raw', container_format='bare')
    assert app.put(image['id'], bytes(1 << 20 | 1)).status == by(app, 'quota', 413, 204)
    many = {f'p{number}': 'v' for number in range(6)}
    assert app.request('POST', '/v2/images', many).status == by(app, 'quota', 413, 201)


def test_events_are_told_by_their_layer_alone(app):
    app.create()
    outbox = app.service.layers[-1].look_at_outbox(service_context())
    assert bool(outbox.waiting) is by(app, 'notifier', True, False)


def test_owners_are_given_by_their_layer_alone(app):
    body = {'owner': 'gamma'}
    kwargs = {'roles': 'member,reader'}
    answer = app.request('POST', '/v2/images', body, **kwargs)
    # Without it the rule add_image asks for the project as well.
    assert answer.status == 403
    assert app.request('POST', '/v2/images', {'os_glance_x': 'v'}).status == 403


# --- what cannot be served stops the start


@pytest.mark.parametrize('name', NEEDED)
def test_a_chain_without_its_end_is_refused(build, name):
    with pytest.raises(ConfigurationError, match='location and db must be among them') as caught:
        build([layer for layer in LAYERS if layer != name])
    assert '[controller] layers' in caught.value.message and '\n' not in caught.value.message


@pytest.mark.parametrize(('first', 'second'), list(itertools.pairwise(LAYERS)))
def test_a_wrong_order_is_refused(build, first, second):
    layers = list(LAYERS)
    at = layers.index(first)
    layers[at], layers[at + 1] = second, first
    with pytest.raises(ConfigurationError, match=f'{first} must stand before {second}') as caught:
        build(layers)
    assert '[controller] layers' in caught.value.message and '\n' not in caught.value.message


def test_a_layer_twice_or_unknown_is_refused(build):
    with pytest.raises(ConfigurationError, match='policy is in the list twice'):
        build([*LAYERS[:3], 'policy', *LAYERS[3:]])
    with pytest.raises(ConfigurationError, match='nosuch'):
        build(['nosuch', *LAYERS])
