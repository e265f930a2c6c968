#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A boot storm: many clients ask at once for an image that nobody has cached, at a slow backend.

Glance 33 with its cache and glance-lite with its own take turns, each with two worker processes,
in front of the same server, which sends so many bytes a second to all that read from it
together, and counts. Then all clients ask again, when the image is cached. ``--help`` says what
can be set; the report is reStructuredText. The exit code is 1 if any client got less than all.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import requests

from benchmarks import servers
from tests.peers import glance33, lite

MIB = 1024 * 1024
PIECE = 256 * 1024
#: processes of the clients
PROCESSES = 2
#: seconds between telling the clients and their first byte
LEAD = 0.3
PATIENCE = 900

CACHE = """
workers = 2
show_multiple_locations = true
image_cache_dir = {own}/cache
worker_self_reference_url = http://127.0.0.1:{port}
enabled_backends = web:http,file:file
[import_filtering_opts]
allowed_hosts = [127.0.0.1]
allowed_ports = [{backend}]
[glance_store]
default_backend = file
[web]
[file]
filesystem_store_datadir = {own}/images
[os_glance_staging_store]
filesystem_store_datadir = {own}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {own}/tasks
"""
TITLES = {'glance': 'Glance 33', 'lite': 'glance-lite'}


# --- the backend


class Backend(http.server.ThreadingHTTPServer):
    """Sends one image, slowly, and counts what it is asked for."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, size: int, rate: float) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        self.size = size
        self._rate = rate
        self._lock = threading.Lock()
        self._free = 0.0
        self.reads = 0
        self.sent = 0
        self.piece = os.urandom(PIECE)

    def digest(self, name: str) -> str:
        value = hashlib.new(name)
        for at in range(0, self.size, PIECE):
            value.update(self.piece[: self.size - at])
        return value.hexdigest()

    def turn(self, count: int) -> None:
        """Wait until so many bytes may go out."""
        with self._lock:
            now = time.monotonic()
            begin = max(now, self._free)
            self._free = begin + count / self._rate
            self.sent += count
        time.sleep(max(0.0, begin - now))

    def count_read(self) -> None:
        with self._lock:
            self.reads += 1

    def take(self) -> tuple[int, int]:
        """(reads, bytes) since the last time."""
        with self._lock:
            found, self.reads, self.sent = (self.reads, self.sent), 0, 0
        return found


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Backend
    protocol_version = 'HTTP/1.1'

    def _head(self) -> tuple[int, int]:
        size = self.server.size
        match = re.fullmatch(r'bytes=(\d+)-(\d*)', self.headers.get('Range', ''))
        first = int(match[1]) if match else 0
        last = int(match[2]) if match and match[2] else size - 1
        self.send_response(206 if match else 200)
        if match:
            self.send_header('Content-Range', f'bytes {first}-{last}/{size}')
        self.send_header('Accept-Ranges', 'bytes')
        self.send_header('Content-Length', str(last - first + 1))
        self.end_headers()
        return first, last + 1

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        at, end = self._head()
        self.server.count_read()
        with contextlib.suppress(OSError):
            while at < end:
                inside = at % PIECE
                chunk = self.server.piece[inside : inside + end - at]
                self.server.turn(len(chunk))
                self.wfile.write(chunk)
                at += len(chunk)

    def log_message(self, *args: Any) -> None:
        pass


# --- the services


@contextlib.contextmanager
def service(
    name: str, directory: pathlib.Path, threads: int, backend: int
) -> Iterator[servers.Side]:
    """One of the two, on a database of its own, in front of a port of this host."""
    own = directory / name
    for part in ('', 'images', 'staging', 'tasks'):
        (own / part).mkdir(parents=True, exist_ok=True)
    port = glance33.free_port()
    url = f'sqlite:///{own}/glance.sqlite'
    text = CACHE.format(own=own, port=port, backend=backend)
    if name == 'glance':
        etc = glance33.write_settings(own, url, text, 'cachemanagement')
        glance33.manage(etc, 'db', 'sync')
        command = glance33.command(port, 2, threads)
        environment = glance33.environment(etc)
    else:
        file = lite.write_settings(own, url, text, port, 'trusted-auth+cachemanagement')
        lite.manage(file, 'db', 'sync')
        command = [servers.tool('glance-lite-api'), '--config-file', str(file)]
        environment = {}
    with servers._running(name, command, own, port, environment) as side:
        yield side


def register(client: lite.Client, backend: Backend) -> str:
    """An image whose data is at the backend; its id."""
    fields = {'disk_format': 'raw', 'container_format': 'bare', 'visibility': 'public'}
    image_id = str(client.send(lite.ADMIN, 'POST', '/v2/images', fields).json()['id'])
    value = {
        'url': f'http://127.0.0.1:{backend.server_address[1]}/image',
        'metadata': {},
        'validation_data': {
            'checksum': backend.digest('md5'),
            'os_hash_algo': 'sha512',
            'os_hash_value': backend.digest('sha512'),
        },
    }
    step = [{'op': 'add', 'path': '/locations/-', 'value': value}]
    answer = client.send(lite.ADMIN, 'PATCH', f'/v2/images/{image_id}', step, lite.V21)
    if answer.status_code != 200:
        raise RuntimeError(f'{answer.status_code} {answer.text}')
    return image_id


# --- the clients


def fetch(port: int, image_id: str, size: int, begin: float) -> tuple[float, str]:
    """Seconds until all is there, and what is wrong."""
    lines = [
        f'GET /v2/images/{image_id}/file HTTP/1.1', 'Host: image.example', 'Connection: close',
        *(f'{key}: {value}' for key, value in lite.MEMBER.headers().items()), '', '',
    ]  # fmt: skip
    time.sleep(max(0.0, begin - time.time()))
    try:
        with socket.create_connection(('127.0.0.1', port), PATIENCE) as connection:
            connection.sendall('\r\n'.join(lines).encode())
            got = bytearray()
            while b'\r\n\r\n' not in got:
                got += connection.recv(65536) or b'\r\n\r\n'
            head, _, rest = bytes(got).partition(b'\r\n\r\n')
            if b' 200 ' not in head.split(b'\r\n')[0]:
                return 0.0, head.split(b'\r\n')[0].decode()
            count, room = len(rest), memoryview(bytearray(MIB))
            while count < size:
                # The kernel drops what is received instead of copying it.
                more = connection.recv_into(room, MIB, socket.MSG_TRUNC)
                if not more:
                    return 0.0, f'{count} of {size} bytes'
                count += more
    except OSError as ex:
        return 0.0, f'{type(ex).__name__}: {ex}'
    return time.time() - begin, ''


def be_clients(job: dict[str, Any]) -> list[tuple[float, str]]:
    """In a process of its own: all clients of it at once."""
    found: list[tuple[float, str]] = []
    print('ready', flush=True)
    begin = float(input())

    def run() -> None:
        found.append(fetch(job['port'], job['image_id'], job['size'], begin))

    threads = [threading.Thread(target=run) for _ in range(job['clients'])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def storm(side: servers.Side, image_id: str, size: int, clients: int) -> dict[str, Any]:
    """All clients at once; what they got, and what the service needed for it."""
    job = {'port': side.port, 'image_id': image_id, 'size': size}
    shares = [clients // PROCESSES + (number < clients % PROCESSES) for number in range(PROCESSES)]
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, '--be-clients', json.dumps({**job, 'clients': share})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for share in shares
    ]
    for process in processes:
        assert process.stdin and process.stdout
        process.stdout.readline()
    before = servers.cpu(side.pids())
    begin = time.time() + LEAD
    for process in processes:
        assert process.stdin
        process.stdin.write(f'{begin}\n')
        process.stdin.flush()
    memory = 0.0
    while any(process.poll() is None for process in processes):
        memory = max(memory, servers.proportional(side.pids()))
        time.sleep(0.2)
    results = [tuple(one) for each in processes for one in json.loads(each.communicate()[0])]
    seconds = [took for took, wrong in results if not wrong]
    return {
        'elapsed': max(seconds, default=0.0),
        'median': statistics.median(seconds) if seconds else 0.0,
        'wrong': [wrong for _, wrong in results if wrong],
        'cpu': servers.spent(before, servers.cpu(side.pids())),
        'memory': memory,
    }


def settle(client: lite.Client, image_id: str) -> bool:
    """Wait until the image is cached; whether it is."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = client.send(lite.ADMIN, 'GET', '/v2/cache').json()['cached_images']
        if image_id in [one['image_id'] for one in found]:
            return True
        time.sleep(0.1)
    return False


def measure(name: str, args: argparse.Namespace, directory: pathlib.Path) -> list[dict[str, Any]]:
    """Both storms, in each round."""
    size = args.size * MIB
    backend = Backend(size, args.rate * MIB)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    found = []
    try:
        threads = args.threads or -(-args.clients // 2)
        with service(name, directory, threads, backend.server_address[1]) as side:
            client = lite.Client(f'http://127.0.0.1:{side.port}')
            image_id = register(client, backend)
            whole = client.send(lite.MEMBER, 'GET', f'/v2/images/{image_id}/file').content
            if hashlib.sha512(whole).hexdigest() != backend.digest('sha512'):
                raise RuntimeError(f'{TITLES[name]} gives other data')
            del whole
            for number in range(args.rounds):
                settle(client, image_id)
                client.send(lite.ADMIN, 'DELETE', '/v2/cache')
                backend.take()
                first = storm(side, image_id, size, args.clients)
                first['reads'], first['bytes'] = backend.take()
                first['cached'] = settle(client, image_id)
                backend.take()
                second = storm(side, image_id, size, args.clients)
                second['reads'], second['bytes'] = backend.take()
                print(f'{TITLES[name]}, round {number + 1}: {first["elapsed"]:.1f} s, '
                      f'{first["reads"]} reads; again: {second["elapsed"]:.1f} s',
                      file=sys.stderr)  # fmt: skip
                found.append({'first': first, 'again': second})
    finally:
        backend.shutdown()
        backend.server_close()
    return found


def report(args: argparse.Namespace, figures: dict[str, Any]) -> None:
    """A table in reStructuredText."""
    total = args.size * args.clients
    print(f'{args.clients} clients, an image of {args.size} MiB, a backend that gives '
          f'{args.rate} MiB/s, medians of {args.rounds} rounds:\n')  # fmt: skip
    print('.. list-table::\n   :header-rows: 1\n')
    heads = ('Storm', 'Service', 'Reads of the backend', 'MiB from the backend', 'Seconds',
             'MiB/s to all', 'CPU s', 'Memory, MiB', 'Errors')  # fmt: skip
    rows: list[tuple[object, ...]] = [heads]
    for which, title in (('first', 'not cached'), ('again', 'cached')):
        for name, rounds in figures.items():
            each = [one[which] for one in rounds]

            def middle(key: str, each: list[dict[str, Any]] = each) -> float:
                return statistics.median(one[key] for one in each)

            seconds = middle('elapsed')
            rows.append((
                title, TITLES[name], f'{middle("reads"):g}', f'{middle("bytes") / MIB:.0f}',
                f'{seconds:.2f}', f'{total / seconds:.0f}' if seconds else '-',
                f'{middle("cpu"):.2f}', f'{middle("memory"):.0f}',
                sum(len(one['wrong']) for one in each),
            ))  # fmt: skip
    for row in rows:
        print('   * - ' + '\n     - '.join(str(cell) for cell in row))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--size', type=int, default=512, help='of the image, in MiB (512)')
    parser.add_argument('--clients', type=int, default=50, help='at once (50)')
    parser.add_argument('--rate', type=float, default=200, help='of the backend, in MiB/s (200)')
    parser.add_argument('--rounds', type=int, default=3, help='how often (3)')
    parser.add_argument(
        '--threads', type=int, default=0,
        help='of each of the two processes of Glance (as many as serve all clients at once)',
    )  # fmt: skip
    parser.add_argument('--sides', default='glance,lite', help='glance,lite or one of them')
    parser.add_argument('--file', help='keep all figures there, as JSON')
    parser.add_argument('--be-clients', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.be_clients:
        json.dump(be_clients(json.loads(args.be_clients)), sys.stdout)
        return 0
    directory = pathlib.Path(tempfile.mkdtemp(prefix='glance-lite-boot-storm-'))
    try:
        figures = {name: measure(name, args, directory) for name in args.sides.split(',')}
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if args.file:
        pathlib.Path(args.file).write_text(json.dumps(figures, indent=2))
    report(args, figures)
    every = [storm for rounds in figures.values() for one in rounds for storm in one.values()]
    return 1 if any(one['wrong'] for one in every) else 0


if __name__ == '__main__':
    requests.packages.urllib3.disable_warnings()  # type: ignore[attr-defined]
    sys.exit(main())
