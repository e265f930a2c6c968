# SPDX-License-Identifier: Apache-2.0
"""HTTP by hand, for what no well-behaved client does."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

from tests.servers import processes


class Wire:
    """A connection of somebody of a project. It is opened again when a server has closed it."""

    def __init__(self, url: str, project: str = 'alpha', roles: str = 'member,reader') -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self._who = processes.identity(project, roles)
        self.opened = 0
        self.open()

    def open(self) -> None:
        self.socket = socket.create_connection(self._address, processes.PATIENCE)
        self.opened += 1
        self.closed = False

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def head(self, method: str, path: str, **headers: object) -> bytes:
        """The beginning of a request; underscores in names are hyphens."""
        lines = [f'{method} {path} HTTP/1.1', 'Host: x']
        lines += [f'{name}: {value}' for name, value in self._who.items()]
        lines += [f'{name.replace("_", "-")}: {value}' for name, value in headers.items()]
        return '\r\n'.join([*lines, '', '']).encode()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, method: str = 'GET') -> tuple[int, bytes]:
        """Status and body of the next answer."""
        response = http.client.HTTPResponse(self.socket, method=method)
        response.begin()
        body = response.read()
        self.closed = response.will_close
        response.close()
        return response.status, body

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: object
    ) -> tuple[int, bytes]:
        """A request on this connection, or on a new one if that was the last one on it."""
        if self.closed:
            self.close()
            self.open()
        if body is not None:
            headers.setdefault('Content_Length', len(body))
        self.send(self.head(method, path, **headers) + (body or b''))
        return self.answer(method)
