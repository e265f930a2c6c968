# SPDX-License-Identifier: Apache-2.0
"""Under the green server what blocks runs in native threads, and holds up nobody."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import threading
from collections.abc import Iterator

import pytest
import requests

from tests.servers import processes
from tests.servers.processes import until
from tests.servers.test_servers import MIB, Caller, noise

#: A driver of somebody else's. It blocks as librbd does: no hub knows of it. Each verb leaves
#: the id of its thread, and `add` and `get` wait for as long as there is a file ``hold``.
DRIVER = """
import hashlib
import os
import threading

from eventlet import patcher
from oslo_config import cfg

from store_drivers.file import FileStore

native_id = patcher.original('threading').get_native_id
time = patcher.original('time')


def note(directory, verb):
    with open(f'{directory}/threads', 'a') as out:
        out.write(f'{verb} {os.getpid()} {native_id()}\\n')


class SlowStore(FileStore):
    opts = [*FileStore.opts, cfg.StrOpt('notes')]

    def start(self):
        super().start()
        directory, new = self.settings['notes'], hashlib.new

        # What the service asks for by name; the object itself is the real one.
        class Noted:
            def __init__(self, name, **kwargs):
                self.hash = new(name, **kwargs)

            def update(self, chunk):
                note(directory, 'hash')
                self.hash.update(chunk)

            def hexdigest(self):
                return self.hash.hexdigest()

        hashlib.new = Noted
        note(directory, 'start')

    def hold(self, verb):
        note(self.settings['notes'], verb)
        while os.path.exists(f"{self.settings['notes']}/hold-{verb}"):
            time.sleep(0.01)

    def add(self, name, source, size):
        self.hold('add')
        return super().add(name, source, size)

    def get(self, key, offset=0, length=None):
        self.hold('get')
        return super().get(key, offset, length)

    def sendfile(self, key, offset=0, length=None):
        self.hold('get')
        return super().sendfile(key, offset, length)

    def delete(self, key):
        note(self.settings['notes'], 'delete')
        super().delete(key)
"""

STORE = """
enabled_backends = fast:slow
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {directory}/fast
notes = {directory}
"""


@pytest.fixture
def server(tmp_path) -> Iterator[processes.Server]:
    """One worker with a store that blocks its thread."""
    plugins = tmp_path / 'plugins'
    info = plugins / 'slow_store-1.dist-info'
    info.mkdir(parents=True)
    (plugins / 'slow_store.py').write_text(DRIVER)
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: slow-store\nVersion: 1\n')
    (info / 'entry_points.txt').write_text('[glance_lite.stores]\nslow = slow_store:SlowStore\n')
    path = os.pathsep.join(filter(None, (str(plugins), os.environ.get('PYTHONPATH'))))
    # stevedore remembers what is installed; not from here, and not into a home.
    more = {'PYTHONPATH': path, 'XDG_CACHE_HOME': str(tmp_path / 'cache')}
    made = processes.settings(tmp_path, stores=STORE)
    made.edit('workers = 2', 'workers = 1')
    with processes.api(made, **more) as running:
        yield running


def threads(server: processes.Server, verb: str) -> set[tuple[int, int]]:
    """(process, native thread) in which a verb has run."""
    text = (server.settings.directory / 'threads').read_text()
    rows = [line.split() for line in text.splitlines()]
    return {(int(pid), int(thread)) for name, pid, thread in rows if name == verb}


def test_hashes_and_files_have_threads_of_their_own(server):
    alpha, data = Caller(server.url, 'alpha'), noise(8 * MIB)
    image_id = alpha.create()
    alpha.upload(image_id, data)
    alpha.check(image_id, data)
    alpha('DELETE', f'/images/{image_id}', 204)
    worker = server.workers()[0]
    # The hub runs in the first thread of the process, whose id is that of the process.
    for verb in ('start', 'hash', 'add', 'get', 'delete'):
        found = threads(server, verb)
        assert found, verb
        assert {pid for pid, _ in found} == {worker}
        assert (worker, worker) not in found, f'{verb} has run in the thread of the hub'


@pytest.mark.parametrize('verb', ['add', 'get'])
def test_a_store_that_blocks_holds_up_nobody(server, verb):
    alpha, data = Caller(server.url, 'alpha'), noise(3 * MIB)
    slow, other = alpha.create(name='slow'), alpha.create(name='other')
    if verb == 'get':
        alpha.upload(slow, data)
    hold = server.settings.directory / f'hold-{verb}'
    hold.touch()
    act = (lambda: alpha.upload(slow, data)) if verb == 'add' else lambda: alpha.download(slow)
    thread = threading.Thread(target=act)
    thread.start()
    try:
        until(lambda: threads(server, verb), 'the store is at work')
        beta = Caller(server.url, 'alpha')
        for _ in range(3):
            assert beta.names() == ['other', 'slow']
            assert beta.show(other)['status'] == 'queued'
        assert beta.show(slow)['status'] == ('saving' if verb == 'add' else 'active')
        assert thread.is_alive()
    finally:
        hold.unlink()
        thread.join(processes.PATIENCE)
    assert not thread.is_alive()
    alpha.check(slow, data)


def test_uploads_that_wait_for_their_clients_hold_up_nobody(server):
    """Sixteen slow clients took all threads of a store: nothing was read, deleted or checked."""
    alpha, data = Caller(server.url, 'alpha'), noise(MIB)
    image_id = alpha.create()
    alpha.upload(image_id, data)
    headers = ''.join(f'{name}: {value}\r\n' for name, value in processes.identity('alpha').items())
    waiting = [alpha.create() for _ in range(20)]
    host, port = server.url.removeprefix('http://').split(':')
    with contextlib.ExitStack() as clients:
        for slow in waiting:
            client = socket.create_connection((host, int(port)))
            clients.enter_context(client)
            client.sendall(
                f'PUT /v2/images/{slow}/file HTTP/1.1\r\nHost: here\r\nContent-Length: 9999\r\n'
                f'Content-Type: application/octet-stream\r\n{headers}\r\n0123456789'.encode()
            )
        until(lambda: all(alpha.show(slow)['status'] == 'saving' for slow in waiting), 'claims')
        alpha.check(image_id, data)
        assert requests.get(server.url + '/healthcheck', timeout=30).status_code == 200
        alpha('DELETE', f'/images/{image_id}', 204)
    until(lambda: all(alpha.show(slow)['status'] == 'queued' for slow in waiting), 'given up')


def test_a_file_that_is_too_short_is_no_answer(tmp_path):
    """The client waited for the rest, and took the next answer for it."""
    made = processes.settings(tmp_path)
    with processes.api(made) as server:
        alpha, data = Caller(server.url, 'alpha'), noise(3 * MIB)
        image_id = alpha.create()
        alpha.upload(image_id, data)
        os.truncate(tmp_path / 'fast' / image_id, 2 * MIB)
        url = f'{server.url}/v2/images/{image_id}/file'
        answer = requests.get(url, headers=processes.identity('alpha'), timeout=30)
        assert answer.status_code == 503 and str(tmp_path) not in answer.text
        part = {**processes.identity('alpha'), 'Range': f'bytes=0-{MIB - 1}'}
        assert requests.get(url, headers=part, timeout=30).content == data[:MIB]


def test_a_copy_that_is_too_short_is_replaced_by_another(tmp_path):
    """What the kernel sends cannot carry on from another store."""
    made = processes.settings(tmp_path)
    with processes.api(made) as server:
        alpha, data = Caller(server.url, 'alpha'), noise(3 * MIB)
        image_id = alpha.create()
        alpha.upload(image_id, data)
        shutil.copy(tmp_path / 'fast' / image_id, tmp_path / 'cheap' / image_id)
        with contextlib.closing(sqlite3.connect(tmp_path / 'glance.sqlite')) as database, database:
            database.execute(
                'INSERT INTO image_locations'
                ' (image_id, value, meta_data, status, created_at, updated_at, deleted)'
                " SELECT image_id, replace(value, '/fast/', '/cheap/'), replace(meta_data, 'fast',"
                " 'cheap'), status, created_at, updated_at, deleted FROM image_locations"
            )
        os.truncate(tmp_path / 'fast' / image_id, MIB)
        alpha.check(image_id, data)
