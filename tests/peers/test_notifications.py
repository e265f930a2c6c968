# SPDX-License-Identifier: Apache-2.0
"""The same requests to a Glance 33 and to glance-lite, and the same events on one RabbitMQ."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import re

import pytest

from tests.backends import rabbitmq
from tests.backends import web as servers
from tests.peers import glance33, lite
from tests.peers.comparison import Row, ident
from tests.peers.lite import ADMIN, MEMBER, OTHER
from tests.peers.location_rows import Until, at, said
from tests.peers.rows import BARE, add, get, patch, path, post, put, remove, replace
from tests.peers.test_locations import SETTINGS

DATA = b'0123456789' * 100
SPACES = '/v2/metadefs/namespaces'

#: Of what an event says, what two services on different paths of time cannot have in common.
OWN = {'created_at', 'updated_at', 'deleted_at', 'expires_at'}

#: Image -> what glance-lite tells of it instead, and why differences.rst says so.
OURS = {
    'new': ('location-steps', [
        'image.create', 'image.update', 'image.update', 'image.update', 'image.delete',
    ]),
    'missing': ('location-steps', ['image.create', 'image.update', 'image.update']),
    'wrong': ('location-steps', ['image.create', *['image.update'] * 3]),
}  # fmt: skip


def image(name: str) -> str:
    return ident(f'notifications-{name}', 0)


def act(who: lite.Who, method: str, where: str, body=None, status: int = 204) -> Row:
    return Row(status, who, method, where, body)


def images() -> list[Row]:
    a, b, c, d, e = map(image, ('life', 'large', 'mismatch', 'bare', 'declared'))
    return [
        post(201, {'id': a, 'name': 'n', 'tags': ['t'], 'p': 'v', **BARE}),
        patch(200, a, replace('/name', 'm')),
        patch(200, a),
        patch(200, a, replace('/name', 'm')),
        patch(409, a, remove('/nothing')),
        patch(200, a, add('/q', 'v'), remove('/p')),
        act(MEMBER, 'PUT', path(a, '/tags/x')),
        act(MEMBER, 'PUT', path(a, '/tags/x')),
        act(MEMBER, 'DELETE', path(a, '/tags/x')),
        act(MEMBER, 'DELETE', path(a, '/tags/x'), status=404),
        put(204, a, b'12345', headers={'x-image-meta-store': 'fast'}),
        put(409, a, b'12345'),
        get(200, path(a, '/file')),
        get(206, path(a, '/file'), headers={'Range': 'bytes=1-2'}),
        get(416, path(a, '/file'), headers={'Range': 'bytes=100-'}),
        get(404, path(a, '/file'), OTHER),
        act(ADMIN, 'POST', path(a, '/actions/deactivate')),
        act(ADMIN, 'POST', path(a, '/actions/deactivate')),
        act(ADMIN, 'POST', path(a, '/actions/reactivate')),
        act(MEMBER, 'POST', path(a, '/members'), {'member': 'beta'}, 200),
        act(MEMBER, 'POST', path(a, '/members'), {'member': 'beta'}, 409),
        act(OTHER, 'PUT', path(a, '/members/beta'), {'status': 'accepted'}, 200),
        act(OTHER, 'PUT', path(a, '/members/beta'), {'status': 'accepted'}, 200),
        act(MEMBER, 'DELETE', path(a, '/members/beta')),
        patch(200, a, replace('/protected', True)),
        act(MEMBER, 'DELETE', path(a), status=403),
        patch(200, a, replace('/protected', False)),
        act(OTHER, 'DELETE', path(a), status=404),
        act(MEMBER, 'DELETE', path(a)),
        post(201, {'id': b, **BARE}),
        put(413, b, (b'x' * 2000,)),
        put(400, b, b'x', headers={'x-image-meta-store': 'nowhere'}),
        put(204, b, b''),
        act(MEMBER, 'DELETE', path(b)),
        post(201, {'id': c, 'disk_format': 'qcow2', 'container_format': 'bare'}),
        put(415, c, b'no qcow2' * 100),
        post(201, {'id': d}),
        put(400, d, b'x'),
        act(MEMBER, 'DELETE', path(d)),
        post(201, {'id': e, **BARE}),
        put(413, e, b'x' * 2000),
    ]


def locations(web: str) -> list[Row | Until]:
    a, b, c, d, e = map(image, ('copy', 'old', 'new', 'missing', 'wrong'))
    return [
        post(201, {'id': a, **BARE}),
        put(204, a, DATA),
        patch(200, a, add('/locations/-', at(f'{web}/data')), who=ADMIN),
        act(ADMIN, 'DELETE', f'/v2/stores/web/{a}'),
        act(MEMBER, 'DELETE', path(a)),
        post(201, {'id': b, **BARE}),
        patch(200, b, replace('/locations', [at(f'{web}/data')]), who=ADMIN),
        patch(200, b, add('/locations/-', at(f'{web}/twin')), who=ADMIN),
        patch(200, b, remove('/locations/1'), who=ADMIN),
        post(201, {'id': c, **BARE}),
        act(MEMBER, 'POST', path(c, '/locations'), {'url': f'{web}/data'}, 202),
        Until(path(c)),
        act(MEMBER, 'DELETE', path(c)),
        post(201, {'id': d, **BARE}),
        act(MEMBER, 'POST', path(d, '/locations'), {'url': f'{web}/nothing'}, 202),
        post(201, {'id': e, **BARE}),
        act(
            MEMBER, 'POST', path(e, '/locations'),
            {'url': f'{web}/data', 'validation_data': said('a' * 128)}, 202,
        ),
    ]  # fmt: skip


def metadefs() -> list[Row]:
    def of(kind: str, *more: str) -> str:
        return '/'.join((f'{SPACES}/n2/{kind}', *more))

    schema = {'title': 'T', 'type': 'string'}
    whole = {
        'namespace': 'n1',
        'display_name': 'N',
        'resource_type_associations': [{'name': 'OS::A', 'prefix': 'x_'}],
        'objects': [{'name': 'o1', 'properties': {'p': {**schema, 'default': ''}}}],
        'properties': {'p1': {'title': 'P', 'type': 'integer', 'minimum': 0}},
        'tags': [{'name': 't1'}],
    }
    return [
        act(ADMIN, 'POST', SPACES, whole, 201),
        act(ADMIN, 'POST', SPACES, whole, 409),
        act(ADMIN, 'PUT', f'{SPACES}/n1', {'namespace': 'n2', 'description': 'd'}, 200),
        act(ADMIN, 'POST', of('objects'), {'name': 'o2', 'properties': {'p': schema}}, 201),
        act(ADMIN, 'PUT', of('objects', 'o2'), {'name': 'o3', 'required': []}, 200),
        act(ADMIN, 'DELETE', of('objects', 'o3')),
        act(ADMIN, 'POST', of('properties'), {'name': 'p2', **schema}, 201),
        act(ADMIN, 'PUT', of('properties', 'p2'), {'name': 'p3', **schema}, 200),
        act(ADMIN, 'DELETE', of('properties', 'p3')),
        act(ADMIN, 'POST', of('tags', 'a'), None, 201),
        act(ADMIN, 'PUT', of('tags', 'a'), {'name': 'b'}, 200),
        act(ADMIN, 'DELETE', of('tags', 'b')),
        act(ADMIN, 'POST', of('tags'), {'tags': [{'name': 'c'}, {'name': 'd'}]}, 201),
        act(ADMIN, 'POST', of('resource_types'), {'name': 'OS::B'}, 201),
        act(ADMIN, 'DELETE', of('resource_types', 'OS::B')),
        act(ADMIN, 'DELETE', of('objects')),
        act(ADMIN, 'DELETE', of('properties')),
        act(ADMIN, 'DELETE', of('tags')),
        act(ADMIN, 'DELETE', f'{SPACES}/n2'),
    ]


@dataclasses.dataclass
class Told:
    """All that one service has told, by what it is about."""

    by_subject: dict[str, list[rabbitmq.Heard]]

    def names(self, subject: str) -> list[str]:
        return [heard.event for heard in self.by_subject[subject]]


def subject(heard: rabbitmq.Heard) -> str:
    group = heard.event.split('.')[0]
    if group != 'image':
        return group.partition('_')[0]
    if isinstance(heard.payload, str):
        found = re.search(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', heard.payload)
        assert found, heard.payload
        return found[0]
    return str(heard.payload.get('image_id') or heard.payload['id'])


def ask(client: lite.Client, rows: list[Row | Until]) -> None:
    for row in rows:
        if isinstance(row, Until):
            row.wait(client)
        else:
            answer = row.send(client)
            assert answer.status_code == row.status, (client.url, row, answer.text)


@pytest.fixture(scope='module')
def told(tmp_path_factory):
    """What Glance and glance-lite have told of the same requests."""
    url = rabbitmq.broker()
    found = []
    with servers.running(tmp_path_factory.mktemp('web')) as web:
        web.put('data', DATA)
        web.put('twin', DATA)
        rows = [*images(), *metadefs(), *locations(web.http)]
        for name in ('glance', 'lite'):
            directory = tmp_path_factory.mktemp(name)
            topic = rabbitmq.topic()
            with (
                rabbitmq.Listener(url, topic) as listener,
                running(name, directory, url, topic, web.ports[0]) as base,
            ):
                ask(lite.Client(base), rows)
                heard = listener.settle(8.0)
            by_subject = collections.defaultdict(list)
            for one in heard:
                by_subject[subject(one)].append(one)
            found.append(Told(by_subject))
    return found


@contextlib.contextmanager
def running(name, directory, url, topic, port):
    """One of both, with a publisher of its own and a limit that the rows pass."""
    for store in ('fast', 'staging', 'tasks'):
        (directory / store).mkdir()
    options = (
        'image_size_cap = 1500\ndefault_publisher_id = image.host7\n'
        + SETTINGS.format(directory=directory, port=port)
        + '[oslo_messaging_notifications]\ndriver = messagingv2\n'
        f'topics = {topic}\ntransport_url = {url}\n'
    )
    database = f'sqlite:///{directory}/glance.sqlite'
    if name == 'glance':
        glance33.manage(glance33.write_settings(directory, database, options), 'db', 'sync')
        with glance33.running(directory, database, options) as base:
            yield base
    else:
        lite.manage(lite.write_settings(directory, database, options, 1), 'db', 'sync')
        with lite.running(directory, database, options) as base:
            yield base


SUBJECTS = ('life', 'large', 'mismatch', 'bare', 'copy', 'old')


@pytest.mark.peer
@pytest.mark.parametrize('name', [*SUBJECTS, 'metadef'])
def test_same_events(told, name):
    """Names, priorities, publisher and all that is said, but for times."""
    theirs, ours = ([shown(one) for one in each.by_subject[key(name)]] for each in told)
    assert theirs and ours == theirs


def key(name: str) -> str:
    return image(name) if name in SUBJECTS or name in OURS else name


def shown(heard: rabbitmq.Heard):
    message = heard.message
    priority = heard.key.rpartition('.')[2]
    assert message['priority'] == priority.upper() and set(message) >= {'message_id', 'timestamp'}
    payload = message['payload']
    if isinstance(payload, dict):
        payload = {name: comparable(name, value, payload) for name, value in payload.items()}
    else:
        payload = payload.partition(' for image')[0]  # the reason is each one's own
    return message['event_type'], priority, message['publisher_id'], payload


def comparable(name, value, payload):
    if name in OWN:
        return value is None
    if name == 'size' and payload['status'] == 'saving':
        return None  # see below
    if name == 'checksum' and payload['status'] == 'queued':
        return None  # Glance leaves that of an upload that was refused
    if name == 'tags':
        return sorted(value)  # Glance's are in no order
    if name == 'properties' and isinstance(value, dict):
        return {key: said for key, said in value.items() if not key.startswith('os_glance')}
    return value


@pytest.mark.peer
@pytest.mark.parametrize('name', OURS)
def test_events_of_a_location(told, name):
    """What is done in the background: other steps, the same ends and the same fields."""
    theirs, ours = told
    assert ours.names(image(name)) == OURS[name][1]
    wanted = set(theirs.names(image(name))) - {'image.send'}
    assert wanted <= set(ours.names(image(name)))
    states = [
        [one.payload['status'] for one in each.by_subject[image(name)] if one.event != 'image.send']
        for each in told
    ]
    assert states[0][-1] == states[1][-1]


@pytest.mark.peer
def test_events_of_tasks(told):
    theirs, ours = (collections.Counter(each.names('task')) for each in told)
    assert theirs['task.success'] == ours['task.success'] == 1
    assert theirs['task.failure'] == ours['task.failure'] == 2
    assert theirs == ours


@pytest.mark.peer
def test_the_same_fields_in_each_event(told):
    fields = []
    for each in told:
        found = collections.defaultdict(set)
        for heard in [one for many in each.by_subject.values() for one in many]:
            if isinstance(heard.payload, dict):
                found[heard.event] |= {frozenset(heard.payload)}
        fields.append(found)
    assert fields[0] == fields[1] and len(fields[0]) >= 28


@pytest.mark.peer
def test_an_upload_refused_for_its_declared_size_announces_nothing(told):
    theirs, ours = (each.names(image('declared')) for each in told)
    assert ours == ['image.create'] and 'image.prepare' in theirs


@pytest.mark.peer
def test_declared_sizes_are_said_early(told):
    """Ours is known when it was declared; Glance's is not, before the end."""
    prepares = [
        heard.payload['size']
        for each in told
        for heard in each.by_subject[image('life')]
        if heard.event == 'image.prepare'
    ]
    assert prepares == [None, 5]
