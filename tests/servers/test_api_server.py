# SPDX-License-Identifier: Apache-2.0
"""glance-lite-api as a process: what signals, kills and a master mean to those it serves."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import uuid
from collections.abc import Iterator

import pytest
import requests

from tests.backends import databases
from tests.servers import processes
from tests.servers.processes import alive, until
from tests.servers.test_servers import MIB, Caller, noise


@pytest.fixture
def server(tmp_path) -> Iterator[processes.Server]:
    with processes.api(processes.settings(tmp_path, default='debug = false')) as running:
        yield running


@contextlib.contextmanager
def slow_download(server: processes.Server, data: bytes) -> Iterator[requests.Response]:
    """A download that has begun and does not go on before the caller reads."""
    alpha = Caller(server.url, 'alpha')
    image_id = alpha.create(name='large')
    alpha.upload(image_id, data)
    with requests.get(
        f'{server.url}/v2/images/{image_id}/file',
        headers=processes.identity('alpha'),
        stream=True,
        timeout=60,
    ) as answer:
        assert answer.status_code == 200
        yield answer


def test_sigterm_lets_a_download_end(server):
    data = noise(64 * MIB)
    with slow_download(server, data) as answer:
        first = answer.raw.read(MIB)
        workers = server.workers()
        server.process.send_signal(signal.SIGTERM)
        # The one that has nothing to do ends, the other one waits for its client.
        until(lambda: sum(alive(pid) for pid in workers) == 1, 'the idle worker ends')
        assert first + answer.raw.read() == data
    assert server.process.wait(processes.PATIENCE) == 0
    until(lambda: not any(alive(pid) for pid in workers), 'the workers end')
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url, timeout=5)


def test_sighup_with_a_broken_file_changes_nothing(server):
    server.settings.edit('debug = false', 'debug = false\nthis is no option')
    server.process.send_signal(signal.SIGHUP)
    line = server.wait_for_line('ERROR')
    assert str(server.settings.file) in line
    assert Caller(server.url, 'alpha').names() == []


def test_a_killed_worker_is_replaced(server):
    before = server.workers()
    os.kill(before[0], signal.SIGKILL)
    Caller(server.url, 'alpha').names()
    server.wait_for_line(f'Worker {before[0]} has died')
    until(lambda: len(server.workers()) == 2, 'two workers')
    assert before[0] not in server.workers()
    assert before[1] in server.workers()
    # Whichever of them takes the connection.
    assert [Caller(server.url, 'alpha').names() for _ in range(10)] == [[]] * 10


def test_workers_end_when_the_master_was_killed(server):
    workers = server.workers()
    assert len(workers) == 2
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in workers), 'the workers end')
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url, timeout=5)


def test_one_access_line_for_each_request(server):
    given = f'req-{uuid.uuid4()}'
    headers = {**processes.identity('alpha'), 'X-OpenStack-Request-ID': given}
    listed = requests.get(f'{server.url}/v2/images?limit=3', headers=headers, timeout=60)
    headers.pop('X-OpenStack-Request-ID')
    missing = requests.get(f'{server.url}/v2/images/nothing', headers=headers, timeout=60)
    refused = requests.get(f'{server.url}/v2/images', timeout=60)
    assert listed.headers['X-OpenStack-Request-ID'] == given
    for answer, request in (
        (listed, 'GET /v2/images\\?limit=3'),
        (missing, 'GET /v2/images/nothing'),
        (refused, 'GET /v2/images'),
    ):
        request_id = answer.headers['X-OpenStack-Request-ID']
        assert re.fullmatch('req-[0-9a-f-]{36}', request_id)
        line = server.wait_for_line(f'"{request}" {answer.status_code} ')
        assert f' {len(answer.content)} ' in line
        if answer is not refused:  # nobody is known by then
            assert request_id in line
            assert len(server.lines(request_id)) == 1


@pytest.mark.parametrize('engine', databases.ENGINES)
def test_the_master_has_nothing_to_share(engine, tmp_path):
    """No thread, no hub and no connection but the listening socket, while its workers serve."""
    databases.require(engine)
    url = databases.create(engine, tmp_path)
    try:
        with processes.api(processes.settings(tmp_path, url)) as server:
            alpha = Caller(server.url, 'alpha')
            alpha.upload(alpha.create(), noise(MIB))
            assert os.listdir(f'/proc/{server.pid}/task') == [str(server.pid)]
            opened = descriptors(server.pid)
            assert sum(name.startswith('socket:') for name in opened) == 1
            assert not [name for name in opened if 'eventpoll' in name or 'sqlite' in name]
            # The same look finds a hub where there is one.
            assert [name for name in descriptors(server.workers()[0]) if 'eventpoll' in name]
    finally:
        databases.drop(url)


def descriptors(pid: int) -> list[str]:
    """What the open descriptors of a process are."""
    return [os.readlink(path) for path in pathlib.Path(f'/proc/{pid}/fd').iterdir()]


def test_sighup_reads_debug_anew_and_drops_nobody(server):
    data = noise(64 * MIB)
    alpha = Caller(server.url, 'alpha')
    alpha.names()
    assert not server.lines(' DEBUG ')
    with slow_download(server, data) as answer:
        first = answer.raw.read(MIB)
        server.settings.edit('debug = false', 'debug = true')
        server.process.send_signal(signal.SIGHUP)

        def debugs() -> bool:
            alpha.names()  # over the connection it had before
            return bool(server.lines(' DEBUG '))

        until(debugs, 'lines of level DEBUG')
        assert first + answer.raw.read() == data
