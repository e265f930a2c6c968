# SPDX-License-Identifier: Apache-2.0
"""Real PostgreSQL and MariaDB servers for tests: one of each per test run.

The first one to ask starts a server on a free port under a temporary directory; pytest-xdist
workers share it through a file. A watchdog beside each server ends it when the test run is
over, however that came about.

Use from a test through the fixtures in `tests.backends.fixtures`, from a script as::

    with databases.session():
        url = databases.create('postgresql')
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable

import pytest

ENGINES = ('sqlite', 'postgresql', 'mysql')
#: names the directory the servers of this run live in; workers inherit it
DIRECTORY = 'GLANCE_LITE_TEST_DATABASES'
#: when 1, a server that is not installed fails the test instead of skipping it
REQUIRE = 'GLANCE_LITE_REQUIRE_PEERS'

# Runs the server and ends it as soon as the test run's process is gone or the file is removed.
WATCHDOG = """
import os, signal, subprocess, sys, time
owner, keep, term, *command = sys.argv[1:]
child = subprocess.Popen(command)
signal.signal(signal.SIGTERM, lambda *a: sys.exit(0))
try:
    while child.poll() is None and os.path.exists(keep) and os.path.exists('/proc/' + owner):
        time.sleep(0.2)
finally:
    if child.poll() is None:
        child.send_signal(int(term))
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
"""


def begin() -> None:
    """Called once by the process that owns the test run."""
    if DIRECTORY not in os.environ:
        path = tempfile.mkdtemp(prefix='glance-lite-db-')
        os.chmod(path, 0o755)
        pathlib.Path(path, 'owner').write_text(str(os.getpid()))
        os.environ[DIRECTORY] = path


def end() -> None:
    """Stop what was started and remove its files; only the owner does."""
    path = os.environ.get(DIRECTORY)
    if not path or pathlib.Path(path, 'owner').read_text() != str(os.getpid()):
        return
    for keep in glob.glob(path + '/*.keep'):
        os.unlink(keep)
    for pid in [int(pathlib.Path(name).read_text()) for name in glob.glob(path + '/*.pid')]:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        while os.path.exists(f'/proc/{pid}'):
            time.sleep(0.05)
    shutil.rmtree(path, ignore_errors=True)
    del os.environ[DIRECTORY]


@contextlib.contextmanager
def session():
    """For scripts: servers live as long as this block."""
    begin()
    try:
        yield
    finally:
        end()


def missing(engine: str) -> str | None:
    """Why a server cannot be had, None when it can."""
    if engine == 'postgresql' and not _postgres_bin():
        return 'PostgreSQL is not installed (apt-get install postgresql)'
    if engine == 'mysql' and not shutil.which('mariadbd', path=_path()):
        return 'MariaDB is not installed (apt-get install mariadb-server)'
    return None


def require(engine: str) -> None:
    """Skip the test, or fail it where servers are demanded, if the engine is not there."""
    reason = missing(engine)
    if reason and os.environ.get(REQUIRE) == '1':
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def create(engine: str, directory: pathlib.Path | None = None) -> str:
    """An empty database of its own; the url for SQLAlchemy. Starts the server if need be."""
    if engine == 'sqlite':
        return f'sqlite:///{directory or tempfile.mkdtemp()}/{_new_name()}.sqlite'
    return _create(engine, _server(engine))


def _new_name() -> str:
    return 'test_' + uuid.uuid4().hex[:12]


def _create(engine: str, server: dict) -> str:
    name = _new_name()
    if engine == 'postgresql':
        _postgres(server, f'CREATE DATABASE {name} TEMPLATE template0')
        return f'postgresql+psycopg2://postgres@127.0.0.1:{server["port"]}/{name}'
    _mariadb(server, f'CREATE DATABASE {name} CHARACTER SET utf8mb3')
    return f'mysql+pymysql://test:test@127.0.0.1:{server["port"]}/{name}?charset=utf8mb3'


def drop(url: str) -> None:
    """Remove a database made by `create`; connections that are still open are cut."""
    engine, rest = url.split(':', 1)
    if engine == 'sqlite':
        for path in glob.glob(rest.removeprefix('///') + '*'):
            os.unlink(path)
        return
    name = rest.split('?')[0].rpartition('/')[2]
    if engine.startswith('postgresql'):
        _postgres(_server('postgresql'), f'DROP DATABASE IF EXISTS {name} WITH (FORCE)')
    else:
        _mariadb(_server('mysql'), f'DROP DATABASE IF EXISTS {name}')


class Alone:
    """A server of a test's own, which it may freeze, stop and start again::

    with databases.Alone('postgresql') as server:
        ...server.create()...
    """

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._start = _start_postgres if engine == 'postgresql' else _start_mariadb
        self._frozen: list[int] = []

    def __enter__(self) -> Alone:
        self._base = pathlib.Path(tempfile.mkdtemp(prefix='glance-lite-db-'))
        self._base.chmod(0o755)
        (self._base / 'owner').write_text(str(os.getpid()))
        self._server = self._start(self._base, None)
        return self

    def __exit__(self, *error: object) -> None:
        self.thaw()
        self.stop()
        shutil.rmtree(self._base, ignore_errors=True)

    def create(self) -> str:
        """An empty database; the url for SQLAlchemy."""
        return _create(self._engine, self._server)

    def freeze(self) -> None:
        """It stops answering, and nobody is told: what a lost network looks like."""
        pid = self._server['server_pid']
        # The first one first, or it would start others.
        os.kill(pid, signal.SIGSTOP)
        self._frozen = [pid, *_children(pid)]
        for child in self._frozen[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self._frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._frozen = []

    def stop(self) -> None:
        """It ends, connections break and new ones are refused."""
        keep = self._base / f'{self._engine}.keep'
        keep.unlink(missing_ok=True)
        watchdog = int((self._base / f'{self._engine}.pid').read_text())
        with contextlib.suppress(ChildProcessError):
            os.waitpid(watchdog, 0)

    def start(self) -> None:
        """It is there again, on the same port with the same data."""
        self._server = self._start(self._base, self._server['port'])


def _children(pid: int) -> list[int]:
    """Of a process and all its threads."""
    tasks = glob.glob(f'/proc/{pid}/task/*/children')
    return [int(word) for task in tasks for word in pathlib.Path(task).read_text().split()]


# --- servers


def _server(engine: str) -> dict:
    """The running server, started when nobody did yet."""
    start = _start_postgres if engine == 'postgresql' else _start_mariadb
    return shared(engine, lambda base: start(base, None))


def shared(name: str, start: Callable[[pathlib.Path], dict]) -> dict:
    """What `start` tells of the server of this name, which is started when nobody did yet.

    `start` gets the directory of this run's servers.
    """
    begin()
    base = pathlib.Path(os.environ[DIRECTORY])
    note = base / f'{name}.json'
    with open(base / f'{name}.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            note.write_text(json.dumps(start(base)))
    return json.loads(note.read_text())


def _path() -> str:
    return os.environ.get('PATH', '') + ':/usr/sbin:/usr/bin:/usr/local/bin'


def _postgres_bin() -> str | None:
    found = sorted(
        glob.glob('/usr/lib/postgresql/*/bin/postgres'), key=lambda p: float(p.split('/')[4])
    )
    path = found[-1] if found else shutil.which('postgres')
    return os.path.dirname(path) if path else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def watch(
    base: pathlib.Path,
    name: str,
    term: int,
    command: list[str],
    ready,
    given: int | None,
    seconds: float = 60,
) -> dict:
    """Start `command` under a watchdog, on a port that was given or is free, and wait until
    `ready` succeeds, for so many seconds."""
    keep = base / f'{name}.keep'
    for _ in range(5):
        port = given or free_port()
        keep.touch()
        line = [part.replace('@PORT@', str(port)) for part in command]
        owner = (base / 'owner').read_text()
        with open(base / f'{name}.log', 'a') as log:
            process = subprocess.Popen(
                [sys.executable, '-c', WATCHDOG, owner, str(keep), str(int(term)), *line],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd='/',
            )
        (base / f'{name}.pid').write_text(str(process.pid))
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            try:
                ready({'port': port})
            except Exception:
                time.sleep(0.1)
                continue
            children = f'/proc/{process.pid}/task/{process.pid}/children'
            child = int(pathlib.Path(children).read_text().split()[0])
            return {'port': port, 'server_pid': child}
        keep.unlink()
        process.wait(30)
    raise RuntimeError(f'{name} did not start:\n' + (base / f'{name}.log').read_text()[-3000:])


def _start_postgres(base: pathlib.Path, port: int | None) -> dict:
    bin_ = _postgres_bin()
    data = base / 'postgresql'
    new = not data.exists()
    data.mkdir(mode=0o700, exist_ok=True)
    prefix: list[str] = []
    if os.getuid() == 0:  # it refuses to run as root
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = pwd.getpwnam('postgres' if 'postgres' in names else 'nobody')
        os.chown(data, user.pw_uid, user.pw_gid)
        ids = [f'--reuid={user.pw_uid}', f'--regid={user.pw_gid}', '--clear-groups']
        prefix = ['setpriv', *ids, 'env', f'HOME={data}']
    if new:
        options = ['-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync']
        _make([*prefix, f'{bin_}/initdb', '-D', f'{data}/data', *options])
    settings = {
        'listen_addresses': '127.0.0.1',
        'unix_socket_directories': '',
        'fsync': 'off',
        'synchronous_commit': 'off',
        'full_page_writes': 'off',
        'max_connections': '300',
        'shared_buffers': '64MB',
    }
    command = [*prefix, f'{bin_}/postgres', '-D', f'{data}/data', '-p', '@PORT@']
    for name, value in settings.items():
        command += ['-c', f'{name}={value}']

    def ready(server: dict) -> None:
        _postgres(server, 'SELECT 1')

    return watch(base, 'postgresql', signal.SIGINT, command, ready, port)


def _make(command: list[str], **environment: str) -> None:
    """Lay out the files of a new server."""
    made = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, cwd='/'
    )
    if made.returncode:
        raise RuntimeError(made.stdout + made.stderr)


def _start_mariadb(base: pathlib.Path, port: int | None) -> dict:
    data = base / 'mysql'
    new = not data.exists()
    data.mkdir(exist_ok=True)
    me = pwd.getpwuid(os.getuid()).pw_name
    if new:
        options = ['--skip-test-db', '--auth-root-authentication-method=normal', f'--user={me}']
        install = ['mariadb-install-db', '--no-defaults', f'--datadir={data}/data', *options]
        _make(install, PATH=_path())
    # The account is made by the server itself at start: no client program is needed.
    account = data / 'account.sql'
    account.write_text(
        "CREATE USER IF NOT EXISTS test@'127.0.0.1' IDENTIFIED BY 'test';\n"
        "GRANT ALL ON *.* TO test@'127.0.0.1' WITH GRANT OPTION;\n"
    )
    command = [
        shutil.which('mariadbd', path=_path()) or 'mariadbd',
        '--no-defaults',
        f'--user={me}',
        f'--datadir={data}/data',
        '--bind-address=127.0.0.1',
        '--port=@PORT@',
        f'--socket={data}/sock',
        f'--pid-file={data}/pid',
        f'--init-file={account}',
        '--skip-name-resolve',
        '--innodb-flush-log-at-trx-commit=0',
        '--innodb-buffer-pool-size=64M',
        '--innodb-log-file-size=16M',
        '--skip-log-bin',
        '--max-connections=300',
        '--character-set-server=utf8mb4',
        '--performance-schema=OFF',
    ]

    def ready(server: dict) -> None:
        _mariadb(server, 'SELECT 1')

    return watch(base, 'mysql', signal.SIGTERM, command, ready, port)


def _postgres(server: dict, statement: str) -> None:
    import psycopg2

    connection = psycopg2.connect(
        host='127.0.0.1', port=server['port'], user='postgres', dbname='postgres'
    )
    try:
        connection.autocommit = True
        connection.cursor().execute(statement)
    finally:
        connection.close()


def _mariadb(server: dict, statement: str) -> None:
    import pymysql

    connection = pymysql.connect(
        host='127.0.0.1', port=server['port'], user='test', password='test'
    )
    try:
        connection.cursor().execute(statement)
    finally:
        connection.close()
