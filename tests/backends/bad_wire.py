# SPDX-License-Identifier: Apache-2.0
"""A relay between a client and a server that damages, cuts or holds what passes.

What it does it does to connections over which more than `AFTER` bytes pass in one direction: those
that carry data, and not to those with answers of a few lines.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

AFTER = 1_000_000


class Wire:
    """``mode`` is flip, cut, hold or None; ``times`` connections are treated so."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self._listener = socket.create_server(('127.0.0.1', 0), backlog=64)
        self._lock = threading.Lock()
        self.url = f'http://127.0.0.1:{self._listener.getsockname()[1]}'
        self.mode: str | None = None
        self.times = 0
        #: set when a connection is held
        self.held = threading.Event()
        self.free = threading.Event()
        #: bytes that went to clients and to the server
        self.down = self.up = 0
        #: connections with data at once, at most
        self.busy = self.busiest = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def do(self, mode: str | None, times: int = 1_000_000) -> None:
        self.mode, self.times = mode, times
        self.held.clear()
        self.free.clear()

    def close(self) -> None:
        self.free.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), socket.create_connection(self._target) as server:
            pair = (client, server)
            up = threading.Thread(target=self._copy, args=(*pair, 'up', pair), daemon=True)
            up.start()
            self._copy(server, client, 'down', pair)
            up.join()
        client.close()

    def _copy(
        self,
        source: socket.socket,
        sink: socket.socket,
        way: str,
        pair: tuple[socket.socket, socket.socket],
    ) -> None:
        passed, big = 0, False
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                passed += len(chunk)
                if passed > AFTER and not big:
                    big = True
                    with self._lock:
                        self.busy += 1
                        self.busiest = max(self.busiest, self.busy)
                    chunk = self._treated(chunk, pair)
                with self._lock:
                    setattr(self, way, getattr(self, way) + len(chunk))
                sink.sendall(chunk)
        if big:
            with self._lock:
                self.busy -= 1
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _treated(self, chunk: bytes, pair: tuple[socket.socket, socket.socket]) -> bytes:
        with self._lock:
            if self.mode is None or self.times <= 0:
                return chunk
            self.times -= 1
        if self.mode == 'flip':
            return bytes([chunk[0] ^ 1]) + chunk[1:]
        if self.mode == 'hold':
            self.held.set()
            self.free.wait(60)
            return chunk
        for side in pair:
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
        return b''


@contextlib.contextmanager
def wire(target: str) -> Iterator[Wire]:
    made = Wire(target)
    try:
        yield made
    finally:
        made.close()
