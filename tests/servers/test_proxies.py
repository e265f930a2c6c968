# SPDX-License-Identifier: Apache-2.0
"""glance-lite-api behind the proxies whose configuration we ship."""

from __future__ import annotations

import contextlib
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator

import pytest
import requests

from tests.peers.glance33 import free_port
from tests.servers import processes
from tests.servers.processes import ROOT, until
from tests.servers.test_servers import MIB, Caller, noise
from tests.servers.test_tls import Authority
from tests.servers.wire import Wire

NGINX = ROOT / 'etc' / 'nginx' / 'glance-lite.conf'
HAPROXY = ROOT / 'etc' / 'haproxy' / 'glance-lite.cfg'

OCTETS = 'application/octet-stream'

AROUND = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
worker_processes 1;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/bodies;
    proxy_temp_path {directory}/answers;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{ours}
}}
"""


@pytest.fixture(scope='module')
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp('authority'))


@pytest.fixture(scope='module')
def server(tmp_path_factory) -> Iterator[processes.Server]:
    made = processes.settings(
        tmp_path_factory.mktemp('behind'),
        more='[oslo_middleware]\nenable_proxy_headers_parsing = true',
    )
    with processes.api(made) as running:
        yield running


@pytest.fixture(scope='module')
def proxy(server, authority, tmp_path_factory) -> Iterator[str]:
    """nginx with what we ship, but for addresses and files; its URL."""
    program = processes.required(shutil.which('nginx', path='/usr/sbin:/usr/bin'), 'nginx')
    directory, port = tmp_path_factory.mktemp('nginx'), free_port()
    certificate, key = authority.issue('image')
    ours = NGINX.read_text()
    for old, new in (
        ('127.0.0.1:9292', server.url.removeprefix('http://')),
        ('listen 443 ssl', f'listen 127.0.0.1:{port} ssl'),
        ('/etc/ssl/certs/image.pem', str(certificate)),
        ('/etc/ssl/private/image.key', str(key)),
    ):
        assert old in ours
        ours = ours.replace(old, new)
    conf = directory / 'nginx.conf'
    conf.write_text(AROUND.format(directory=directory, ours=ours))
    command = [program, '-p', directory, '-e', directory / 'error.log', '-c', conf]
    checked = subprocess.run([*command, '-t'], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
    assert 'warn' not in checked.stderr
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        until(lambda: _listens(port), 'nginx listens')
        yield f'https://127.0.0.1:{port}'
        # Nothing has lain on this host's disk on its way.
        for kind in ('bodies', 'answers'):
            assert not [path for path in (directory / kind).rglob('*') if path.is_file()]
        assert not re.findall('buffered to a temporary', (directory / 'error.log').read_text())
    finally:
        process.terminate()
        process.wait(processes.PATIENCE)


def _listens(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection(('127.0.0.1', port)).close()
        return True
    return False


class TlsWire(Wire):
    """The same through a proxy with TLS."""

    authority: pathlib.Path

    def open(self) -> None:
        super().open()
        context = ssl.create_default_context(cafile=self.authority)
        self.socket = context.wrap_socket(self.socket, server_hostname='127.0.0.1')


@pytest.fixture
def wire(proxy, authority) -> Iterator[Wire]:
    TlsWire.authority = authority.file
    with TlsWire(proxy) as opened:
        yield opened


@pytest.mark.parametrize('chunked', [False, True], ids=['sized', 'chunked'])
def test_an_upload_goes_through_without_a_stop(server, wire, chunked):
    """The service has its beginning before the client has sent its end."""
    alpha, data = Caller(server.url, 'alpha'), noise(16 * MIB)
    image_id = alpha.create()
    path = f'/v2/images/{image_id}/file'
    length = {'Transfer_Encoding': 'chunked'} if chunked else {'Content_Length': len(data)}
    wire.send(wire.head('PUT', path, Content_Type=OCTETS, **length))
    for start in range(0, len(data), MIB):
        piece = data[start : start + MIB]
        wire.send(b'%x\r\n%s\r\n' % (len(piece), piece) if chunked else piece)
        if start == 8 * MIB:
            until(lambda: alpha.show(image_id)['status'] == 'saving', 'it has begun')
    wire.send(b'0\r\n\r\n' if chunked else b'')
    assert wire.answer('PUT')[0] == 204
    assert wire.ask('GET', path) == (200, data)
    alpha('DELETE', f'/images/{image_id}', 204)


def test_what_large_tokens_need(proxy, authority):
    headers = {**processes.identity('alpha'), 'X-Filler': 'x' * 15_000}
    answer = requests.get(
        f'{proxy}/v2/images', headers=headers, verify=str(authority.file), timeout=60
    )
    assert answer.status_code == 200, answer.text


def test_addresses_are_those_of_the_proxy(proxy, authority):
    """Whatever a client says of them."""
    said = {
        'Forwarded': 'host=evil.example.org;proto=http',
        'X-Forwarded-Host': 'evil.example.org',
        'X-Forwarded-Prefix': '/evil',
        'X-Forwarded-Proto': 'http',
    }
    answer = requests.get(proxy, headers=said, verify=str(authority.file), timeout=60)
    versions = answer.json()['versions']
    links = [link['href'] for one in versions for link in one['links']]
    assert links and all(link.startswith(proxy) for link in links), links


def test_haproxy_understands_its_file(authority, tmp_path):
    program = processes.required(shutil.which('haproxy', path='/usr/sbin:/usr/bin'), 'haproxy')
    certificate, key = authority.issue('haproxy')
    both = tmp_path / 'image.pem'
    both.write_text(certificate.read_text() + key.read_text())
    conf = tmp_path / 'haproxy.cfg'
    conf.write_text(HAPROXY.read_text().replace('/etc/haproxy/image.pem', str(both)))
    done = subprocess.run([program, '-c', '-f', conf], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'WARNING' not in done.stdout + done.stderr
