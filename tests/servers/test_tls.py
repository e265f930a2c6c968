# SPDX-License-Identifier: Apache-2.0
"""HTTPS by glance-lite-api itself."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
import requests

from tests.peers.glance33 import free_port
from tests.servers import processes
from tests.servers.processes import BIN, until
from tests.servers.test_servers import MIB, noise
from tests.servers.test_start import refused

OCTETS = {'Content-Type': 'application/octet-stream'}


@dataclasses.dataclass
class Authority:
    """Makes certificates with openssl, as an operator would."""

    directory: pathlib.Path

    def _openssl(self, *arguments: object) -> None:
        program = processes.required(shutil.which('openssl'), 'openssl')
        subprocess.run(
            [program, *map(str, arguments)], check=True, capture_output=True, cwd=self.directory
        )

    def __post_init__(self) -> None:
        self._request('ca', '-x509', '-subj', '/CN=ca', '-days', 30, '-out', 'ca.pem')

    def _request(self, name: str, *more: object) -> None:
        curve = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1')
        self._openssl('req', *curve, '-nodes', '-keyout', f'{name}.key', *more)

    @property
    def file(self) -> pathlib.Path:
        return self.directory / 'ca.pem'

    def issue(self, name: str) -> tuple[pathlib.Path, pathlib.Path]:
        """(certificate, key) for 127.0.0.1."""
        self._request(name, '-subj', f'/CN={name}', '-out', f'{name}.csr')
        (self.directory / 'names').write_text('subjectAltName = IP:127.0.0.1\n')
        self._openssl(
            'x509', '-req', '-in', f'{name}.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key',
            '-CAcreateserial', '-days', 30, '-extfile', 'names', '-out', f'{name}.pem',
        )  # fmt: skip
        return self.directory / f'{name}.pem', self.directory / f'{name}.key'


@pytest.fixture(scope='module')
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp('authority'))


@contextlib.contextmanager
def serving(directory: pathlib.Path, default: str) -> Iterator[processes.Server]:
    """glance-lite-api, of which nothing is asked before it says that it serves."""
    port = free_port()
    made = processes.settings(directory, default=f'bind_port = {port}\n{default}')
    log = directory / 'server.log'
    with open(log, 'ab') as out:
        process = subprocess.Popen(
            [str(BIN / 'glance-lite-api'), '--config-file', str(made.file)],
            env=processes.environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    server = processes.Server(f'https://127.0.0.1:{port}', made, process, log)
    try:
        server.wait_for_line('Serving on')
        yield server
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(processes.PATIENCE) == 0, server.text()[-3000:]
        assert 'Traceback' not in server.text(), server.text()[-3000:]
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


@pytest.fixture(scope='module')
def server(authority, tmp_path_factory) -> Iterator[processes.Server]:
    """One worker, so that whatever is held up is seen."""
    directory = tmp_path_factory.mktemp('tls')
    for source, target in zip(authority.issue('first'), ('server.pem', 'server.key'), strict=True):
        shutil.copy(source, directory / target)
    default = f'cert_file = {directory}/server.pem\nkey_file = {directory}/server.key\n'
    with serving(directory, default + 'client_socket_timeout = 600') as running:
        yield running


def session(authority: Authority) -> requests.Session:
    made = requests.Session()
    made.headers.update(processes.identity('alpha'))
    made.verify = str(authority.file)
    made.trust_env = False  # a bundle of the environment would count for more
    return made


def address(server: processes.Server) -> tuple[str, int]:
    host, _, port = server.url.removeprefix('https://').partition(':')
    return host, int(port)


def create(asking: requests.Session, server: processes.Server) -> str:
    body = {'disk_format': 'raw', 'container_format': 'bare'}
    answer = asking.post(f'{server.url}/v2/images', json=body, timeout=60)
    assert answer.status_code == 201, answer.text
    return str(answer.json()['id'])


@pytest.mark.parametrize('chunked', [False, True], ids=['sized', 'chunked'])
def test_there_and_back(authority, server, chunked):
    data = noise(8 * MIB + 1)
    asking = session(authority)
    image_id = create(asking, server)
    url = f'{server.url}/v2/images/{image_id}/file'
    body = (data[start : start + 100_001] for start in range(0, len(data), 100_001))
    answer = asking.put(url, data=body if chunked else data, headers=OCTETS, timeout=60)
    assert answer.status_code == 204, answer.text
    assert asking.get(url, timeout=60).content == data
    part = asking.get(url, headers={'Range': f'bytes=7-{MIB}'}, timeout=60)
    assert (part.status_code, part.content) == (206, data[7 : MIB + 1])
    # One connection took all of it.
    pools = asking.get_adapter(server.url).poolmanager.pools
    assert pools[next(iter(pools.keys()))].num_connections == 1


def test_answers_name_the_scheme(authority, server):
    versions = session(authority).get(server.url, timeout=60).json()['versions']
    assert all(link['href'].startswith(server.url) for one in versions for link in one['links'])


def test_a_refused_upload_gets_its_answer(authority, server):
    """It is too large to be read to its end: the answer comes, and the connection ends."""
    context = ssl.create_default_context(cafile=authority.file)
    who = ''.join(f'{name}: {value}\r\n' for name, value in processes.identity('alpha').items())
    with (
        socket.create_connection(address(server), 30) as plain,
        context.wrap_socket(plain, server_hostname='127.0.0.1') as tls,
    ):
        tls.sendall(
            f'PUT /v2/images/5f3c2a1e-0000-4000-8000-000000000000/file HTTP/1.1\r\nHost: x\r\n{who}'
            f'Content-Type: application/octet-stream\r\nContent-Length: {1 << 30}\r\n\r\n'.encode()
        )
        tls.sendall(bytes(MIB))
        answer = tls.recv(1 << 16)
    assert answer.startswith(b'HTTP/1.1 404'), answer
    assert b'connection: close' in answer.lower()


def test_clients_without_a_handshake_hold_up_nobody(authority, server):
    with contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(address(server), 30)) for _ in range(20)
        ]
        for one in silent[:10]:
            one.sendall(b'\x16\x03\x01\x02\x00')  # the beginning of one
        for _ in range(3):
            with session(authority) as asking:
                assert asking.get(f'{server.url}/v2/images', timeout=10).status_code == 200


def test_plain_http_harms_nothing(authority, server):
    for data in (b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', b'\0' * 1000, b'\x16\x03\x01\xff\xff' * 99):
        with socket.create_connection(address(server), 30) as plain:
            plain.sendall(data)
            answer = b''
            with contextlib.suppress(ConnectionError):
                answer = plain.recv(1000)
            assert b'HTTP' not in answer
    assert session(authority).get(f'{server.url}/v2/images', timeout=30).status_code == 200
    assert len(server.workers()) == 2


def test_a_new_certificate_is_taken_by_sighup(authority, server):
    """And what runs over the old one is not cut off."""
    data = noise(16 * MIB)
    asking = session(authority)
    image_id = create(asking, server)
    url = f'{server.url}/v2/images/{image_id}/file'
    assert asking.put(url, data=data, headers=OCTETS, timeout=60).status_code == 204
    before = ssl.get_server_certificate(address(server), timeout=30)
    with asking.get(url, stream=True, timeout=60) as download:
        first = download.raw.read(MIB)
        directory = server.settings.directory
        # A key that does not fit is refused, and the old one serves on.
        certificate, key = authority.issue('second')
        shutil.copy(certificate, directory / 'server.pem')
        server.process.send_signal(signal.SIGHUP)
        line = server.wait_for_line('The configuration stays as it was')
        assert 'cert_file' in line and 'server.pem' in line
        assert ssl.get_server_certificate(address(server), timeout=30) == before
        shutil.copy(key, directory / 'server.key')
        server.process.send_signal(signal.SIGHUP)
        until(lambda: len(server.lines('Serving on')) == 2, 'another generation')
        until(
            lambda: ssl.get_server_certificate(address(server), timeout=30) != before,
            'another certificate',
        )
        assert first + download.raw.read() == data
    assert session(authority).get(f'{server.url}/v2/images', timeout=30).status_code == 200


def test_an_upload_that_is_cut_off_is_none(authority, server):
    """The second SIGTERM. What was still encrypted was taken for data when TLS was gone."""
    asking = session(authority)
    image_id = create(asking, server)
    url = f'{server.url}/v2/images/{image_id}/file'
    over = threading.Event()

    def endless() -> Iterator[bytes]:
        while not over.is_set():
            yield bytes(MIB // 4)

    def upload() -> None:
        with contextlib.suppress(requests.RequestException):
            asking.put(url, data=endless(), headers=OCTETS, timeout=60)

    thread = threading.Thread(target=upload)
    thread.start()
    try:
        show = f'{server.url}/v2/images/{image_id}'
        until(
            lambda: session(authority).get(show, timeout=30).json()['status'] == 'saving',
            'the upload has begun',
        )
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(processes.PATIENCE) == 0
    finally:
        over.set()
        thread.join(processes.PATIENCE)
    assert not [path for path in server.files() if image_id in path.name]


# --- certificates of clients


def test_clients_need_a_certificate_where_there_is_a_ca_file(authority, tmp_path):
    certificate, key = authority.issue('server')
    mine = authority.issue('client')
    stranger = tmp_path / 'stranger'
    stranger.mkdir()
    theirs = Authority(stranger).issue('client')
    default = f'cert_file = {certificate}\nkey_file = {key}\nca_file = {authority.file}'
    with serving(tmp_path, default) as server:
        for cert in (None, theirs):
            with session(authority) as asking:
                asking.cert = cert and tuple(map(str, cert))
                with pytest.raises(requests.ConnectionError):
                    asking.get(f'{server.url}/v2/images', timeout=30)
        with session(authority) as asking:
            asking.cert = tuple(map(str, mine))
            assert asking.get(f'{server.url}/v2/images', timeout=30).status_code == 200


# --- what stops the start


@pytest.fixture(scope='module')
def plain(tmp_path_factory) -> processes.Settings:
    """With which the service would start, over plain HTTP."""
    return processes.settings(
        tmp_path_factory.mktemp('plain'), default=f'bind_port = {free_port()}\n'
    )


@pytest.mark.parametrize(
    'wrong',
    ['no certificate', 'no key', 'no ca', 'not a certificate', 'not a ca', 'a directory',
     'another key', 'a passphrase', 'a key alone', 'a ca alone'],
)  # fmt: skip
def test_a_start_that_is_refused(authority, plain, tmp_path, wrong):
    certificate, key = authority.issue('server')
    nothing, junk = tmp_path / 'nothing.pem', tmp_path / 'junk.pem'
    junk.write_text('junk\n')
    values = {'cert_file': certificate, 'key_file': key}
    option, file = 'cert_file', nothing
    if wrong == 'no certificate':
        values['cert_file'] = nothing
    elif wrong == 'no key':
        values['key_file'] = nothing
        option = 'key_file'
    elif wrong == 'no ca':
        values['ca_file'] = nothing
        option = 'ca_file'
    elif wrong == 'not a certificate':
        values['cert_file'] = file = junk
    elif wrong == 'not a ca':
        values['ca_file'] = file = junk
        option = 'ca_file'
    elif wrong == 'a directory':
        values['key_file'] = file = tmp_path
        option = 'key_file'
    elif wrong == 'another key':
        values['key_file'] = file = authority.issue('other')[1]
        option = 'key_file'
    elif wrong == 'a passphrase':
        values['key_file'] = file = tmp_path / 'locked.key'
        authority._openssl('ec', '-in', key, '-aes256', '-passout', 'pass:secret', '-out', file)
        option = 'key_file'
    else:
        option = 'key_file' if 'key' in wrong else 'ca_file'
        values = {option: key}
        file = pathlib.Path('cert_file')
    default = '\n'.join(f'{name} = {value}' for name, value in values.items())
    made = processes.Settings(tmp_path)
    made.file.parent.mkdir()
    made.file.write_text(plain.file.read_text().replace('workers = 2', f'workers = 2\n{default}'))
    sentence = refused(made, '[DEFAULT]', option, file)
    assert 'Traceback' not in sentence
