# SPDX-License-Identifier: Apache-2.0
"""glance-lite-api at its edges: what its HTTP takes, and an early end."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from tests.peers.glance33 import free_port
from tests.servers import processes
from tests.servers.processes import BIN, until
from tests.servers.test_servers import Caller

#: seconds within which a process that is told to stop while it starts must have ended
SOON = 20

#: What administrators alone may see.
DETAIL = '/v2/info/stores/detail'


def ask(url: str, path: str, *headers: str) -> int:
    """The status of a request whose headers go as they are, in this order."""
    parts = urlsplit(url)
    lines = [f'GET {path} HTTP/1.1', 'Host: x', 'Connection: close', *headers, '', '']
    with socket.create_connection((parts.hostname, parts.port), processes.PATIENCE) as connection:
        connection.sendall('\r\n'.join(lines).encode())
        with connection.makefile('rb') as answer:
            return int(answer.readline().split()[1])


def lines_of(project: str, roles: str) -> list[str]:
    return [f'{name}: {value}' for name, value in processes.identity(project, roles).items()]


# --- headers


@pytest.mark.parametrize('limit', [2000, 60_000])
def test_the_longest_header_line_is_an_option(tmp_path, limit):
    """eventlet's own limit of 8192 lies between the two."""
    made = processes.settings(tmp_path, default=f'max_header_line = {limit}\nworkers = 1')
    with processes.api(made) as server:
        who = lines_of('alpha', 'member,reader')
        name = 'X-Filler: '

        def status(length: int) -> int:
            """With a header line of so many bytes."""
            return ask(server.url, '/v2/images', *who, name + 'x' * (length - len(name)))

        assert status(limit - 10) == 200
        assert 400 <= status(limit + 10) < 500
        # The request line has the same limit.
        start = '/v2/images?a_property='
        assert ask(server.url, start + 'x' * (limit - 100), *who) == 200
        assert ask(server.url, start + 'x' * limit, *who) == 414
        assert Caller(server.url, 'alpha').names() == []
        assert 'Traceback' not in server.text()


def test_headers_with_underscores_are_dropped(tmp_path):
    """They would be the same variable as those that a proxy has set, or stripped."""
    with processes.api(processes.settings(tmp_path, default='workers = 1')) as server:
        admin, member = (lines_of('alpha', roles) for roles in ('admin', 'member,reader'))
        forged = [
            line.partition(':')[0].replace('-', '_') + ':' + line.partition(':')[2]
            for line in admin
        ]
        assert ask(server.url, DETAIL, *admin) == 200
        assert ask(server.url, DETAIL, *member) == 403
        assert ask(server.url, DETAIL, *forged) == 401
        assert ask(server.url, DETAIL, *member, *forged) == 403
        assert ask(server.url, DETAIL, *forged, *member) == 403


# --- an early end


@contextlib.contextmanager
def starting(made: processes.Settings) -> Iterator[subprocess.Popen[bytes]]:
    """glance-lite-api from its first moment on."""
    (made.directory / 'port.conf').write_text(f'[DEFAULT]\nbind_port = {free_port()}\n')
    command = [BIN / 'glance-lite-api', '--config-file', made.file]
    command += ['--config-file', made.directory / 'port.conf']
    with open(made.directory / 'server.log', 'ab') as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            env=processes.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def group(number: int) -> list[int]:
    """Processes that run in a group, whoever is their parent by now."""
    found = []
    for path in pathlib.Path('/proc').glob('[0-9]*'):
        pid = int(path.name)
        with contextlib.suppress(ProcessLookupError):  # it has ended since
            if os.getpgid(pid) == number and processes.alive(pid):
                found.append(pid)
    return found


def takes_sigterm(pid: int) -> bool:
    """Whether a process has SIGTERM wait until it asks for it."""
    for line in pathlib.Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith('SigBlk:'):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def at_once(process: subprocess.Popen[bytes]) -> None:
    """As soon as there is a process."""


def with_signals_blocked(process: subprocess.Popen[bytes]) -> None:
    """The master is at work, workers may not be there."""
    spin(lambda: takes_sigterm(process.pid), 'SIGTERM is blocked')


def between_forks(process: subprocess.Popen[bytes]) -> None:
    """The first worker is there, the last one is not."""
    spin(lambda: processes.children(process.pid), 'a worker')


def spin(true: Callable[[], object], what: str) -> None:
    """Wait for what lasts for less than a millisecond."""
    deadline = time.monotonic() + processes.PATIENCE
    while not true():
        assert time.monotonic() < deadline, what


def ends(process: subprocess.Popen[bytes], log: pathlib.Path) -> None:
    """It ends soon, with a code that says by what, and nobody stays behind."""
    try:
        code = process.wait(SOON)
    except subprocess.TimeoutExpired:
        pytest.fail(f'{group(process.pid)} still run:\n{log.read_text()[-3000:]}')
    assert code in (0, 143, -signal.SIGTERM), log.read_text()[-3000:]
    until(lambda: not group(process.pid), 'its workers end', SOON)
    assert 'Traceback' not in log.read_text()


@pytest.fixture
def made(tmp_path) -> processes.Settings:
    """With so many workers that forking them takes a while."""
    return processes.settings(tmp_path, default='workers = 8')


@pytest.mark.parametrize('everybody', [False, True], ids=['master', 'group'])
@pytest.mark.parametrize(
    'moment',
    [at_once, with_signals_blocked, between_forks, 0.3, 0.6, 0.9, 1.2, 1.6, 2.0],
    ids=lambda moment: getattr(moment, '__name__', str(moment)),
)
def test_an_early_sigterm_leaves_nobody_behind(made, moment, everybody):
    """To the master as from an operator, and to its group as from systemd or a terminal."""
    with starting(made) as process:
        if callable(moment):
            moment(process)
        else:
            time.sleep(moment)
        if everybody:
            os.killpg(process.pid, signal.SIGTERM)
        else:
            process.send_signal(signal.SIGTERM)
        ends(process, made.directory / 'server.log')
