# SPDX-License-Identifier: Apache-2.0
"""What the file driver does beyond the kit: directories, holes, permissions, crashes, refusals."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile

import pytest

from glance_lite.store import (
    BadStoreConfiguration,
    BadStoreUri,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from glance_lite.testing.stores import Source
from tests.conformance.test_stores import file_store


@pytest.fixture
def images(tmp_path):
    return tmp_path / 'images'


def add(driver, name='a', data=b'data'):
    return driver.add(name, Source(data), len(data))


def test_files_are_where_glance_puts_them(images):
    driver = file_store(filesystem_store_datadir=str(images))
    assert add(driver, 'some-id') == f'file://{images}/some-id'
    assert (images / 'some-id').read_bytes() == b'data'


def test_holes_are_kept_and_read_as_zeros(images):
    driver = file_store(filesystem_store_datadir=str(images), filesystem_thin_provisioning=True)
    data = b'x' * 70_000 + bytes(8 << 20) + b'y' * 10 + bytes(3 << 20)
    driver.parse(add(driver, data=data))
    assert (images / 'a').read_bytes() == data
    assert (images / 'a').stat().st_blocks * 512 < len(data) // 4


def test_the_first_directory_with_room_takes_the_image(tmp_path):
    driver = file_store(filesystem_store_datadirs=[f'{tmp_path}/low:1', f'{tmp_path}/high:9'])
    assert add(driver) == f'file://{tmp_path}/high/a'
    (tmp_path / 'low' / 'b').write_bytes(b'here already')
    with pytest.raises(StoreError):
        add(driver, 'b')
    with pytest.raises(StoreFull):
        driver.add('c', Source(b''), 1 << 60)


@pytest.mark.parametrize(('digits', 'mode'), [(640, 0o640), (444, 0o444)])
def test_permissions_are_octal_digits(images, digits, mode):
    driver = file_store(filesystem_store_datadir=str(images), filesystem_store_file_perm=digits)
    add(driver)
    assert (images / 'a').stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ('settings', 'option'),
    [
        ({'filesystem_store_file_perm': 289}, 'filesystem_store_file_perm'),
        ({'filesystem_store_file_perm': 40}, 'filesystem_store_file_perm'),
        ({'filesystem_store_datadir': '/proc/images'}, 'filesystem_store_datadir'),
        ({'filesystem_store_datadirs': ['/tmp/x:much']}, 'filesystem_store_datadirs'),
        ({'filesystem_store_datadirs': ['/tmp/x:1', '/tmp/x:2']}, 'filesystem_store_datadirs'),
        ({'filesystem_store_datadir': '/tmp/what?'}, 'filesystem_store_datadir'),
        ({'filesystem_store_datadir': '/tmp/#1'}, 'filesystem_store_datadir'),
        ({'filesystem_store_datadirs': ['/tmp/x\ty:1']}, 'filesystem_store_datadirs'),
        ({'filesystem_store_metadata_file': '/no/file'}, 'filesystem_store_metadata_file'),
    ],
)
def test_bad_settings_name_store_and_option(tmp_path, settings, option):
    values = {'filesystem_store_datadir': str(tmp_path), **settings}
    with pytest.raises(BadStoreConfiguration, match=rf'\[fast\] {option}: ') as caught:
        file_store(**values)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('text', ['{', '[]x', '{"id": 1}', '[{"id": "a"}]'])
def test_a_bad_metadata_file_is_named(tmp_path, images, text):
    path = tmp_path / 'meta.json'
    path.write_text(text)
    with pytest.raises(BadStoreConfiguration, match=r'meta\.json'):
        file_store(filesystem_store_datadir=str(images), filesystem_store_metadata_file=str(path))
    path.write_text(json.dumps({'id': 'a', 'mountpoint': '/mnt'}))
    file_store(filesystem_store_datadir=str(images), filesystem_store_metadata_file=str(path))


def test_links_and_neighbours_are_refused(images, tmp_path):
    driver = file_store(filesystem_store_datadir=str(images))
    (tmp_path / 'secret').write_text('secret')
    (images / 'link').symlink_to(tmp_path / 'secret')
    (images / 'deep').mkdir()
    for path in (
        f'{tmp_path}/secret', f'{images}/../secret', f'{images}/link', f'{images}-other/a',
        f'{images}/deep/a', f'{images}', f'{images}/', f'{images}//a', f'{images}/./a',
    ):  # fmt: skip
        with pytest.raises(BadStoreUri):
            driver.parse(f'file://{path}')


def test_a_directory_reached_by_a_link_is_served(tmp_path):
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'images').symlink_to(tmp_path / 'disk')
    driver = file_store(filesystem_store_datadir=f'{tmp_path}/images')
    key = driver.parse(add(driver))
    assert b''.join(driver.get(key)) == b'data'
    assert driver.size(driver.parse(f'file://{tmp_path}/disk/a')) == 4


@pytest.mark.parametrize('name', ['', '.', '..', '../a', 'a/b', '.hidden', 'a\0b'])
def test_names_that_are_no_file_names(images, name):
    driver = file_store(filesystem_store_datadir=str(images))
    with pytest.raises(StoreError):
        add(driver, name)


def test_stale_partial_file_never_blocks_an_upload(images):
    images.mkdir()
    (images / '.partial-a-1234').write_bytes(b'half')
    driver = file_store(filesystem_store_datadir=str(images))
    assert sorted(os.listdir(images)) == []
    driver.parse(add(driver, 'a'))
    assert sorted(os.listdir(images)) == ['a']


def test_a_killed_upload_leaves_no_name(images):
    """SIGKILL in the middle of an image: nothing is in the directory."""
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(pathlib.Path(__file__).resolve().parents[3])!r})
from tests.conformance.test_stores import file_store
class Source:
    count = 0
    def read(self, size):
        self.count += 1
        if self.count == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return b'x' * min(size, 1 << 20)
file_store(filesystem_store_datadir={str(images)!r}).add('a', Source(), 1 << 30)
"""
    done = subprocess.run([sys.executable, '-c', code])
    assert done.returncode == -9
    assert os.listdir(images) == []


def test_a_full_disk_is_said_and_leaves_nothing(images, monkeypatch):
    driver = file_store(filesystem_store_datadir=str(images))

    def full(descriptor, data):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'write', full)
    with pytest.raises(StoreFull, match='fast'):
        add(driver)
    monkeypatch.undo()
    assert os.listdir(images) == []


def test_a_name_that_may_not_survive_is_taken_back(images, monkeypatch):
    """The upload was refused and its file stayed."""
    driver, fsync = file_store(filesystem_store_datadir=str(images)), os.fsync

    def broken(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, 'Input/output error')
        fsync(descriptor)

    monkeypatch.setattr(os, 'fsync', broken)
    with pytest.raises(StoreUnavailable, match='fast'):
        add(driver)
    assert os.listdir(images) == []


def test_a_copy_keeps_holes(images, tmp_path):
    there = file_store(filesystem_store_datadir=str(images), filesystem_thin_provisioning=True)
    here = file_store(filesystem_store_datadir=str(tmp_path / 'here'))
    data = bytes(4 << 20) + b'x' * 70_000 + bytes(8 << 20) + b'y' * 10 + bytes(3 << 20)
    here.copy_from(there, there.parse(add(there, data=data)), 'b')
    assert (tmp_path / 'here' / 'b').read_bytes() == data
    assert (tmp_path / 'here' / 'b').stat().st_blocks * 512 < len(data) // 4


def test_between_file_systems_the_kernel_does_not_copy(images):
    there = file_store(filesystem_store_datadir=str(images))
    key = there.parse(add(there))
    with tempfile.TemporaryDirectory(dir='/dev/shm') as memory:
        if os.stat(memory).st_dev == os.stat(images).st_dev:
            pytest.skip('there is one file system only')
        here = file_store(filesystem_store_datadir=memory)
        assert here.copy_from(there, key, 'b') is None
        assert os.listdir(memory) == []


def test_a_copy_for_which_there_is_no_room_leaves_nothing(images, tmp_path, monkeypatch):
    there = file_store(filesystem_store_datadir=str(images))
    here = file_store(filesystem_store_datadir=str(tmp_path / 'here'))
    key = there.parse(add(there))

    def full(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'copy_file_range', full)
    with pytest.raises(StoreFull):
        here.copy_from(there, key, 'b')
    assert os.listdir(tmp_path / 'here') == []
