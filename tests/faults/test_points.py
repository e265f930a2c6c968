# SPDX-License-Identifier: Apache-2.0
"""A worker of glance-lite-api is killed at each step of an upload and of a delete.

Its master is held meanwhile, so that what the dead worker has left can be looked at before the
next one begins. That one must clean it up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest
import requests
import sqlalchemy as sa

from glance_lite.db import tables
from glance_lite.db.riders import STEP
from glance_lite.db.sweeps import GIVEN_UP
from glance_lite.operations import OPERATIONS
from tests.backends import databases
from tests.faults.traces import Left, look, miscounted
from tests.servers import processes
from tests.servers.processes import alive, until
from tests.servers.test_servers import MIB, Caller, noise
from tests.sizes import full

DATA = noise(3 * MIB)

STORES = """
enabled_backends = fast:faulty,cheap:file
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {directory}/fast
fault_counters = {directory}/counters
STORE
[cheap]
filesystem_store_datadir = {directory}/cheap
[controller]
layers = auth, property_protection, notifier, policy, quota, location, faults, db
[faults]
fault_counters = {directory}/counters
LAYER
"""

ENGINES = full(('postgresql',), databases.ENGINES)


@dataclasses.dataclass
class Scene:
    """A service of one worker that shall die."""

    server: processes.Server
    database: str
    alpha: Caller

    def die(self, act: Callable[[], object], later: bool = False) -> None:
        """Do what kills the worker. Nobody takes its place before `go_on`.

        `later`: it is the background that dies, so the request may be answered.
        """
        (worker,) = self.server.workers()
        os.kill(self.server.pid, signal.SIGSTOP)
        broken = requests.ConnectionError
        with contextlib.suppress(broken) if later else pytest.raises(broken):
            act()
        until(lambda: not alive(worker), 'the worker is dead')

    def go_on(self, image_id: str) -> None:
        """The next worker begins, and cleans up."""
        wanted = swept(self.look(image_id))
        os.kill(self.server.pid, signal.SIGCONT)
        self.alpha = Caller(self.server.url, 'alpha')
        self.alpha.names()
        until(
            lambda: self.look(image_id) == wanted,
            f'{wanted}, but it is {self.look(image_id)}',
        )
        assert miscounted(self.database) == {}

    def look(self, image_id: str) -> Left:
        return look(self.database, self.server.settings.directory, image_id)


def swept(left: Left) -> Left:
    """What becomes of what was left."""
    if 'upload' in left.operations:
        reason = GIVEN_UP if left.status == 'saving' else left.reason
        return Left('queued', reason)
    if 'delete' in left.operations or left.status == 'pending_delete':
        return Left('deleted')
    if {'location', 'copy'} & set(left.operations):
        return dataclasses.replace(left, operations=(), files=left.locations)
    return left


@contextlib.contextmanager
def scene(
    directory: pathlib.Path, engine: str, *faults: str, more: str = '', stores: str = STORES
) -> Iterator[Scene]:
    databases.require(engine)
    url = databases.create(engine, directory)
    lines: dict[bool, list[str]] = {True: [], False: []}
    for fault in faults:
        lines[fault.split()[1] in OPERATIONS].append(f'fault = {fault}')
    stores = stores.replace('STORE', '\n'.join(lines[False]))
    stores = stores.replace('LAYER', '\n'.join(lines[True]))
    stores += '[maintenance]\nsweep_interval = 1\n' if more else ''
    try:
        made = processes.settings(
            directory, url, stores=stores, default=f'user_storage_quota = 100MB\n{more}'
        )
        made.edit('workers = 2', 'workers = 1')
        with processes.api(made) as server:
            yield Scene(server, url, Caller(server.url, 'alpha'))
    finally:
        databases.drop(url)


SAVING = Left('saving', operations=('upload',), reservations=1)
STORED = dataclasses.replace(SAVING, files=1)
ACTIVE = Left('active', locations=1, files=1)

#: Where the worker dies in an upload -> what it leaves.
UPLOAD = {
    'before claim_upload': Left('queued'),
    'after claim_upload': SAVING,
    'before add': SAVING,
    'within add@0': SAVING,
    f'within add@{MIB}': SAVING,
    'before confirm_upload': SAVING,
    'after confirm_upload': SAVING,
    # Every verdict is in, and all but one byte are in the store.
    f'within add@{len(DATA) - 1}': SAVING,
    'after add': STORED,
    'before commit_upload': STORED,
    'after commit_upload': ACTIVE,
}


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize(('point', 'left'), UPLOAD.items(), ids=UPLOAD)
def test_upload(point, left, engine, tmp_path):
    with scene(tmp_path, engine, f'{point} 1 kill') as made:
        image_id = made.alpha.create()
        made.die(lambda: made.alpha.upload(image_id, DATA))
        assert made.look(image_id) == left
        made.go_on(image_id)


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('point', ['before extend_upload', 'after extend_upload'])
def test_upload_of_unknown_size(point, engine, tmp_path):
    """Which needs more than was reserved at first."""
    with scene(tmp_path, engine, f'{point} 1 kill') as made:
        image_id = made.alpha.create()
        made.die(lambda: made.alpha.upload(image_id, iter([bytes(MIB)] * (STEP // MIB + 1))))
        assert dataclasses.replace(made.look(image_id), files=0) == SAVING
        made.go_on(image_id)


#: Where the worker dies while it gives up an upload that was refused -> what it leaves.
REFUSED = {
    'before abort_upload': SAVING,
    # Queued again, but until the bytes are known to be gone the row stays.
    'after abort_upload': Left('queued', operations=('upload',)),
    'before end_operation': Left('queued', operations=('upload',)),
    'after end_operation': Left('queued'),
}


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize(('point', 'left'), REFUSED.items(), ids=REFUSED)
def test_refused_upload(point, left, engine, tmp_path):
    with scene(tmp_path, engine, f'{point} 1 kill') as made:
        image_id = made.alpha.create(disk_format='qcow2')
        made.die(lambda: made.alpha.upload(image_id, DATA))
        found = made.look(image_id)
        assert dataclasses.replace(found, reason=None) == left
        made.go_on(image_id)


NOTED = Left('deleted', operations=('delete',), files=1)

#: Where the worker dies in a delete -> what it leaves.
DELETE = {
    'before claim_delete': ACTIVE,
    'after claim_delete': NOTED,
    'before delete': NOTED,
    'after delete': dataclasses.replace(NOTED, files=0),
    'before commit_delete': dataclasses.replace(NOTED, files=0),
    'after commit_delete': Left('deleted'),
}


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize(('point', 'left'), DELETE.items(), ids=DELETE)
def test_delete(point, left, engine, tmp_path):
    with scene(tmp_path, engine, f'{point} 1 kill') as made:
        image_id = made.alpha.create()
        made.alpha.upload(image_id, DATA)
        made.die(lambda: made.alpha('DELETE', f'/images/{image_id}', 204))
        assert made.look(image_id) == left
        made.go_on(image_id)


#: Where the worker dies when data shall stay for a while, and when it goes -> what it leaves.
DEFERRED = {
    'before defer_delete': ACTIVE,
    'after defer_delete': Left('pending_delete', files=1),
    'before delete': NOTED,
    'after delete': dataclasses.replace(NOTED, files=0),
    'before commit_delete': dataclasses.replace(NOTED, files=0),
}
#: Those where it is the request that dies.
LONG = ('before defer_delete', 'after defer_delete')


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize(('point', 'left'), DEFERRED.items(), ids=DEFERRED)
def test_deferred_delete(point, left, engine, tmp_path):
    more = f'delayed_delete = true\nscrub_time = {3 if point in LONG else 0}'
    # commit_delete is called for the delete itself as well, which has nothing to commit.
    number = 2 if 'commit_delete' in point else 1
    with scene(tmp_path, engine, f'{point} {number} kill', more=more) as made:
        image_id = made.alpha.create()
        made.alpha.upload(image_id, DATA)
        made.die(lambda: made.alpha('DELETE', f'/images/{image_id}', 204), point not in LONG)
        assert made.look(image_id) == left
        made.go_on(image_id)


#: Where the worker dies when a store still needs what is to be deleted -> what it leaves.
IN_USE = {'before abort_delete': NOTED, 'after abort_delete': ACTIVE}


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize(('point', 'left'), IN_USE.items(), ids=IN_USE)
def test_delete_of_what_is_in_use(point, left, engine, tmp_path):
    with scene(tmp_path, engine, f'{point} 1 kill', 'before delete 1 fail InUse') as made:
        image_id = made.alpha.create()
        made.alpha.upload(image_id, DATA)
        made.die(lambda: made.alpha('DELETE', f'/images/{image_id}', 204))
        assert made.look(image_id) == left
        made.go_on(image_id)


#: Where the worker dies while it removes one of two copies -> what it leaves.
COPY = {
    'before claim_location': Left('active', locations=2, files=2),
    'after claim_location': Left('active', operations=('location',), locations=1, files=2),
    'after delete': Left('active', operations=('location',), locations=1, files=1),
    'after commit_delete': ACTIVE,
}


def copied(made: Scene) -> str:
    """An active image with a second copy, in the store ``cheap``."""
    image_id = made.alpha.create()
    made.alpha.upload(image_id, DATA)
    directory = made.server.settings.directory
    shutil.copy(directory / 'fast' / image_id, directory / 'cheap' / image_id)
    table = tables.image_locations
    engine = sa.create_engine(made.database)
    with engine.begin() as connection:
        row = connection.execute(sa.select(table).where(table.c.image_id == image_id)).one()
        values = {name: value for name, value in row._mapping.items() if name != 'id'}
        values['value'] = values['value'].replace('/fast/', '/cheap/')
        values['meta_data'] = json.dumps({'store': 'cheap'})
        connection.execute(sa.insert(table).values(**values))
    engine.dispose()
    made.server.settings.manage('quota', 'recount', '--fix')
    return image_id


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize(('point', 'left'), COPY.items(), ids=COPY)
def test_delete_of_a_copy(point, left, engine, tmp_path):
    with scene(tmp_path, engine, f'{point} 1 kill') as made:
        image_id = copied(made)
        admin = Caller(made.server.url, 'alpha', roles='admin,member,reader')
        made.die(lambda: admin('DELETE', f'/stores/fast/{image_id}', 204))
        assert made.look(image_id) == left
        made.go_on(image_id)
        made.alpha.check(image_id, DATA)


#: Where a command dies that makes a second copy -> what it leaves.
COPIED = Left('active', locations=1, files=1)
COPYING = dataclasses.replace(COPIED, operations=('copy',))
SECOND_COPY = {
    'before claim_copy': COPIED,
    'after claim_copy': COPYING,
    'before copy_from': COPYING,
    'after copy_from': dataclasses.replace(COPYING, files=2),
    'before commit_copy': dataclasses.replace(COPYING, files=2),
    'after commit_copy': dataclasses.replace(COPIED, locations=2, files=2),
    # Where the backend cannot copy by itself.
    f'within add@{MIB}': COPYING,
    'after add': dataclasses.replace(COPYING, files=2),
}


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize(('point', 'left'), SECOND_COPY.items(), ids=SECOND_COPY)
def test_a_command_that_copies(point, left, engine, tmp_path):
    """It is not the service that dies, but the service cleans up after it."""
    faults = [f'{point} 1 kill']
    if 'add' in point:
        faults.append('before copy_from 1 fail StoreError')
    with scene(tmp_path, engine, *faults) as made:
        image_id = made.alpha.create()
        headers = {'Content-Type': 'application/octet-stream', 'X-Image-Meta-Store': 'cheap'}
        made.alpha('PUT', f'/images/{image_id}/file', 204, data=DATA, headers=headers)
        command = ('store', 'copy', image_id, '--to', 'fast')
        done = subprocess.run(
            [processes.BIN / 'glance-lite-manage', '--config-file', made.server.settings.file,
             *command],
            capture_output=True,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
        assert made.look(image_id) == left
        # The next worker sweeps at once.
        (worker,) = made.server.workers()
        os.kill(worker, signal.SIGKILL)
        made.go_on(image_id)
        made.alpha.check(image_id, DATA)
        if left.locations == 1:
            made.server.settings.manage(*command)
            assert made.look(image_id) == dataclasses.replace(COPIED, locations=2, files=2)
