# SPDX-License-Identifier: Apache-2.0
"""The cache behind the whole application: downloads, and its API."""

from __future__ import annotations

import time
import uuid

import pytest

from glance_lite.context import service_context
from glance_lite.deploy import ConfigurationError
from tests.api.harness import ADMIN, BETA

FLAVOR = 'trusted-auth+cachemanagement'
NODE = 'http://image-1.example:9292'
DATA = bytes(range(256)) * 4000
SWEEP = '[maintenance]\nsweep_interval = 1'


@pytest.fixture
def app(make_app, tmp_path):
    return make_app(
        default=f'image_cache_dir = {tmp_path}/cache\nworker_self_reference_url = {NODE}',
        flavor=FLAVOR,
    )


def settle(app):
    """Wait for what is under way, and let the background do its part."""
    for growing in [*app.service.gateway.cache._under_way.values()]:
        growing.wait_over()
    app.service.chain.inner.fetch_queued(service_context())
    app.service.chain.inner.tend_cache(service_context())


def file(app, image, **kwargs):
    return app.get(f'/v2/images/{image["id"]}/file', **kwargs)


def cached(app):
    found = app.get('/v2/cache', **ADMIN).json
    return [one['image_id'] for one in found['cached_images']], found['queued_images']


def in_store(tmp_path, image):
    return tmp_path / 'fast' / image['id']


def test_a_download_fills_the_cache_and_the_next_one_uses_it(app, tmp_path):
    image = app.active(DATA)
    begun = time.time()
    first = file(app, image)
    settle(app)
    in_store(tmp_path, image).unlink()
    second = file(app, image)
    assert (first.status, first.body) == (second.status, second.body) == (200, DATA)
    for answer in (first, second):
        del answer.headers['x-openstack-request-id']
    assert first.headers == second.headers
    part = file(app, image, headers={'Range': 'bytes=10-99'})
    assert (part.status, part.body) == (206, DATA[10:100])
    head = app.request('HEAD', f'/v2/images/{image["id"]}/file')
    assert (head.status, head.headers['content-length']) == (200, str(len(DATA)))
    (entry,) = app.get('/v2/cache', **ADMIN).json['cached_images']
    assert begun - 5 < entry.pop('last_modified') <= entry.pop('last_accessed') < time.time() + 5
    assert entry == {'image_id': image['id'], 'hits': 2, 'size': len(DATA)}


def test_who_may_not_download_gets_nothing_from_the_cache(app):
    image = app.active(DATA)
    file(app, image)
    settle(app)
    assert file(app, image, **BETA).status == 404
    app.patch(image['id'], {'op': 'replace', 'path': '/visibility', 'value': 'community'})
    assert file(app, image, **BETA).status == 200


@pytest.mark.parametrize('end', ['deleted', 'deactivated'])
def test_an_image_that_ends_leaves_the_cache(app, tmp_path, end):
    image = app.active(DATA)
    file(app, image)
    settle(app)
    assert cached(app)[0] == [image['id']]
    if end == 'deleted':
        app.request('DELETE', f'/v2/images/{image["id"]}')
        assert file(app, image).status == 404
    else:
        app.request('POST', f'/v2/images/{image["id"]}/actions/deactivate')
        assert file(app, image).status == 403
        assert file(app, image, **ADMIN).status == 200  # from the store, and not kept
        settle(app)
    assert cached(app)[0] == [] and not [*(tmp_path / 'cache' / 'whole').iterdir()]


def test_an_image_that_ended_elsewhere_leaves_the_cache(app):
    """As when another host is asked to delete it."""
    image, stays = app.active(DATA), app.active(DATA)
    for one in (image, stays):
        file(app, one)
    settle(app)
    db = app.service.layers[-1]
    db.commit_delete(service_context(), db.claim_delete(service_context(), image['id']))
    settle(app)
    assert cached(app)[0] == [stays['id']]


def test_a_queued_image_is_fetched_in_the_background(make_app, tmp_path):
    app = make_app(default=f'image_cache_dir = {tmp_path}/cache', flavor='trusted-auth', more=SWEEP)
    image = app.active(DATA)
    app.service.start_background()
    assert app.request('PUT', f'/v2/cache/{image["id"]}', **ADMIN).status == 202
    deadline = time.monotonic() + 30
    while cached(app) != ([image['id']], []):
        assert time.monotonic() < deadline, cached(app)
        time.sleep(0.05)
    # Without the filter downloads do not use it.
    in_store(tmp_path, image).unlink()
    assert file(app, image).status == 404


def test_only_what_can_be_fetched_is_queued(app):
    queued, image = app.create(), app.active(DATA)
    assert app.request('PUT', f'/v2/cache/{queued["id"]}', **ADMIN).status == 400
    assert app.request('PUT', f'/v2/cache/{uuid.uuid4()}', **ADMIN).status == 404
    assert app.request('PUT', f'/v2/cache/{image["id"]}').status == 403
    assert app.request('PUT', f'/v2/cache/{image["id"]}', **BETA).status == 404
    assert cached(app) == ([], [])


def test_a_queued_image_stays_queued_while_its_store_is_away(app, tmp_path):
    image = app.active(DATA)
    path = in_store(tmp_path, image)
    path.rename(path.with_suffix('.away'))
    app.request('PUT', f'/v2/cache/{image["id"]}', **ADMIN)
    settle(app)
    assert cached(app) == ([], [image['id']])
    path.with_suffix('.away').rename(path)
    settle(app)
    assert cached(app) == ([image['id']], [])


def test_one_image_is_dropped(app):
    image, waits = app.active(DATA), app.active(DATA)
    file(app, image)
    settle(app)
    app.request('PUT', f'/v2/cache/{waits["id"]}', **ADMIN)
    for one in (image, waits):
        assert app.request('DELETE', f'/v2/cache/{one["id"]}').status == 403
        assert app.request('DELETE', f'/v2/cache/{one["id"]}', **ADMIN).status == 204
    assert cached(app) == ([], [])
    assert app.request('DELETE', f'/v2/cache/{uuid.uuid4()}', **ADMIN).status == 404


def test_a_copy_of_an_image_that_is_gone_can_be_dropped(app):
    gone = str(uuid.uuid4())
    app.service.gateway.cache.enqueue(gone)
    assert app.request('DELETE', f'/v2/cache/{gone}').status == 404
    assert cached(app) == ([], [gone])
    assert app.request('DELETE', f'/v2/cache/{gone}', **ADMIN).status == 204
    assert cached(app) == ([], [])


@pytest.mark.parametrize(('target', 'left'), [
    ('cache', (False, True)), ('queue', (True, False)), ('', (False, False)),
    ('CACHE', (False, True)), (None, (False, False)),
])  # fmt: skip
def test_all_are_dropped(app, target, left):
    image, waits = app.active(DATA), app.active(DATA)
    file(app, image)
    settle(app)
    app.request('PUT', f'/v2/cache/{waits["id"]}', **ADMIN)
    headers = {} if target is None else {'x-image-cache-clear-target': target}
    assert app.request('DELETE', '/v2/cache', headers=headers).status == 403
    assert app.request('DELETE', '/v2/cache', headers=headers, **ADMIN).status == 204
    assert tuple(bool(found) for found in cached(app)) == left


def test_another_target_is_an_error(app):
    headers = {'x-image-cache-clear-target': 'everything'}
    assert app.request('DELETE', '/v2/cache', headers=headers, **ADMIN).status == 400


def test_the_database_says_who_has_what(app):
    image, other = app.active(DATA), app.active(DATA)
    nodes = f'/v2/cache/nodes/{image["id"]}'
    assert app.get(nodes, **ADMIN).json == []
    file(app, image)
    settle(app)
    assert app.get(nodes, **ADMIN).json == [NODE]
    assert app.get(f'/v2/cache/nodes/{other["id"]}', **ADMIN).json == []
    assert app.get(nodes).status == 403
    assert app.get(f'/v2/cache/nodes/{uuid.uuid4()}', **ADMIN).status == 404
    app.request('DELETE', f'/v2/cache/{image["id"]}', **ADMIN)
    settle(app)
    assert app.get(nodes, **ADMIN).json == []


def test_without_a_name_other_hosts_are_told_nothing(make_app, tmp_path):
    app = make_app(default=f'image_cache_dir = {tmp_path}/cache', flavor=FLAVOR)
    image = app.active(DATA)
    file(app, image)
    settle(app)
    assert cached(app)[0] == [image['id']]
    assert app.get(f'/v2/cache/nodes/{image["id"]}', **ADMIN).json == []


@pytest.mark.parametrize('driver', ['sqlite', 'xattr'])
def test_other_drivers_tell_no_other_host(make_app, tmp_path, driver):
    app = make_app(
        default=f'image_cache_dir = {tmp_path}/cache\nimage_cache_driver = {driver}\n'
        f'worker_self_reference_url = {NODE}',
        flavor=FLAVOR,
    )
    image = app.active(DATA)
    file(app, image)
    settle(app)
    assert cached(app)[0] == [image['id']]
    assert app.get(f'/v2/cache/nodes/{image["id"]}', **ADMIN).status == 409


def test_a_driver_that_nobody_knows_stops_the_start(make_app, tmp_path):
    with pytest.raises(ConfigurationError, match=r'\[DEFAULT\] image_cache_driver'):
        make_app(default=f'image_cache_dir = {tmp_path}/cache\nimage_cache_driver = magic')


def test_a_directory_that_cannot_be_made_stops_the_start(make_app, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigurationError, match=r'\[DEFAULT\] image_cache_dir: .*/file/cache'):
        make_app(default=f'image_cache_dir = {tmp_path}/file/cache')


def test_clean_and_prune(app):
    assert app.request('POST', '/v2/cache/clean').status == 403
    assert app.request('POST', '/v2/cache/prune').status == 403
    clean = app.request('POST', '/v2/cache/clean', **ADMIN)
    assert (clean.status, clean.body) == (200, b'')
    prune = app.request('POST', '/v2/cache/prune', **ADMIN)
    assert prune.json == {'total_files_pruned': 0, 'total_bytes_pruned': 0}


def test_who_looks_after_the_cache_rests_when_nothing_happens(app):
    file(app, app.active(DATA))
    settle(app)
    changed = app.service.gateway.cache.changed
    changed.clear()
    settle(app)
    assert not changed.is_set()


# --- the older routes


def test_the_older_routes(app):
    image, waits = app.active(DATA), app.active(DATA)
    file(app, image)
    settle(app)
    (entry,) = app.get('/v2/cached_images', **ADMIN).json['cached_images']
    assert (entry['image_id'], entry['size']) == (image['id'], len(DATA))
    queue = f'/v2/queued_images/{waits["id"]}'
    assert app.request('PUT', queue, **ADMIN).body == b'null'
    assert app.get('/v2/queued_images', **ADMIN).json == {'queued_images': [waits['id']]}
    assert app.request('DELETE', queue, **ADMIN).status == 200
    assert app.request('DELETE', queue, **ADMIN).status == 200
    assert app.request('DELETE', '/v2/queued_images', **ADMIN).json == {'num_deleted': 0}
    assert app.request('DELETE', '/v2/cached_images', **ADMIN).json == {'num_deleted': 1}
    file(app, image)
    settle(app)
    assert app.request('DELETE', f'/v2/cached_images/{image["id"]}', **ADMIN).body == b'null'
    assert cached(app) == ([], [])


def test_what_nobody_can_fetch_does_not_stay_in_the_queue(app):
    for name in (str(uuid.uuid4()), app.create()['id'], 'no-id-of-any-image'):
        assert app.request('PUT', f'/v2/queued_images/{name}', **ADMIN).status == 200
    for name in ('..', '%2e%2e', 'a' * 300, '.lock'):
        assert app.request('PUT', f'/v2/queued_images/{name}', **ADMIN).status < 500
    settle(app)
    assert cached(app) == ([], [])


OLD = [('GET', '/cached_images'), ('DELETE', '/cached_images'), ('DELETE', '/cached_images/x'),
       ('GET', '/queued_images'), ('DELETE', '/queued_images'), ('PUT', '/queued_images/x'),
       ('DELETE', '/queued_images/x')]  # fmt: skip


@pytest.mark.parametrize(('method', 'path'), OLD)
def test_the_older_routes_have_a_rule_and_a_filter(make_app, tmp_path, method, path):
    default = f'image_cache_dir = {tmp_path}/cache'
    app = make_app(default=default, flavor=FLAVOR)
    assert app.request(method, '/v2' + path).status == 403
    without = make_app(default=default, flavor='trusted-auth')
    assert without.request(method, '/v2' + path, **ADMIN).status == 404
