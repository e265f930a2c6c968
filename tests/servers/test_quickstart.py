# SPDX-License-Identifier: Apache-2.0
"""tools/quickstart, twice on the same directory."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
from collections.abc import Iterator

import requests

from tests.peers.glance33 import free_port
from tests.servers import processes
from tests.servers.processes import ROOT, alive, children, until

STAMP = ROOT / '.cache' / 'quickstart' / 'stamp'

#: seconds for the first start on a machine, which installs
INSTALLING = 600


@contextlib.contextmanager
def quickstart(directory: pathlib.Path, port: int) -> Iterator[pathlib.Path]:
    """Run it until it serves; what it has printed. It must end by SIGTERM with exit code 0."""
    log = directory.with_suffix(f'.{port}.log')
    command = [ROOT / 'tools' / 'quickstart', '--dir', directory, '--port', str(port)]
    with open(log, 'wb') as out:
        process = subprocess.Popen(
            command,
            env=processes.environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        until(
            lambda: process.poll() is not None or 'Serving on' in log.read_text(),
            'it serves',
            INSTALLING,
        )
        assert process.poll() is None, log.read_text()
        workers = children(process.pid)
        yield log
        process.send_signal(signal.SIGTERM)
        assert process.wait(processes.PATIENCE) == 0
        assert not any(alive(pid) for pid in workers)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_two_starts(tmp_path):
    directory, data = tmp_path / 'service', b'bytes of an image' * 1000
    port = free_port()
    with quickstart(directory, port) as log:
        url = f'http://127.0.0.1:{port}'
        text = log.read_text()
        assert f'Image service at {url}' in text
        for verb in ('create', 'list', 'show', 'save', 'delete'):
            assert f'openstack --os-auth-type none --os-endpoint {url} image {verb}' in text
        fields = {'name': 'kept', 'disk_format': 'raw', 'container_format': 'bare'}
        image_id = requests.post(f'{url}/v2/images', json=fields, timeout=60).json()['id']
        octets = {'Content-Type': 'application/octet-stream'}
        path = f'/v2/images/{image_id}/file'
        assert requests.put(url + path, data=data, headers=octets, timeout=60).status_code == 204
        # Whoever starts it may have no right to Glance's own directory.
        fields = {'name': 'staged', 'disk_format': 'raw', 'container_format': 'bare'}
        staged = requests.post(f'{url}/v2/images', json=fields, timeout=60).json()['id']
        stage = f'{url}/v2/images/{staged}/stage'
        assert requests.put(stage, data=data, headers=octets, timeout=60).status_code == 204
        found = [file for file in (directory / 'staging').iterdir() if staged in file.name]
        assert [file.read_bytes() for file in found] == [data]
        # Everybody is an administrator, so nobody else may reach it.
        assert listening(port) == {'127.0.0.1'}
    installed = STAMP.stat()

    port = free_port()
    with quickstart(directory, port) as log:
        url = f'http://127.0.0.1:{port}'
        assert f'Image service at {url}' in log.read_text()
        assert 'Installing' not in log.read_text()
        assert requests.get(url + path, timeout=60).content == data
    after = STAMP.stat()
    assert (after.st_ino, after.st_mtime_ns) == (installed.st_ino, installed.st_mtime_ns)


def listening(port: int) -> set[str]:
    """The addresses on which somebody listens at this port."""
    found = set()
    for name, family in (('tcp', socket.AF_INET), ('tcp6', socket.AF_INET6)):
        for line in pathlib.Path('/proc/net', name).read_text().splitlines()[1:]:
            _, local, _, state = line.split()[:4]
            address, _, number = local.partition(':')
            if state == '0A' and int(number, 16) == port:
                words = [bytes.fromhex(address[at : at + 8]) for at in range(0, len(address), 8)]
                found.add(socket.inet_ntop(family, b''.join(word[::-1] for word in words)))
    return found


def test_help_and_a_wrong_argument():
    command = [ROOT / 'tools' / 'quickstart']
    told = subprocess.run([*command, '--help'], capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, '')
    assert '--dir' in told.stdout and '--port' in told.stdout
    wrong = subprocess.run([*command, '--prot', '1'], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert 'usage' in wrong.stderr
