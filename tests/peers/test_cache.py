# SPDX-License-Identifier: Apache-2.0
"""The cache and its API beside a Glance 33 with its own."""

from __future__ import annotations

import time

import pytest

from tests.peers import glance33, lite
from tests.peers.comparison import ident
from tests.peers.lite import ADMIN, MEMBER, NOBODY, OCTETS, OTHER

FLAVOR = 'cachemanagement'
NODE = 'http://image-1.example:9292'
DATA = bytes(range(256)) * 1000
IMAGE, SECOND, QUEUED, NOTHING = (ident('cache', number) for number in range(4))
BARE = {'disk_format': 'raw', 'container_format': 'bare'}


@pytest.fixture(scope='module')
def both(tmp_path_factory):
    """A client of Glance and one of glance-lite."""
    directories = [tmp_path_factory.mktemp(name) for name in ('glance', 'lite')]
    urls = [f'sqlite:///{directory}/glance.sqlite' for directory in directories]
    stores = [
        f'image_cache_dir = {directory}/cache\nworker_self_reference_url = {NODE}\n'
        + lite.make_stores(directory / 'stores')
        + '\n[maintenance]\nsweep_interval = 1\n'
        for directory in directories
    ]
    first, second = directories
    glance33.manage(glance33.write_settings(first, urls[0], stores[0]), 'db', 'sync')
    lite.manage(lite.write_settings(second, urls[1], stores[1], 1), 'db', 'sync')
    ours = lite.running(second, urls[1], stores[1], flavor='trusted-auth+cachemanagement')
    with glance33.running(first, urls[0], stores[0], flavor=FLAVOR) as glance, ours as base:
        clients = lite.Client(glance), lite.Client(base)
        for client in clients:
            for image_id in (IMAGE, SECOND, QUEUED):
                client.send(MEMBER, 'POST', '/v2/images', {'id': image_id, **BARE})
            for image_id in (IMAGE, SECOND):
                client.send(MEMBER, 'PUT', f'/v2/images/{image_id}/file', DATA, OCTETS)
        yield clients


def shape(answer):
    """What of an answer both must have in common."""
    kind = answer.headers.get('Content-Type')
    if kind != 'application/json':
        return answer.status_code, None
    body = answer.json()
    for entry in body.get('cached_images', ()) if isinstance(body, dict) else ():
        for moment in ('last_accessed', 'last_modified'):
            assert abs(entry.pop(moment) - time.time()) < 600
        for ours in ('id', 'checksum'):
            entry.pop(ours, None)
    return answer.status_code, body


def settle(client, cached, queued=()):
    """Wait until this is in the cache, and the database says so."""
    deadline = time.monotonic() + 60
    while True:
        found = client.send(ADMIN, 'GET', '/v2/cache').json()
        there = {one['image_id'] for one in found['cached_images']}
        nodes = client.send(ADMIN, 'GET', f'/v2/cache/nodes/{IMAGE}').json()
        if (there, found['queued_images']) == (set(cached), list(queued)) and bool(nodes) == (
            IMAGE in cached
        ):
            return
        assert time.monotonic() < deadline, (found, nodes)
        time.sleep(0.1)


def get(client, image_id, **kwargs):
    return client.send(MEMBER, 'GET', f'/v2/images/{image_id}/file', **kwargs)


#: What is done and what comes of it, in order. A pair of statuses: ours differs.
STORY = [
    (ADMIN, 'GET', '/v2/cache', 200),
    ('read', IMAGE), ('read', IMAGE), ('settle', {IMAGE}),
    (ADMIN, 'GET', '/v2/cache', 200),
    (ADMIN, 'GET', '/v2/cached_images', 200),
    (ADMIN, 'GET', f'/v2/cache/nodes/{IMAGE}', 200),
    (ADMIN, 'GET', f'/v2/cache/nodes/{SECOND}', 200),
    (ADMIN, 'GET', f'/v2/cache/nodes/{NOTHING}', 404),
    *((who, 'GET', path, status) for who, status in ((MEMBER, 403), (OTHER, 403), (NOBODY, 401))
      for path in ('/v2/cache', '/v2/cached_images', '/v2/queued_images',
                   f'/v2/cache/nodes/{IMAGE}')),
    *((who, 'PUT', f'/v2/cache/{image_id}', status) for who, image_id, status in (
        (ADMIN, SECOND, 202), (ADMIN, NOTHING, 404), (ADMIN, QUEUED, 400), (MEMBER, SECOND, 403),
        (MEMBER, NOTHING, 404), (OTHER, SECOND, 404), (NOBODY, SECOND, 401))),
    ('settle', {IMAGE, SECOND}),
    (ADMIN, 'GET', '/v2/cache', 200),
    *((who, 'DELETE', f'/v2/cache/{image_id}', status) for who, image_id, status in (
        (MEMBER, SECOND, 403), (MEMBER, NOTHING, 404), (ADMIN, NOTHING, 404), (ADMIN, QUEUED, 204),
        (ADMIN, SECOND, 204), (ADMIN, SECOND, 204), (NOBODY, IMAGE, 401))),
    *((who, 'POST', path, status) for who, status in ((ADMIN, 200), (MEMBER, 403), (NOBODY, 401))
      for path in ('/v2/cache/clean', '/v2/cache/prune')),
    (ADMIN, 'GET', f'/v2/cached_images/{IMAGE}', (404, 405)),
    (ADMIN, 'POST', f'/v2/queued_images/{IMAGE}', (404, 405)),
    (ADMIN, 'GET', '/v2/cached_images/', 404),
    *((MEMBER, method, path, 403) for method, path in (
        ('DELETE', '/v2/cached_images'), ('DELETE', f'/v2/cached_images/{IMAGE}'),
        ('PUT', f'/v2/queued_images/{IMAGE}'), ('DELETE', f'/v2/queued_images/{IMAGE}'),
        ('DELETE', '/v2/queued_images'))),
    (ADMIN, 'PUT', f'/v2/queued_images/{IMAGE}', 200),  # it is cached, so it does not wait
    (ADMIN, 'GET', '/v2/queued_images', 200),
    (ADMIN, 'DELETE', f'/v2/queued_images/{NOTHING}', 200),
    (ADMIN, 'DELETE', '/v2/queued_images', 200),
    (ADMIN, 'DELETE', f'/v2/cached_images/{NOTHING}', 200),
    (ADMIN, 'DELETE', '/v2/cached_images', 200),
    (ADMIN, 'GET', '/v2/cached_images', 200),
    ('read', IMAGE), ('settle', {IMAGE}),
    (ADMIN, 'DELETE', f'/v2/cached_images/{IMAGE}', 200),
    ('read', IMAGE), ('settle', {IMAGE}),
    (ADMIN, 'DELETE', '/v2/cache', 204),
    (ADMIN, 'GET', '/v2/cache', 200),
    ('read', SECOND), ('settle', {SECOND}),
    (MEMBER, 'DELETE', f'/v2/images/{SECOND}', 204), ('settle', set()),
    (ADMIN, 'DELETE', f'/v2/cache/{SECOND}', 404),
    (ADMIN, 'GET', '/versions', 200),
]  # fmt: skip


@pytest.mark.peer
def test_the_cache_beside_glance(both):
    wrong = []
    for step in STORY:
        if step[0] == 'read':
            for client in both:
                answer = get(client, step[1])
                assert answer.content == DATA
            assert answer.headers['Content-Length'] == str(len(DATA))
            continue
        if step[0] == 'settle':
            for client in both:
                settle(client, step[1])
            continue
        who, method, path, status = step
        wanted = status if isinstance(status, tuple) else (status, status)
        glance, ours = (client.send(who, method, path) for client in both)
        got = (glance.status_code, ours.status_code)
        if got != wanted:
            wrong.append(f'{who.roles} {method} {path}: {got} {ours.text[:200]}')
        elif path == '/versions':
            found = [{one['id'] for one in each.json()['versions']} for each in (glance, ours)]
            assert found[0] == found[1]
        elif wanted[0] == wanted[1] and wanted[0] < 300 and shape(glance) != shape(ours):
            wrong.append(f'{who.roles} {method} {path}: {glance.text[:300]} / {ours.text[:300]}')
    assert not wrong, '\n'.join(wrong)
