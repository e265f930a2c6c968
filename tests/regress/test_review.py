# SPDX-License-Identifier: Apache-2.0
"""Defects that reading found, each by what somebody outside could have done with it."""

from __future__ import annotations

import io
import json
import logging

import pytest

from glance_lite.api.v2 import query
from glance_lite.errors import ConfigurationError, Invalid
from tests.api.harness import ADMIN, OCTETS, V21, App


@pytest.fixture
def app(tmp_path):
    app = App(tmp_path)
    yield app
    app.close()


def test_repeated_steps_do_not_check_everything_again(app, monkeypatch):
    """A thousand steps of one property beside many tags took twenty minutes."""
    from glance_lite.api.v2.schemas import Checker

    seen = []
    check = Checker.__call__
    monkeypatch.setattr(Checker, '__call__', lambda self, v: seen.append(v) or check(self, v))
    image = app.create()
    steps = [{'op': 'replace', 'path': '/tags', 'value': [str(n) for n in range(100)]}]
    steps += [{'op': 'add', 'path': '/x', 'value': 'x'}] * 50
    assert app.patch(image['id'], *steps).status == 200
    assert sum('tags' in value for value in seen) == 1


@pytest.mark.parametrize('what', ['tags', 'properties'])
def test_more_than_anybody_needs_is_refused_unread(app, what):
    many = [str(number) for number in range(5001)]
    body = {'tags': many} if what == 'tags' else dict.fromkeys(many, 'x')
    assert app.request('POST', '/v2/images', body).status == 413


def test_quoted_values_cost_no_more_than_they_are_long():
    """A missing quotation mark cost the cube of the blanks before it: hours."""
    with pytest.raises(Invalid):
        query.words('name', ' ' * 16_000 + '"')
    assert query.words('name', ' a , "b,c" ,d e ') == ['a', 'b,c', 'd e']


def test_a_shared_request_id_cannot_forge_a_line(app, caplog):
    forged = 'aaa]\n2026-11-24 CRITICAL glance [-] forged'
    environ = app.environ('GET', '/v2/images', headers={'X-Openstack-Request-Id': forged})
    answer = app.send(environ)
    context = environ['glance_lite.context']
    assert answer.status == 200
    assert context.global_request_id is None and 'forged' not in context.request_id
    shared = 'req-7a4b3a7e-26f1-4a53-a4a6-0a2f3a9a3a11'
    environ = app.environ('GET', '/v2/images', headers={'X-Openstack-Request-Id': shared})
    app.send(environ)
    assert environ['glance_lite.context'].global_request_id == shared


def test_what_clients_send_stays_one_word_of_a_line(app, caplog):
    from glance_lite.middleware.access_log import AccessLog

    caplog.set_level(logging.DEBUG)
    app.wsgi = AccessLog(app.wsgi)
    environ = app.environ('GET', '/v2/x" 200 5\n0.1')
    environ['REQUEST_METHOD'] = 'G\x1b[31mET'
    app.send(environ)
    lines = [record.getMessage() for record in caplog.records if 'glance_lite' in record.name]
    assert lines and not any('\n' in line or '\x1b' in line for line in lines)
    access = next(line for line in lines if line.startswith('127.0.0.1'))
    assert access.count('"') == 2


def test_local_is_told_by_what_it_does_not_by_its_name(tmp_path):
    from glance_lite.deploy import refuse_open_local
    from tests.api.harness import PASTE

    text = PASTE.read_text().replace('local-context', 'me')
    text = text.replace('[filter:me]\nuse = egg:glance-lite#me',
                        '[filter:me]\nuse = egg:glance-lite#local-context')  # fmt: skip
    paste = tmp_path / 'paste.ini'
    paste.write_text(text.replace('/ = unauthenticated\n', '/ = local\n'))
    app = App(tmp_path, flavor='', paste=paste, default='bind_host = 0.0.0.0')
    try:
        with pytest.raises(ConfigurationError, match='bind_host'):
            refuse_open_local(app.conf, app.service)
    finally:
        app.close()


@pytest.mark.parametrize('header', ['X-Forwarded-For', 'Forwarded', 'Via'])
def test_local_does_not_serve_proxies(tmp_path, header):
    app = App(tmp_path, flavor='local',
              more='[oslo_middleware]\nenable_proxy_headers_parsing = true')  # fmt: skip
    headers = {'Host': '127.0.0.1:9292', header: '127.0.0.1', 'X-Forwarded-Host': 'localhost'}
    try:
        assert app.get('/v2/images', project=None, headers=headers).status == 403
    finally:
        app.close()


def test_an_id_ends_where_it_ends(app):
    """Glance answers 500."""
    body = {'id': '7a4b3a7e-26f1-4a53-a4a6-0a2f3a9a3a11\n'}
    assert app.request('POST', '/v2/images', body).status == 400


@pytest.mark.parametrize('length', ['\xb2', '9' * 5000, '1_0', ' 1'])
def test_lengths_that_are_none(app, length):
    image = app.create(disk_format='raw', container_format='bare')
    answer = app.put(image['id'], b'x', headers={'Content-Length': length})
    assert answer.status == 400


@pytest.mark.parametrize('target', ['*', 'foo', 'foo/bar'])
def test_a_target_that_is_no_path(app, target):
    """Paste's urlmap fails on it, and nothing was logged."""
    for method in ('OPTIONS', 'GET'):
        environ = app.environ(method, '/')
        environ['PATH_INFO'] = target
        assert app.send(environ).status == 400


def test_a_failure_has_its_access_line(app, caplog):
    from glance_lite.middleware.access_log import AccessLog

    caplog.set_level(logging.INFO)

    def broken(environ, start_response):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        AccessLog(broken)(app.environ('GET', '/x'), None)
    assert any('"GET /x" 500' in record.getMessage() for record in caplog.records)


def test_oslos_healthcheck_without_options(tmp_path):
    from tests.api.harness import PASTE

    paste = tmp_path / 'paste.ini'
    text = PASTE.read_text()
    a = text.index('[app:healthcheck]')
    b = text.index('[filter:versionnegotiation]')
    own = '[app:healthcheck]\npaste.app_factory = oslo_middleware:Healthcheck.app_factory\n\n'
    paste.write_text(text[:a] + own + text[b:])
    app = App(tmp_path, paste=paste)
    try:
        assert app.get('/healthcheck', project=None).status == 200
    finally:
        app.close()


@pytest.mark.parametrize('kind', ['integer', 'object', ['string', 'boolean']])
def test_properties_are_texts(tmp_path, kind):
    """A property of another type passed the schema and failed in the database."""
    (tmp_path / 'schema-image.json').write_text(json.dumps({'n': {'type': kind}}))
    with pytest.raises(ConfigurationError, match=r'schema-image.json: property n'):
        App(tmp_path)


def test_units_of_ranges_have_no_case(app):
    """RFC 9110."""
    image = app.active(b'0123')
    answer = app.get(f'/v2/images/{image["id"]}/file', headers={'Range': 'Bytes=0-1'})
    assert (answer.status, answer.body) == (206, b'01')


def test_who_may_not_write_reads_no_body(app):
    """A refusal needs nothing of what is sent."""

    class Untouched(io.RawIOBase):
        def read(self, size=-1):
            raise AssertionError('the body was read')

    image = app.active(visibility='public', **ADMIN)
    environ = app.environ('PUT', f'/v2/images/{image["id"]}/file', b'x', kind=OCTETS)
    environ['wsgi.input'] = Untouched()
    assert app.send(environ).status == 403
    environ = app.environ('PATCH', f'/v2/images/{image["id"]}', '[]', kind='text/plain')
    answer = app.send(environ)
    assert answer.status == 415 and V21 in answer.headers['accept-patch']
