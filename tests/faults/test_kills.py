# SPDX-License-Identifier: Apache-2.0
"""What processes leave that are killed or stopped in the midst of it: nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import random
import signal
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests
import sqlalchemy as sa

from glance_lite.db import tables
from glance_lite.model import FAILED_UPLOAD
from tests.backends import databases
from tests.faults.traces import miscounted
from tests.peers import glance33
from tests.servers import processes
from tests.servers.processes import until
from tests.servers.test_servers import MIB, V21, Caller, noise
from tests.sizes import full

KILLS = full(20, 200)
SEED = 20240603
CLIENTS = 6
#: seconds after the next start within which everything is clean
CLEAN = 60

OCTETS = {'Content-Type': 'application/octet-stream'}
#: an upload of a live process on another host is given up as soon as can be configured
SOON = '[maintenance]\nheartbeat_interval = 1\noperation_expiry = 6\nsweep_interval = 1\n'


@pytest.fixture(params=['sqlite', 'postgresql'])
def url(request, tmp_path) -> Iterator[str]:
    databases.require(request.param)
    made = databases.create(request.param, tmp_path)
    yield made
    databases.drop(made)


class Rows:
    """What is in the database, past every server."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = sa.create_engine(url, poolclass=sa.pool.NullPool)

    def all(self, table: sa.Table, *where) -> list[sa.Row]:
        with self._engine.connect() as connection:
            return list(connection.execute(sa.select(table).where(*where)).fetchall())

    def status(self, image_id: str) -> str:
        (row,) = self.all(tables.images, tables.images.c.id == image_id)
        return row.status

    def clean(self, server: processes.Server) -> str:
        """Why it is not clean; empty when it is."""
        for table in (tables.operations, tables.reservations):
            if found := self.all(table):
                return f'{len(found)} rows in {table.name}'
        stuck = self.all(tables.images, tables.images.c.status == 'saving')
        if stuck:
            return f'{len(stuck)} images are saving'
        live = self.all(tables.image_locations, tables.image_locations.c.deleted == sa.false())
        wanted = {urlsplit(row.value).path for row in live}
        there = {str(path) for path in server.files()}
        if wanted != there:
            return f'orphans {there - wanted}, lost {wanted - there}'
        wrong = miscounted(self._url)
        return f'counted wrong: {wrong}' if wrong else ''

    def wait_until_clean(self, server: processes.Server) -> float:
        """How many seconds it took."""
        begun = time.monotonic()
        while why := self.clean(server):
            assert time.monotonic() < begun + CLEAN, f'{why}:\n{server.text()[-3000:]}'
            time.sleep(0.1)
        return time.monotonic() - begun


# --- clients that are not deterred


@dataclasses.dataclass
class Known:
    """What its clients know of an image."""

    id: str
    #: digests of what was ever sent
    sent: set[str] = dataclasses.field(default_factory=set)
    #: digest of what was answered with 204
    stored: str | None = None
    #: values of the property ``step`` that were sent, and the last one that was answered
    steps: set[str] = dataclasses.field(default_factory=set)
    step: str | None = None
    #: whether the last step has an answer
    sure: bool = True
    delete_sent: bool = False
    deleted: bool = False


def digest(data: bytes) -> str:
    return hashlib.sha512(data).hexdigest()


class Client(threading.Thread):
    """Creates, fills, changes and deletes images until it is told to stop."""

    def __init__(self, url: str, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._url = url + '/v2/images'
        self._random = random.Random(SEED + number)
        self._stop_it = stop
        self.images: list[Known] = []
        self.answers: dict[str, int] = {}
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._stop_it.is_set():
                self._one()
        except BaseException as ex:
            self.error = ex

    def _ask(self, method: str, path: str = '', **kwargs) -> requests.Response | None:
        """The answer; None when there is none, because whoever had it was killed."""
        headers = {**processes.identity('alpha'), **kwargs.pop('headers', {})}
        what, status = f'{method}{" file" if "file" in path else ""}', 'nothing'
        try:
            answer = requests.request(
                method, self._url + path, headers=headers, timeout=60, **kwargs
            )
            status = str(answer.status_code)
            return answer
        except requests.RequestException:
            time.sleep(0.05)  # both workers may be dead
            return None
        finally:
            self.answers[f'{what} {status}'] = self.answers.get(f'{what} {status}', 0) + 1

    def _one(self) -> None:
        fields = {'disk_format': 'raw', 'container_format': 'bare'}
        made = self._ask('POST', json=fields)
        if made is None or made.status_code != 201:
            return
        known = Known(made.json()['id'])
        self.images.append(known)
        for _ in range(self._random.randint(1, 3)):
            if known.stored is None:
                self._upload(known)
        if self._random.random() < 0.7:
            self._change(self._random.choice(self.images))
        if self._random.random() < 0.4:
            self._delete_image(self._random.choice(self.images))

    def _upload(self, known: Known) -> None:
        data = self._random.randbytes(self._random.choice((0, 10, 70_000, MIB, 5 * MIB + 3)))
        known.sent.add(digest(data))
        body: object = data
        if self._random.random() < 0.5:
            body = self._pieces(data)  # of unknown size
        answer = self._ask('PUT', f'/{known.id}/file', data=body, headers=OCTETS)
        if answer is not None and answer.status_code == 204:
            known.stored = digest(data)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        slowly = self._random.random() < 0.5
        for at in range(0, len(data), 500_000):
            yield data[at : at + 500_000]
            if slowly:
                time.sleep(0.03)

    def _change(self, known: Known) -> None:
        value = str(self._random.random())
        step = {'op': 'add', 'path': '/step', 'value': value}
        known.steps.add(value)
        answer = self._ask('PATCH', f'/{known.id}', json=[step], headers={'Content-Type': V21})
        if answer is not None and answer.status_code == 200:
            known.step, known.sure = value, True
        else:
            known.sure = False

    def _delete_image(self, known: Known) -> None:
        known.delete_sent = True
        answer = self._ask('DELETE', f'/{known.id}')
        known.deleted |= answer is not None and answer.status_code == 204


def check(server: processes.Server, images: list[Known]) -> dict[str, int]:
    """Every image is what its clients were told; how many there are in which status."""
    alpha = Caller(server.url, 'alpha')
    count: dict[str, int] = {}
    for known in images:
        path = f'{server.url}/v2/images/{known.id}'
        answer = requests.get(path, headers=processes.identity('alpha'), timeout=60)
        if answer.status_code == 404:
            assert known.delete_sent, known
            count['deleted'] = count.get('deleted', 0) + 1
            continue
        assert not known.deleted, known
        image = answer.json()
        count[image['status']] = count.get(image['status'], 0) + 1
        if known.stored is not None:
            assert image['os_hash_value'] == known.stored, known
        if image['status'] == 'active':
            data = alpha.download(known.id)
            assert digest(data) == image['os_hash_value'] in known.sent, known
            assert image['size'] == len(data)
            assert FAILED_UPLOAD not in image
        else:
            assert image['status'] == 'queued', known
            assert (image['size'], image['checksum']) == (None, None)
        step = image.get('step')
        assert step == known.step if known.sure else step in {None, *known.steps}, known
    return count


def kill_some(server: processes.Server, count: int) -> None:
    """Kill workers at random moments."""
    chance = random.Random(SEED)
    for _ in range(count):
        time.sleep(chance.uniform(0.1, 1.4))
        until(server.workers, 'there is a worker')
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(server.workers() or [server.pid]), signal.SIGKILL)


@contextlib.contextmanager
def busy(server: processes.Server) -> Iterator[list[Client]]:
    stop = threading.Event()
    clients = [Client(server.url, number, stop) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        stop.set()
        for client in clients:
            client.join(120)
    assert [client.error for client in clients] == [None] * CLIENTS


def totals(clients: list[Client]) -> dict[str, int]:
    found: dict[str, int] = {}
    for client in clients:
        for name, count in client.answers.items():
            found[name] = found.get(name, 0) + count
    return dict(sorted(found.items()))


def test_workers_killed_at_random_leave_nothing(url, tmp_path, record_property):
    rows = Rows(url)
    # A limit, so that there are reservations.
    made = processes.settings(tmp_path, url, default='user_storage_quota = 1TB')
    with processes.api(made) as server:
        with busy(server) as clients:
            kill_some(server, KILLS)
    images = [known for client in clients for known in client.images]
    with processes.api(made) as server:
        seconds = rows.wait_until_clean(server)
        found = check(server, images)
    told = f'{KILLS} kills: {found}, {totals(clients)}, clean after {seconds:.1f} s'
    record_property('figures', told)
    print(told)
    # Enough has happened for all of this to mean something.
    assert found['active'] >= KILLS / 5 and found['deleted']
    assert totals(clients)['PUT file nothing'] >= KILLS / 10


def test_a_service_killed_as_a_whole_is_clean_after_its_next_start(url, tmp_path):
    rows = Rows(url)
    made = processes.settings(tmp_path, url, default='user_storage_quota = 1TB')
    image_ids = []
    with processes.api(made) as server:
        alpha = Caller(server.url, 'alpha')
        kept = alpha.create()
        alpha.upload(kept, b'kept')
        stop = threading.Event()
        for _ in range(3):
            image_ids.append(alpha.create())
            Slow(server.url, image_ids[-1], MIB, stop).start()
        until(lambda: {rows.status(one) for one in image_ids} == {'saving'}, 'all are saving')
        os.killpg(server.pid, signal.SIGKILL)
        server.process.wait()
        stop.set()
    assert len(rows.all(tables.operations)) == 3
    with processes.api(made) as server:
        assert rows.wait_until_clean(server) < CLEAN
        alpha = Caller(server.url, 'alpha')
        assert alpha.download(kept) == b'kept'
        for image_id in image_ids:
            image = alpha.show(image_id)
            assert image['status'] == 'queued' and 'stopped' in image[FAILED_UPLOAD]
            alpha.upload(image_id, b'again')
            assert alpha.download(image_id) == b'again'
            assert FAILED_UPLOAD not in alpha.show(image_id)


class Slow(threading.Thread):
    """An upload that sends half of its bytes, and the rest when it may."""

    def __init__(self, url: str, image_id: str, size: int, go_on: threading.Event) -> None:
        super().__init__(daemon=True)
        self._url = f'{url}/v2/images/{image_id}/file'
        self.data = noise(size, 1)
        self._go_on = go_on
        self.status: int | None = None

    def run(self) -> None:
        headers = {**processes.identity('alpha'), **OCTETS}
        with contextlib.suppress(requests.RequestException):
            self.status = requests.put(
                self._url, data=self._body(), headers=headers, timeout=120
            ).status_code

    def _body(self) -> Iterator[bytes]:
        half = len(self.data) // 2
        # Small chunks, and a few bytes now and then: uWSGI takes no large ones, and gives up a
        # client that is silent.
        for at in range(0, half, 65536):
            yield self.data[at : min(at + 65536, half)]
        while not self._go_on.wait(1) and half < len(self.data) - 100:
            yield self.data[half : half + 10]
            half += 10
        for at in range(half, len(self.data), 65536):
            yield self.data[at : at + 65536]


def test_an_uploader_that_was_given_up_and_wakes_harms_nothing(url, tmp_path):
    """The second upload's bytes stay, whatever the first one still does."""
    rows = Rows(url)
    first_made = processes.settings(tmp_path / 'first', url, more=SOON)
    first_made.edit('workers = 2', 'workers = 1')
    stores = processes.TWO_STORES.format(directory=first_made.directory)
    second_made = processes.settings(tmp_path / 'second', url, stores=stores, more=SOON)
    with processes.api(first_made) as first, processes.api(second_made) as second:
        alpha = Caller(second.url, 'alpha')
        image_id = alpha.create()
        go_on = threading.Event()
        slow = Slow(first.url, image_id, 3 * MIB, go_on)
        slow.start()
        until(lambda: alpha.show(image_id)['status'] == 'saving', 'the first upload')
        time.sleep(4)
        assert alpha.show(image_id)['status'] == 'saving', 'its heart beats'
        (worker,) = first.workers()
        os.kill(worker, signal.SIGSTOP)
        try:
            until(lambda: alpha.show(image_id)['status'] == 'queued', 'it is given up', 20)
            assert alpha.show(image_id)[FAILED_UPLOAD]
            data = noise(2 * MIB, 2)
            alpha.upload(image_id, data)
            go_on.set()
        finally:
            os.kill(worker, signal.SIGCONT)
        slow.join(60)
        assert slow.status == 410
        alpha.check(image_id, data)
        assert len(first.files()) == 1
        assert rows.clean(first) == ''


def test_an_upload_that_a_glance_has_under_way_is_left_alone(url, tmp_path):
    rows = Rows(url)
    made = processes.settings(tmp_path / 'lite', url, more=f'{SOON}orphan_min_age = 0\n')
    stores = processes.TWO_STORES.format(directory=made.directory)
    glance = tmp_path / 'glance'
    with processes.api(made) as lite, glance33.running(glance, url, stores) as beside:
        ours, theirs = Caller(lite.url, 'alpha'), Caller(beside, 'alpha')
        image_id = theirs.create()
        go_on = threading.Event()
        slow = Slow(beside, image_id, 2 * MIB, go_on)
        slow.start()
        until(lambda: rows.status(image_id) == 'saving', 'Glance is at work')
        # Something to sweep, so that it is known that somebody sweeps.
        killed = ours.create()
        Slow(lite.url, killed, MIB, go_on).start()
        until(lambda: rows.status(killed) == 'saving', 'so are we')
        for pid in lite.workers():
            os.kill(pid, signal.SIGKILL)
        until(lambda: rows.status(killed) == 'queued', 'the sweeper is at work')
        time.sleep(6)
        assert rows.status(image_id) == 'saving'
        found = made.manage('store', 'orphans', '--delete')
        assert f'{image_id}  stays: image {image_id} is there' in found
        assert '0 removed' in found
        go_on.set()
        slow.join(60)
        assert slow.status == 204
        ours.check(image_id, slow.data)
        assert theirs.show(killed)[FAILED_UPLOAD] == ours.show(killed)[FAILED_UPLOAD]
        theirs.upload(killed, b'and it can fill what we gave up')
        assert ours.download(killed) == b'and it can fill what we gave up'
        assert rows.clean(lite) == ''


def test_files_of_a_killed_worker_are_where_they_are_looked_for(url, tmp_path):
    """A kill between the store and the commit leaves a file; it is found by its name."""
    rows = Rows(url)
    made = processes.settings(tmp_path, url)
    with processes.api(made) as server:
        alpha = Caller(server.url, 'alpha')
        image_id = alpha.create()
        go_on = threading.Event()
        Slow(server.url, image_id, MIB, go_on).start()
        until(lambda: rows.status(image_id) == 'saving', 'the upload')
        (row,) = rows.all(tables.operations)
        left = pathlib.Path(made.directory, 'fast', row.name)
        left.write_bytes(b'what a killed worker has just stored')
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
        go_on.set()
        rows.wait_until_clean(server)
        assert not left.exists()
