# SPDX-License-Identifier: Apache-2.0
"""What a request may cost, in numbers that do not depend on the machine.

SQL statements, Python calls from the entry of the router to the answer, and frames from the
router to the end of the chain. (Glance 33: 4 statements and 3,110 calls for one image, 1,150
calls for each image of a list.)
"""

from __future__ import annotations

import contextlib
import sys

import pytest
import sqlalchemy as sa

from benchmarks import chain
from glance_lite.api.app import Api
from tests.api.harness import ADMIN, OCTETS, V21, App

LAST_LAYER = 'glance_lite/layers/db.py'
GATEWAY = 'glance_lite/gateway.py'

#: As an operator has them: several sections, of which the last decides on most properties.
PROTECTIONS = """
[^x_billing_]
create = {admin}
read = {admin}
update = {admin}
delete = {admin}

[^x_licence_]
create = {admin}
read = @
update = !
delete = !

[.*]
create = {member}
read = {member}
update = {member}
delete = {member}
"""
#: format -> who is meant
FORMATS = {
    'roles': {'admin': 'admin', 'member': 'member, reader'},
    'policies': {'admin': 'context_is_admin', 'member': 'members'},
}


@pytest.fixture(scope='module')
def app(tmp_path_factory):
    app = App(tmp_path_factory.mktemp('budgets'))
    for number in range(30):
        properties = {f'property{i}': 'value' for i in range(10)}
        app.active(b'data', name=str(number), tags=['a', 'b', 'c'], **properties)
    app.image = app.create(disk_format='raw', container_format='bare', foo='bar')
    yield app
    app.close()


class Statements:
    def __init__(self):
        self.texts = []
        self.commits = 0


@contextlib.contextmanager
def statements(app):
    seen = Statements()
    layer = next(layer for layer in app.service.layers if layer.name == 'db')
    engine = layer.database.engine

    def on_execute(connection, cursor, statement, parameters, context, executemany):
        seen.texts.append(statement)

    def on_commit(connection):
        seen.commits += 1

    sa.event.listen(engine, 'before_cursor_execute', on_execute)
    sa.event.listen(engine, 'commit', on_commit)
    try:
        yield seen
    finally:
        sa.event.remove(engine, 'before_cursor_execute', on_execute)
        sa.event.remove(engine, 'commit', on_commit)


def calls(function):
    """Python calls between the entry of the router and its return."""
    count = 0
    entry = Api.__call__.__code__
    inside = False

    def profile(frame, event, argument):
        nonlocal count, inside
        if event == 'call':
            inside = inside or frame.f_code is entry
            count += inside
        elif event == 'return' and frame.f_code is entry:
            inside = False

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def depth(app, function, module, name):
    """Frames from the router to `name` of `module`, both counted."""
    found = []

    def profile(frame, event, argument):
        code = frame.f_code
        if event == 'call' and code.co_name == name and code.co_filename.endswith(module):
            count = 1
            while frame.f_code is not Api._dispatch.__code__:
                frame = frame.f_back
                count += 1
            found.append(count)

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return max(found)


# --- statements


def test_get_is_one_statement(app):
    path = f'/v2/images/{app.image["id"]}'
    with statements(app) as seen:
        assert app.get(path).status == 200
    assert len(seen.texts) == 1


@pytest.mark.parametrize('query', ['', '?limit=10&name=in:1,2&tag=a&property1=value&sort=name:asc'])
def test_a_list_is_at_most_four_statements(app, query):
    with statements(app) as seen:
        assert app.get('/v2/images' + query).json['images']
    assert len(seen.texts) <= 4


def test_the_next_page_is_at_most_four_statements(app):
    following = app.get('/v2/images?limit=5').json['next']
    with statements(app) as seen:
        assert len(app.get(following).json['images']) == 5
    assert len(seen.texts) <= 4


def test_create_is_one_transaction(app):
    with statements(app) as seen:
        app.create(foo='bar', tags=['a'])
    assert seen.commits == 1


def test_patch_is_one_transaction(app):
    step = {'op': 'replace', 'path': '/foo', 'value': 'new'}
    with statements(app) as seen:
        assert app.patch(app.image['id'], step).status == 200
    assert seen.commits == 1


# --- events: what they cost those who want them, and nobody else


@pytest.fixture(scope='module')
def announcing(tmp_path_factory):
    app = App(
        tmp_path_factory.mktemp('events'), more='[oslo_messaging_notifications]\ndriver = log'
    )
    yield app
    app.close()


def lives(app):
    """What each request of an image's life costs: name -> (statements, transactions)."""
    found = {}

    def step(name, method, path, status, body=None, **kwargs):
        with statements(app) as seen:
            answer = app.request(method, path, body, **kwargs)
        assert answer.status == status, (name, answer)
        found[name] = (len(seen.texts), seen.commits)
        return answer

    fields = {'disk_format': 'raw', 'container_format': 'bare'}
    path = '/v2/images/' + step('create', 'POST', '/v2/images', 201, fields).json['id']
    patch = [{'op': 'replace', 'path': '/name', 'value': 'new'}]
    step('patch', 'PATCH', path, 200, patch, kind=V21)
    step('tag', 'PUT', path + '/tags/x', 204)
    step('upload', 'PUT', path + '/file', 204, b'data', kind=OCTETS)
    step('show', 'GET', path, 200)
    step('download', 'GET', path + '/file', 200)
    step('member', 'POST', path + '/members', 200, {'member': 'beta'})
    step('deactivate', 'POST', path + '/actions/deactivate', 204, **ADMIN)
    step('delete', 'DELETE', path, 204, **ADMIN)
    return found


#: Statements that the events of a request cost: one for each transaction that has any.
EVENTS = {
    'create': 1, 'patch': 1, 'tag': 1, 'upload': 2, 'show': 0, 'download': 0, 'member': 1,
    'deactivate': 1, 'delete': 1,
}  # fmt: skip


def test_events_cost_a_statement_and_no_transaction(app, announcing):
    without, told = lives(app), lives(announcing)
    assert {name: told[name][0] - without[name][0] for name in told} == EVENTS
    assert {name: told[name][1] - without[name][1] for name in told} == dict.fromkeys(EVENTS, 0)


# --- metadata definitions

SPACES = '/v2/metadefs/namespaces'


@pytest.fixture(scope='module')
def spaces(app):
    """Twenty namespaces, each with much in it."""
    properties = {f'p{number}': {'title': 'T', 'type': 'string'} for number in range(20)}
    for number in range(20):
        body = {
            'namespace': f'n{number}',
            'visibility': 'public',
            'properties': properties,
            'objects': [{'name': f'o{one}', 'properties': properties} for one in range(20)],
            'tags': [{'name': f't{one}'} for one in range(20)],
            'resource_type_associations': [{'name': f'OS::{one}'} for one in range(5)],
        }
        with statements(app) as seen:
            assert app.request('POST', SPACES, body, **ADMIN).status == 201
        assert seen.commits == 1 and len(seen.texts) <= 8
    return app


@pytest.mark.parametrize(
    ('path', 'count'),
    [
        ('', 2),
        ('?limit=7&marker=n15&sort_key=namespace&resource_types=OS::1,OS::2', 3),
        ('/n7', 1),
        ('/n7?resource_type=OS::1', 1),
        ('/n7/objects', 2),
        ('/n7/properties', 2),
        ('/n7/tags?limit=5', 2),
        ('/n7/resource_types', 2),
        ('/n7/objects/o3', 2),
    ],
)
def test_statements_of_metadata_definitions(spaces, path, count):
    with statements(spaces) as seen:
        assert spaces.get(SPACES + path).status == 200
    assert len(seen.texts) == count


@pytest.mark.parametrize(
    ('method', 'path', 'body'),
    [
        ('PUT', '/n7', {'namespace': 'n7', 'visibility': 'public'}),
        ('POST', '/n7/tags', {'tags': [{'name': f'u{number}'} for number in range(100)]}),
        ('PUT', '/n7/objects/o5', {'name': 'o5'}),
        ('DELETE', '/n7/objects', None),
        ('DELETE', '/n8', None),
    ],
)
def test_a_change_of_metadata_definitions_is_one_transaction(spaces, method, path, body):
    with statements(spaces) as seen:
        assert spaces.request(method, SPACES + path, body, **ADMIN).status in (200, 201, 204)
    assert seen.commits == 1 and len(seen.texts) <= 7


# --- calls


def test_calls_of_get(app):
    path = f'/v2/images/{app.image["id"]}'
    app.get(path)  # what is done once is done
    assert calls(lambda: app.get(path)) <= 500


def test_calls_of_a_list(app):
    def listed(limit):
        path = f'/v2/images?limit={limit}'
        assert len(app.get(path).json['images']) == limit
        return calls(lambda: app.get(path))

    ten, thirty = listed(10), listed(30)
    assert (thirty - ten) / 20 <= 40


@pytest.mark.parametrize('query', ['', 'property1=value&sort=name:asc', 'tag=a&name=in:1,2'])
def test_the_statement_of_a_list_is_made_once(app, query):
    """What a list costs whatever it finds: a statement made anew takes 3,000 calls more."""
    path = f'/v2/images?limit=1&{query}'
    assert len(app.get(path).json['images']) == 1
    assert calls(lambda: app.get(path)) <= 600


#: Operation -> calls of Python functions by auth, property_protection, notifier, policy, quota and
#: location together, all with something to do, with an end that costs nothing.
OF_LAYERS = {
    'get_image': 100,
    'list_images': 40 * chain.PAGE,
    'create_image': 150,
    'update_image': 170,
    'upload': 700,
    'download': 135,
    'delete_image': 135,
    'list_members': 110,
    'add_member': 110,
    'list_stores': 15,
    'list_resource_types': 70,
}


@pytest.fixture(scope='module')
def six():
    with chain.place('six') as made:
        yield made


@pytest.mark.parametrize('name', chain.CASES)
def test_calls_of_the_layers(six, name):
    assert chain.calls(six, name) <= OF_LAYERS[name]


def test_metrics_cost_no_call_where_they_are_not_configured(app):
    """Neither at the entry of the chain nor in a store."""
    assert app.service.gateway.watch.by is None
    entry = vars(app.service.chain.outer)
    assert all(method.__self__ in app.service.layers for method in entry.values())


# --- frames, with every layer at work


@pytest.fixture(scope='module', params=FORMATS)
def full(tmp_path_factory, request):
    directory = tmp_path_factory.mktemp('frames')
    protections = directory / 'protections.conf'
    protections.write_text(PROTECTIONS.format(**FORMATS[request.param]))
    (directory / 'policy.yaml').write_text('members: "role:member or role:reader"\n')
    app = App(
        directory,
        default=f'property_protection_file = {protections}\nuser_storage_quota = 1GB\n'
        f'property_protection_rule_format = {request.param}',
        more='[oslo_messaging_notifications]\ndriver = log',
    )
    properties = {f'property{number}': 'value' for number in range(10)}
    properties |= {'x_billing_code': '1', 'x_licence_kind': '2', 'foo': 'bar'}
    for number in range(30):
        app.image = app.active(
            b'data', name=str(number), roles='admin,member,reader', tags=['a', 'b'], **properties
        )
    yield app
    app.close()


def test_calls_of_get_with_every_layer(full):
    path = f'/v2/images/{full.image["id"]}'
    shown = full.get(path).json
    assert len([name for name in shown if name.startswith('property')]) == 10
    assert 'x_licence_kind' in shown and 'x_billing_code' not in shown
    assert calls(lambda: full.get(path)) <= 500


def test_calls_of_a_list_with_every_layer(full):
    def listed(limit):
        path = f'/v2/images?limit={limit}'
        images = full.get(path).json['images']
        assert len(images) == limit and 'x_billing_code' not in images[-1]
        return calls(lambda: full.get(path))

    ten, thirty = listed(10), listed(30)
    assert (thirty - ten) / 20 <= 40


def test_get_is_one_statement_with_every_layer(full):
    with statements(full) as seen:
        assert full.get(f'/v2/images/{full.image["id"]}').status == 200
    assert len(seen.texts) == 1


def test_frames_of_get(full):
    path = f'/v2/images/{full.image["id"]}'
    assert depth(full, lambda: full.get(path), LAST_LAYER, 'get_image') == 5


def test_frames_of_update(full):
    step = {'op': 'replace', 'path': '/foo', 'value': 'new'}
    frames = depth(full, lambda: full.patch(full.image['id'], step), LAST_LAYER, 'update_image')
    assert frames <= 9


def test_frames_of_upload(full):
    queued = full.create(disk_format='raw', container_format='bare')
    frames = depth(full, lambda: full.put(queued['id'], b'data'), LAST_LAYER, 'claim_upload')
    assert frames == 9


def test_frames_of_download(full):
    path = f'/v2/images/{full.image["id"]}/file'
    assert depth(full, lambda: full.get(path), GATEWAY, 'open') == 7
