# SPDX-License-Identifier: Apache-2.0
"""The import that converts in small: both sides do it, and what is wrong is called so."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys

import pytest

from benchmarks import conversion, stored
from tests.backends import ceph, databases, radosgw
from tests.peers import glance33
from tests.sizes import FULL, full

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / 'benchmarks' / 'conversion.py'
SIZE, STORES = full(8, 2048), full('file', 'file,rbd,s3')
DISK = conversion.Disk(SCRIPT, 4096, 'digest')
IMAGE = {'status': 'active', 'disk_format': 'raw', 'size': 4096, 'virtual_size': 4096,
         'os_hash_value': 'digest', 'stores': 'file'}  # fmt: skip
#: figures that are as they must be
FOUND = {'image': IMAGE, 'digests': {'file': 'digest'}, 'percents': [0, 25], 'left': [],
         'seconds': 1.0, 'cpu': 1.0, 'memory': 1.0}  # fmt: skip


@pytest.fixture(scope='module')
def figures(tmp_path_factory):
    """What the script has measured, once for all tests here."""
    glance33.home()
    databases.require('postgresql')
    if FULL:
        ceph.require()
        radosgw.require()
    file = tmp_path_factory.mktemp('conversion') / 'figures.json'
    command = [sys.executable, str(SCRIPT), '--rounds', '1', '--size', str(SIZE),
               '--stores', STORES, '--file', str(file)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=full(300, 3600))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'A qcow2 of {SIZE} MiB' in done.stdout and 'Glance took' in done.stdout
    return {name: rounds[0] for name, rounds in json.loads(file.read_text()).items()}


@pytest.mark.peer
@pytest.mark.parametrize('name', conversion.TITLES)
def test_an_import_is_measured_whose_copies_are_right(figures, name):
    found = figures[name]
    assert found['wrong'] == []
    assert found['image']['size'] == SIZE << 20 and found['image']['disk_format'] == 'raw'
    assert set(found['digests']) == set(STORES.split(','))
    # It has read, converted and written the data, and used no more cores than there are.
    assert 0.02 < found['seconds'] < full(120, 3600)
    assert 0.02 < found['cpu'] < 64 * found['seconds']
    assert 20 < found['memory'] < 2048


@pytest.mark.peer
def test_progress_grows_and_glance_takes_longer(figures):
    ours = figures['lite']
    # What is over is not looked at any more, and a small import may be over at once.
    assert all(0 <= percent < 100 for percent in ours['percents'])
    if FULL:
        assert len(ours['percents']) > 3
        assert ours['memory'] < 1024 and ours['qemu'] > 1
        assert ours['seconds'] < figures['glance']['seconds']


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        ('digests', {}, 'has other data'),
        ('percents', [0, 50, 25], 'went back'),
        ('left', ['disk.raw'], 'staging directory'),
        ('seconds', 0.0, 'seconds is'),
        ('cpu', 0.0, 'cpu is'),
        ('memory', 0.0, 'memory is'),
    ],
)
def test_figures_that_cannot_be_are_faults(name, value, words):
    (wrong,) = conversion.faults({**FOUND, name: value}, DISK, ['file'])
    assert words in wrong


@pytest.mark.parametrize('name', ['status', 'disk_format', 'size', 'virtual_size', 'os_hash_value'])
def test_an_image_that_is_something_else_is_a_fault(name):
    found = {**FOUND, 'image': {**IMAGE, name: 'another'}}
    assert conversion.faults(found, DISK, ['file']) == [f'{name} is another']


def test_a_copy_too_many_or_too_few_is_a_fault():
    assert conversion.faults(FOUND, DISK, ['file']) == []
    found = {**FOUND, 'image': {**IMAGE, 'stores': 'file,rbd'}}
    assert conversion.faults(found, DISK, ['file']) == ['it is in file,rbd']
    wrong = conversion.faults(FOUND, DISK, ['file', 'rbd'])
    assert wrong == ['it is in file', 'rbd has other data: None']


def test_the_data_of_a_store_is_read_from_the_store(tmp_path):
    options = {'filesystem_store_datadir': str(tmp_path)}
    assert stored.digest('file', options, 'image').startswith('FileNotFoundError')
    (tmp_path / 'image').write_bytes(b'')
    assert stored.digest('file', options, 'image').startswith('cf83e1357eefb8bd')


@pytest.mark.skipif(shutil.which('qemu-img') is None, reason='qemu-img is not installed')
@pytest.mark.parametrize('filled', [0, 50, 100])
def test_the_disk_is_as_full_as_it_says(filled, tmp_path):
    disk = conversion.make_disk(tmp_path / 'disk.qcow2', 8, filled)
    data = disk.path.stat().st_size / conversion.MIB
    assert data == pytest.approx(8 * filled / 100, abs=1)
    command = ['qemu-img', 'convert', '-O', 'raw', str(disk.path), str(tmp_path / 'image')]
    subprocess.run(command, check=True)
    options = {'filesystem_store_datadir': str(tmp_path)}
    assert (tmp_path / 'image').stat().st_size == disk.size
    assert stored.digest('file', options, 'image') == disk.digest


def test_percents_are_read_from_messages():
    said = ['0 percent: file', '25 percent: rbd', '25 percent: file', 'Copied 8 MiB']
    assert conversion.percents(said) == [0, 25]
