# SPDX-License-Identifier: Apache-2.0
"""osprofiler's filter, from an operator's Paste file and ``[profiler]``, and what it sends."""

from __future__ import annotations

import time

import oslo_messaging
import pytest
from osprofiler import _utils, notifier, web

from glance_lite import tracing
from glance_lite.errors import ConfigurationError
from glance_lite.middleware import oslo
from tests.api.harness import PASTE

KEY = 'a key of ours'
BASE = '6a2e1b9c-0000-4000-8000-000000000001'

PROFILER = f"""
[profiler]
enabled = true
trace_sqlalchemy = true
hmac_keys = {KEY}, another key
connection_string = messaging://
[oslo_messaging_notifications]
transport_url = fake://
"""


@pytest.fixture(autouse=True)
def _restore():
    """It keeps its settings in its modules."""
    yield
    notifier.set(notifier._noop_notifier)
    web._ENABLED = web._HMAC_KEYS = None


def signed(key=KEY, **more):
    """The headers of somebody who wants a trace."""
    data, mac = _utils.signed_pack({'base_id': BASE, 'parent_id': BASE, **more}, key)
    return {'X-Trace-Info': data.decode(), 'X-Trace-HMAC': mac}


class Collector:
    """Receives what the service sends over its message bus."""

    def __init__(self, conf):
        self.points = []
        transport = oslo_messaging.get_notification_transport(conf)
        self._listener = oslo_messaging.get_notification_listener(
            transport, [oslo_messaging.Target(topic='profiler')], [self], executor='threading'
        )
        self._listener.start()

    def info(self, ctxt, publisher_id, event_type, payload, metadata):
        self.points.append(payload)

    def names(self, count, seconds=60):
        """Names of the first so many points."""
        deadline = time.monotonic() + seconds
        while len(self.points) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return [point['name'] for point in self.points[:count]]

    def close(self):
        self._listener.stop()
        self._listener.wait()


@pytest.fixture
def traced(make_app):
    app = make_app(more=PROFILER)
    collector = Collector(app.conf)
    yield app, collector
    collector.close()


def test_a_request_and_its_statements(traced):
    app, collector = traced
    image = app.active()
    app.get(f'/v2/images/{image["id"]}', headers=signed())
    assert collector.names(4) == ['wsgi-start', 'db-start', 'db-stop', 'wsgi-stop']
    begun, statement = collector.points[0], collector.points[1]
    assert {point['base_id'] for point in collector.points} == {BASE}
    assert (begun['project'], begun['service']) == ('glance', 'api')
    assert begun['info']['request'] == {
        'path': f'/v2/images/{image["id"]}',
        'query': '',
        'method': 'GET',
        'scheme': 'http',
    }
    assert 'images' in statement['info']['db']['statement']
    assert statement['parent_id'] == begun['trace_id']


def test_each_of_the_keys_is_good(traced):
    app, collector = traced
    app.get('/v2/schemas/image', headers=signed('another key'))
    assert collector.names(2) == ['wsgi-start', 'wsgi-stop']


@pytest.mark.parametrize(
    'headers',
    [
        {},
        signed('no key of ours'),
        {**signed(), 'X-Trace-HMAC': 'x'},
        {'X-Trace-Info': signed()['X-Trace-Info']},
        {'X-Trace-Info': '\xff\xfe', 'X-Trace-HMAC': '\xff'},
        {'X-Trace-Info': 'x' * 5000, 'X-Trace-HMAC': ''},
        signed(unknown='word'),
    ],
)
def test_who_may_not_is_served_and_not_traced(traced, headers):
    app, collector = traced
    assert app.get('/v2/schemas/image', headers=headers).status == 200
    app.get('/v2/schemas/image', headers=signed())
    assert collector.names(2) == ['wsgi-start', 'wsgi-stop']
    time.sleep(0.1)
    assert len(collector.points) == 2


def test_data_goes_through(traced):
    app, _ = traced
    data = bytes(range(256)) * 10000
    image = app.create(disk_format='raw', container_format='bare')
    assert app.put(image['id'], data, headers=signed()).status == 204
    assert app.get(f'/v2/images/{image["id"]}/file', headers=signed()).body == data


def test_it_is_out_of_the_way_while_it_is_not_enabled(make_app, monkeypatch):
    made = []
    monkeypatch.setattr(oslo, 'Traced', lambda *args: made.append(args))
    app = make_app(more='[profiler]\nenabled = false\n')
    assert app.get('/v2/schemas/image', headers=signed('SECRET_KEY')).status == 200
    assert not made


def test_its_own_section_can_enable_it_as_before(make_app, tmp_path):
    factory = 'paste.filter_factory = osprofiler.web:WsgiMiddleware.factory\n'
    paste = tmp_path / 'paste.ini'
    paste.write_text(
        PASTE.read_text().replace(factory, f'{factory}hmac_keys = {KEY}\nenabled = yes\n')
    )
    app = make_app(paste=paste)
    points = []
    notifier.set(lambda info, context=None: points.append(info['name']))
    app.get('/v2/schemas/image', headers=signed())
    assert points == ['wsgi-start', 'wsgi-stop']


def test_the_known_key_is_warned_of(make_app, caplog):
    make_app(more=PROFILER.replace(f'hmac_keys = {KEY}, another key', ''))
    assert '[profiler] hmac_keys is the default' in caplog.text


@pytest.mark.parametrize(
    'target', ['nosuch://user:secret@host/', 'mongodb://user:secret@host/', 'no url']
)
def test_where_nothing_can_be_sent_is_one_sentence(make_app, target, caplog):
    """And the string is not in the log, as it would be by osprofiler's own way to start."""
    with pytest.raises(ConfigurationError, match=r'\[profiler\] connection_string: nothing') as ex:
        make_app(more=PROFILER.replace('messaging://', target))
    assert '\n' not in ex.value.message
    assert 'secret' not in ex.value.message + caplog.text


def test_a_bad_value_is_one_sentence(make_app):
    with pytest.raises(ConfigurationError, match=r'conf: \[profiler\] enabled: '):
        make_app(more='[profiler]\nenabled = perhaps\n')


def test_nothing_is_imported_where_there_is_no_such_group(make_app, monkeypatch):
    monkeypatch.setattr(tracing, '_settings', lambda conf: pytest.fail('it was looked at'))
    make_app()
