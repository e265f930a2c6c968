# SPDX-License-Identifier: Apache-2.0
"""Every url of `tests.hostile.addresses`, against ``web-download`` and added locations."""

from __future__ import annotations

import re

import pytest

from glance_lite import guarded
from tests.api.harness import App
from tests.backends import web as servers
from tests.hostile.addresses import CREDENTIALS, NAMES, PORT, PRIVATE, REDIRECTS, URLS

STORES = """
enabled_backends = fast:file,web:http
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {directory}/fast
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
"""
#: One server of the outside, at the one address of the loopback network that may be reached.
OUTSIDE = """
[fetching]
allowed_networks = 127.0.0.1/32
retries = 0
[import_filtering_opts]
allowed_ports = [80, 443, {port}]
"""
BARE = {'disk_format': 'raw', 'container_format': 'bare'}


@pytest.fixture(scope='module')
def web(tmp_path_factory):
    with servers.running(tmp_path_factory.mktemp('web')) as web:
        web.put('data', b'data' * 1000)
        yield web


@pytest.fixture(scope='module')
def strict(tmp_path_factory):
    """A service with the defaults."""
    app = App(tmp_path_factory.mktemp('strict'), stores=STORES)
    yield app
    app.close()


@pytest.fixture(scope='module')
def lenient(tmp_path_factory, web):
    """A service that may reach the server of this test."""
    more = OUTSIDE.format(port=web.ports[0])
    app = App(tmp_path_factory.mktemp('lenient'), stores=STORES, more=more)
    yield app
    app.close()


@pytest.fixture
def names(monkeypatch):
    """Names of this test: name -> answers of the resolver, one after another."""
    known = {'images.example': [['127.0.0.1']], 'inside.example': [['10.0.0.1']]}
    real = guarded.resolve

    def resolve(host, port):
        if host not in known:
            return real(host, port)
        answers = known[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if not found:
            raise OSError('there is no such name')
        return list(found)

    monkeypatch.setattr(guarded, 'resolve', resolve)
    return known


def make(app):
    return app.request('POST', '/v2/images', BARE).json['id']


def add_location(app, image_id, url):
    return app.request('POST', f'/v2/images/{image_id}/locations', {'url': url})


def download(app, image_id, url):
    body = {'method': {'name': 'web-download', 'uri': url}}
    return app.request('POST', f'/v2/images/{image_id}/import', body)


def work(app):
    app.service.importer.run()
    app.service.jobs.run()


def check_refusal(app, image_id, answer, reason):
    """Refused with its reason, and the image is as it was."""
    assert answer.status in (400, 403), answer.body
    text = answer.body.decode()
    assert re.search(reason, text), text
    check_nothing_kept(app, image_id)


def check_nothing_kept(app, image_id):
    image = app.get(f'/v2/images/{image_id}').json
    assert image['status'] == 'queued'
    assert [image[name] for name in ('size', 'checksum', 'os_hash_value')] == [None] * 3
    assert 'direct_url' not in image and not image.get('locations')
    for name in ('fast', 'staging'):
        directory = app.directory / name
        assert not directory.exists() or not any(directory.iterdir())
    app.request('DELETE', f'/v2/images/{image_id}')


def test_there_are_enough():
    assert len(URLS) + len(CREDENTIALS) + len(NAMES) + len(REDIRECTS) >= 60


@pytest.mark.parametrize('what', URLS)
def test_a_location_at_a_hostile_url(strict, what):
    url, reason = URLS[what]
    if reason not in (PRIVATE, PORT):
        # No driver takes it for one of its own, or it is not asked at all.
        reason += '|not one of a store|Only other services|is not valid'
    image_id = make(strict)
    check_refusal(strict, image_id, add_location(strict, image_id, url), reason)


@pytest.mark.parametrize('what', {**URLS, **CREDENTIALS})
def test_a_download_from_a_hostile_url(strict, what):
    url, reason = {**URLS, **CREDENTIALS}[what]
    image_id = make(strict)
    answer = download(strict, image_id, url)
    assert b'secret' not in answer.body
    check_refusal(strict, image_id, answer, reason)


@pytest.mark.parametrize('what', NAMES)
@pytest.mark.parametrize('way', [add_location, download])
def test_a_hostile_name(strict, names, way, what):
    names['images.example'] = list(NAMES[what])
    image_id = make(strict)
    answer = way(strict, image_id, 'http://images.example/data')
    check = check_refusal if len(NAMES[what]) == 1 else check_failure
    check(strict, image_id, answer, PRIVATE)


@pytest.mark.parametrize('what', REDIRECTS)
@pytest.mark.parametrize('way', [add_location, download])
def test_a_url_that_leads_elsewhere(lenient, web, names, way, what):
    target, reason = REDIRECTS[what]
    target = target.format(port=web.ports[0])
    path = target if re.match('/[a-z]', target) else f'/to/?url={target}'
    url = f'http://images.example:{web.ports[0]}{path}'
    image_id = make(lenient)
    check_failure(lenient, image_id, way(lenient, image_id, url), reason)


def test_what_is_not_hostile_is_taken(lenient, web, names):
    """The tables would prove nothing if everything were refused."""
    url = f'http://images.example:{web.ports[0]}/data'
    for way in (add_location, download):
        image_id = make(lenient)
        assert way(lenient, image_id, url).status == 202
        work(lenient)
        image = lenient.get(f'/v2/images/{image_id}').json
        assert image['status'] == 'active' and image['size'] == 4000
        assert lenient.request('DELETE', f'/v2/images/{image_id}').status == 204


def check_failure(app, image_id, answer, reason):
    """It is accepted, and fails with its reason on the image and the task."""
    assert answer.status == 202, answer.body
    work(app)
    image = app.get(f'/v2/images/{image_id}').json
    assert re.search(reason, image['os_glance_failed_upload'])
    (task,) = app.request('GET', f'/v2/images/{image_id}/tasks').json['tasks']
    assert task['status'] == 'failure'
    assert re.search(reason, task['message']), task
    assert 'secret' not in str(image)
    check_nothing_kept(app, image_id)
