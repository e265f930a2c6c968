# SPDX-License-Identifier: Apache-2.0
"""Imports that are announced on a board in Redis: two workers, of which one is killed."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

from glance_lite.errors import ConfigurationError
from glance_lite.imports import board
from tests.faults.test_jobs import DATA, STAGING, ask, clean, image, prepare
from tests.faults.test_points import ENGINES, scene
from tests.peers.glance33 import free_port
from tests.servers import processes
from tests.servers.processes import until
from tests.servers.test_servers import MIB


@contextlib.contextmanager
def redis_server(directory: pathlib.Path, port: int):
    if not shutil.which('redis-server'):
        if os.environ.get('CI'):
            pytest.fail('redis-server is missing')
        pytest.skip('redis-server is not installed')
    command = ['redis-server', '--port', str(port), '--bind', '127.0.0.1', '--save', '']
    with (directory / 'redis.log').open('wb') as log:
        process = subprocess.Popen([*command, '--dir', directory], stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def worker(made, log):
    command = [processes.BIN / 'glance-lite-worker', '--config-file', made.server.settings.file]
    with log.open('ab') as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def settings(port: int) -> str:
    return (
        '[task]\napi_runs_jobs = false\ntask_executor = jobboard\n'
        f'jobboard_url = redis://127.0.0.1:{port}/0\n'
        # Who only looks at the database finds nothing for ten minutes.
        'poll_interval = 50\njobs_at_a_time = 1\n'
    )


@pytest.mark.parametrize('point', ['after take_job', f'within add@{MIB}', 'before commit_job'])
def test_two_workers(point, tmp_path):
    port = free_port()
    stores = STAGING + settings(port)
    with (
        redis_server(tmp_path, port),
        scene(tmp_path, ENGINES[0], f'{point} 1 kill', stores=stores) as made,
    ):
        logs = [tmp_path / 'first.log', tmp_path / 'second.log']
        with worker(made, logs[0]) as first, worker(made, logs[1]) as second:
            for log in logs:
                until(lambda log=log: 'Working' in log.read_text(), 'a worker')
            time.sleep(1)
            image_id = prepare(made)
            ask(made, image_id)
            both = (first, second)
            until(lambda: any(one.poll() is not None for one in both), 'one is dead')
            assert {one.poll() for one in both} == {None, -signal.SIGKILL}
            until(
                lambda: image(made, image_id)['status'] == 'active',
                'active: ' + ''.join(log.read_text()[-2000:] for log in logs),
            )
            clean(made)
            made.alpha.check(image_id, DATA)


def test_a_board_that_is_away(tmp_path):
    """The import is asked for all the same, and done by whoever looks at the database."""
    stores = STAGING + settings(free_port()).replace('poll_interval = 50', 'poll_interval = 1')
    with scene(tmp_path, ENGINES[0], stores=stores) as made:
        image_id = prepare(made)
        ask(made, image_id)
        with worker(made, tmp_path / 'worker.log'):
            until(lambda: image(made, image_id)['status'] == 'active', 'active')
            clean(made)


@contextlib.contextmanager
def etcd_server(directory: pathlib.Path, port: int):
    if not shutil.which('etcd'):
        if os.environ.get('CI'):
            pytest.fail('etcd is missing')
        pytest.skip('etcd is not installed')
    url, peer = f'http://127.0.0.1:{port}', f'http://127.0.0.1:{free_port()}'
    command = ['etcd', '--data-dir', directory / 'etcd', '--listen-client-urls', url]
    command += ['--advertise-client-urls', url, '--listen-peer-urls', peer]
    with (directory / 'etcd.log').open('wb') as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: 'ready to serve client' in (directory / 'etcd.log').read_text(), 'etcd')
        yield process
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize('server', [redis_server, etcd_server])
def test_a_note_is_taken_once(server, tmp_path):
    port = free_port()
    with server(tmp_path, port):
        url = f'{server.__name__.partition("_")[0]}://127.0.0.1:{port}'
        time.sleep(1)
        one, other = (board.Board(board.settings(url)) for _ in range(2))
        one.announce(7)
        (note,) = one.wait(10)
        (same,) = other.wait(10)
        assert note.details == {'serial': 7}
        with one.taken(note) as mine, other.taken(same) as theirs:
            assert (mine, theirs) == (True, False)
        assert one.wait(0.5) == other.wait(0.5) == []


def test_urls():
    found = board.settings('redis://:s%40crt@cache.example:6380/2')
    assert found == {
        'namespace': 'glance-lite', 'board': 'redis', 'host': 'cache.example', 'port': 6380,
        'db': '2', 'password': 's@crt',
    }  # fmt: skip
    found = board.settings('zookeeper://one:2181,two:2181/jobs')
    assert found == {'board': 'zookeeper', 'hosts': 'one:2181,two:2181', 'path': '/jobs'}
    assert board.settings('etcd://kv.example:2379')['port'] == 2379
    for wrong in ('', 'http://a.example', 'redis:', 'redis://a:b'):
        with pytest.raises(ConfigurationError, match='jobboard_url'):
            board.settings(wrong)
