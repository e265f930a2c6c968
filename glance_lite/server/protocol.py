# SPDX-License-Identifier: Apache-2.0
"""HTTP on one connection: eventlet's, strict in what is a request and with bounds to what is read.

A request that is answered before its body was read (404, 409, 413 ...) leaves the body on the
connection. A little of it is read and thrown away, so that the next request can follow, or at
least so that a client that sends first and reads then gets its answer: to close a connection on
which data waits resets it, and the answer is lost. More than that nobody reads.
"""

from __future__ import annotations

import contextlib
import http
import io
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

from glance_lite.server import eventlet as green
from glance_lite.server import request
from glance_lite.server.sendfile import App

LOG = logging.getLogger(__name__)

#: Most bytes of an unread body that are thrown away, and most seconds that this may take.
DRAIN = 4 * 1024 * 1024
LINGER = 5.0
PIECE = 64 * 1024


#: Where a connection's state says since when its header, or its TLS handshake, is awaited; 0: not.
SINCE = 3


class Server(green.HttpServer):  # type: ignore[misc]
    """What connections have in common."""

    #: whether each answer is the last one of its connection
    closing = False

    def log_message(self, message: str) -> None:
        LOG.debug('%s', message)


class Protocol(green.HttpProtocol):  # type: ignore[misc]
    """A connection."""

    server_version = 'glance-lite'
    sys_version = ''

    # What eventlet's class sets, which has no types.
    rfile: Any
    raw_requestline: Any
    path: Any
    headers: Any
    close_connection: Any

    def log_message(self, format: str, *args: Any) -> None:
        LOG.debug(format, *args)

    # --- the header

    def handle_one_request(self) -> None:
        self._understood = False
        super().handle_one_request()
        if self.raw_requestline and not self._understood:
            self._linger(self.rfile)

    def _read_request_line(self) -> Any:
        if not self.rfile.closed:
            try:
                self.rfile.peek(1)  # it may take as long as the connection may be silent
            except ConnectionError:
                return b''
            self.conn_state[SINCE] = time.monotonic()
        return super()._read_request_line()

    def parse_request(self) -> bool:
        lines = []
        while True:
            line = self.rfile.readline()
            lines.append(line)
            if line in (b'\r\n', b'\n'):
                break
            if not line:  # the client has gone
                self.close_connection = True
                return False
        header = b''.join(lines)
        status, problem = request.fault_of_text(self.raw_requestline, header)
        if problem:
            return self._refuse(status, problem)
        self.raw_requestline = request.ascii_only(self.raw_requestline)
        self.rfile = io.BytesIO(header)
        if not super().parse_request():
            self.close_connection = True
            return False
        host, self.path = request.split_absolute(self.path)
        if host is not None:
            del self.headers['Host']
            self.headers['Host'] = host
        status, problem = request.fault_of_headers(self.headers, self.request_version)
        if problem:
            return self._refuse(status, problem)
        self.conn_state[SINCE] = 0.0
        return True

    def _refuse(self, status: int, reason: str) -> bool:
        LOG.info('A request of %s was refused: %s', self.client_address[0], reason)
        text = f'{reason}\n'
        self.wfile.write(
            f'HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\nConnection: close\r\n'
            f'Content-Type: text/plain\r\nContent-Length: {len(text)}\r\n\r\n{text}'.encode()
        )
        self.close_connection = True
        return False

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        body = environ['eventlet.input']
        body.__class__ = request.ChunkedBody if body.chunked_input else request.SizedBody
        return environ

    # --- the answer

    def handle_one_response(self) -> None:
        self._understood = True
        body = self.environ['eventlet.input']
        body.discard = _nothing  # without bounds
        app: App = self.server.app

        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
                if self.server.closing or _too_much(body):
                    self.close_connection = 1  # and eventlet says so in a header
                return start_response(status, headers, *rest)

            return app(environ, start)

        self.application = application
        super().handle_one_response()
        if _left(body):
            self._throw_away(body)

    def _throw_away(self, body: Any) -> None:
        """Read what is left of a body; the connection closes if it is too much."""
        if self.close_connection:
            self._linger(body)
            return
        if not _skip(body):
            self.close_connection = 1

    def _linger(self, source: Any) -> None:
        """Before the connection closes: let the client see the answer, and read on a little."""
        with contextlib.suppress(OSError):
            self.wfile.flush()
        green.shut(self.connection, socket.SHUT_WR)
        _skip(source)


def _skip(source: Any) -> bool:
    """Read and throw away, within bounds; whether that was all."""
    with green.Timeout(LINGER, False), contextlib.suppress(OSError, ValueError):
        for _ in range(DRAIN // PIECE):
            if not source.read(PIECE):
                return True
    return False


def _nothing() -> None:
    """There is nothing to do."""


def _left(body: Any) -> bool:
    """Whether some of a body is unread."""
    if body.chunked_input:
        return bool(body.chunk_length)
    return bool(body.position < body.content_length)


def _too_much(body: Any) -> bool:
    """Whether so much is unread that the connection cannot be used again.

    A body that waits for ``100 Continue`` is one of them: the client may send it or not.
    """
    if body.should_send_hundred_continue:
        return _left(body)
    if getattr(body, 'broken', False):
        return True
    return not body.chunked_input and body.content_length - body.position > DRAIN
