# SPDX-License-Identifier: Apache-2.0
"""The cache under real servers of two workers, in front of a slow store."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import signal
import threading
import time

import pytest
import requests

from tests.servers import processes
from tests.servers.processes import until
from tests.servers.test_servers import MIB, Caller, noise
from tests.sizes import full

STORES = """
enabled_backends = slow:faulty,cheap:file
image_cache_dir = {directory}/cache
worker_self_reference_url = http://image-1.example:9292
[glance_store]
default_backend = slow
[slow]
faulty_type = file
filesystem_store_datadir = {directory}/fast
fault_counters = {directory}/counters
fault = before get 1000000 delay 0
%s
[cheap]
filesystem_store_datadir = {directory}/cheap
"""
#: half a second for each quarter of the image
CLIENTS, SIZE = full(16, 50), full(8, 64) * MIB
FLAVOR = 'trusted-auth+cachemanagement'
SLOW = '\n'.join(f'fault = within get@{SIZE * part // 4} 1 delay 0.5' for part in range(4))


def settings(directory, faults=SLOW, **kwargs):
    return processes.settings(directory, stores=STORES % faults, flavor=FLAVOR, **kwargs)


def reads(directory):
    """How often the store was asked for data."""
    path = directory / 'counters' / 'before-get'
    return path.stat().st_size if path.exists() else 0


def digest(server, image_id, results, number, **headers):
    """The digest of what a client gets, that takes it as it comes."""
    value = hashlib.sha512()
    try:
        with requests.get(
            f'{server.url}/v2/images/{image_id}/file',
            headers={**processes.identity('alpha'), **headers},
            stream=True,
            timeout=120,
        ) as answer:
            assert answer.status_code in (200, 206)
            for chunk in answer.iter_content(MIB):
                value.update(chunk)
        results[number] = value.hexdigest()
    except Exception as ex:
        results[number] = ex


@contextlib.contextmanager
def crowd(server, image_id, count=CLIENTS):
    """Clients that all begin now; what each got, when the block is over."""
    results = [None] * count
    threads = [
        threading.Thread(target=digest, args=(server, image_id, results, number))
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    yield results
    for thread in threads:
        thread.join(120)


@pytest.mark.parametrize('kind', ['api', 'uwsgi'])
def test_a_crowd_costs_one_read_of_the_backend(kind, tmp_path):
    with processes.SERVERS[kind](settings(tmp_path)) as server:
        alpha, data = Caller(server.url, 'alpha'), noise(SIZE)
        image_id = alpha.create()
        alpha.upload(image_id, data)
        with crowd(server, image_id) as results:
            pass
        assert results == [hashlib.sha512(data).hexdigest()] * CLIENTS
        assert reads(tmp_path) == 1
        # From now on it is a file, sent by the kernel where the server can.
        until(lambda: [*(tmp_path / 'cache' / 'whole').iterdir()], 'it is whole')
        (tmp_path / 'fast' / image_id).unlink()
        alpha.check(image_id, data)
        part = alpha('GET', f'/images/{image_id}/file', 206, headers={'Range': 'bytes=-9'})
        assert part.content == data[-9:]
        admin = Caller(server.url, 'operators', 'admin,member,reader')
        nodes = f'/cache/nodes/{image_id}'
        until(lambda: admin('GET', nodes, 200).json(), 'other hosts know it')
        assert 'Traceback' not in server.text()


def test_workers_are_killed_while_a_crowd_reads(tmp_path):
    """The clients of the worker that is killed are cut off; those of the other get all."""
    hold = tmp_path / 'hold'
    hold.touch()
    faults = f'fault = within get@{SIZE // 2} 1 wait {hold}'
    with processes.api(settings(tmp_path, faults)) as server:
        alpha, data = Caller(server.url, 'alpha'), noise(SIZE)
        image_id = alpha.create()
        alpha.upload(image_id, data)
        wanted = hashlib.sha512(data).hexdigest()
        with crowd(server, image_id) as results:
            growing = tmp_path / 'cache' / 'growing'
            until(lambda: any(path.stat().st_size >= SIZE // 2 for path in growing.iterdir()),
                  'half of it is there')  # fmt: skip
            writer = next(pid for pid in server.workers() if holds(pid, growing))
            os.kill(writer, signal.SIGKILL)
            hold.unlink()
        assert wanted in results or all(isinstance(one, Exception) for one in results)
        assert all(one == wanted or isinstance(one, Exception) for one in results)
        alpha = Caller(server.url, 'alpha')
        alpha.check(image_id, data)
        until(lambda: [*(tmp_path / 'cache' / 'whole').iterdir()], 'it is whole')
        assert reads(tmp_path) <= 2


def holds(pid, directory):
    """Whether a process has locked a file of a directory."""
    inodes = {str(path.stat().st_ino) for path in directory.iterdir()}
    # 1: FLOCK ADVISORY WRITE pid major:minor:inode 0 EOF
    lines = pathlib.Path('/proc/locks').read_text().splitlines()
    locks = [line.split() for line in lines if ' FLOCK ' in line and '->' not in line]
    return any(lock[4] == str(pid) and lock[5].rpartition(':')[2] in inodes for lock in locks)


def test_a_client_that_goes_away_in_the_midst_of_it(tmp_path):
    with processes.api(settings(tmp_path)) as server:
        alpha, data = Caller(server.url, 'alpha'), noise(SIZE)
        image_id = alpha.create()
        alpha.upload(image_id, data)
        url = f'{server.url}/v2/images/{image_id}/file'
        with requests.get(url, headers=processes.identity('alpha'), stream=True) as answer:
            next(answer.iter_content(1000))
        time.sleep(0.2)
        alpha.check(image_id, data)
        until(lambda: [*(tmp_path / 'cache' / 'whole').iterdir()], 'it is whole')
        assert 'Traceback' not in server.text()


def test_what_is_queued_comes(tmp_path):
    with processes.api(settings(tmp_path)) as server:
        alpha, data = Caller(server.url, 'alpha'), noise(SIZE)
        admin = Caller(server.url, 'operators', 'admin,member,reader')
        image_id = alpha.create()
        alpha.upload(image_id, data)
        admin('PUT', f'/cache/{image_id}', 202)

        def there():
            found = admin('GET', '/cache', 200).json()
            return [one['image_id'] for one in found['cached_images']] == [image_id]

        until(there, 'it is in the cache')
        assert admin('GET', '/cache', 200).json()['queued_images'] == []
        admin('DELETE', '/cache', 204)
        assert not there()
