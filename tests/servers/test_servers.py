# SPDX-License-Identifier: Apache-2.0
"""One workflow of two projects, from a configuration file alone, under three servers on three
engines."""

from __future__ import annotations

import hashlib
import io
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.backends import databases
from tests.servers import processes
from tests.sizes import full

MIB = 1 << 20
V21 = 'application/openstack-images-v2.1-json-patch'


def noise(count: int, seed: int = 0) -> bytes:
    source = random.Random(seed)  # which makes less than 256 MiB at a time
    return b''.join(source.randbytes(min(MIB, count - at)) for at in range(0, count, MIB))


class Caller:
    """Somebody of a project, over HTTP."""

    def __init__(self, url: str, project: str | None, roles: str = 'member,reader') -> None:
        self._url = url + '/v2'
        self._session = requests.Session()
        if project is not None:
            self._session.headers.update(processes.identity(project, roles))

    def __call__(self, method: str, path: str, expected: int, **kwargs) -> requests.Response:
        """Ask; the answer must have the status that is expected."""
        answer = self._session.request(method, self._url + path, timeout=120, **kwargs)
        assert answer.status_code == expected, (method, path, answer.status_code, answer.text)
        return answer

    def create(self, **fields) -> str:
        fields = {'disk_format': 'raw', 'container_format': 'bare', **fields}
        image = self('POST', '/images', 201, json=fields).json()
        assert image['status'] == 'queued'
        return image['id']

    def upload(self, image_id: str, data) -> None:
        headers = {'Content-Type': 'application/octet-stream'}
        self('PUT', f'/images/{image_id}/file', 204, data=data, headers=headers)

    def download(self, image_id: str) -> bytes:
        return self('GET', f'/images/{image_id}/file', 200).content

    def show(self, image_id: str) -> dict:
        return self('GET', f'/images/{image_id}', 200).json()

    def names(self, query: str = '') -> list[str]:
        images = self('GET', '/images' + query, 200).json()['images']
        return sorted(image['name'] for image in images)

    def check(self, image_id: str, data: bytes) -> None:
        """Bytes, size and both hashes are those of `data`."""
        image = self.show(image_id)
        assert image['status'] == 'active'
        assert image['size'] == len(data)
        assert image['checksum'] == hashlib.md5(data).hexdigest()
        assert image['os_hash_algo'] == 'sha512'
        assert image['os_hash_value'] == hashlib.sha512(data).hexdigest()
        assert self.download(image_id) == data


@pytest.mark.parametrize('engine', databases.ENGINES)
@pytest.mark.parametrize('kind', processes.SERVERS)
def test_main_job(kind, engine, tmp_path):
    """One start, all of it: starting a server costs more than what is asked of it."""
    databases.require(engine)
    url = databases.create(engine, tmp_path)
    try:
        made = processes.settings(tmp_path, url)
        with processes.SERVERS[kind](made) as server:
            two_projects(server)
            refuse_what_lies(server)
            eight_at_once(server)
            assert 'Traceback' not in server.text()
    finally:
        databases.drop(url)


def two_projects(server: processes.Server) -> None:
    alpha, beta = Caller(server.url, 'alpha'), Caller(server.url, 'beta')
    nobody = Caller(server.url, None)
    nobody('GET', '/images', 401)
    nobody('POST', '/images', 401, json={'name': 'disk'})

    data = noise(3 * MIB + 7)
    disk = alpha.create(name='disk', tags=['first'], os_distro='debian')
    alpha('GET', f'/images/{disk}/file', 204)
    alpha.upload(disk, data)
    alpha.check(disk, data)
    streamed = alpha.create(name='streamed')
    alpha.upload(streamed, iter([data[:10], data[10 : 2 * MIB], data[2 * MIB :]]))
    alpha.check(streamed, data)
    empty = alpha.create(name='empty')
    alpha.upload(empty, b'')
    alpha.check(empty, b'')

    steps = [
        {'op': 'replace', 'path': '/name', 'value': 'renamed'},
        {'op': 'add', 'path': '/hw_disk_bus', 'value': 'virtio'},
        {'op': 'remove', 'path': '/os_distro'},
    ]
    patched = alpha('PATCH', f'/images/{disk}', 200, json=steps, headers={'Content-Type': V21})
    alpha('PUT', f'/images/{disk}/tags/second', 204)
    alpha('DELETE', f'/images/{disk}/tags/first', 204)
    image = alpha.show(disk)
    assert image['name'] == patched.json()['name'] == 'renamed'
    assert image['hw_disk_bus'] == 'virtio'
    assert 'os_distro' not in image
    assert image['tags'] == ['second']

    assert alpha.names() == ['empty', 'renamed', 'streamed']
    assert alpha.names('?tag=second') == ['renamed']
    assert alpha.names('?hw_disk_bus=virtio') == ['renamed']
    assert alpha.names('?sort=name:desc&limit=1') == ['streamed']
    assert beta.names() == []

    beta('GET', f'/images/{disk}', 404)
    beta('GET', f'/images/{disk}/file', 404)
    alpha('POST', f'/images/{disk}/members', 200, json={'member': 'beta'})
    assert beta.names() == []
    beta('PUT', f'/images/{disk}/members/beta', 200, json={'status': 'accepted'})
    assert beta.names() == ['renamed']
    assert beta.download(disk) == data
    beta('PATCH', f'/images/{disk}', 403, json=steps[:1], headers={'Content-Type': V21})
    beta('DELETE', f'/images/{disk}', 403)

    for wanted, expected in (
        ('bytes=0-0', data[:1]),
        ('bytes=1048570-1048590', data[1048570:1048591]),
        ('bytes=-5', data[-5:]),
        ('bytes=2097152-', data[2097152:]),
    ):
        part = alpha('GET', f'/images/{disk}/file', 206, headers={'Range': wanted})
        assert part.content == expected
        assert part.headers['Content-Range'].endswith(f'/{len(data)}')
    alpha('GET', f'/images/{disk}/file', 416, headers={'Range': f'bytes={len(data)}-'})
    head = alpha('HEAD', f'/images/{disk}/file', 200)
    assert head.headers['Content-Length'] == str(len(data))
    assert head.headers['Accept-Ranges'] == 'bytes'
    assert head.content == b''

    admin = Caller(server.url, 'operators', roles='admin,member,reader')
    admin('POST', f'/images/{disk}/actions/deactivate', 204)
    assert alpha.show(disk)['status'] == 'deactivated'
    alpha('GET', f'/images/{disk}/file', 403)
    admin('POST', f'/images/{disk}/actions/reactivate', 204)
    assert alpha.download(disk) == data

    kept = [path for path in server.files() if path.name in (disk, streamed, empty)]
    assert len(kept) == 3
    for image_id in (disk, streamed, empty):
        alpha('DELETE', f'/images/{image_id}', 204)
        alpha('GET', f'/images/{image_id}', 404)
    assert alpha.names() == beta.names() == []
    assert not [path for path in kept if path.exists()]


def refuse_what_lies(server: processes.Server) -> None:
    alpha = Caller(server.url, 'alpha')
    before = server.files()
    liar = alpha.create(name='liar', disk_format='qcow2')
    octets = {'Content-Type': 'application/octet-stream'}
    alpha('PUT', f'/images/{liar}/file', 415, data=noise(MIB), headers=octets)
    assert alpha.show(liar)['status'] == 'queued'
    assert server.files() == before
    alpha('DELETE', f'/images/{liar}', 204)


def eight_at_once(server: processes.Server) -> None:
    """Large images go in and out from eight threads, plain and chunked; all of it arrives."""
    data = noise(full(64, 512) * MIB, seed=1)
    checksum = hashlib.sha512(data).hexdigest()
    alpha = Caller(server.url, 'alpha')
    image_id = alpha.create(name='shared')
    alpha.upload(image_id, data)
    start = threading.Barrier(8)

    def upload(chunked: bool) -> tuple[str, str]:
        caller = Caller(server.url, 'alpha')
        mine = caller.create()
        start.wait()
        source = io.BytesIO(data)
        caller.upload(mine, iter(lambda: source.read(MIB), b'') if chunked else source)
        return mine, caller.show(mine)['os_hash_value']

    def download(number: int) -> str:
        caller = Caller(server.url, 'alpha')
        start.wait()
        answer = caller('GET', f'/images/{image_id}/file', 200, stream=True)
        digest = hashlib.sha512()
        for chunk in answer.iter_content(MIB):
            digest.update(chunk)
        return digest.hexdigest()

    with ThreadPoolExecutor(8) as pool:
        ups = [pool.submit(upload, bool(number % 2)) for number in range(4)]
        downs = [pool.submit(download, number) for number in range(4)]
        assert [one.result() for one in downs] == [checksum] * 4
        made = [one.result() for one in ups]
    assert [value for _, value in made] == [checksum] * 4
    for one in (*(mine for mine, _ in made), image_id):
        alpha('DELETE', f'/images/{one}', 204)
    assert server.files() == []
