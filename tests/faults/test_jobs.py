# SPDX-License-Identifier: Apache-2.0
"""Whoever does an import is killed at each step of it; another one carries on.

The image ends active with the right bytes, or queued with a reason. Nothing is left in the staging
area or in the stores, and the lock is free.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import signal
import subprocess

import pytest
import requests
import sqlalchemy as sa

from glance_lite.db import tables
from tests.faults.test_points import ENGINES, STORES, Scene, scene
from tests.faults.traces import files, miscounted
from tests.servers import processes
from tests.servers.processes import alive, until
from tests.servers.test_servers import MIB, Caller, noise

DATA = noise(3 * MIB)

STAGING = STORES + '[os_glance_staging_store]\nfilesystem_store_datadir = {directory}/staging\n'

#: Where the process dies, of an import into two stores.
POINTS = [
    'before claim_job 1',
    'after claim_job 1',
    'before take_job 1',
    'after take_job 1',
    'before tell_job 1',
    'before claim_part 1',
    'after claim_part 1',
    'within add@0 1',
    f'within add@{MIB} 1',
    'after add 1',
    'before commit_part 1',
    'after commit_part 1',
    'before claim_part 2',
    'after claim_part 2',
    'before commit_part 2',
    'after commit_part 2',
    'before commit_job 1',
    'after commit_job 1',
    'before commit_delete 1',
    'after commit_delete 1',
]

#: The same where a store refuses the data and all is undone.
UNDONE = [
    'before fail_part 1',
    'after fail_part 1',
    'before abort_job 1',
    'after abort_job 1',
    'before commit_delete 1',
    'after commit_delete 1',
]


def staged(made: Scene) -> list[str]:
    return sorted(os.listdir(made.server.settings.directory / 'staging'))


def rows(made: Scene) -> list[tuple[str, ...]]:
    """What the database keeps of imports and operations."""
    engine = sa.create_engine(made.database, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        found = [
            (table.name, *map(str, row))
            for table in (tables.operations, tables.jobs, tables.copies, tables.reservations)
            for row in connection.execute(sa.select(table))
        ]
    engine.dispose()
    return found


def prepare(made: Scene) -> str:
    image_id = made.alpha.create()
    headers = {'Content-Type': 'application/octet-stream'}
    made.alpha('PUT', f'/images/{image_id}/stage', 204, data=DATA, headers=headers)
    return image_id


def ask(made: Scene, image_id: str, **fields: object) -> None:
    body = {'method': {'name': 'glance-direct'}, 'stores': ['fast', 'cheap'], **fields}
    made.alpha('POST', f'/images/{image_id}/import', 202, json=body)


def die(made: Scene, image_id: str) -> None:
    """The import is asked for, and kills the worker that does it, in the request or later."""
    (worker,) = made.server.workers()
    os.kill(made.server.pid, signal.SIGSTOP)
    with contextlib.suppress(requests.ConnectionError):
        ask(made, image_id)
    until(lambda: not alive(worker), 'the worker is dead')
    os.kill(made.server.pid, signal.SIGCONT)
    made.alpha = Caller(made.server.url, 'alpha')
    made.alpha.names()


def image(made: Scene, image_id: str) -> dict[str, object]:
    found: dict[str, object] = made.alpha('GET', f'/images/{image_id}', 200).json()
    return found


def clean(made: Scene) -> None:
    """Nothing is left beside the image."""
    until(lambda: not rows(made), f'no rows, but there are {rows(made)}')
    until(lambda: not staged(made), f'nothing staged, but there is {staged(made)}')
    assert miscounted(made.database) == {}


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('point', POINTS)
def test_import(point, engine, tmp_path):
    with scene(tmp_path, engine, f'{point} kill', stores=STAGING) as made:
        image_id = prepare(made)
        die(made, image_id)
        if point == 'before claim_job 1':
            assert image(made, image_id)['status'] == 'uploading'
            ask(made, image_id)
        until(
            lambda: image(made, image_id)['status'] == 'active',
            f'active, but it is {image(made, image_id)}',
        )
        clean(made)
        found = image(made, image_id)
        assert sorted(str(found['stores']).split(',')) == ['cheap', 'fast']
        assert found['os_glance_importing_to_stores'] == found['os_glance_failed_import'] == ''
        assert 'os_glance_import_task' not in found
        assert len(files(tmp_path, image_id)) == 2
        made.alpha.check(image_id, DATA)
        tasks = made.alpha('GET', f'/images/{image_id}/tasks', 200).json()['tasks']
        assert [task['status'] for task in tasks] == ['success']


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('point', UNDONE)
def test_undone_import(point, engine, tmp_path):
    """The second store takes nothing; what the first one has goes."""
    refuse = 'before claim_part 2- fail StoreFull'
    with scene(tmp_path, engine, f'{point} kill', refuse, stores=STAGING) as made:
        image_id = prepare(made)
        die(made, image_id)
        until(
            lambda: image(made, image_id)['status'] == 'queued',
            f'queued, but it is {image(made, image_id)}',
        )
        clean(made)
        found = image(made, image_id)
        assert found['os_glance_failed_upload']
        assert 'os_glance_import_task' not in found
        assert files(tmp_path, image_id) == []


#: Where the worker dies while data is staged.
STAGE = [
    'before claim_stage 1',
    'after claim_stage 1',
    'before confirm_upload 1',
    'before commit_stage 1',
    'after commit_stage 1',
]


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('point', STAGE)
def test_stage(point, engine, tmp_path):
    with scene(tmp_path, engine, f'{point} kill', stores=STAGING) as made:
        image_id = made.alpha.create()
        headers = {'Content-Type': 'application/octet-stream'}
        made.die(
            lambda: made.alpha('PUT', f'/images/{image_id}/stage', 204, data=DATA, headers=headers)
        )
        os.kill(made.server.pid, signal.SIGCONT)
        made.alpha = Caller(made.server.url, 'alpha')
        if point == 'after commit_stage 1':
            assert image(made, image_id)['status'] == 'uploading'
            ask(made, image_id)
            until(lambda: image(made, image_id)['status'] == 'active', 'active')
        else:
            until(lambda: image(made, image_id)['status'] == 'queued', 'queued')
        clean(made)
        assert miscounted(made.database) == {}


@pytest.mark.parametrize(
    'point', ['after take_job 1', f'within add@{MIB} 1', 'before commit_job 1']
)
def test_a_worker_of_its_own(point, tmp_path):
    """The API does no imports. A glance-lite-worker is killed; the next one carries on."""
    stores = STAGING + '[task]\napi_runs_jobs = false\npoll_interval = 1\n'
    with scene(tmp_path, ENGINES[0], f'{point} kill', stores=stores) as made:
        image_id = prepare(made)
        ask(made, image_id)
        command = [
            processes.BIN / 'glance-lite-worker', '--config-file', made.server.settings.file
        ]  # fmt: skip
        log = tmp_path / 'worker.log'
        with log.open('wb') as output:
            first = subprocess.run(command, stdout=output, stderr=output, timeout=120)
            assert first.returncode == -signal.SIGKILL, log.read_text()
            second = subprocess.Popen(command, stdout=output, stderr=output)
            try:
                until(
                    lambda: image(made, image_id)['status'] == 'active',
                    f'active: {log.read_text()[-2000:]}',
                )
                clean(made)
                made.alpha.check(image_id, DATA)
            finally:
                second.terminate()
                assert second.wait(30) == 0, log.read_text()


def slow(tmp_path, *faults: str, more: str = ''):
    """A service in which a write to a store takes its time."""
    return scene(tmp_path, ENGINES[0], *faults, stores=STAGING + more)


def test_a_copy_that_takes_longer_than_the_expiry(tmp_path):
    """It gives signs of life, so nobody takes it for dead."""
    short = '[maintenance]\nheartbeat_interval = 1\noperation_expiry = 3\nsweep_interval = 1\n'
    with slow(tmp_path, f'within add@{MIB} 1 delay 8', more=short) as made:
        image_id = prepare(made)
        ask(made, image_id)
        until(lambda: image(made, image_id)['status'] == 'active', 'active')
        clean(made)
        made.alpha.check(image_id, DATA)
        assert not made.server.lines('taking up an unfinished')


def test_an_image_that_is_deleted_during_its_import(tmp_path):
    with slow(tmp_path, f'within add@{MIB} 1 delay 4', more='[task]\npoll_interval = 1\n') as made:
        image_id = prepare(made)
        ask(made, image_id)
        until(lambda: image(made, image_id)['status'] == 'importing', 'importing')
        until(lambda: any(row[3:4] == ('copy',) for row in rows(made)), 'a copy')
        made.alpha('DELETE', f'/images/{image_id}', 204)
        clean(made)
        until(lambda: not files(tmp_path, image_id), 'no files')


@pytest.mark.parametrize('point', ['before finish_step 1', 'after finish_step 1', 'after add 1'])
def test_a_step_that_makes_another_file(point, tmp_path):
    """What was staged is packed, and a plug-in unpacks it: once more, if nobody knows of it."""
    plugins = '[image_import_opts]\nimage_import_plugins = [image_decompression]\n'
    with scene(tmp_path, ENGINES[0], f'{point} kill', stores=STAGING + plugins) as made:
        image_id = made.alpha.create()
        headers = {'Content-Type': 'application/octet-stream'}
        packed = gzip.compress(DATA)
        made.alpha('PUT', f'/images/{image_id}/stage', 204, data=packed, headers=headers)
        die(made, image_id)
        until(lambda: image(made, image_id)['status'] == 'active', 'active')
        clean(made)
        assert image(made, image_id)['size'] == len(DATA)
        made.alpha.check(image_id, DATA)


PARALLEL = '[image_import_opts]\nmax_parallel_stores = 2\n'


def test_in_parallel(tmp_path):
    """A slow store does not hold up the other one, and the server answers meanwhile."""
    with slow(tmp_path, f'within add@{MIB} 1 delay 6', more=PARALLEL) as made:
        image_id = prepare(made)
        ask(made, image_id)
        until(
            lambda: image(made, image_id)['os_glance_importing_to_stores'] == 'fast',
            'the other store has it',
        )
        assert image(made, image_id)['status'] == 'importing'
        until(lambda: image(made, image_id)['status'] == 'active', 'active')
        clean(made)
        made.alpha.check(image_id, DATA)


@pytest.mark.parametrize('point', [f'within add@{MIB} 1', 'before commit_part 2'])
def test_killed_in_parallel(point, tmp_path):
    with slow(tmp_path, f'{point} kill', more=PARALLEL) as made:
        image_id = prepare(made)
        die(made, image_id)
        until(lambda: image(made, image_id)['status'] == 'active', 'active')
        clean(made)
        assert len(files(tmp_path, image_id)) == 2
        made.alpha.check(image_id, DATA)
