# SPDX-License-Identifier: Apache-2.0
"""The filter ``metrics`` in front of the whole application, read by Prometheus's own parser."""

from __future__ import annotations

import shutil
import time

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

from glance_lite.db import census
from glance_lite.errors import ConfigurationError, StoreUnavailable
from glance_lite.layer import Layer, Metric
from glance_lite.layers.policy import Policy
from glance_lite.model import Reservation
from glance_lite.testing.layers import caller, make_upload
from tests.api.harness import PASTE, App

OURS = 'directory = /run/glance/metrics\n'


@pytest.fixture
def watched(tmp_path):
    """Makes a service with the filter; `more` are options of it."""
    made = []

    def make(more='', pipeline='metrics cors', **kwargs):
        text = PASTE.read_text().replace('pipeline = cors', f'pipeline = {pipeline}')
        for name in ('path', 'allowed_networks'):
            if more.startswith(name):
                text = text.replace(f'\n{name} = ', f'\n#{name} = ')
        paste = tmp_path / 'paste.ini'
        paste.write_text(text.replace(OURS, f'directory = {tmp_path}/metrics\n{more}'))
        if 'more_settings' in kwargs:
            kwargs['more'] = kwargs.pop('more_settings')
        app = App(tmp_path, paste=paste, **kwargs)
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


def page(app, path='/metrics', **kwargs):
    answer = app.get(path, project=None, **kwargs)
    assert answer.status == 200, answer
    return answer


def metrics(app):
    """(name, labels' values by the names of the labels) -> value."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in parser.text_string_to_metric_families(page(app).body.decode())
        for sample in family.samples
    }


def count(app, name, *labels):
    """A value; labels in the order of their names."""
    return metrics(app).get((f'glance_lite_{name}', *labels), 0)


IMAGE, FILE = '/v2/images/{image_id}', '/v2/images/{image_id}/file'


def test_requests_by_route_method_and_kind_of_status(watched):
    app = watched()
    image = app.active(b'data')
    path = f'/v2/images/{image["id"]}'
    for _ in range(3):
        app.get(path)
    app.get(path, project='beta')
    app.request('POST', path)
    app.patch(image['id'], {'op': 'replace', 'path': '/name', 'value': 'x'})
    app.request('DELETE', path)
    app.get('/v2/nothing/of/the/kind')
    app.get('/', project=None)
    app.get('/v2/images', headers={'X-Identity-Status': 'Invalid'}, project=None)
    found = metrics(app)

    def requests(*labels):
        return found.get(('glance_lite_requests_total', *labels), 0)

    # One of them is `active`'s own.
    assert requests('GET', IMAGE, '2xx') == 4 and requests('GET', IMAGE, '4xx') == 1
    assert requests('POST', IMAGE, '4xx') == 1  # not allowed here, and yet known where
    assert requests('PATCH', IMAGE, '2xx') == requests('DELETE', IMAGE, '2xx') == 1
    assert requests('PUT', FILE, '2xx') == requests('POST', '/v2/images', '2xx') == 1
    # Refused before anything was routed, and what is no route.
    assert requests('GET', 'none', '4xx') == 2 and requests('GET', 'none', '3xx') == 1
    assert found['glance_lite_request_duration_seconds_count', 'GET', IMAGE] == 5
    assert found['glance_lite_request_duration_seconds_bucket', '+Inf', 'GET', IMAGE] == 5
    assert found[('glance_lite_requests_in_progress',)] == 0


def test_nobody_can_make_series(watched):
    """A word of a client is no label."""
    app = watched()
    image = app.active()
    app.get('/v2/nothing')
    app.request('BREW', '/v2/nothing')
    before = len(metrics(app))
    for number in range(20):
        app.get(f'/v2/nothing/{number}')
        app.request(f'BREW{number}', '/v2/nothing')
        app.get(f'/v2/images/{image["id"]}?name={number}', project=f'project-{number}')
        app.get(f'/v2/images/{number}')
    found = metrics(app)
    assert count(app, 'requests_total', 'other', 'none', '4xx') == 21
    # An operation that was refused for the first time, and the statuses of one route.
    assert len(found) - before <= 3


def test_bytes_of_bodies(watched):
    app = watched()
    data = b'0123456789' * 1000
    image = app.create(disk_format='raw', container_format='bare')
    app.put(image['id'], data)
    assert app.get(f'/v2/images/{image["id"]}/file').body == data
    app.get(f'/v2/images/{image["id"]}/file', headers={'Range': 'bytes=0-9'})
    found = metrics(app)
    assert found['glance_lite_received_bytes_total', 'PUT', FILE] == 10000
    assert found['glance_lite_sent_bytes_total', 'GET', FILE] == 10010
    assert found['glance_lite_store_written_bytes_total', 'fast'] == 10000
    assert found['glance_lite_store_read_bytes_total', 'fast'] == 10010


def test_bytes_of_a_body_without_a_length(watched):
    app = watched()
    image = app.create(disk_format='raw', container_format='bare')
    environ = app.environ(
        'PUT', f'/v2/images/{image["id"]}/file', b'x' * 5000, kind='application/octet-stream'
    )
    del environ['CONTENT_LENGTH']
    environ['HTTP_TRANSFER_ENCODING'] = 'chunked'
    assert app.send(environ).status == 204
    assert count(app, 'received_bytes_total', 'PUT', FILE) == 5000


def test_operations(watched):
    app = watched()
    image = app.active()
    for _ in range(3):
        app.get(f'/v2/images/{image["id"]}', project='beta')
    app.put(image['id'], b'again')
    found = metrics(app)
    assert found['glance_lite_operation_duration_seconds_count', 'get_image'] == 4
    assert 0 < found['glance_lite_operation_duration_seconds_sum', 'get_image'] < 60
    assert found['glance_lite_operation_errors_total', 'ImageNotFound', 'get_image'] == 3
    assert found['glance_lite_operation_errors_total', 'Conflict', 'upload'] == 1
    assert found['glance_lite_operation_duration_seconds_count', 'upload'] == 2
    # What a layer asks of the next one is part of the operation.
    assert not [key for key in found if 'claim_upload' in key or 'peek' in key]


def test_background_work_is_counted_where_it_comes_in(watched):
    app = watched()
    app.service.chain.inner.find_abandoned(None, 60.0)
    assert count(app, 'operation_duration_seconds_count', 'find_abandoned') == 1


def test_an_error_of_a_library_has_no_name_of_its_own(watched, monkeypatch):
    def broken(self, ctx, image_id):
        raise ZeroDivisionError(image_id)

    monkeypatch.setattr(Policy, 'get_image', broken)
    app = watched()
    assert app.get('/v2/images/x').status == 500
    assert count(app, 'operation_errors_total', 'other', 'get_image') == 1
    assert count(app, 'requests_total', 'GET', IMAGE, '5xx') == 1


def test_stores(watched, tmp_path):
    app = watched()
    image = app.active(b'data')
    found = metrics(app)
    assert found['glance_lite_store_up', 'fast', 'file'] == 1
    size = found['glance_lite_store_size_bytes', 'fast', 'file']
    assert 0 < found['glance_lite_store_free_bytes', 'fast', 'file'] <= size
    assert size == shutil.disk_usage(tmp_path).total
    # A store that lacks the data has not failed; one that cannot be asked has.
    (tmp_path / 'fast' / image['id']).unlink()
    assert app.get(f'/v2/images/{image["id"]}/file').status == 404
    assert count(app, 'store_errors_total', 'fast') == 0

    def away(*args):
        raise StoreUnavailable('away')

    app.service.gateway.stores['fast'].driver.sendfile = away
    app.service.gateway.stores['fast'].driver.get = away
    assert app.get(f'/v2/images/{image["id"]}/file').status == 503
    assert count(app, 'store_errors_total', 'fast') == 1
    shutil.rmtree(tmp_path / 'fast')
    found = metrics(app)
    assert found['glance_lite_store_up', 'fast', 'file'] == 0
    assert found['glance_lite_store_up', 'cheap', 'file'] == 1
    assert ('glance_lite_store_size_bytes', 'fast', 'file') not in found


def test_a_store_that_is_left_alone(watched, tmp_path):
    app = watched()
    (tmp_path / 'cheap').rename(tmp_path / 'away')
    image = app.create(disk_format='raw', container_format='bare')
    cheap = {'X-Image-Meta-Store': 'cheap'}
    for _ in range(7):
        assert app.put(image['id'], b'data', headers=cheap).status == 503
    assert metrics(app)['glance_lite_store_breakers_open', 'cheap'] == 1
    assert count(app, 'store_breaker_openings_total', 'cheap') == 1
    (tmp_path / 'away').rename(tmp_path / 'cheap')
    end = time.monotonic() + 30
    while metrics(app)['glance_lite_store_breakers_open', 'cheap']:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert count(app, 'store_breaker_openings_total', 'cheap') == 1


def test_images_and_operations_of_all_processes(watched):
    app = watched()
    app.active()
    app.create()
    app.create(project='beta')
    found = metrics(app)
    assert found['glance_lite_images', 'active'] == 1 and found['glance_lite_images', 'queued'] == 2
    db = next(layer for layer in app.service.layers if layer.name == 'db')
    image = app.create(disk_format='raw', container_format='bare')
    db.claim_upload(caller('alpha'), image['id'], make_upload(), 'fast')
    found = metrics(app)
    assert found['glance_lite_operations_in_progress', 'upload', 'running'] == 1
    # Not counted again so soon.
    assert found['glance_lite_images', 'queued'] == 2


def test_images_are_counted_again_after_a_while(watched, monkeypatch):
    monkeypatch.setattr(census, 'FRESH', 0)
    app = watched()
    for number in range(3):
        assert count(app, 'images', 'queued') == number
        app.create()


def test_duties_and_what_an_auditor_found(watched):
    app = watched()
    assert not [name for name in metrics(app) if name[0].startswith('glance_lite_duty')]
    image = app.active(b'12345')
    (app.directory / 'fast' / image['id']).write_bytes(b'1234')
    app.active(b'whole')
    app.service.keeper.run('audit')
    found = metrics(app)
    assert 0 <= found['glance_lite_duty_age_seconds', 'audit'] < 60
    assert found['glance_lite_duty_failed', 'audit'] == 0
    assert found['glance_lite_bad_copies', 'truncated'] == 1


def test_what_projects_use_together(watched):
    """As totals: projects are no labels."""
    app = watched(default='user_storage_quota = 1MB')
    app.active(b'12345')
    app.active(b'123', project='beta')
    app.create(project='gamma')
    found = metrics(app)
    assert found['glance_lite_used_bytes', 'size'] == 8
    assert found['glance_lite_used_images', 'images'] == 3
    assert found['glance_lite_reserved_bytes', 'size'] == 0
    assert found[('glance_lite_project_quota_bytes',)] == 1 << 20
    image = app.create(disk_format='raw', container_format='bare')
    held = Reservation('alpha', 1000, 1 << 20)
    source = make_upload(b'x' * 1000)
    source.ride(held)
    db = next(layer for layer in app.service.layers if layer.name == 'db')
    db.claim_upload(caller('alpha'), image['id'], source, 'fast')
    assert count(app, 'reserved_bytes', 'size') == 1000
    other = app.create(disk_format='raw', container_format='bare')
    assert app.put(other['id'], b'x' * (1 << 20)).status == 413
    assert count(app, 'operation_errors_total', 'LimitExceeded', 'upload') == 1


def test_the_outbox(watched):
    """With a bus that is away everything waits."""
    app = watched(
        more_settings='[oslo_messaging_notifications]\ndriver = messagingv2\n'
        'transport_url = rabbit://nobody@127.0.0.1:9/\n'
    )
    app.create()
    app.create()
    found = metrics(app)
    assert found[('glance_lite_outbox_events',)] == 2
    assert found[('glance_lite_outbox_age_seconds',)] >= 0
    assert found[('glance_lite_outbox_dropped_total',)] == 0
    db = next(layer for layer in app.service.layers if layer.name == 'db')
    db.count_dropped(caller(None), 5)
    assert count(app, 'outbox_dropped_total') == 5


# --- what layers know


class Licences(Layer):
    """A layer of a vendor."""

    name = 'licences'
    failing = False

    def __init__(self):
        pass

    def metrics(self):
        if self.failing:
            raise RuntimeError('no licence server')
        yield Metric('acme_licences', 'Licences in use.', 3, {'kind': 'site'})
        yield Metric('acme_licences', 'Licences in use.', 4, {'kind': 'user'})
        yield Metric('acme_refusals_total', 'Refusals.', 5)


def test_what_a_layer_knows(watched, caplog):
    app = watched()
    layer = Licences()
    app.service.layers.append(layer)
    found = metrics(app)
    assert (found['acme_licences', 'site'], found['acme_licences', 'user']) == (3, 4)
    assert found[('acme_refusals_total',)] == 5
    assert '# TYPE acme_refusals_total counter' in page(app).body.decode()
    layer.failing = True
    found = metrics(app)
    assert found['glance_lite_layer_answers', 'licences'] == 0
    assert found['glance_lite_layer_answers', 'db'] == 1
    assert ('acme_licences', 'site') not in found
    assert found['glance_lite_store_up', 'fast', 'file'] == 1
    assert 'layer licences cannot be had: no licence server' in caplog.text


# --- who may see it


@pytest.mark.parametrize(
    ('headers', 'address', 'status'),
    [
        ({}, '127.0.0.1', 200),
        ({}, '127.9.9.9', 200),
        ({}, '::1', 200),
        ({}, '::ffff:127.0.0.1', 200),
        ({}, '192.0.2.1', 300),
        ({}, '2001:db8::1', 300),
        ({}, 'unix', 300),
        ({}, '', 300),
        # A tenant, through a proxy on the same machine.
        ({'X-Forwarded-For': '127.0.0.1'}, '127.0.0.1', 300),
        ({'Forwarded': 'for=127.0.0.1'}, '127.0.0.1', 300),
        ({'Via': '1.1 proxy'}, '127.0.0.1', 300),
    ],
)
def test_only_this_machine_is_answered(watched, headers, address, status):
    app = watched()
    environ = app.environ('GET', '/metrics', project=None, headers=headers)
    environ['REMOTE_ADDR'] = address
    answer = app.send(environ)
    # 300 is what any path gets that is none: nobody is told that there is something.
    assert answer.status == status and (b'glance_lite_' in answer.body) == (status == 200)


def test_other_networks_by_option(watched):
    app = watched('allowed_networks = 192.0.2.0/24, 2001:db8::/32\n')
    for address, told in (('192.0.2.7', True), ('2001:db8::7', True), ('127.0.0.1', False)):
        environ = app.environ('GET', '/metrics', project=None)
        environ['REMOTE_ADDR'] = address
        assert (app.send(environ).status == 200) == told


def test_another_path_by_option(watched):
    app = watched('path = /internal/numbers\n')
    assert app.get('/metrics', project=None).status == 300
    assert b'glance_lite_' in page(app, '/internal/numbers').body


def test_only_asked_for(watched):
    app = watched()
    assert app.request('HEAD', '/metrics', project=None).body == b''
    assert app.request('POST', '/metrics', project=None).status == 300
    # Asking is no request of the service.
    assert metrics(app).get(('glance_lite_requests_total', 'GET', 'none', '2xx')) is None


def test_the_newer_format(watched):
    app = watched()
    app.active()
    answer = page(app, headers={'Accept': 'application/openmetrics-text; version=1.0.0'})
    assert answer.headers['content-type'].startswith('application/openmetrics-text')
    families = list(openmetrics.text_string_to_metric_families(answer.body.decode()))
    assert 'glance_lite_requests' in [family.name for family in families]


def test_two_pipelines_with_the_filter_count_once(watched):
    app = watched(pipeline='metrics metrics cors')
    app.get('/v2/images/x')
    assert count(app, 'operation_errors_total', 'ImageNotFound', 'get_image') == 1


@pytest.mark.parametrize(
    ('option', 'said'),
    [
        ('path = metrics\n', "option path: 'metrics' is not a path like /metrics"),
        ('path = /\n', "option path: '/' is not"),
        ('allowed_networks = everybody\n', "option allowed_networks: 'everybody' is not a network"),
        ('pathh = /metrics\n', 'has no option pathh'),
        ('directory = /proc/metrics\n', '/proc/metrics for metrics cannot be written to'),
        ('directory =\n', 'needs the option directory'),
    ],
)
def test_a_wrong_option_is_one_sentence(tmp_path, option, said):
    text = PASTE.read_text().replace('pipeline = cors', 'pipeline = metrics cors')
    name = option.partition(' ')[0]
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith(name + ' =')]
    text = ''.join(lines).replace('#metrics\n', f'#metrics\n{option}')
    if not option.startswith('directory'):
        text = text.replace('/run/glance/metrics', str(tmp_path / 'metrics'))
    paste = tmp_path / 'paste.ini'
    paste.write_text(text)
    with pytest.raises(ConfigurationError, match='metrics') as raised:
        App(tmp_path, paste=paste)
    message = raised.value.message
    assert said in message and '\n' not in message


def test_without_the_filter_nobody_watches(tmp_path):
    app = App(tmp_path)
    try:
        db = next(layer for layer in app.service.layers if layer.name == 'policy')
        assert app.service.chain.outer.get_image == db.get_image
        assert app.service.gateway.watch.by is None
        assert app.get('/metrics', project=None).status == 300
    finally:
        app.close()
