# SPDX-License-Identifier: Apache-2.0
"""The table of failures: each row happens, under real servers, on real stores and databases."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.backends import databases
from tests.faults import table
from tests.faults.client import Client, parts
from tests.faults.traces import Left, files, look
from tests.servers import processes
from tests.servers.processes import until
from tests.servers.test_servers import MIB, Caller, noise
from tests.sizes import full

DATA = noise(3 * MIB + 7)
HALF = len(DATA) // 2
LIMIT = 2 * MIB

STORES = """
enabled_backends = fast:file,small:file,frozen:file,lost:file
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {directory}/fast
[small]
filesystem_store_datadir = {directory}/small
[frozen]
filesystem_store_datadir = {directory}/frozen
[lost]
filesystem_store_datadir = {directory}/lost
"""

#: Seconds of silence after which a client is given up.
SILENCE = 10

DEFAULT = f"""
client_socket_timeout = {SILENCE}
image_size_cap = {8 * MIB}
user_storage_quota = 100MB
"""

#: What was left is swept soon.
SOON = '[maintenance]\nheartbeat_interval = 1\noperation_expiry = 8\nsweep_interval = 1\n'

Act = Callable[['Scene', str], Iterator[int | None]]
ROOT = os.getuid() == 0


@dataclasses.dataclass
class Scene:
    """A service, and somebody who uses it."""

    server: processes.Server
    database: str
    kind: str

    @property
    def directory(self) -> pathlib.Path:
        return self.server.settings.directory

    @property
    def alpha(self) -> Caller:
        # A connection of its own each time: some servers close them.
        return Caller(self.server.url, 'alpha')

    def look(self, image_id: str) -> Left:
        return look(self.database, self.directory, image_id)

    def client(self, image_id: str, size: int | None = None, store: str = 'fast', **more: str):
        headers = {'X-Image-Meta-Store': store, **more}
        return Client(self.server.url, 'alpha', image_id, size, **headers)

    def put(
        self,
        image_id: str,
        data: bytes = DATA,
        store: str = 'fast',
        sized: bool = True,
        **more: str,
    ) -> int | None:
        """The status of the answer to an upload."""
        with self.client(image_id, len(data) if sized else None, store, **more) as client:
            for part in parts(data):
                client.send(part)
            client.end()
            return client.answer()

    def saving(self, image_id: str) -> None:
        until(lambda: self.look(image_id).status == 'saving', 'the upload has begun')


@contextlib.contextmanager
def service(kind: str, directory: pathlib.Path, url: str | None = None) -> Iterator[Scene]:
    made = processes.settings(directory, url, stores=STORES, default=DEFAULT, more=SOON)
    database = url or f'sqlite:///{directory}/glance.sqlite'
    with processes.SERVERS[kind](made) as server:
        yield Scene(server, database, kind)


@contextlib.contextmanager
def impatient_uwsgi(directory: pathlib.Path) -> Iterator[None]:
    """The file that we ship says 900 seconds."""
    shipped, ours = processes.UWSGI, directory / 'shipped.ini'
    ours.write_text(re.sub(r'timeout = \d+', f'timeout = {SILENCE}', shipped.read_text()))
    processes.UWSGI = ours
    try:
        yield
    finally:
        processes.UWSGI = shipped


def privileged(*command: object) -> None:
    """What only root may do; skips where even root may not, as in some containers."""
    if not ROOT:
        pytest.skip('needs root')
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode and os.environ.get(databases.REQUIRE) == '1':
        pytest.fail(done.stderr)
    if done.returncode:
        pytest.skip(f'{command[0]} is not allowed here: {done.stderr}')


@contextlib.contextmanager
def mounted(path: pathlib.Path, *arguments: object) -> Iterator[None]:
    path.mkdir(exist_ok=True)
    privileged('mount', *arguments, path)
    try:
        yield
    finally:
        subprocess.run(['umount', '-l', path], check=True)


@pytest.fixture(scope='module', params=full(('api', 'uwsgi'), table.ALL))
def scene(request, tmp_path_factory) -> Iterator[Scene]:
    """One server of each kind for all rows: none of them may harm the next."""
    directory = tmp_path_factory.mktemp(request.param)
    with impatient_uwsgi(directory), service(request.param, directory) as made:
        yield made


# --- what happens; each gives the answer, and mends when it goes on


def disk_full(scene: Scene, image_id: str) -> Iterator[int | None]:
    with mounted(scene.directory / 'small', '-t', 'tmpfs', '-o', f'size={LIMIT}', 'tmpfs'):
        yield scene.put(image_id, store='small')


def disk_full_chunked(scene: Scene, image_id: str) -> Iterator[int | None]:
    with mounted(scene.directory / 'small', '-t', 'tmpfs', '-o', f'size={LIMIT}', 'tmpfs'):
        yield scene.put(image_id, store='small', sized=False)


@contextlib.contextmanager
def read_only_again(directory: pathlib.Path) -> Iterator[None]:
    with mounted(directory, '--bind', directory):
        privileged('mount', '-o', 'remount,bind,ro', directory)
        yield


def read_only(scene: Scene, image_id: str) -> Iterator[int | None]:
    with read_only_again(scene.directory / 'frozen'):
        yield scene.put(image_id, store='frozen')


def denied(scene: Scene, image_id: str) -> Iterator[int | None]:
    directory = scene.directory / 'frozen'
    if not ROOT:
        directory.chmod(0o555)
        yield scene.put(image_id, store='frozen')
        directory.chmod(0o755)
        return
    # Permissions do not hold for root, but this does.
    privileged('chattr', '+i', directory)
    try:
        yield scene.put(image_id, store='frozen')
    finally:
        privileged('chattr', '-i', directory)


def vanished(scene: Scene, image_id: str) -> Iterator[int | None]:
    directory, away = scene.directory / 'lost', scene.directory / 'away'
    directory.rename(away)
    yield scene.put(image_id, store='lost')
    away.rename(directory)
    # A process that has looked at the store meanwhile leaves it alone for a while.
    until(lambda: all(takes(scene, 'lost') for _ in range(6)), 'the store is used again')


def takes(scene: Scene, store: str) -> bool:
    """Whether an upload into it succeeds."""
    image_id = scene.alpha.create()
    answer = scene.put(image_id, b'some', store)
    scene.alpha('DELETE', f'/images/{image_id}', 204)
    return answer == 204


def vanishes(scene: Scene, image_id: str) -> Iterator[int | None]:
    directory = scene.directory / 'lost'
    with scene.client(image_id, len(DATA), 'lost') as client:
        client.send(DATA[:HALF])
        scene.saving(image_id)
        shutil.rmtree(directory)
        client.send(DATA[HALF:])
        yield client.answer()
    directory.mkdir()


def too_large(scene: Scene, image_id: str) -> Iterator[int | None]:
    yield scene.put(image_id, bytes(8 * MIB + 1), sized=False)


def mismatch(scene: Scene, image_id: str) -> Iterator[int | None]:
    steps = [{'op': 'replace', 'path': '/disk_format', 'value': 'qcow2'}]
    headers = {'Content-Type': 'application/openstack-images-v2.1-json-patch'}
    scene.alpha('PATCH', f'/images/{image_id}', 200, json=steps, headers=headers)
    yield scene.put(image_id)
    steps[0]['value'] = 'raw'
    scene.alpha('PATCH', f'/images/{image_id}', 200, json=steps, headers=headers)


def deleted(scene: Scene, image_id: str) -> Iterator[int | None]:
    with scene.client(image_id, len(DATA)) as client:
        client.send(DATA[:HALF])
        scene.saving(image_id)
        scene.alpha('DELETE', f'/images/{image_id}', 204)
        client.send(DATA[HALF:])
        yield client.answer()


def second_upload(scene: Scene, image_id: str) -> Iterator[int | None]:
    with scene.client(image_id, len(DATA)) as first:
        first.send(DATA[:HALF])
        scene.saving(image_id)
        answer = scene.put(image_id, noise(MIB, seed=1))
        first.send(DATA[HALF:])
        assert first.answer() == 204
    yield answer


def declared_more(scene: Scene, image_id: str) -> Iterator[int | None]:
    headers = {'x-openstack-image-size': str(len(DATA) + 1)}
    yield scene.put(image_id, sized=False, **headers)


def declared_less(scene: Scene, image_id: str) -> Iterator[int | None]:
    headers = {'x-openstack-image-size': str(len(DATA) - 1)}
    yield scene.put(image_id, sized=False, **headers)


def beyond_length(scene: Scene, image_id: str) -> Iterator[int | None]:
    with scene.client(image_id, len(DATA)) as client:
        client.send(DATA)
        client.send(b'more than that\r\n\r\n')
        yield client.answer()


def stops_sending(scene: Scene, image_id: str) -> Iterator[int | None]:
    with scene.client(image_id, len(DATA)) as client:
        client.send(DATA[:HALF])
        yield client.answer()


def stops_sending_chunked(scene: Scene, image_id: str) -> Iterator[int | None]:
    with scene.client(image_id) as client:
        client.send(DATA[:HALF])
        yield client.answer()


@contextlib.contextmanager
def dripping(clients: list[Client]) -> Iterator[list[int]]:
    """Send a byte of each now and then, whatever the test does meanwhile; how many in the end."""
    done = threading.Event()
    sent = [0] * len(clients)

    def drip() -> None:
        while not done.wait(SILENCE / 20):
            for number, client in enumerate(clients):
                client.send(b'.')
                sent[number] += 1

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield sent
    finally:
        done.set()
        thread.join()


def trickle(scene: Scene, image_id: str) -> Iterator[int | None]:
    slow = [scene.alpha.create() for _ in range(100)]
    size = 100_000
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(scene.client(one, size)) for one in slow]
        with dripping(clients) as sent:
            # Each look is a hundred requests, beside a hundred clients.
            begun = lambda: all(scene.look(one).status == 'saving' for one in slow)  # noqa: E731
            until(begun, 'all have begun', 240)
            answer = scene.put(image_id)
            scene.alpha.check(image_id, DATA)
            assert all(scene.look(one).status == 'saving' for one in slow)
        for client, there in zip(clients, sent, strict=True):
            client.send(b'.' * (size - there))
        assert [client.answer() for client in clients] == [204] * len(slow)
    for one in slow:
        assert scene.alpha.show(one)['size'] == size
        scene.alpha('DELETE', f'/images/{one}', 204)
    yield answer


ACTS: dict[str, tuple[Act, ...]] = {
    'disk-full': (disk_full, disk_full_chunked),
    'read-only': (read_only,),
    'denied': (denied,),
    'vanished': (vanished,),
    'vanishes': (vanishes,),
    'too-large': (too_large,),
    'mismatch': (mismatch,),
    'deleted': (deleted,),
    'second-upload': (second_upload,),
    'declared-more': (declared_more,),
    'declared-less': (declared_less,),
    'beyond-length': (beyond_length,),
    'stops-sending': (stops_sending, stops_sending_chunked),
    'trickle': (trickle,),
}


def check(scene: Scene, row: table.Row, image_id: str) -> None:
    """The image and what is left of it are as the row says."""
    locations = 1 if row.status == 'active' else 0
    wanted = Left(row.status, None, row.noted, locations, 0, row.files)

    def settled() -> bool:
        left = scene.look(image_id)
        told = (left.reason is not None) == (row.reason is not None)
        return told and dataclasses.replace(left, reason=None) == wanted

    until(settled, f'{wanted}, but it is {scene.look(image_id)}', full(20, 60))
    reason = scene.look(image_id).reason or ''
    assert re.search(row.reason or '^$', reason), reason
    assert str(scene.directory) not in reason


def again(scene: Scene, row: table.Row, image_id: str) -> None:
    """The cause is gone: what the next upload does."""
    assert scene.put(image_id) == row.next
    if row.next == 404:
        return
    scene.alpha.check(image_id, DATA)
    assert scene.look(image_id) == Left('active', locations=1, files=1)
    scene.alpha('DELETE', f'/images/{image_id}', 204)
    assert scene.look(image_id) == Left('deleted')


@pytest.mark.parametrize(
    ('name', 'act'),
    [(name, act) for name, acts in ACTS.items() for act in acts],
    ids=lambda value: value.__name__ if callable(value) else '',
)
def test_upload(scene, name, act):
    row = table.UPLOADS[name]
    if scene.kind not in row.servers:
        pytest.skip('makes no sense here, see the table')
    image_id = scene.alpha.create()
    happening = act(scene, image_id)
    with contextlib.closing(happening):
        assert next(happening) == row.answer
        check(scene, row, image_id)
        assert next(happening, 'over') == 'over'
    again(scene, row, image_id)


@pytest.mark.parametrize('reset', [False, True], ids=['fin', 'rst'])
@pytest.mark.parametrize('sized', [True, False], ids=['sized', 'chunked'])
@pytest.mark.parametrize('sent', [0, 1, HALF, len(DATA) - 1, len(DATA)])
def test_cut(scene, sent, sized, reset):
    if sized and sent == len(DATA):
        pytest.skip('nothing is missing')
    row = table.UPLOADS['cut']
    image_id = scene.alpha.create()
    with scene.client(image_id, len(DATA) if sized else None) as client:
        if sent and sized:
            client.send(DATA[:sent])
        elif sent:
            # One chunk is announced, and it does not come to its end; or the last one is missing.
            client.send_raw(f'{len(DATA):x}\r\n'.encode() + DATA[:sent])
            if sent == len(DATA):
                client.send_raw(b'\r\n')
        scene.saving(image_id)
        client.cut(reset)
    check(scene, row, image_id)
    again(scene, row, image_id)


@pytest.mark.parametrize('kind', table.ALL)
def test_file_limit(kind, tmp_path):
    """No privilege is needed for a file system that takes no more: the kernel keeps a limit."""
    row = table.UPLOADS['file-limit']
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        server = contextlib.ExitStack()
        made = server.enter_context(service(kind, tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with server:
        for sized in (True, False):
            image_id = made.alpha.create()
            assert made.put(image_id, sized=sized) == row.answer
            check(made, row, image_id)
            assert made.put(image_id, DATA[:MIB]) == row.next
            made.alpha.check(image_id, DATA[:MIB])


# --- deletes


@pytest.mark.parametrize('name', table.DELETES)
def test_delete(scene, name):
    row = table.DELETES[name]
    directory = scene.directory / ('frozen' if name == 'delete-read-only' else 'lost')
    image_id = scene.alpha.create()
    assert scene.put(image_id, store=directory.name) == 204
    with contextlib.ExitStack() as stack:
        if name == 'delete-read-only':
            stack.enter_context(read_only_again(directory))
        else:
            directory.rename(scene.directory / 'cheap')
            stack.callback((scene.directory / 'cheap').rename, directory)
        scene.alpha('DELETE', f'/images/{image_id}', row.answer)
        check(scene, row, image_id)
    scene.alpha('DELETE', f'/images/{image_id}', row.next)
    until(lambda: scene.look(image_id) == Left('deleted'), 'what was noted is removed')


# --- the database

AWAY = full(3, 30)


@contextlib.contextmanager
def trickling(client: Client, data: bytes) -> Iterator[None]:
    """Send data often enough not to be given up as silent, and the rest at the end."""
    done = threading.Event()
    sent = 0

    def trickle() -> None:
        nonlocal sent
        while not done.wait(0.3) and sent < len(data):
            client.send(data[sent : sent + 1024])
            sent += 1024

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    client.send(data[sent:])


@pytest.mark.parametrize('engine', ['postgresql', 'mysql'])
@pytest.mark.parametrize('name', table.DATABASE)
def test_database(name, engine, tmp_path):
    databases.require(engine)
    row = table.DATABASE[name]
    with databases.Alone(engine) as server, service('api', tmp_path, server.create()) as scene:
        image_id = scene.alpha.create()
        with scene.client(image_id, len(DATA)) as client:
            client.send(DATA[:HALF])
            scene.saving(image_id)
            if name == 'database-frozen':
                server.freeze()
                client.send(DATA[HALF:])
                time.sleep(AWAY)
                server.thaw()
            elif name == 'database-back':
                server.stop()
                with trickling(client, DATA[HALF:-1]):
                    time.sleep(AWAY)
                    server.start()
                client.send(DATA[-1:])
            else:
                server.stop()
                client.send(DATA[HALF:])
            answer = client.answer()
            if name == 'database-away':
                time.sleep(AWAY)
                server.start()
            assert answer == row.answer
        check(scene, row, image_id)
        again(scene, row, image_id)


# --- the documentation


def test_every_row_happens():
    tried = {*ACTS, 'file-limit', 'cut'}
    assert tried == table.UPLOADS.keys()
    assert all(row.servers for part in (table.UPLOADS, table.DATABASE) for row in part.values())


def test_the_page_has_the_same_rows():
    text = table.PAGE.read_text()
    assert table.page(text) == text, 'write it anew: python -m tests.faults.table'


def test_nothing_is_left(scene):
    """The last one: what all of them together have left in the stores."""
    assert files(scene.directory) == []
