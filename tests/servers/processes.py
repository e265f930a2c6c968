# SPDX-License-Identifier: Apache-2.0
"""The service as real processes: glance-lite-api, uWSGI and gunicorn, each on its own settings.

`settings` writes a configuration directory and sets the database up; `api`, `uwsgi` and
`gunicorn` start a server on it and give a `Server` while the block runs. A server that does not
end by SIGTERM with exit code 0 fails the test.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.peers.glance33 import free_port, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
PASTE = ROOT / 'etc' / 'glance-api-paste.ini'
UWSGI = ROOT / 'etc' / 'uwsgi' / 'glance-lite.ini'

#: executables of this environment
BIN = pathlib.Path(sys.executable).parent

TWO_STORES = """
enabled_backends = fast:file,cheap:file
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {directory}/fast
[cheap]
filesystem_store_datadir = {directory}/cheap
"""

#: seconds within which a server must have done as it was told
PATIENCE = 60


def until(true: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f'not within {seconds} s: {what}'
        time.sleep(0.05)


@dataclasses.dataclass
class Settings:
    """A configuration directory."""

    directory: pathlib.Path

    @property
    def file(self) -> pathlib.Path:
        return self.directory / 'etc' / 'glance-api.conf'

    def edit(self, old: str, new: str) -> None:
        """Replace a line."""
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def manage(self, *arguments: str) -> str:
        """Run glance-lite-manage; its output."""
        done = subprocess.run(
            [BIN / 'glance-lite-manage', '--config-file', self.file, *arguments],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def settings(
    directory: pathlib.Path,
    database: str | None = None,
    flavor: str = 'trusted-auth',
    default: str = '',
    stores: str = TWO_STORES,
    more: str = '',
    paste: pathlib.Path = PASTE,
    sync: bool = True,
) -> Settings:
    """Write what an operator would, and run ``db sync``."""
    etc = directory / 'etc'
    etc.mkdir(parents=True, exist_ok=True)
    shutil.copy(paste, etc / 'glance-api-paste.ini')
    url = database or f'sqlite:///{directory}/glance.sqlite'
    made = Settings(directory)
    made.file.write_text(
        f'[DEFAULT]\nbind_host = 127.0.0.1\nworkers = 2\n{default}\n'
        f'{stores.format(directory=directory)}\n'
        f'[database]\nconnection = {url}\n'
        f'[paste_deploy]\nflavor = {flavor}\nconfig_file = {etc}/glance-api-paste.ini\n'
        f'[oslo_concurrency]\nlock_path = {directory}/locks\n'
        f'[oslo_policy]\npolicy_file = {etc}/policy.yaml\n{more}\n'
    )
    if sync:
        made.manage('db', 'sync')
    return made


@dataclasses.dataclass
class Server:
    """A running server."""

    url: str
    settings: Settings
    process: subprocess.Popen[bytes]
    log: pathlib.Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def text(self) -> str:
        return self.log.read_text(errors='replace')

    def lines(self, pattern: str) -> list[str]:
        """Lines of the log that match."""
        return [line for line in self.text().splitlines() if re.search(pattern, line)]

    def wait_for_line(self, pattern: str) -> str:
        until(lambda: self.lines(pattern), f'a line {pattern!r} in\n{self.text()[-3000:]}')
        return self.lines(pattern)[0]

    def workers(self) -> list[int]:
        """Process ids of the children."""
        return children(self.pid)

    def files(self) -> list[pathlib.Path]:
        """What lies in the stores."""
        return sorted(
            path
            for store in ('fast', 'cheap')
            for path in (self.settings.directory / store).rglob('*')
            if path.is_file()
        )


def children(pid: int) -> list[int]:
    return [int(word) for word in _proc(pid, f'task/{pid}/children').split()]


def _proc(pid: int, name: str) -> str:
    try:
        return pathlib.Path(f'/proc/{pid}/{name}').read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ''


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    stat = _proc(pid, 'stat')
    return bool(stat) and stat.rpartition(')')[2].split()[0] not in 'ZX'


def environment(**more: str) -> dict[str, str]:
    """That of this process, without what names another configuration."""
    found = {name: value for name, value in os.environ.items() if not name.startswith('OS_')}
    found['PATH'] = f'{BIN}:{found.get("PATH", "")}'
    return {**found, **more}


@contextlib.contextmanager
def started(
    made: Settings, command: list[object], url: str, more: dict[str, str] | None = None
) -> Iterator[Server]:
    """Run a command until the block ends; it must then end by SIGTERM with exit code 0."""
    log = made.directory / 'server.log'
    with open(log, 'ab') as out:
        process = subprocess.Popen(
            [str(part) for part in command],
            env=environment(**(more or {})),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd=made.directory,
        )
    server = Server(url, made, process, log)
    try:
        wait_for(url, process, log)
        yield server
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            code = process.wait(PATIENCE)
            assert code == 0, f'exit code {code}:\n{server.text()[-3000:]}'
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def api(
    made: Settings,
    program: Sequence[object] = (BIN / 'glance-lite-api',),
    port: int | None = None,
    **more: str,
) -> Iterator[Server]:
    """glance-lite-api, with the two workers of the settings; `more` is for its environment."""
    port = port or free_port()
    (made.directory / 'port.conf').write_text(f'[DEFAULT]\nbind_port = {port}\n')
    command = [
        *program,
        '--config-file', made.file,
        '--config-file', made.directory / 'port.conf',
    ]  # fmt: skip
    with started(made, command, f'http://127.0.0.1:{port}', more) as server:
        server.wait_for_line('Serving on')
        yield server


@contextlib.contextmanager
def uwsgi(made: Settings) -> Iterator[Server]:
    """uWSGI with 2 processes of 4 threads, as the file says that we ship."""
    port = free_port()
    ini = made.directory / 'glance-lite.ini'
    ini.write_text(
        UWSGI.read_text()
        .replace('127.0.0.1:9292', f'127.0.0.1:{port}')
        .replace('/etc/glance', str(made.file.parent))
    )
    command: list[object] = [
        BIN / 'uwsgi', '--ini', ini,
        '--py-sys-executable', sys.executable,
        # It closes every connection, and does not say so by itself.
    ]  # fmt: skip
    more = {'VIRTUAL_ENV': sys.prefix}
    with started(made, command, f'http://127.0.0.1:{port}', more) as server:
        # One that is told to end while its other process loads the application fails.
        until(lambda: len(server.lines(r'WSGI app 0 .* ready in')) >= 2, 'both processes')
        yield server


@contextlib.contextmanager
def gunicorn(made: Settings) -> Iterator[Server]:
    """gunicorn with 2 processes of 4 threads."""
    port = free_port()
    command: list[object] = [
        BIN / 'gunicorn',
        '--bind', f'127.0.0.1:{port}',
        '--worker-class', 'gthread',
        '--workers', '2',
        '--threads', '4',
        '--control-socket', made.directory / 'gunicorn.ctl',
        'glance_lite.wsgi:application',
    ]  # fmt: skip
    more = {'OS_GLANCE_CONFIG_DIR': str(made.file.parent)}
    with started(made, command, f'http://127.0.0.1:{port}', more) as server:
        yield server


SERVERS = {'api': api, 'uwsgi': uwsgi, 'gunicorn': gunicorn}


def identity(project: str, roles: str = 'member,reader') -> dict[str, str]:
    """The headers that auth_token would set."""
    return {
        'X-Identity-Status': 'Confirmed',
        'X-Project-Id': project,
        'X-User-Id': 'user-of-' + project,
        'X-Roles': roles,
    }


def required(path: str | None, what: str) -> str:
    """A program or file that a test needs; skips, or fails where peers are demanded."""
    if path is not None and os.path.exists(path):
        return path
    if os.environ.get('GLANCE_LITE_REQUIRE_PEERS') == '1':
        pytest.fail(f'{what} is not installed')
    pytest.skip(f'{what} is not installed')
