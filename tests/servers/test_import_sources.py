# SPDX-License-Identifier: Apache-2.0
"""``web-download``, decompression and conversion in real processes of each server."""

from __future__ import annotations

import gzip
import hashlib
import os
import pathlib
import random
import shutil
import signal
import subprocess

import pytest
import requests

from tests.backends import cutting, databases
from tests.servers import processes

DISK = bytes(512) + random.Random(21).randbytes(12 * 1024 * 1024) + bytes(20 * 1024 * 1024)
FIELDS = {'disk_format': 'qcow2', 'container_format': 'bare'}


@pytest.fixture(scope='module')
def packed(tmp_path_factory):
    """A qcow2 of that disk, compressed."""
    if shutil.which('qemu-img') is None:
        reason = 'qemu-img is not installed (apt-get install qemu-utils)'
        if os.environ.get(databases.REQUIRE) == '1':
            pytest.fail(reason)
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp('disk')
    (directory / 'disk').write_bytes(DISK)
    command = ['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', 'disk', 'image']
    subprocess.run(command, cwd=directory, check=True)
    return gzip.compress((directory / 'image').read_bytes(), 1)


@pytest.mark.parametrize('kind', processes.SERVERS)
def test_an_image_that_is_fetched_unpacked_and_converted(kind, packed, tmp_path):
    thing = cutting.Thing(packed, cuts=[5_000_000, 5_000_000])
    with cutting.serving(thing) as port:
        more = (
            f'[os_glance_staging_store]\nfilesystem_store_datadir = {tmp_path}/staging\n'
            '[image_import_opts]\n'
            'image_import_plugins = '
            '[image_decompression, image_conversion, inject_image_metadata]\n'
            '[inject_metadata_properties]\ninject = os_distro:debian\n'
            '[fetching]\nallowed_networks = 127.0.0.0/8\n'
            f'[import_filtering_opts]\nallowed_ports = {port}\n'
        )
        made = processes.settings(tmp_path, more=more)
        with processes.SERVERS[kind](made) as server:
            image = imported(server, f'http://127.0.0.1:{port}/disk.qcow2.gz', packed)
            assert image['status'] == 'active', image
            assert image['disk_format'] == 'raw' and image['os_distro'] == 'debian'
            assert image['size'] == image['virtual_size'] == len(DISK)
            assert image['os_hash_value'] == hashlib.sha512(DISK).hexdigest()
            assert not list(pathlib.Path(tmp_path, 'staging').iterdir())
    asked = [request.get('range') for request in thing.requests]
    assert asked == [None, 'bytes=5000000-', 'bytes=10000000-']


def test_a_download_whose_process_is_killed_goes_on_in_another(tmp_path):
    """From the last mark, and to the end."""
    data = random.Random(22).randbytes(1024 * 1024) * 80
    thing = cutting.Thing(data, piece=1024 * 1024, pause=0.03)
    who = processes.identity('alpha')
    with cutting.serving(thing) as port:
        more = (
            f'[os_glance_staging_store]\nfilesystem_store_datadir = {tmp_path}/staging\n'
            '[fetching]\nallowed_networks = 127.0.0.0/8\n'
            f'[import_filtering_opts]\nallowed_ports = {port}\n'
        )
        made = processes.settings(tmp_path, more=more)
        with processes.api(made) as server:
            fields = {**FIELDS, 'disk_format': 'raw'}
            image = ask(server, f'http://127.0.0.1:{port}/disk', data, fields)
            processes.until(lambda: staged(tmp_path) > 70 * 1024 * 1024, 'most of it')
            os.killpg(server.pid, signal.SIGKILL)
            server.process.wait()
        thing.pause = 0
        with processes.api(made) as server:
            path = f'{server.url}/v2/images/{image["id"]}'

            def show():
                return requests.get(path, headers=who, timeout=60).json()

            over = ('active', 'queued')
            processes.until(lambda: show()['status'] in over, 'the end of the import', 120)
            image = show()
            assert image['status'] == 'active', image
            assert image['os_hash_value'] == hashlib.sha512(data).hexdigest()
    assert [request.get('range') for request in thing.requests] == [None, 'bytes=67108864-']
    assert not list(pathlib.Path(tmp_path, 'staging').iterdir())


def staged(directory):
    """Bytes in the staging directory."""
    found = pathlib.Path(directory, 'staging')
    return sum(path.stat().st_size for path in found.iterdir()) if found.exists() else 0


def imported(server, url, data):
    """The image when its import is over; meanwhile others are served."""
    who = processes.identity('alpha')
    path = f'{server.url}/v2/images/{ask(server, url, data, FIELDS)["id"]}'

    def show():
        return requests.get(path, headers=who, timeout=60).json()

    processes.until(lambda: show()['status'] in ('active', 'queued'), 'the end of the import', 120)
    return show()


def ask(server, url, data, fields):
    """A new image whose import has begun."""
    who = processes.identity('alpha')
    image = requests.post(f'{server.url}/v2/images', json=fields, headers=who, timeout=60).json()
    said = {'os_hash_algo': 'sha256', 'os_hash_value': hashlib.sha256(data).hexdigest()}
    body = {'method': {'name': 'web-download', 'uri': url, 'validation_data': said}}
    path = f'{server.url}/v2/images/{image["id"]}/import'
    answer = requests.post(path, json=body, headers=who, timeout=60)
    assert answer.status_code == 202, answer.text
    return image
