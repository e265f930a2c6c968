# SPDX-License-Identifier: Apache-2.0
"""A real nginx with files to register as images: HTTP, and HTTPS with an authority of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
import requests

from tests.backends import databases

SETTINGS = """
daemon off;
{user}
worker_processes 1;
error_log {own}/error.log;
pid {own}/pid;
events {{ worker_connections 256; }}
http {{
    access_log {own}/access.log;
    client_body_temp_path {own}/body;
    proxy_temp_path {own}/proxy;
    fastcgi_temp_path {own}/fastcgi;
    uwsgi_temp_path {own}/uwsgi;
    scgi_temp_path {own}/scgi;
    server {{
        listen 127.0.0.1:{http};
        listen 127.0.0.1:{https} ssl;
        ssl_certificate {own}/server.pem;
        ssl_certificate_key {own}/server.key;
        root {own}/files;
        absolute_redirect off;
        location /slow/ {{ alias {own}/files/; limit_rate 64k; }}
        location /whole/ {{ alias {own}/files/; max_ranges 0; }}
        location /nohead/ {{
            alias {own}/files/;
            if ($request_method = HEAD) {{ return 405; }}
        }}
        location /secret/ {{
            alias {own}/files/;
            if ($http_authorization != "Basic dXNlcjpzZWNyZXQ=") {{ return 401; }}
        }}
        location /to/ {{ return 302 $arg_url; }}
        location /loop {{ return 302 /loop; }}
        location /to-loopback {{ return 302 http://[::1]/; }}
        location /to-mapped {{ return 302 http://[::ffff:127.0.0.2]/; }}
        location /to-nothing {{ return 302 http://[; }}
        location /refused {{ return 403; }}
        location /broken {{ return 500; }}
        location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }}
    }}
}}
"""


@dataclasses.dataclass(frozen=True)
class Web:
    """A running server."""

    directory: pathlib.Path
    http: str
    https: str
    ports: tuple[int, int]

    @property
    def authority(self) -> pathlib.Path:
        return self.directory / 'ca.pem'

    def put(self, name: str, data: bytes) -> str:
        """A file; its url."""
        (self.directory / 'files' / name).write_bytes(data)
        return f'{self.http}/{name}'

    def requests(self) -> str:
        """What it was asked for."""
        return (self.directory / 'access.log').read_text()


def nginx() -> str:
    """The program; skips, or fails where peers are demanded."""
    path = os.environ.get('PATH', '') + ':/usr/sbin:/usr/local/sbin'
    found = shutil.which('nginx', path=path)
    if found is None or shutil.which('openssl') is None:
        reason = 'nginx or openssl is not installed (apt-get install nginx-light openssl)'
        if os.environ.get(databases.REQUIRE) == '1':
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def _openssl(directory: pathlib.Path, *arguments: str) -> None:
    subprocess.run(['openssl', *arguments], cwd=directory, check=True, capture_output=True)


def make_certificates(directory: pathlib.Path, *names: str) -> None:
    """An authority, and a certificate of it for localhost, images.example and more `names`."""
    new = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes')
    _openssl(
        directory, 'req', '-x509', *new, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2',
        '-subj', '/CN=Authority of a test', '-addext', 'keyUsage=critical,keyCertSign,cRLSign',
    )  # fmt: skip
    _openssl(
        directory, 'req', *new, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=x'
    )
    names = ('DNS:localhost', 'DNS:images.example', *names)
    (directory / 'names').write_text(f'subjectAltName={",".join(names)}\n')
    _openssl(
        directory, 'x509', '-req', '-in', 'server.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key',
        '-CAcreateserial', '-days', '2', '-extfile', 'names', '-out', 'server.pem',
    )  # fmt: skip


@contextlib.contextmanager
def running(directory: pathlib.Path) -> Iterator[Web]:
    """A server on two free ports of 127.0.0.1 while the block runs."""
    from tests.peers.glance33 import free_port

    program = nginx()
    (directory / 'files').mkdir(parents=True)
    make_certificates(directory)
    ports = free_port(), free_port()
    (directory / 'nginx.conf').write_text(
        SETTINGS.format(
            own=directory,
            http=ports[0],
            https=ports[1],
            # The directory is ours alone.
            user='user root;' if os.getuid() == 0 else '',
        )
    )
    command = [program, '-p', str(directory), '-c', str(directory / 'nginx.conf')]
    with open(directory / 'output', 'ab') as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    web = Web(directory, f'http://127.0.0.1:{ports[0]}', f'https://localhost:{ports[1]}', ports)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(requests.ConnectionError):
                requests.get(web.http + '/', timeout=5)
                break
            assert process.poll() is None, (directory / 'output').read_text()
            assert time.monotonic() < deadline, 'nginx does not answer'
            time.sleep(0.05)
        yield web
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
