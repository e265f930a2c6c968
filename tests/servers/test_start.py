# SPDX-License-Identifier: Apache-2.0
"""A start with anything wrong ends with one sentence; a start with Glance's own files succeeds."""

from __future__ import annotations

import importlib.util
import pathlib
import socket
import subprocess
import sys

import pytest
import requests

from tests.peers import glance33
from tests.peers.glance33 import free_port
from tests.servers import processes
from tests.servers.processes import BIN
from tests.servers.test_servers import Caller

LAYERS = '[controller]\nlayers = {}\n[paste_deploy]'


def start(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run glance-lite-api, which must end by itself."""
    return subprocess.run(
        [str(part) for part in (BIN / 'glance-lite-api', *arguments)],
        env=processes.environment(),
        capture_output=True,
        text=True,
        timeout=processes.PATIENCE,
    )


def refused(made: processes.Settings, *parts: object) -> str:
    """The start fails with one sentence that names the file and `parts`."""
    done = start('--config-file', made.file)
    assert done.returncode == 1, done
    assert done.stdout == ''
    sentence = done.stderr.removesuffix('\n')
    assert '\n' not in sentence, done.stderr
    assert sentence.startswith(f'glance-lite-api: {made.file}: ')
    for part in parts:
        assert str(part) in sentence
    return sentence


@pytest.fixture
def made(tmp_path) -> processes.Settings:
    """Settings with which the service would start."""
    return processes.settings(tmp_path, default=f'bind_port = {free_port()}')


def test_an_occupied_port(made):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        text = made.file.read_text()
        old = next(line for line in text.splitlines() if line.startswith('bind_port'))
        made.edit(old, f'bind_port = {port}')
        refused(made, '[DEFAULT]', 'bind_port', f'127.0.0.1:{port}')


@pytest.mark.parametrize(
    'old, new, parts',
    [
        ('workers = 2', 'workers = many', ('[DEFAULT] workers', 'many')),
        ('bind_host =', 'backlog = 0\nbind_host =', ('[DEFAULT] backlog', '0')),
        ('cheap:file', 'cheap:tape', ('[DEFAULT] enabled_backends', 'tape')),
        ('cheap:file', 'fast:file', ('[DEFAULT] enabled_backends', 'fast')),
        ('default_backend = fast', 'default_backend = slow',
         ('[glance_store] default_backend', 'slow')),
        ('flavor = trusted-auth', 'flavor = vanilla', ('[paste_deploy] flavor', 'vanilla')),
        ('glance-api-paste.ini', 'nowhere.ini', ('[paste_deploy] config_file', 'nowhere.ini')),
        ('[paste_deploy]', LAYERS.format('auth, policy, magic, location, db'),
         ('[controller] layers', 'magic')),
        ('[paste_deploy]', LAYERS.format('auth, auth, policy, location, db'),
         ('[controller] layers', 'auth')),
        ('[paste_deploy]', LAYERS.format('db, location, policy, auth'),
         ('[controller] layers', 'db')),
        ('flavor = trusted-auth', 'flavor = local', None),
    ],
    ids=['value', 'range', 'store type', 'store twice', 'default store', 'flavor', 'paste file',
         'layer', 'layer twice', 'layer order', 'local'],
)  # fmt: skip
def test_a_wrong_option(made, old, new, parts):
    made.edit(old, new)
    if parts is None:  # the flavor is well, but not for all the world
        made.edit('bind_host = 127.0.0.1', 'bind_host = 0.0.0.0')
        parts = ('[DEFAULT] bind_host', 'local', '0.0.0.0')
    refused(made, *parts)


def test_a_configuration_that_is_not_there(tmp_path):
    done = start('--config-file', tmp_path / 'nothing.conf')
    assert (done.returncode, done.stdout) == (1, '')
    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path / 'nothing.conf') in done.stderr


def test_help():
    done = start('--help')
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith('usage: glance-lite-api')
    assert '--config-file' in done.stdout


def test_uwsgi_without_threads_is_refused(made):
    done = subprocess.run(
        [
            str(BIN / 'uwsgi'),
            '--http-socket', f'127.0.0.1:{free_port()}',
            '--module', 'glance_lite.wsgi:application',
            '--py-sys-executable', sys.executable,
            '--master', '--need-app',
        ],
        env=processes.environment(
            OS_GLANCE_CONFIG_DIR=str(made.file.parent), VIRTUAL_ENV=sys.prefix
        ),
        capture_output=True,
        text=True,
        timeout=processes.PATIENCE,
    )  # fmt: skip
    assert done.returncode != 0
    sentences = [line for line in done.stderr.splitlines() if line.startswith('glance-lite: ')]
    assert len(sentences) == 1
    assert 'enable-threads' in sentences[0]
    assert 'Traceback' not in done.stderr


def test_a_store_directory_that_cannot_be_made(made, tmp_path):
    (tmp_path / 'file').write_text('in the way')
    made.edit(f'{tmp_path}/cheap', f'{tmp_path}/file/cheap')
    refused(made, '[cheap] filesystem_store_datadir', f'{tmp_path}/file/cheap')


def test_a_broken_policy_file(made):
    (made.file.parent / 'policy.yaml').write_text('get_images: [\n')
    refused(made, '[oslo_policy] policy_file', made.file.parent / 'policy.yaml')


# --- Glance's own Paste file


def glance_paste() -> pathlib.Path:
    return glance33.home() / 'etc' / 'glance' / 'glance-api-paste.ini'


def test_glances_paste_file_without_glance(tmp_path):
    """The file as Glance ships it, in an environment in which Glance is not installed."""
    assert importlib.util.find_spec('glance') is None
    made = processes.settings(tmp_path, flavor='', paste=glance_paste())
    with processes.api(made) as server:
        versions = requests.get(server.url, timeout=60)
        assert versions.status_code == 300
        assert 'v2.0' in {one['id'] for one in versions.json()['versions']}
        Caller(server.url, None)('GET', '/schemas/image', 200)
        Caller(server.url, None)('GET', '/images', 403)  # nobody has no role, as in Glance
        assert requests.get(server.url + '/healthcheck', timeout=60).status_code == 200
        assert 'Traceback' not in server.text()


def test_glances_keystone_flavor_asks_for_a_token(tmp_path):
    """Without a token auth_token need not ask Keystone, and the context filter refuses."""
    more = (
        '[keystone_authtoken]\nwww_authenticate_uri = http://127.0.0.1:1/v3\n'
        'auth_type = password\nauth_url = http://127.0.0.1:1/v3\n'
    )
    made = processes.settings(tmp_path, flavor='keystone', paste=glance_paste(), more=more)
    with processes.api(made) as server:
        Caller(server.url, None)('GET', '/images', 401)
        # auth_token removes what a client says of itself.
        Caller(server.url, 'alpha', roles='admin')('GET', '/images', 401)
        assert requests.get(server.url, timeout=60).status_code == 300
        assert 'Traceback' not in server.text()
