# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-manage store orphans``: finds what nobody refers to, removes what may go."""

from __future__ import annotations

import os
import time
import uuid

import pytest
import sqlalchemy as sa

from glance_lite.db import tables
from glance_lite.orphans import image_id_of
from tests.servers import processes
from tests.servers.test_servers import Caller

MAINTENANCE = '[maintenance]\norphan_min_age = 3600\n'


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    """A service with images, and files in its store that are of none."""
    directory = tmp_path_factory.mktemp('orphans')
    made = processes.settings(directory, more=MAINTENANCE)
    with processes.api(made) as server:
        alpha = Caller(server.url, 'alpha')
        used, deleted, queued = (alpha.create() for _ in range(3))
        for image_id in (used, deleted):
            alpha.upload(image_id, b'data')
        alpha('DELETE', f'/images/{deleted}', 204)
    names = {
        'used': used,
        'deleted': deleted,
        'spare': f'{deleted}-17',
        'queued': queued,
        'unknown': str(uuid.uuid4()),
        'young': str(uuid.uuid4()),
        'foreign': 'README',
        'nearly': f'{uuid.uuid4()}.part',
    }
    for name in set(names) - {'used'}:
        (directory / 'fast' / names[name]).write_bytes(b'orphan')
    for name in set(names) - {'young'}:
        old = time.time() - 4000
        os.utime(directory / 'fast' / names[name], (old, old))
    return made, names


def lines(output: str, names: dict[str, str]) -> dict[str, str]:
    """What each name is said of."""
    told = {}
    for line in output.splitlines():
        for name, file in names.items():
            if f'/fast/{file} ' in line:
                told[name] = line.partition(f'/{file} ')[2].strip().partition(':')[0]
    return told


SEEN = {
    'deleted': 'can be removed',
    'spare': 'can be removed',
    'unknown': 'can be removed',
    'queued': 'stays',
    'foreign': 'stays',
    'nearly': 'stays',
}


def test_orphans_are_shown_and_only_then_removed(found):
    made, names = found
    output = made.manage('store', 'orphans')
    assert lines(output, names) == SEEN
    assert output.splitlines()[-1] == '6 found, 36 bytes; 0 removed'
    assert len(list((made.directory / 'fast').iterdir())) == len(names)

    output = made.manage('store', 'orphans', '--store', 'fast', '--delete')
    assert output.splitlines()[-1] == '6 found, 36 bytes; 3 removed'
    left = {path.name for path in (made.directory / 'fast').iterdir()}
    assert left == {names[name] for name in ('used', 'queued', 'young', 'foreign', 'nearly')}


def test_what_an_operation_works_on_or_a_delayed_delete_keeps_is_no_orphan(found):
    made, _ = found
    pending, busy = str(uuid.uuid4()), str(uuid.uuid4())
    engine = sa.create_engine(f'sqlite:///{made.directory}/glance.sqlite')
    now = sa.func.current_timestamp()
    row = {'deleted': True, 'visibility': 'private', 'min_disk': 0, 'min_ram': 0, 'created_at': now}
    row |= {'protected': False, 'os_hidden': False}
    mine = {'name': busy, 'project': 'alpha', 'user_id': 'u', 'state': 'running', 'kind': 'upload'}
    mine |= {'host': 'h', 'boot_id': 'b', 'pid': 1, 'started': now, 'heartbeat': now}
    with engine.begin() as connection:
        connection.execute(
            sa.insert(tables.images).values(id=pending, status='pending_delete', **row)
        )
        connection.execute(sa.insert(tables.operations).values(image_id=busy, **mine))
    engine.dispose()
    for name in (pending, busy):
        path = made.directory / 'cheap' / name
        path.write_bytes(b'')
        os.utime(path, (0, 0))
    output = made.manage('store', 'orphans', '--store', 'cheap', '--delete')
    assert output.splitlines()[-1] == '2 found, 0 bytes; 0 removed'


def test_an_unknown_store_is_named(found):
    made, _ = found
    with pytest.raises(AssertionError, match='There is no store fats; there are fast, cheap'):
        made.manage('store', 'orphans', '--store', 'fats')


@pytest.mark.parametrize(
    ('url', 'ours'),
    [
        ('file:///a/3b241101-e2bb-4255-8caf-4136c566a962', True),
        ('file:///a/3b241101-e2bb-4255-8caf-4136c566a962-4', True),
        ('file:///3b241101-e2bb-4255-8caf-4136c566a962/x', False),
        ('file:///3b241101-e2bb-4255-8caf-4136c566a962/snap', False),
        ('rbd://a/b/3b241101-e2bb-4255-8caf-4136c566a962/snap', True),
        ('rbd://a/3b241101-e2bb-4255-8caf-4136c566a962/c/snap', False),
        ('file:///a/3b241101-e2bb-4255-8caf-4136c566a962-', False),
        ('file:///a/3B241101-E2BB-4255-8CAF-4136C566A962', False),
    ],
)
def test_names_of_uploads_are_known(url, ours):
    assert (image_id_of(url) is not None) == ours
