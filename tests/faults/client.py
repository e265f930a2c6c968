# SPDX-License-Identifier: Apache-2.0
"""An uploading client by hand: it stops where it is told, lies about sizes, and goes away."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections.abc import Iterator

from tests.servers import processes

#: Most bytes sent at a time, so that an early answer is noticed.
STEP = 64 * 1024


class Client:
    """One upload. Without a `size` the data is sent in chunks."""

    def __init__(
        self, url: str, project: str, image_id: str, size: int | None, **headers: str
    ) -> None:
        host, port = url.removeprefix('http://').split(':')
        self._chunked = size is None
        self._socket = socket.create_connection((host, int(port)))
        length = 'Transfer-Encoding: chunked' if size is None else f'Content-Length: {size}'
        given = {**processes.identity(project), **headers}
        lines = [f'PUT /v2/images/{image_id}/file HTTP/1.1', f'Host: {host}', length,
                 'Content-Type: application/octet-stream',
                 *(f'{name}: {value}' for name, value in given.items())]  # fmt: skip
        self._socket.sendall('\r\n'.join([*lines, '', '']).encode())
        self._answered = False

    def send(self, data: bytes) -> None:
        """Send a part, unless the answer has come already."""
        if self._chunked:
            data = f'{len(data):x}\r\n'.encode() + data + b'\r\n'
        self.send_raw(data)

    def send_raw(self, data: bytes) -> None:
        view = memoryview(data)
        while view and not self._answered:
            readable, _, _ = select.select([self._socket], [self._socket], [], 60)
            if readable:
                self._answered = True
                return
            view = view[self._socket.send(view[:STEP]) :]

    def end(self) -> None:
        """Say that this was all, where that must be said."""
        if self._chunked:
            self.send_raw(b'0\r\n\r\n')

    def answer(self) -> int | None:
        """The status; None when the connection ends without one."""
        self._socket.settimeout(120)
        got = b''
        with contextlib.suppress(ConnectionError):
            while b'\r\n' not in got:
                more = self._socket.recv(4096)
                if not more:
                    break
                got += more
        return int(got.split()[1]) if got else None

    def cut(self, reset: bool = False) -> None:
        """Go away, with a farewell or without."""
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self._socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.cut()


def parts(data: bytes, size: int = 1 << 20) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))
