# SPDX-License-Identifier: Apache-2.0
"""Workers that are killed or stopped while they hash a registered image, and deletes meanwhile."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator

import pytest
import requests

from glance_lite.db import tables
from tests.backends import databases
from tests.backends import web as servers
from tests.faults.test_kills import SOON, Rows
from tests.servers import processes
from tests.servers.processes import until
from tests.servers.test_servers import Caller, noise
from tests.sizes import full

pytestmark = pytest.mark.peer

#: at 64 KiB in a second it takes ten seconds to read
DATA = noise(640 * 1024, 7)
SHA512 = hashlib.sha512(DATA).hexdigest()
VALIDATION = {'os_hash_algo': 'sha512', 'os_hash_value': SHA512}

STORES = """
enabled_backends = fast:file,web:http
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {{directory}}/fast
[fetching]
allowed_networks = 127.0.0.0/8
[import_filtering_opts]
allowed_ports = [{port}]
"""


@pytest.fixture(scope='module')
def web(tmp_path_factory):
    with servers.running(tmp_path_factory.mktemp('web')) as web:
        web.put('data', DATA)
        yield web


@pytest.fixture(params=full(['postgresql'], ['sqlite', 'postgresql']))
def url(request, tmp_path) -> Iterator[str]:
    databases.require(request.param)
    made = databases.create(request.param, tmp_path)
    yield made
    databases.drop(made)


def settings(directory, web, url=None, more=''):
    stores = STORES.format(port=web.ports[0])
    return processes.settings(directory, url, stores=stores, more=more)


def register(server, image_id, url, validation=None):
    body = {'url': url} | ({'validation_data': validation} if validation else {})
    headers = processes.identity('alpha')
    path = f'{server.url}/v2/images/{image_id}/locations'
    answer = requests.post(path, json=body, headers=headers, timeout=60)
    assert answer.status_code == 202, answer.text


def hashed(server, image_id):
    """The hash, asked over a connection of its own: that of before may have died with a worker."""
    try:
        return Caller(server.url, 'alpha').show(image_id)['os_hash_value']
    except requests.ConnectionError:
        return None


def hashing(rows, web, before):
    """The operation row, as soon as somebody reads the data."""
    until(lambda: web.requests().count('HEAD /slow/data') > before, 'somebody looks at it')
    until(lambda: rows.all(tables.image_locations), 'the location is there')
    (row,) = rows.all(tables.operations)
    return row


@pytest.mark.parametrize('validation', [None, VALIDATION], ids=['active', 'importing'])
def test_a_worker_killed_while_it_hashes(url, tmp_path, web, validation):
    """Another one takes it up, and the image has its hash."""
    rows = Rows(url)
    before = web.requests().count('HEAD /slow/data')
    with processes.api(settings(tmp_path, web, url, SOON)) as server:
        alpha = Caller(server.url, 'alpha')
        image_id = alpha.create()
        register(server, image_id, web.http + '/slow/data', validation)
        row = hashing(rows, web, before)
        assert alpha.show(image_id)['status'] == ('importing' if validation else 'active')
        os.kill(row.pid, signal.SIGKILL)
        until(lambda: hashed(server, image_id), 'it is hashed')
        alpha = Caller(server.url, 'alpha')
        shown = alpha.show(image_id)
        assert (shown['status'], shown['os_hash_value']) == ('active', SHA512)
        assert web.requests().count('HEAD /slow/data') >= before + 2
        (location,) = rows.all(tables.image_locations)
        assert location.value == web.http + '/slow/data'
        until(lambda: not rows.all(tables.operations), 'nothing is left')
        (task,) = rows.all(tables.tasks)
        assert task.status == 'success'
        assert alpha.download(image_id) == DATA


def test_a_worker_stopped_while_it_hashes(url, tmp_path, web):
    """What it finds out when it wakes counts for nothing."""
    rows = Rows(url)
    before = web.requests().count('HEAD /slow/data')
    with processes.api(settings(tmp_path, web, url, SOON)) as server:
        alpha = Caller(server.url, 'alpha')
        image_id = alpha.create()
        register(server, image_id, web.http + '/slow/data', VALIDATION)
        row = hashing(rows, web, before)
        os.kill(row.pid, signal.SIGSTOP)
        try:

            def taken():
                found = rows.all(tables.operations)
                return not found or found[0].pid != row.pid

            until(taken, 'somebody else takes it up')
        finally:
            os.kill(row.pid, signal.SIGCONT)
        until(lambda: hashed(server, image_id), 'it is hashed')
        until(lambda: not rows.all(tables.operations), 'nothing is left')
        assert alpha.show(image_id)['status'] == 'active'
        assert len(rows.all(tables.image_locations)) == 1


def test_an_image_deleted_while_it_is_hashed(url, tmp_path, web):
    rows = Rows(url)
    before = web.requests().count('HEAD /slow/data')
    with processes.api(settings(tmp_path, web, url, SOON)) as server:
        alpha = Caller(server.url, 'alpha')
        image_id = alpha.create()
        register(server, image_id, web.http + '/slow/data', VALIDATION)
        hashing(rows, web, before)
        path = f'{server.url}/v2/images/{image_id}'
        headers = processes.identity('alpha')
        assert requests.delete(path, headers=headers, timeout=60).status_code == 204
        assert rows.status(image_id) == 'deleted'
        server.wait_for_line(f'{image_id}: .*(deleted|taken over)')
        assert rows.all(tables.operations) == []
        (task,) = rows.all(tables.tasks)
        assert task.status == 'failure'
        (location,) = rows.all(tables.image_locations)
        assert location.deleted


@pytest.mark.parametrize('kind', ['api', 'uwsgi', 'gunicorn'])
def test_each_server_hashes(kind, tmp_path, web):
    made = settings(tmp_path, web)
    with getattr(processes, kind)(made) as server:
        alpha = Caller(server.url, 'alpha')
        image_id = alpha.create()
        register(server, image_id, web.http + '/data', VALIDATION)
        until(lambda: alpha.show(image_id)['os_hash_value'], 'it is hashed')
        assert alpha.show(image_id)['status'] == 'active'
        assert alpha.download(image_id) == DATA
