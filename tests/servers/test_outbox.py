# SPDX-License-Identifier: Apache-2.0
"""Events to a real RabbitMQ that is stopped, killed and frozen while the service is at work."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import threading
import time

import pytest

from tests.backends import databases, rabbitmq
from tests.servers import processes
from tests.servers.processes import alive, until
from tests.servers.test_servers import Caller
from tests.sizes import full

pytestmark = pytest.mark.peer

#: What a life of an image is told of, in this order.
LIFE = [
    'image.create', 'image.update', 'image.update', 'image.prepare', 'image.upload',
    'image.activate', 'image.update', 'image.member.create', 'image.member.delete', 'image.delete',
]  # fmt: skip

#: Seconds that a request may take on a busy machine. A bus that is waited for takes 60.
SLOW = 30

#: Seconds for which the bus is away.
OUTAGE = full(5, 60)


def bus(url, topic, more=''):
    """An operator's settings; what the broker has confirmed outlives it."""
    return (
        f'[oslo_messaging_notifications]\ndriver = messagingv2\ntopics = {topic}\n'
        f'transport_url = {url}\n[oslo_messaging_rabbit]\namqp_durable_queues = true\n'
        f'[notifier]\nretry_interval = 1\n{more}'
    )


@pytest.fixture(scope='module')
def alone():
    """A broker of this module's own."""
    with rabbitmq.Alone() as broker:
        yield broker


@pytest.fixture
def broker(alone):
    yield alone
    alone.revive()


@pytest.fixture(params=['sqlite', 'postgresql', 'mysql'])
def database(request, tmp_path):
    databases.require(request.param)
    url = databases.create(request.param, tmp_path)
    yield url
    databases.drop(url)


@contextlib.contextmanager
def serving(directory, broker, database=None, kind='api', more='', default='workers = 3'):
    """(server, listener) of a service on that broker."""
    topic = rabbitmq.topic()
    made = processes.settings(
        directory, database, default=default, more=bus(broker.url, topic, more)
    )
    with (
        rabbitmq.Listener(broker.url, topic, durable=True) as heard,
        processes.SERVERS[kind](made) as server,
    ):
        yield server, heard


def outbox(server):
    """What ``outbox show`` says: name -> value."""
    lines = server.settings.manage('outbox', 'show').splitlines()
    return dict(line.split(': ', 1) for line in lines)


class Load:
    """Clients that make images live and die, one after another, as long as the block runs."""

    def __init__(self, url, clients=3):
        self._url = url
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(clients)]
        #: ids of images whose whole life has passed
        self.lives = []
        #: seconds that each request took
        self.times = []
        self.errors = []

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _work(self):
        client = Caller(self._url, 'alpha')

        def ask(method, path, expected, **kwargs):
            begun = time.monotonic()
            answer = client(method, '/images' + path, expected, **kwargs)
            self.times.append(time.monotonic() - begun)
            return answer

        try:
            # Not as fast as can be: all that is told while the broker starts is sent afterwards.
            while not self._ended.wait(0.5):
                self.lives.append(self._live(ask))
        except Exception as ex:
            self.errors.append(ex)

    @staticmethod
    def _live(ask):
        fields = {'disk_format': 'raw', 'container_format': 'bare', 'name': 'first'}
        image_id = ask('POST', '', 201, json=fields).json()['id']
        path = f'/{image_id}'
        patch = [{'op': 'replace', 'path': '/name', 'value': 'second'}]
        kind = {'Content-Type': 'application/openstack-images-v2.1-json-patch'}
        ask('PATCH', path, 200, data=json.dumps(patch), headers=kind)
        kind = {'Content-Type': 'application/octet-stream'}
        ask('PUT', f'{path}/file', 204, data=b'data', headers=kind)
        ask('POST', f'{path}/members', 200, json={'member': 'beta'})
        ask('DELETE', f'{path}/members/beta', 204)
        ask('DELETE', path, 204)
        return image_id


def check_lives(heard, lives):
    """All events of each life came, in order."""
    heard.wait(len(LIFE) * len(lives), 600)
    heard.settle()
    events = collections.defaultdict(list)
    for one in heard.once():
        events[one.payload.get('image_id') or one.payload['id']].append(one.event)
    wrong = {image_id: events[image_id] for image_id in lives if events[image_id] != LIFE}
    assert lives and not wrong


# --- the broker goes and comes back


@pytest.mark.parametrize('end', ['stop', 'kill'])
def test_a_broker_that_is_away_fails_no_request_and_loses_no_event(tmp_path, broker, database, end):
    with serving(tmp_path, broker, database) as (server, heard):
        with Load(server.url) as load:
            until(lambda: len(load.lives) >= 3, 'the service is at work')
            getattr(broker, end)()
            before = len(load.lives)
            time.sleep(OUTAGE)
            until(lambda: len(load.lives) >= before + 3, 'the service is still at work')
            broker.start()
            after = len(load.lives)
            until(lambda: len(load.lives) >= after + 3, 'and it goes on', 120)
        assert not load.errors, load.errors
        assert max(load.times) < SLOW
        check_lives(heard, load.lives)
        found = outbox(server)
        assert (found['waiting'], found['dropped']) == ('0', '0') and 'failing since' not in found


def test_while_it_is_away_the_outbox_says_so(tmp_path, broker):
    with serving(tmp_path, broker) as (server, heard):
        broker.stop()
        image_id = Caller(server.url, 'alpha').create()
        until(lambda: 'failing since' in outbox(server), 'an attempt has failed')
        found = outbox(server)
        assert found['waiting'] == '1' and found['oldest'].endswith(' s')
        lines = server.lines('sends no events; they are kept')
        assert lines and all(line.endswith(('Failure', 'OperationalError')) for line in lines)
        broker.start()
        (event,) = heard.wait(1)
        assert event.payload['id'] == image_id


def test_a_broker_that_does_not_answer_holds_up_nothing(tmp_path, broker):
    with serving(tmp_path, broker) as (server, heard):
        with Load(server.url, 1) as load:
            until(lambda: load.lives, 'the service is at work')
            heard.wait(len(LIFE))
            broker.freeze()
            before = len(load.lives)
            until(lambda: len(load.lives) >= before + 3, 'the service is still at work')
        assert not load.errors and max(load.times) < SLOW
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(processes.PATIENCE) == 0
        assert time.monotonic() - begun < SLOW
        broker.thaw()
        with processes.api(server.settings):
            check_lives(heard, load.lives)


def test_a_slow_consumer_is_told_in_order_by_one_sender_at_a_time(tmp_path, broker):
    """A broker that stands still now and then, for less than anybody notices."""
    with serving(tmp_path, broker) as (server, heard):
        with Load(server.url) as load:
            for _ in range(5):
                broker.freeze()
                time.sleep(0.5)
                broker.thaw()
                time.sleep(0.5)
        assert not load.errors
        check_lives(heard, load.lives)
        assert len(heard.all) == len(heard.once()), 'nobody else took over'


# --- processes end


def test_a_killed_service_loses_no_event(tmp_path, broker):
    topic = rabbitmq.topic()
    made = processes.settings(tmp_path, more=bus(broker.url, topic))
    with rabbitmq.Listener(broker.url, topic, durable=True) as heard:
        broker.stop()
        with processes.api(made) as server:
            image_id = Caller(server.url, 'alpha').create()
            os.killpg(server.pid, signal.SIGKILL)
            server.process.wait()
        broker.start()
        with processes.api(made):
            (event,) = heard.wait(1)
        assert event.payload['id'] == image_id


def test_when_the_sender_is_killed_another_worker_sends(tmp_path, broker):
    with serving(tmp_path, broker) as (server, heard):
        with Load(server.url) as load:
            until(lambda: load.lives, 'the service is at work')
            broker.freeze()
            before = len(load.lives)
            until(lambda: len(load.lives) > before + 2, 'some wait')
        # Whoever has the turn hangs in the broker.
        victim = sender(server)
        assert victim in server.workers()
        os.kill(victim, signal.SIGKILL)
        until(lambda: not alive(victim), 'it is gone')
        broker.thaw()
        assert not load.errors
        check_lives(heard, load.lives)


def sender(server):
    """Pid of the worker whose turn it is."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(server.settings.directory / 'glance.sqlite')) as db:
        ((pid,),) = db.execute('SELECT pid FROM gl_outbox_sender WHERE sender IS NOT NULL')
        return pid


# --- too many


def test_what_is_too_much_is_dropped_and_counted(tmp_path, broker):
    with serving(tmp_path, broker, more='max_events = 5\n') as (server, heard):
        broker.stop()
        client = Caller(server.url, 'alpha')
        ids = [client.create() for _ in range(12)]
        until(lambda: outbox(server)['dropped'] == '7', 'the oldest are dropped')
        assert outbox(server)['waiting'] == '5'
        broker.start()
        heard.wait(5)
        assert [one.payload['id'] for one in heard.settle()] == ids[7:]


# --- other servers


@pytest.mark.parametrize('kind', processes.SERVERS)
def test_each_server_sends_as_soon_as_something_has_happened(tmp_path, broker, kind):
    with serving(tmp_path, broker, kind=kind) as (server, heard):
        client = Caller(server.url, 'alpha')
        image_id = client.create()
        client.upload(image_id, b'data')
        heard.wait(6)
        client.download(image_id)
        found = heard.wait(7)
        assert [one.event for one in found] == [
            'image.create', 'image.update', 'image.prepare', 'image.upload', 'image.activate',
            'image.update', 'image.send',
        ]  # fmt: skip
        assert {one.key.rpartition('.')[2] for one in found} == {'info'}
        assert found[-1].payload['bytes_sent'] == 4
