# SPDX-License-Identifier: Apache-2.0
"""SIGTERM: what runs may end, for so long as the option says."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator

import pytest

from tests.servers import processes
from tests.servers.processes import alive, until
from tests.servers.test_servers import MIB, Caller, noise
from tests.servers.wire import Wire

OCTETS = 'application/octet-stream'


@pytest.fixture
def server(tmp_path, limit) -> Iterator[processes.Server]:
    made = processes.settings(tmp_path, default=f'graceful_shutdown_timeout = {limit}')
    with processes.api(made) as running:
        yield running


def begin_upload(server: processes.Server, wire: Wire, size: int) -> str:
    """An upload of which the service has one byte."""
    alpha = Caller(server.url, 'alpha')
    image_id = alpha.create()
    path = f'/v2/images/{image_id}/file'
    wire.send(wire.head('PUT', path, Content_Type=OCTETS, Content_Length=size) + b'x')
    until(lambda: alpha.show(image_id)['status'] == 'saving', 'the upload has begun')
    return image_id


def nothing_is_left(server: processes.Server, image_id: str) -> None:
    """Seen by the next server on the same settings."""
    assert server.process.wait(processes.PATIENCE) == 0
    assert server.files() == []
    with processes.api(server.settings) as following:
        assert Caller(following.url, 'alpha').show(image_id)['status'] == 'queued'


@pytest.mark.parametrize('limit', [60, 0])
def test_what_runs_may_end(server):
    data = b'x' + noise(MIB)
    workers = server.workers()
    with Wire(server.url) as wire, Wire(server.url) as idle:
        idle.ask('GET', '/v2/images')
        begin_upload(server, wire, len(data))
        server.process.send_signal(signal.SIGTERM)
        until(lambda: sum(alive(pid) for pid in workers) == 1, 'the idle worker ends')
        with pytest.raises(ConnectionError):
            Wire(server.url)
        wire.send(data[1:])
        assert wire.answer('PUT')[0] == 204
        assert wire.closed, 'the answer says that it is the last one'
        assert idle.socket.recv(1) == b''
    assert server.process.wait(processes.PATIENCE) == 0
    assert len(server.files()) == 1


@pytest.mark.parametrize('limit', [2])
def test_what_takes_too_long_is_cut_off_cleanly(server):
    with Wire(server.url) as wire:
        image_id = begin_upload(server, wire, MIB)
        server.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        server.process.wait(processes.PATIENCE)
        assert time.monotonic() - begun >= 2
        nothing_is_left(server, image_id)


@pytest.mark.parametrize('limit', [600])
@pytest.mark.parametrize('second', [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_ends_at_once(server, second):
    with Wire(server.url) as wire:
        image_id = begin_upload(server, wire, MIB)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        assert server.process.poll() is None
        server.process.send_signal(second)
        nothing_is_left(server, image_id)


@pytest.mark.parametrize('limit', [600])
def test_a_stop_takes_those_along_who_drain(server):
    """Workers of a generation before end with the master as well."""
    with Wire(server.url) as wire:
        image_id = begin_upload(server, wire, MIB)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: len(server.lines('Serving on')) == 2, 'another generation')
        until(lambda: len(server.workers()) == 3, 'the one that has nothing to do ends')
        # Nobody is in a hurry: it has no limit.
        assert json.loads(Wire(server.url).ask('GET', f'/v2/images/{image_id}')[1])['id']
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        server.process.send_signal(signal.SIGTERM)
        nothing_is_left(server, image_id)
