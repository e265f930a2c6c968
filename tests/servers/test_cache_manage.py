# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-cache-manage`` and ``glance-lite-manage cache`` against a real service."""

from __future__ import annotations

import json
import pty
import subprocess

import pytest

from tests.backends import keystone
from tests.servers import processes
from tests.servers.processes import BIN, until
from tests.servers.test_servers import MIB, Caller, noise

DATA = noise(MIB)
CACHE = 'image_cache_dir = {directory}/cache\nworker_self_reference_url = http://image-1.example\n'
STORES = CACHE + processes.TWO_STORES


def ask(url, *arguments, code=0, **more):
    """Run it; (output, what it says of errors)."""
    done = subprocess.run(
        [BIN / 'glance-lite-cache-manage', '--url', url, *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=processes.environment(**more),
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert 'Traceback' not in done.stderr
    return done.stdout, done.stderr


def listed(url, what='list-cached', **more):
    return json.loads(ask(url, '--format', 'json', what, **more)[0])


def test_what_an_operator_does(tmp_path):
    made = processes.settings(tmp_path, flavor='local', stores=STORES)
    with processes.api(made) as server:
        url, anybody = server.url, Caller(server.url, None)
        first, second = anybody.create(), anybody.create()
        for image_id in (first, second):
            anybody.upload(image_id, DATA)
        assert ask(url, 'list-cached')[0] == 'No images are cached\n'
        assert 'is queued' in ask(url, '-f', 'queue-image', first, second)[0]
        until(lambda: len(listed(url)) == 2, 'both are fetched')
        table = ask(url, 'list-cached')[0]
        assert first in table and second in table and '1.0 MiB' in table
        nodes = 'http://image-1.example\n'
        until(lambda: ask(url, 'list-nodes', first)[0] == nodes, 'the database knows it')
        assert ask(url, 'list-queued')[0] == 'No images wait\n'
        # Nobody can be asked whether it is meant.
        assert '--force' in ask(url, 'delete-cached-image', first, code=1)[1]
        ask(url, '--force', 'delete-cached-image', first)
        assert [one['image_id'] for one in listed(url)] == [second]
        assert 'does not wait' in ask(url, '-f', 'delete-queued-image', second, code=1)[1]
        refused = ask(url, '-f', 'queue-image', 'no-such', code=1)[1]
        assert refused.endswith('404 No image found with ID no-such\n')
        ask(url, '-f', 'delete-all-cached-images')
        ask(url, '-f', 'delete-all-queued-images')
        assert listed(url) == []
        assert ask(url, 'prune')[0] == '0 files removed, 0 B\n'
        assert ask(url, 'clean')[0]
    # What it says when nothing answers.
    assert ask(url, 'list-cached', code=1)[1].startswith('glance-lite-cache-manage: ')


def test_a_question_is_asked_where_somebody_can_answer(tmp_path):
    made = processes.settings(tmp_path, flavor='local', stores=STORES)
    with processes.api(made) as server:
        command = [BIN / 'glance-lite-cache-manage', '--url', server.url]
        for answer, code in (('n', 1), ('y', 0)):
            ours, theirs = pty.openpty()
            with open(ours, 'wb', buffering=0) as terminal, open(theirs, 'rb') as stdin:
                terminal.write(f'{answer}\n'.encode())
                done = subprocess.run(
                    [*command, 'delete-all-cached-images'],
                    stdin=stdin,
                    capture_output=True,
                    text=True,
                    env=processes.environment(),
                    timeout=60,
                )
            assert done.returncode == code, done.stderr
            assert '[y/N]' in done.stdout


def test_credentials_are_those_of_all_clients(tmp_path):
    cloud = keystone.cloud()
    region = cloud.region()
    root = region.user('root', roles=('admin', 'member', 'reader'))
    alice = region.user('alice')
    made = processes.settings(
        tmp_path, flavor='keystone+cachemanagement', stores=STORES, more=region.authtoken()
    )
    with processes.api(made) as server:
        assert listed(server.url, **root.environment) == []
        assert listed(server.url, OS_AUTH_TOKEN=root.token()) == []
        assert 'cache_list' in ask(server.url, 'list-cached', code=1, **alice.environment)[1]
        assert ask(server.url, 'list-cached', code=1)[1]
        wrong = {**root.environment, 'OS_PASSWORD': 'another'}
        refused = ask(server.url, 'list-cached', code=1, **wrong)[1]
        assert '401' in refused and keystone.PASSWORD not in refused


def test_without_a_service(tmp_path):
    """What cron calls on the host itself."""
    made = processes.settings(tmp_path, flavor='trusted-auth', stores=STORES)
    with processes.api(made) as server:
        alpha = Caller(server.url, 'alpha')
        image_id = alpha.create()
        alpha.upload(image_id, DATA)
    (tmp_path / 'cache' / 'queue' / image_id).touch()
    assert made.manage('cache', 'fetch') == '1 images fetched, 0 wait\n'
    found = made.manage('cache', 'list')
    assert image_id in found and '1.0 MiB of 10.0 GiB are taken, 0 images wait' in found
    made.edit('image_cache_dir', 'image_cache_max_size = 1000\nimage_cache_dir')
    assert made.manage('cache', 'prune') == '1 files removed, 1.0 MiB\n'
    assert made.manage('cache', 'clean') == '0 files removed\n'
    found = json.loads(made.manage('cache', 'list', '--format', 'json'))
    assert found['cached'] == [] and found['limit'] == 1000


@pytest.mark.parametrize('command', ['list', 'fetch', 'prune', 'clean'])
def test_without_a_cache_a_command_says_so(tmp_path, command):
    made = processes.settings(tmp_path, sync=False)
    done = subprocess.run(
        [BIN / 'glance-lite-manage', '--config-file', made.file, 'cache', command],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and 'image_cache_dir' in done.stderr
