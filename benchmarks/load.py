# SPDX-License-Identifier: Apache-2.0
"""The clients: a process of a few threads, each with one connection, nothing but sockets.

Run as a script it reads a job as JSON from standard input and writes what it measured as JSON to
standard output. It imports nothing of the project and no HTTP library, so that it costs little
beside what it measures: the report says how much.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time

BUFFER = 1024 * 1024
#: after this many errors a client gives up
ENOUGH = 10


class Connection:
    """One connection at a time, kept open as long as job and server let it."""

    def __init__(self, job: dict) -> None:
        self._address = (job['host'], job['port'])
        self._patience = job['patience']
        self._keep = job['keep']
        # The kernel drops what is received instead of copying it.
        self._flags = socket.MSG_TRUNC if job['discard'] else 0
        self._socket: socket.socket | None = None
        self._buffer = memoryview(bytearray(BUFFER))
        self.connects = 0
        self.received = 0

    def ask(self, request: bytes, body: int, kept: bytearray | None = None) -> int:
        """Send a request with `body` bytes and read its whole answer; the status."""
        if self._socket is None:
            self._socket = socket.create_connection(self._address, self._patience)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connects += 1
        try:
            self._socket.sendall(request)
            while body > 0:
                self._socket.sendall(NOISE[:body])
                body -= BUFFER
            status, keep = self._answer(self._socket, kept)
        except BaseException:
            self.close()
            raise
        if not keep or not self._keep:
            self.close()
        return status

    def _answer(self, connection: socket.socket, kept: bytearray | None) -> tuple[int, bool]:
        """(status, whether the connection stays open); the body goes to `kept`."""
        buffer, have, end = self._buffer, 0, -1
        while end < 0:
            count = connection.recv_into(buffer[have:])
            if not count:
                raise ConnectionError('the server closed the connection without an answer')
            have += count
            end = buffer.obj.find(b'\r\n\r\n', 0, have)  # type: ignore[attr-defined]
        head = bytes(buffer[:end]).lower()
        status = int(head[9:12])
        _, _, length = head.partition(b'\r\ncontent-length:')
        left: int | None = None
        if length:
            left = int(length.partition(b'\r\n')[0]) - (have - end - 4)
        elif status == 204:
            left = 0
        elif b'\r\ntransfer-encoding:' in head:
            raise ConnectionError('chunked answers are not understood')
        self.received += have - end - 4
        if kept is not None:
            kept += buffer[end + 4 : have]
        while left is None or left > 0:
            # Not more than this answer has: what follows would be the next one's.
            wanted = BUFFER if left is None else min(left, BUFFER)
            count = connection.recv_into(buffer, wanted, self._flags)
            if not count:
                if left is None:
                    return status, False
                raise ConnectionError(f'{left} bytes of the answer did not come')
            self.received += count
            if kept is not None:
                kept += buffer[:count]
            left = None if left is None else left - count
        return status, b'\r\nconnection: close' not in head and not head.startswith(b'http/1.0')

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Client(threading.Thread):
    """Sends its requests one after the other: `count` of them, or until the time is over."""

    def __init__(self, job: dict, own: dict) -> None:
        super().__init__(daemon=True)
        self._job = job
        self._requests = [request.encode() for request in own['requests']]
        self._body = own['body']
        self._status = own['status']
        self.connection = Connection(job)
        self.latencies: list[float] = []
        self.errors: list[str] = []
        self.sent = 0
        self.images = 0
        self.ended = job['start']

    def run(self) -> None:
        job = self._job
        time.sleep(max(0.0, job['start'] - time.monotonic()))
        try:
            if job['walk']:
                self._walk(self._requests[0])
            else:
                self._repeat()
        finally:
            self.connection.close()

    def _repeat(self) -> None:
        job, number = self._job, 0
        until = job['start'] + job['seconds']
        while len(self.errors) < ENOUGH:
            if number >= job['count'] if job['count'] else time.monotonic() >= until:
                break
            if number >= len(self._requests) and not job['repeat']:
                break
            self._ask(self._requests[number % len(self._requests)])
            number += 1

    def _walk(self, request: bytes) -> None:
        """From page to page until there is no next one or the time is over."""
        first = request.split(b' ', 2)[1]
        until = self._job['start'] + self._job['seconds']
        path = first
        while path and not self.errors and time.monotonic() < until:
            page = bytearray()
            self._ask(request.replace(first, path, 1), page)
            self.images += page.count(b'"self": "/v2/images/')
            path = bytes(page).partition(b'"next": "')[2].partition(b'"')[0]

    def _ask(self, request: bytes, kept: bytearray | None = None) -> None:
        begun = time.monotonic()
        try:
            status = self.connection.ask(request, self._body, kept)
        except OSError as ex:
            self.errors.append(f'{type(ex).__name__}: {ex}')
            return
        if status != self._status:
            self.errors.append(f'status {status}')
            return
        self.ended = time.monotonic()
        self.latencies.append(self.ended - begun)
        self.sent += self._body


def work(job: dict) -> dict:
    """Do a job: what its clients measured, and what it cost this process."""
    clients = [Client(job, own) for own in job['clients']]
    before = sum(os.times()[:2])
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return {
        'latencies': [latency for client in clients for latency in client.latencies],
        'errors': [error for client in clients for error in client.errors],
        'ended': max(client.ended for client in clients),
        'connects': sum(client.connection.connects for client in clients),
        'received': sum(client.connection.received for client in clients),
        'sent': sum(client.sent for client in clients),
        'images': sum(client.images for client in clients),
        'cpu': sum(os.times()[:2]) - before,
    }


if __name__ == '__main__':
    NOISE = memoryview(os.urandom(BUFFER))
    json.dump(work(json.load(sys.stdin)), sys.stdout)
