# SPDX-License-Identifier: Apache-2.0
"""Every driver of ours against the kit."""

from __future__ import annotations

import os

import pytest

from glance_lite.testing.faults import FaultyStore
from glance_lite.testing.stores import StoreConformance, make_driver
from store_drivers.file import FileStore
from store_drivers.memory import MemoryStore
from tests.conformance import green
from tests.sizes import full
from tests.unit.layers.acl_store import AclStore


def file_store(**settings):
    driver = make_driver(FileStore, 'fast', **settings)
    driver.start()
    return driver


class TestFile(StoreConformance):
    large = full(StoreConformance.large, 1024 * 1024 * 1024 + 1)

    @pytest.fixture
    def driver(self, tmp_path):
        return file_store(filesystem_store_datadir=str(tmp_path / 'images'))

    @pytest.fixture
    def other(self, tmp_path):
        return file_store(filesystem_store_datadir=str(tmp_path / 'others'))


def test_under_eventlet():
    green.passes(__file__, 'TestFile and not TestFileW and not TestFileIn')


class TestFileWithHoles(StoreConformance):
    @pytest.fixture
    def driver(self, tmp_path):
        directory = str(tmp_path / 'images')
        return file_store(filesystem_store_datadir=directory, filesystem_thin_provisioning=True)


class TestFileInSeveralDirectories(StoreConformance):
    @pytest.fixture
    def driver(self, tmp_path):
        return file_store(filesystem_store_datadirs=[f'{tmp_path}/a:10', f'{tmp_path}/b:20'])


class TestFileWithoutUnnamedFiles(StoreConformance):
    """On a file system that has no O_TMPFILE."""

    @pytest.fixture
    def driver(self, tmp_path, monkeypatch):
        real = os.open

        def old(path, flags, *args, **kwargs):
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(95, 'Operation not supported')
            return real(path, flags, *args, **kwargs)

        monkeypatch.setattr(os, 'open', old)
        return file_store(filesystem_store_datadir=str(tmp_path / 'images'))


class TestMemory(StoreConformance):
    @pytest.fixture
    def driver(self):
        driver = MemoryStore('ram', {'memory_store_size': None})
        driver.start()
        return driver


class TestMemoryWithAcls(StoreConformance):
    @pytest.fixture
    def driver(self):
        driver = AclStore('guarded', {'memory_store_size': None})
        driver.start()
        return driver


class TestFaulty(StoreConformance):
    """With faults that change nothing a driver is as good as without."""

    @pytest.fixture
    def driver(self, tmp_path):
        inner = file_store(filesystem_store_datadir=str(tmp_path / 'images'))
        verbs = ('parse', 'add', 'get', 'size', 'delete', 'sendfile', 'list')
        points = [f'{when} {verb}' for when in ('before', 'after') for verb in verbs]
        points += [f'within {verb}@{at}' for verb in ('add', 'get') for at in (0, 7)]
        return FaultyStore.around(inner, *(f'{point} every delay 0' for point in points))
