# SPDX-License-Identifier: Apache-2.0
"""The servers that are measured, and what their processes use."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tests.peers import glance33

if TYPE_CHECKING:
    from benchmarks.backends import Backends

ROOT = pathlib.Path(__file__).resolve().parents[1]
TICK = os.sysconf('SC_CLK_TCK')

WORKERS = 2
#: of each process under uWSGI and gunicorn
THREADS = 4
#: seconds in which a server must have answered
PATIENCE = 90

STORES = """
enabled_backends = file:file
[glance_store]
default_backend = file
[file]
filesystem_store_datadir = {directory}/images
"""
RESERVED = """
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {directory}/tasks
"""
LITE = """
[DEFAULT]
bind_host = 127.0.0.1
bind_port = {port}
workers = {workers}
log_file = {own}/access.log
{stores}
[database]
connection = {database}
[paste_deploy]
flavor = trusted-auth
config_file = {root}/etc/glance-api-paste.ini
[oslo_policy]
policy_file = {own}/policy.yaml
"""
NGINX = """
{user}
worker_processes {workers};
pid {own}/pid;
error_log {own}/error.log;
events {{ }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path {own}/body;
    proxy_temp_path {own}/proxy;
    fastcgi_temp_path {own}/fastcgi;
    uwsgi_temp_path {own}/uwsgi;
    scgi_temp_path {own}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location ~ ^/v2/images/(?<id>[^/]+)/file$ {{ alias {directory}/images/$id; }}
    }}
}}
"""
#: what every server must answer before it is measured; nginx and the bare program take anything
FIRST = (
    'GET /v2/images?limit=1 HTTP/1.1\r\nHost: image.example\r\nX-Identity-Status: Confirmed\r\n'
    'X-Roles: member,reader\r\nX-Project-Id: project-0\r\nX-User-Id: first\r\n\r\n'
)


@dataclasses.dataclass(frozen=True)
class World:
    """A database with its services; all worlds share one directory of images."""

    name: str
    directory: pathlib.Path
    database: str
    #: the stores, where there are more than files
    backends: Backends | None = None

    def own(self, server: str) -> pathlib.Path:
        """An empty directory for one server, which may have run before."""
        path = self.directory / f'{self.name}-{server}'
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path


@dataclasses.dataclass(frozen=True)
class Side:
    """A running server."""

    name: str
    port: int
    pid: int
    #: seconds from its start to its first answer
    start: float
    #: whether it keeps a connection open after an answer
    keep: bool = True
    #: where more clients than it has threads can ask, each request on a connection of its own
    crowd: int | None = None

    def pids(self) -> list[int]:
        return tree(self.pid)


TITLES = {
    'glance': 'Glance 33',
    'lite': 'glance-lite',
    'lite-uwsgi': 'glance-lite, uWSGI',
    'lite-gunicorn': 'glance-lite, gunicorn',
    'lite-sha256': 'glance-lite, SHA-256 alone',
    'nginx': 'nginx',
    'bare': 'bare program',
    'bare-sha256': 'bare program, SHA-256 alone',
    'direct': 'backend alone',
}


def tool(name: str) -> str:
    """A command of the environment this runs in."""
    return str(pathlib.Path(sys.executable).parent / name)


def missing(name: str) -> str | None:
    """Why a server cannot be measured here, None when it can."""
    if name == 'nginx' and _nginx() is None:
        return 'nginx is not installed (apt-get install nginx-light)'
    if name == 'lite-sha256' and without_checksum() is None:
        return 'this glance-lite always computes MD5'
    if name in ('lite-uwsgi', 'lite-gunicorn'):
        program = name.removeprefix('lite-')
        if not os.path.exists(tool(program)):
            return f'{program} is not installed'
    return None


def _nginx() -> str | None:
    return shutil.which('nginx', path=os.environ.get('PATH', '') + ':/usr/sbin:/usr/local/sbin')


def without_checksum() -> str | None:
    """The line that turns MD5 off, None where there is no such option."""
    from glance_lite import conf

    for group, options in conf.options().items():
        for option in options:
            if option.dest == CHECKSUM:
                return f'[{group}]\n{CHECKSUM} = false'
    return None


#: option that leaves `checksum` null
CHECKSUM = 'compute_checksum'


def prepare(world: World) -> None:
    """The schema by Glance's own tool, then our tables and indexes."""
    etc = glance33.write_settings(world.own('schema'), world.database, stores(world))
    glance33.manage(etc, 'db', 'sync')
    command = [tool('glance-lite-manage'), '--config-file', str(lite_settings(world, 'lite', 1))]
    done = subprocess.run([*command, 'db', 'sync'], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def stores(world: World) -> str:
    return our_stores(world) + RESERVED.format(directory=world.directory)


def our_stores(world: World) -> str:
    if world.backends is not None:
        return world.backends.settings()
    return STORES.format(directory=world.directory)


def lite_settings(world: World, name: str, port: int) -> pathlib.Path:
    own = world.own(name)
    file = own / 'glance-api.conf'
    file.write_text(
        LITE.format(
            own=own,
            port=port,
            workers=WORKERS,
            root=ROOT,
            database=world.database,
            stores=our_stores(world),
        )
    )
    return file


# --- starting


def start(name: str, world: World) -> contextlib.AbstractContextManager[Side]:
    """A server, for the length of a block."""
    return _STARTS[name](name, world)


@contextlib.contextmanager
def _running(
    name: str,
    command: list[str],
    own: pathlib.Path,
    port: int,
    environment: dict[str, str] | None = None,
    **more: object,
) -> Iterator[Side]:
    log = own / 'output'
    with open(log, 'ab') as out:
        begun = time.monotonic()
        process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            # Ctrl-C is for us; we stop it.
            start_new_session=True,
            cwd=own,
        )
    try:
        _first_answer(port, process, log)
        side = Side(name, port, process.pid, time.monotonic() - begun)
        yield dataclasses.replace(side, **more)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            pass
        # Also what it may have left behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _first_answer(port: int, process: subprocess.Popen[bytes], log: pathlib.Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f'{process.args!r} ended:\n{log.read_text()[-4000:]}')
        with contextlib.suppress(OSError):
            with socket.create_connection(('127.0.0.1', port), PATIENCE) as connection:
                connection.sendall(FIRST.encode())
                if connection.recv(65536).startswith((b'HTTP/1.1 2', b'HTTP/1.1 404')):
                    return
        time.sleep(0.005)
    raise RuntimeError(f'{process.args!r} does not answer:\n{log.read_text()[-4000:]}')


def _glance(name: str, world: World) -> contextlib.AbstractContextManager[Side]:
    own = world.own(name)
    etc = glance33.write_settings(own, world.database, stores(world))
    port, plain = glance33.free_port(), glance33.free_port()
    # A plain HTTP socket closes the connection after each answer, http11-socket keeps it open,
    # and the thread with it: for more clients than threads there is only the plain one.
    command = [
        *glance33.command(plain, WORKERS, THREADS),
        '--http11-socket',
        f'127.0.0.1:{port}',
    ]
    return _running(name, command, own, port, glance33.environment(etc), crowd=plain)


def _lite(name: str, world: World) -> contextlib.AbstractContextManager[Side]:
    port = glance33.free_port()
    file = lite_settings(world, name, port)
    command = [tool('glance-lite-api'), '--config-file', str(file)]
    return _running(name, command, file.parent, port)


def _lite_sha256(name: str, world: World) -> contextlib.AbstractContextManager[Side]:
    port = glance33.free_port()
    file = lite_settings(world, name, port)
    with open(file, 'a') as settings:
        settings.write(f'{without_checksum()}\n[glance_store]\nhashing_algorithm = sha256\n')
    command = [tool('glance-lite-api'), '--config-file', str(file)]
    return _running(name, command, file.parent, port)


def _lite_uwsgi(name: str, world: World) -> contextlib.AbstractContextManager[Side]:
    port = glance33.free_port()
    file = lite_settings(world, name, port)
    ini = file.with_name('uwsgi.ini')
    ini.write_text(
        (ROOT / 'etc' / 'uwsgi' / 'glance-lite.ini')
        .read_text()
        .replace('127.0.0.1:9292', f'127.0.0.1:{port}')
        .replace('/etc/glance', str(file.parent))
    )
    command = [tool('uwsgi'), '--ini', str(ini), '--py-sys-executable', sys.executable]
    command.append('--disable-logging')
    return _running(name, command, ini.parent, port, {'VIRTUAL_ENV': sys.prefix}, keep=False)


def _lite_gunicorn(name: str, world: World) -> contextlib.AbstractContextManager[Side]:
    port = glance33.free_port()
    own = lite_settings(world, name, port).parent
    command = [
        tool('gunicorn'),
        '--bind', f'127.0.0.1:{port}',
        '--worker-class', 'gthread',
        '--workers', str(WORKERS),
        '--threads', str(THREADS),
        '--control-socket', f'{own}/control',
        'glance_lite.wsgi:application',
    ]  # fmt: skip
    return _running(name, command, own, port, {'OS_GLANCE_CONFIG_DIR': str(own)})


def _nginx_server(name: str, world: World) -> contextlib.AbstractContextManager[Side]:
    own, port = world.own(name), glance33.free_port()
    settings = own / 'nginx.conf'
    settings.write_text(
        NGINX.format(
            own=own,
            port=port,
            workers=WORKERS,
            directory=world.directory,
            # The directory is ours alone.
            user='user root;' if os.getuid() == 0 else '',
        )
    )
    command = [str(_nginx()), '-p', str(own), '-c', str(settings), '-g', 'daemon off;']
    return _running(name, command, own, port)


def _bare(*hashes: str) -> Callable[[str, World], contextlib.AbstractContextManager[Side]]:
    def run(name: str, world: World) -> contextlib.AbstractContextManager[Side]:
        port = glance33.free_port()
        program = str(pathlib.Path(__file__).with_name('bare.py'))
        images = str(world.directory / 'images')
        return _running(
            name, [sys.executable, program, str(port), images, *hashes], world.own(name), port
        )

    return run


_STARTS: dict[str, Callable[[str, World], contextlib.AbstractContextManager[Side]]] = {
    'glance': _glance,
    'lite': _lite,
    'lite-uwsgi': _lite_uwsgi,
    'lite-gunicorn': _lite_gunicorn,
    'lite-sha256': _lite_sha256,
    'nginx': _nginx_server,
    'bare': _bare('md5', 'sha512'),
    'bare-sha256': _bare('sha256'),
}


# --- what processes use, from /proc


def tree(pid: int) -> list[int]:
    """A process and all that it and its children have started."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in pathlib.Path(f'/proc/{pid}/task').iterdir():
            for child in (task / 'children').read_text().split():
                found += tree(int(child))
    return found


def cpu(pids: list[int]) -> dict[int, float]:
    """Seconds of processor time of each that is still there."""
    result = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
            result[pid] = (int(fields[11]) + int(fields[12])) / TICK
    return result


def spent(before: dict[int, float], after: dict[int, float]) -> float:
    """Seconds of processor time between two measurements; new processes count from 0."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def busy() -> float:
    """Seconds of processor time of the whole machine."""
    # user, nice, system; then come idle, iowait, irq, softirq, steal
    fields = pathlib.Path('/proc/stat').read_text().splitlines()[0].split()[1:]
    return sum(int(fields[number]) for number in (0, 1, 2, 5, 6, 7)) / TICK


def proportional(pids: list[int]) -> float:
    """Resident size in MiB, with what processes share counted once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines():
                if line.startswith('Pss:'):
                    total += int(line.split()[1])
    return total / 1024
