# SPDX-License-Identifier: Apache-2.0
"""A real Glance 33 under uWSGI, beside which glance-lite is run and with which it is compared.

Identity comes from the headers that auth_token would set (``X-Identity-Status``, ``X-Roles``,
``X-Project-Id``, ``X-User-Id``): the pipeline is Glance's own for Keystone, without auth_token.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
import requests

from tests.backends import databases

#: the virtual environment that has Glance 33
GLANCE = 'GLANCE_LITE_GLANCE'
ROOT = pathlib.Path(__file__).resolve().parents[2]

PASTE = """
[composite:glance-api-trusted]
use = egg:Paste#urlmap
/ = pipe
/healthcheck = healthcheck

[pipeline:pipe]
pipeline = cors http_proxy_to_wsgi versionnegotiation context rootapp

[composite:glance-api-cachemanagement]
use = egg:Paste#urlmap
/ = cachepipe
/healthcheck = healthcheck

[pipeline:cachepipe]
pipeline = cors http_proxy_to_wsgi versionnegotiation context cache cachemanage rootapp

[filter:cache]
paste.filter_factory = glance.api.middleware.cache:CacheFilter.factory

[filter:cachemanage]
paste.filter_factory = glance.api.middleware.cache_manage:CacheManageFilter.factory

[composite:rootapp]
paste.composite_factory = glance.api:root_app_factory
/: apiversions
/v2: apiv2app

[app:apiversions]
paste.app_factory = glance.api.versions:create_resource

[app:apiv2app]
paste.app_factory = glance.api.v2.router:API.factory

[app:healthcheck]
paste.app_factory = oslo_middleware:Healthcheck.app_factory
backends = disable_by_file
disable_by_file_path = /dev/null/healthcheck_disable

[filter:versionnegotiation]
paste.filter_factory = glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory

[filter:context]
paste.filter_factory = glance.api.middleware.context:ContextMiddleware.factory

[filter:cors]
use = egg:oslo.middleware#cors
oslo_config_project = glance
oslo_config_program = glance-api

[filter:http_proxy_to_wsgi]
paste.filter_factory = oslo_middleware:HTTPProxyToWSGI.factory
"""


def home() -> pathlib.Path:
    """The virtual environment of Glance 33; skips, or fails where peers are demanded."""
    path = pathlib.Path(os.environ.get(GLANCE) or ROOT / '.cache' / 'glance33')
    if not (path / 'bin' / 'glance-manage').exists():
        reason = f'Glance 33 is not installed in {GLANCE} or .cache/glance33'
        if os.environ.get(databases.REQUIRE) == '1':
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(url: str, process: subprocess.Popen[bytes], log: pathlib.Path) -> None:
    """Until something answers at `url`; the log of a process that ends instead."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f'{process.args!r} ended:\n{log.read_text()[-4000:]}')
        with contextlib.suppress(requests.RequestException):
            requests.get(url, timeout=5)
            return
        time.sleep(0.1)
    raise RuntimeError(f'nothing answers at {url}:\n{log.read_text()[-4000:]}')


def write_settings(
    directory: pathlib.Path, database: str, stores: str, flavor: str = 'trusted'
) -> pathlib.Path:
    """Glance's configuration directory."""
    etc = directory / 'etc'
    etc.mkdir(parents=True, exist_ok=True)
    (etc / 'glance-api.conf').write_text(
        f'[DEFAULT]\n{stores}\n'
        f'[paste_deploy]\nflavor = {flavor}\nconfig_file = {etc}/glance-api-paste.ini\n'
        f'[oslo_concurrency]\nlock_path = {directory}/locks\n'
        f'[database]\nconnection = {database}\n'
    )
    (etc / 'glance-api-paste.ini').write_text(PASTE)
    return etc


def manage(etc: pathlib.Path, *arguments: str) -> str:
    """Run Glance's own glance-manage; its output."""
    tool = home() / 'bin' / 'glance-manage'
    done = subprocess.run(
        [str(tool), '--config-file', str(etc / 'glance-api.conf'), *arguments],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout + done.stderr


def command(port: int, processes: int, threads: int) -> list[str]:
    """What runs it under uWSGI."""
    return [
        str(home() / 'bin' / 'uwsgi'),
        '--http-socket', f'127.0.0.1:{port}',
        '--module', 'glance.wsgi.api:application',
        '--processes', str(processes),
        '--threads', str(threads),
        '--enable-threads', '--master', '--die-on-term', '--lazy-apps', '--need-app',
        '--http-chunked-input', '--disable-logging', '--buffer-size', '65535',
        '--py-sys-executable', str(home() / 'bin' / 'python'),
    ]  # fmt: skip


def environment(etc: pathlib.Path) -> dict[str, str]:
    """That of this process, for Glance with the settings in `etc`."""
    path = f'{home()}/bin:{os.environ["PATH"]}'
    own = {'OS_GLANCE_CONFIG_DIR': str(etc), 'PATH': path, 'VIRTUAL_ENV': str(home())}
    return {**os.environ, **own}


@contextlib.contextmanager
def running(
    directory: pathlib.Path,
    database: str,
    stores: str,
    processes: int = 1,
    threads: int = 4,
    flavor: str = 'trusted',
) -> Iterator[str]:
    """Glance 33 on a database that has been set up; its url while the block runs."""
    etc = write_settings(directory, database, stores, flavor)
    port = free_port()
    log = directory / 'glance33.log'
    with open(log, 'ab') as out:
        process = subprocess.Popen(
            command(port, processes, threads),
            env=environment(etc),
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd=directory,
        )
    try:
        url = f'http://127.0.0.1:{port}'
        wait_for(url, process, log)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def scrub(etc: pathlib.Path, *arguments: str) -> str:
    """Run Glance's own glance-scrubber once; its output."""
    tool = home() / 'bin' / 'glance-scrubber'
    done = subprocess.run(
        [str(tool), '--config-file', str(etc / 'glance-api.conf'), *arguments],
        capture_output=True,
        text=True,
        env=environment(etc),
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout + done.stderr
