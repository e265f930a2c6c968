# SPDX-License-Identifier: Apache-2.0
"""A web server whose connections break off, and that may forget how to carry on."""

from __future__ import annotations

import contextlib
import dataclasses
import email.utils
import http.server
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator


@dataclasses.dataclass
class Thing:
    """What the server has at any path, and how it behaves; a test changes it as it goes."""

    data: bytes
    etag: str | None = '"one"'
    #: seconds since it was changed; None: it does not say
    age: float | None = None
    #: bytes after which each connection breaks off; an empty list: none does any more
    cuts: list[int] = dataclasses.field(default_factory=list)
    #: statuses that are answered first
    statuses: list[int] = dataclasses.field(default_factory=list)
    more: dict[str, str] = dataclasses.field(default_factory=dict)
    ranges: bool = True
    chunked: bool = False
    #: seconds between pieces of `piece` bytes
    pause: float = 0
    piece: int = 1 << 16
    #: what Content-Range says instead of the truth
    claims: str | None = None
    #: headers of each request, in lower case
    requests: list[dict[str, str]] = dataclasses.field(default_factory=list)
    #: called when a connection has broken off
    after_cut: list[object] = dataclasses.field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    thing: Thing

    def log_message(self, *arguments: object) -> None:
        """Nobody reads it."""

    def do_GET(self) -> None:
        thing = self.thing
        thing.requests.append({name.lower(): value for name, value in self.headers.items()})
        if thing.statuses:
            self.send_response(thing.statuses.pop(0))
            for name, value in thing.more.items():
                self.send_header(name, value)
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        start, status = self._start(thing), 200
        if start is not None:
            status = 206 if start < len(thing.data) else 416
        start = start or 0
        data = thing.data[start:] if status != 416 else b''
        self.send_response(status)
        if thing.etag:
            self.send_header('ETag', thing.etag)
        if thing.age is not None:
            self.send_header('Last-Modified', self._modified(thing))
        if status == 206:
            total = len(thing.data)
            said = thing.claims or f'bytes {start}-{total - 1}/{total}'
            self.send_header('Content-Range', said)
        if thing.chunked:
            self.send_header('Transfer-Encoding', 'chunked')
        else:
            self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self._send(thing, data)

    def _modified(self, thing: Thing) -> str:
        # One moment for all answers.
        if not hasattr(thing, 'changed'):
            thing.changed = time.time() - thing.age  # type: ignore[attr-defined,operator]
        return email.utils.formatdate(thing.changed, usegmt=True)  # type: ignore[attr-defined]

    def _start(self, thing: Thing) -> int | None:
        found = re.fullmatch(r'bytes=(\d+)-', self.headers.get('Range', ''))
        if found is None or not thing.ranges:
            return None
        condition = self.headers.get('If-Range')
        names = {thing.etag, self._modified(thing) if thing.age is not None else None}
        return int(found[1]) if condition is None or condition in names else None

    def _send(self, thing: Thing, data: bytes) -> None:
        cut = thing.cuts.pop(0) if thing.cuts else None
        rest = data[:cut]
        with contextlib.suppress(OSError):
            for begin in range(0, len(rest), thing.piece):
                piece = rest[begin : begin + thing.piece]
                self.wfile.write(self._framed(thing, piece))
                self.wfile.flush()
                time.sleep(thing.pause)
            if cut is None and thing.chunked:
                self.wfile.write(b'0\r\n\r\n')
        if cut is not None:
            for call in thing.after_cut:
                call(thing)  # type: ignore[operator]
            self.close_connection = True
            # Abruptly, as a server does that dies; not before it has been read.
            time.sleep(0.05)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))

    @staticmethod
    def _framed(thing: Thing, piece: bytes) -> bytes:
        return b'%x\r\n%s\r\n' % (len(piece), piece) if thing.chunked else piece


@contextlib.contextmanager
def serving(thing: Thing) -> Iterator[int]:
    """The port of 127.0.0.1 on which it is served while the block runs."""
    kind = type('Serving', (Handler,), {'thing': thing})
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), kind)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
