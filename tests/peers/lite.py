# SPDX-License-Identifier: Apache-2.0
"""A real glance-lite-api beside the Glance of `glance33`, and a client that both understand."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import requests

from tests.peers import glance33

ROOT = glance33.ROOT

V21 = 'application/openstack-images-v2.1-json-patch'
V20 = 'application/openstack-images-v2.0-json-patch'
OCTETS = 'application/octet-stream'

STORES = """
enabled_backends = fast:file,cheap:file
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {directory}/fast
[cheap]
filesystem_store_datadir = {directory}/cheap
store_description = slow and cheap
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {directory}/tasks
"""


def make_stores(directory: pathlib.Path) -> str:
    """Two file stores under `directory`, as configuration of either service."""
    for name in ('fast', 'cheap', 'staging', 'tasks'):
        (directory / name).mkdir(parents=True)
    return STORES.format(directory=directory)


def stored(directory: pathlib.Path) -> set[str]:
    """Every file in the stores of `make_stores`, as store/name."""
    return {
        f'{name}/{file.name}' for name in ('fast', 'cheap') for file in (directory / name).iterdir()
    }


def write_settings(
    directory: pathlib.Path, database: str, stores: str, port: int, flavor: str = 'trusted-auth'
) -> pathlib.Path:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / 'glance-api.conf'
    file.write_text(
        f'[DEFAULT]\nbind_host = 127.0.0.1\nbind_port = {port}\nworkers = 1\n{stores}\n'
        f'[paste_deploy]\nflavor = {flavor}\nconfig_file = {ROOT}/etc/glance-api-paste.ini\n'
        f'[oslo_policy]\npolicy_file = {directory}/policy.yaml\n'
        f'[oslo_concurrency]\nlock_path = {directory}/locks\n'
        f'[database]\nconnection = {database}\n'
    )
    return file


def manage(file: pathlib.Path, *arguments: str) -> str:
    """Run glance-lite-manage; its output."""
    command = [sys.executable, '-m', 'glance_lite.cmd.manage', '--config-file', str(file)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout + done.stderr


@contextlib.contextmanager
def running(
    directory: pathlib.Path, database: str, stores: str, flavor: str = 'trusted-auth'
) -> Iterator[str]:
    """glance-lite-api on a database that has been set up; its url while the block runs."""
    port = glance33.free_port()
    file = write_settings(directory, database, stores, port, flavor)
    log = directory / 'glance-lite.log'
    command = [sys.executable, '-m', 'glance_lite.cmd.api', '--config-file', str(file)]
    with open(log, 'ab') as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, start_new_session=True, cwd=ROOT
        )
    try:
        url = f'http://127.0.0.1:{port}'
        glance33.wait_for(url, process, log)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclasses.dataclass(frozen=True)
class Who:
    """An identity as auth_token would tell it; no project is no identity at all."""

    project: str | None
    roles: str = 'member,reader'

    def headers(self) -> dict[str, str]:
        if self.project is None:
            return {}
        return {
            'X-Identity-Status': 'Confirmed',
            'X-Roles': self.roles,
            'X-Project-Id': self.project,
            'X-User-Id': 'user-of-' + self.project,
        }


ADMIN = Who('operators', 'admin,member,reader')
MEMBER = Who('alpha')
READER = Who('alpha', 'reader')
OTHER = Who('beta')
NOBODY = Who(None)


class Client:
    """Sends requests to one service."""

    def __init__(self, url: str) -> None:
        self.url = url

    def send(
        self,
        who: Who,
        method: str,
        path: str,
        body: Any = None,
        kind: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> requests.Response:
        """`body`: bytes and text go as they are, an iterator in chunks, all else as JSON."""
        sent = {'Connection': 'close', **who.headers(), **(headers or {})}
        if kind is not None:
            sent['Content-Type'] = kind
        elif isinstance(body, (dict, list)):
            sent['Content-Type'] = 'application/json'
        request = requests.Request(method, self.url + path, headers=sent)
        if isinstance(body, (dict, list)):
            request.json = body
        else:
            request.data = body
        # A connection for each request: uWSGI ends them after an answer without saying so.
        with requests.Session() as session:
            # Nothing is added that was not asked for: Accept decides on the bodies of errors.
            session.headers.clear()
            session.trust_env = False
            prepared = session.prepare_request(request)
            # The path as it was written: requests would tidy up its escapes.
            prepared.url = self.url + path
            return session.send(prepared, timeout=180, allow_redirects=False)
