# SPDX-License-Identifier: Apache-2.0
"""A network that a test may cut: a TCP proxy between a client and a server.

::

    with Wire('127.0.0.1', server.port) as wire:
        ...                  # the client connects to wire.port
        wire.cut()           # nothing comes through any more, and nobody is told
        wire.mute()          # requests come through, and answers are lost
        wire.drop()          # connections are closed, and new ones refused
        wire.slow(100_000)   # so many bytes in a second, each way of each connection
        wire.heal()          # as at first
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class Wire:
    """Forwards connections to its own `port` on 127.0.0.1, or on the address `listen`."""

    def __init__(self, host: str, port: int, listen: tuple[str, int] = ('127.0.0.1', 0)) -> None:
        self._target = host, port
        self._listen = listen
        self._changed = threading.Condition()
        self._through = True
        self._muted = False
        self._rate: int | None = None
        self._sockets: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        #: bytes that came from clients
        self.sent = 0

    def __enter__(self) -> Wire:
        self._open()
        return self

    def __exit__(self, *error: object) -> None:
        self.drop()

    def _open(self) -> None:
        self._listener = socket.create_server(self._listen, backlog=64)
        self._listen = self._listener.getsockname()
        self.port: int = self._listen[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    # --- what a test does to it

    def cut(self) -> None:
        with self._changed:
            self._through = False

    def mute(self) -> None:
        with self._changed:
            self._muted = True

    def drop(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            _end(listener)
        with self._changed:
            for one in self._sockets:
                _end(one)
            self._sockets.clear()
            self._through = True
            self._changed.notify_all()

    def heal(self) -> None:
        with self._changed:
            self._through, self._muted, self._rate = True, False, None
            self._changed.notify_all()
        if self._listener is None:
            self._open()

    def slow(self, bytes_per_second: int) -> None:
        self._rate = bytes_per_second

    # --- forwarding

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, 10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._changed:
                self._sockets |= {client, server}
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(*ends, client), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16 * 1024):
                if source is client:
                    self.sent += len(data)
                with self._changed:
                    self._changed.wait_for(lambda: self._through)
                if self._rate:
                    time.sleep(len(data) / self._rate)
                if source is client or not self._muted:
                    target.sendall(data)
        with self._changed:
            self._sockets -= {source, target}
        _end(source)
        _end(target)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
