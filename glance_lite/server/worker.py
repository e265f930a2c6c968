# SPDX-License-Identifier: Apache-2.0
"""A worker: one process that serves in green threads."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from glance_lite import logs
from glance_lite.errors import GlanceLiteError
from glance_lite.middleware.access_log import AccessLog
from glance_lite.server import eventlet as green
from glance_lite.server import tls
from glance_lite.server.heart import Heart
from glance_lite.server.master import CLEANUP, CUT, END, RETIRE
from glance_lite.server.protocol import SINCE, Protocol, Server
from glance_lite.server.sendfile import App, SendFiles
from glance_lite.service import Service

LOG = logging.getLogger(__name__)

#: Most connections of one worker.
CONNECTIONS = 1000

#: Seconds that a connection without a request stays open when the worker shall end: a request
#: may be under way on it.
LINGER = 2.0

#: Most seconds that the header of a request, or the TLS handshake, may take.
HEADER = 60.0


class Worker:
    """Serves until it is told to end."""

    def __init__(self, conf: cfg.ConfigOpts, service: Service, app: App) -> None:
        self._conf = conf
        self._service = service
        self._app = app
        #: address, socket and state of each connection, as eventlet keeps them, and `SINCE`
        self._connections: dict[int, list[Any]] = {}

    def run(self, listener: Any, heart: Heart, alive: int) -> int:
        """Serve until told to end; the exit code."""
        logs.unshare_locks()
        green.meet_the_hub()
        green.wake_the_hub_by_signals()
        self._pool = green.Pool(CONNECTIONS)
        self._told = green.Event()
        self._over = green.Event()
        self._actions: dict[int, Callable[[], None]] = {
            RETIRE: self._retire,
            END: self._end,
            CUT: self._cut,
        }
        for number in self._actions:
            signal.signal(number, self._on_signal)
        # To a terminal's whole group; the master passes it on.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        try:
            self._tls = tls.context(self._conf)
            self._service.start()
        except GlanceLiteError as ex:
            heart.complain(ex.message)
            return 1
        self._service.start_background()
        green.spawn(self._watch, alive)
        green.spawn(self._beat, heart)
        self._server = self._make_server(listener)
        green.spawn(self._end_the_slow)
        accepting = green.spawn(self._accept)
        self._told.wait()
        accepting.kill()
        # Or the system went on to accept connections, for nobody, once all others have ended.
        self._server.socket.close()
        listener.close()
        self._server.closing = True
        green.spawn(self._close_idle)
        green.spawn(self._wait_for_all)
        self._over.wait()
        self._service.stop()
        return 0

    def _on_signal(self, number: int, frame: Any) -> None:
        # It interrupts whatever runs, the hub included; the hub itself shall do it.
        green.call_in_hub(self._actions[number])

    def _make_server(self, listener: Any) -> Server:
        conf = self._conf
        green.limit_headers(conf.max_header_line)
        sock = green.listening(listener.fileno())
        return Server(
            sock,
            sock.getsockname(),
            SendFiles(AccessLog(self._app)),
            environ={'wsgi.url_scheme': 'https', 'HTTPS': 'on'} if self._tls else None,
            max_http_version='HTTP/1.1',
            log_output=False,
            debug=False,
            keepalive=conf.client_socket_timeout or True if conf.http_keepalive else False,
            socket_timeout=conf.client_socket_timeout or None,
            url_length_limit=conf.max_header_line,
            capitalize_response_headers=False,
        )

    # --- connections

    def _accept(self) -> None:
        while True:
            try:
                connection, address = self._server.socket.accept()
            except OSError as ex:
                # The client has gone again, or this process has no descriptor left.
                LOG.warning('A connection was not accepted: %s', ex)
                green.sleep(0.1)
                continue
            if not self._pool.free():
                self._make_room()
            self._pool.spawn_n(self._serve, connection, address)

    def _make_room(self) -> None:
        """Close the oldest connection on which nobody has asked for anything."""
        for _, connection, state, _ in self._connections.values():
            if state == green.IDLE:
                green.shut(connection)
                return

    def _end_the_slow(self) -> None:
        """Close connections whose clients take too long to say what they want."""
        limit = min(self._conf.client_socket_timeout or HEADER, HEADER)
        while True:
            green.sleep(1)
            latest = time.monotonic() - limit
            for _, connection, _, since in self._connections.values():
                if 0 < since < latest:
                    green.shut(connection)

    def _serve(self, connection: Any, address: Any) -> None:
        connection.settimeout(self._server.socket_timeout)
        state = [address, connection, green.IDLE, 0.0]
        self._connections[id(state)] = state
        try:
            if self._tls is not None:
                # Here and not in accept: a client that is slow with it holds up itself only.
                state[1] = self._tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
                state[SINCE] = time.monotonic()
                state[1].do_handshake()
                state[SINCE] = 0.0
            Protocol(state, self._server)
        except OSError as ex:  # timeouts and TLS among them
            LOG.debug('The connection of %s broke off: %s', address, ex)
        finally:
            del self._connections[id(state)]
            green.shut(state[1])
            state[1].close()

    # --- the end

    def _retire(self) -> None:
        """Accept nothing more, and end when what runs has ended."""
        if not self._told.ready():
            self._told.send()

    def _end(self) -> None:
        """The same, within the time that there is for it."""
        self._retire()
        if self._conf.graceful_shutdown_timeout:
            green.spawn_after(self._conf.graceful_shutdown_timeout, self._cut)

    def _cut(self) -> None:
        """Break off what runs. Uploads clean up after themselves, as if their client had gone."""
        self._retire()
        for _, connection, *_ in self._connections.values():
            green.shut(connection)
        green.spawn_after(CLEANUP, self._finish)

    def _close_idle(self) -> None:
        while True:  # also those whose answer had begun before it could say that it is the last
            green.sleep(LINGER)
            for _, connection, state, _ in self._connections.values():
                if state == green.IDLE:
                    green.shut(connection)

    def _wait_for_all(self) -> None:
        self._pool.waitall()
        self._finish()

    def _finish(self) -> None:
        if not self._over.ready():
            self._over.send()

    def _watch(self, alive: int) -> None:
        """End when the master is gone."""
        green.trampoline(alive, read=True)
        LOG.error('The master has ended; so does this worker')
        self._end()

    def _beat(self, heart: Heart) -> None:
        """Tell the master that the hub comes round. The first time means: ready."""
        while True:
            heart.beat()
            green.sleep(1)
