# SPDX-License-Identifier: Apache-2.0
"""glance-lite-api as a service of systemd: sd_notify(3), the watchdog, and the unit we ship."""

from __future__ import annotations

import configparser
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Iterator

import pytest
from oslo_config import cfg

from glance_lite.conf import server as options
from tests.servers import processes
from tests.servers.processes import ROOT, until
from tests.servers.test_servers import Caller
from tests.servers.test_stop import begin_upload
from tests.servers.wire import Wire

UNIT = ROOT / 'etc' / 'systemd' / 'glance-lite-api.service'

#: A store that leaves the environment of each process that starts it.
DRIVER = """
import os

from oslo_config import cfg

from store_drivers.file import FileStore


class NotingStore(FileStore):
    opts = [*FileStore.opts, cfg.StrOpt('notes')]

    def start(self):
        super().start()
        with open(f"{self.settings['notes']}/environment-{os.getpid()}", 'w') as out:
            out.write('\\n'.join(sorted(os.environ)))
"""

STORE = """
enabled_backends = fast:noting
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {directory}/fast
notes = {directory}
"""

#: seconds between two signs of life that the server is asked for
INTERVAL = 1.0


class Manager:
    """The socket at which systemd listens."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind('\0' + address[1:] if address.startswith('@') else address)
        #: process ids of all who have written
        self.writers: set[int] = set()

    def next(self, seconds: float = processes.PATIENCE) -> dict[str, str]:
        """What is said next; raises `TimeoutError`."""
        self.socket.settimeout(seconds)
        credentials = struct.Struct('3i')
        data, extra, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(credentials.size))
        for level, kind, value in extra:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS)
            self.writers.add(credentials.unpack(value)[0])
        return dict(line.split('=', 1) for line in data.decode().split('\n'))

    def until(self, name: str) -> dict[str, str]:
        """The next message with this name; signs of life may come before it, and nothing else."""
        deadline = time.monotonic() + processes.PATIENCE
        while time.monotonic() < deadline:
            message = self.next()
            if name in message:
                return message
            assert message == {'WATCHDOG': '1'}, message
        raise AssertionError(f'no {name}')

    def forget(self) -> None:
        """What has been said so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.socket.setblocking(False)
                self.socket.recv(4096)


@pytest.fixture(scope='module')
def manager(tmp_path_factory) -> Iterator[Manager]:
    made = Manager(str(tmp_path_factory.mktemp('notify') / 'socket'))
    yield made
    made.socket.close()


@pytest.fixture(scope='module')
def server(manager, tmp_path_factory) -> Iterator[processes.Server]:
    """One that serves, watched, whose workers may be silent for 10 s."""
    directory = tmp_path_factory.mktemp('systemd')
    plugins = directory / 'plugins'
    info = plugins / 'noting_store-1.dist-info'
    info.mkdir(parents=True)
    (plugins / 'noting_store.py').write_text(DRIVER)
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: noting-store\nVersion: 1\n')
    (info / 'entry_points.txt').write_text(
        '[glance_lite.stores]\nnoting = noting_store:NotingStore\n'
    )
    path = os.pathsep.join(filter(None, (str(plugins), os.environ.get('PYTHONPATH'))))
    made = processes.settings(directory, default='worker_timeout = 10', stores=STORE)
    with processes.api(
        made,
        NOTIFY_SOCKET=manager.address,
        WATCHDOG_USEC=str(int(2 * INTERVAL * 1e6)),
        PYTHONPATH=path,
        XDG_CACHE_HOME=str(directory / 'cache'),
    ) as running:
        ready = manager.until('READY')
        assert ready['READY'] == '1'
        assert ready['STATUS'] == f'Serving on {running.url.removeprefix("http://")}'
        assert Caller(running.url, 'alpha').names() == []
        yield running


# In this order: each leaves a server that serves, and the last one ends it.


def test_signs_of_life(manager, server):
    manager.forget()
    manager.until('WATCHDOG')
    begun = time.monotonic()
    for _ in range(3):
        assert manager.next(30) == {'WATCHDOG': '1'}
    taken = time.monotonic() - begun
    assert 2 * INTERVAL < taken < 3 * 2 * INTERVAL + 5, taken
    assert manager.writers == {server.pid}


def test_a_reload(manager, server):
    manager.forget()
    before = set(server.workers())
    asked = time.monotonic_ns() // 1000
    server.process.send_signal(signal.SIGHUP)
    reloading = manager.until('RELOADING')
    assert reloading['RELOADING'] == '1'
    assert asked <= int(reloading['MONOTONIC_USEC']) <= time.monotonic_ns() // 1000
    ready = manager.until('READY')
    assert ready['STATUS'].startswith('Serving on')
    assert set(server.workers()) - before
    manager.until('WATCHDOG')
    assert manager.writers == {server.pid}, 'only the master speaks'


def test_a_reload_that_is_refused(manager, server):
    manager.forget()
    server.settings.edit('fast:noting', 'fast:tape')
    server.process.send_signal(signal.SIGHUP)
    manager.until('RELOADING')
    status = manager.until('READY')['STATUS']
    assert 'refused' in status and '[DEFAULT] enabled_backends' in status
    server.settings.edit('fast:tape', 'fast:noting')
    assert Caller(server.url, 'alpha').names() == []


def test_nobody_inherits_it(manager, server):
    """Neither workers, nor the check before a reload, nor the workers after it."""
    manager.forget()
    server.process.send_signal(signal.SIGHUP)
    manager.until('RELOADING')
    manager.until('READY')
    notes = list(server.settings.directory.glob('environment-*'))
    assert len(notes) >= 5  # two workers, a check, two workers
    assert not [name for name in notes if name.name == f'environment-{server.pid}']
    for note in notes:
        names = note.read_text().split('\n')
        assert 'PATH' in names
        assert not {'NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID'} & set(names), note


def test_a_worker_that_hangs_is_replaced(manager, server):
    until(lambda: len(server.workers()) == 2, 'two workers')
    hung, other = server.workers()
    os.kill(hung, signal.SIGSTOP)
    server.wait_for_line(f'Worker {hung} has not answered for 10 s')
    until(lambda: len(set(server.workers()) - {hung}) == 2, 'another worker')
    assert other in server.workers()
    assert not processes.alive(hung)
    manager.forget()
    manager.until('WATCHDOG')
    assert [Caller(server.url, 'alpha').names() for _ in range(5)] == [[]] * 5


def test_a_master_that_hangs_is_silent(manager, server):
    os.kill(server.pid, signal.SIGSTOP)
    try:
        time.sleep(0.2)
        manager.forget()
        with pytest.raises(TimeoutError):
            manager.next(3 * INTERVAL)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    manager.until('WATCHDOG')


def test_the_end(manager, server):
    with Wire(server.url) as wire:
        begin_upload(server, wire, 1000)
        manager.forget()
        server.process.send_signal(signal.SIGTERM)
        stopping = manager.until('STOPPING')
        assert stopping['STOPPING'] == '1'
        # What requests have, and what they need to clean up.
        assert 60e6 <= int(stopping['EXTEND_TIMEOUT_USEC']) <= 75e6
        assert manager.until('WATCHDOG'), 'it goes on to live while it ends'
        wire.send(b'x' * 999)
        assert wire.answer('PUT')[0] == 204
    assert server.process.wait(processes.PATIENCE) == 0
    assert manager.writers == {server.pid}


def test_an_abstract_socket(tmp_path):
    """Such as systemd uses in containers; and who asks for no signs of life gets none."""
    manager = Manager(f'@glance-lite-test-{uuid.uuid4()}')
    with (
        contextlib.closing(manager.socket),
        processes.api(processes.settings(tmp_path), NOTIFY_SOCKET=manager.address) as server,
    ):
        assert manager.next()['READY'] == '1'
        server.process.send_signal(signal.SIGTERM)
        assert manager.next()['STOPPING'] == '1'
        assert server.process.wait(processes.PATIENCE) == 0
        with pytest.raises(TimeoutError):
            manager.next(0.1)


def test_a_socket_to_which_nobody_listens(tmp_path):
    """Nor does one that is full hold anybody up."""
    made = Manager(str(tmp_path / 'notify'))
    with contextlib.closing(made.socket), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                one.sendto(b'full', made.address)
        settings = processes.settings(tmp_path)
        with processes.api(settings, NOTIFY_SOCKET=made.address, WATCHDOG_USEC='200000') as server:
            made.socket.close()
            os.unlink(made.address)
            time.sleep(1)
            assert Caller(server.url, 'alpha').names() == []


# --- the unit


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser


def default(name: str) -> int:
    found = [one for one in options.OPTIONS['DEFAULT'] if one.name == name]
    assert isinstance(found[0], cfg.Opt)
    return int(found[0].default)


def test_the_unit_speaks_the_protocol():
    service = unit()['Service']
    assert service['Type'] == 'notify'
    assert service['NotifyAccess'] == 'main'
    assert service['ExecReload'] == '/bin/kill -HUP $MAINPID'
    assert service['KillMode'] == 'mixed', 'SIGTERM is for the master, which passes it on'
    assert service['ExecStart'].endswith('--config-file /etc/glance/glance-api.conf')


def test_the_times_of_the_unit_are_those_of_the_options():
    service = unit()['Service']
    # `stopping` asks for the time of the option and 10 s to clean up.
    assert int(service['TimeoutStopSec']) > default('graceful_shutdown_timeout') + 10
    # A worker that hangs is the master's business first; systemd ends all of them.
    assert int(service['WatchdogSec']) > default('worker_timeout') + 10


def test_systemd_understands_the_unit(tmp_path):
    """As it would on a host that has the user and the command."""
    program = processes.required(shutil.which('systemd-analyze'), 'systemd')
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace('/usr/bin/glance-lite-api', '/bin/true'))
    done = subprocess.run(
        [program, 'verify', '--man=no', '--recursive-errors=no', copy],
        capture_output=True,
        text=True,
        timeout=processes.PATIENCE,
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if UNIT.name in line]
    assert not said, said


def test_the_unit_may_write_where_the_samples_say():
    """What is hidden or read-only by it is nothing that the service needs."""
    service = unit()['Service']
    writable = service['ReadWritePaths'].split()
    assert '/var/lib/glance' in [path.lstrip('-') for path in writable]
    assert pathlib.PurePath('/etc/glance') not in map(pathlib.PurePath, writable)
