# SPDX-License-Identifier: Apache-2.0
"""Eventlet, for the stand-alone server. The only module that imports it.

Importing this replaces the blocking parts of the standard library, so it must come first in a
process. What the rest of the server needs of eventlet it takes from here.
"""

from __future__ import annotations

import contextlib
import os
import warnings

# The system's resolver knows hosts and search lists that greendns does not.
os.environ.setdefault('EVENTLET_NO_GREENDNS', 'yes')
with warnings.catch_warnings():
    # That eventlet is in maintenance is the developers' business, not the operator's.
    warnings.simplefilter('ignore')
    import eventlet

eventlet.monkey_patch()

# ruff: noqa: E402
import signal
from typing import Any

import eventlet.event
import eventlet.hubs
import eventlet.patcher
import eventlet.wsgi

from glance_lite import concurrency
from glance_lite.db import engine

_os = eventlet.patcher.original('os')
_select = eventlet.patcher.original('select')
_socket = eventlet.patcher.original('socket')
_thread = eventlet.patcher.original('_thread')

Event = eventlet.event.Event
Pool = eventlet.GreenPool
Input = eventlet.wsgi.Input
ChunkReadError = eventlet.wsgi.ChunkReadError
Timeout = eventlet.Timeout
HttpProtocol = eventlet.wsgi.HttpProtocol
HttpServer = eventlet.wsgi.Server
IDLE = eventlet.wsgi.STATE_IDLE
GreenSocket = eventlet.greenio.GreenSocket
sleep = eventlet.sleep
spawn = eventlet.spawn
spawn_after = eventlet.spawn_after
trampoline = eventlet.hubs.trampoline


class _TooLate(Exception):
    """Nothing could be read in time."""


def limit_headers(longest: int) -> None:
    """The longest line, in bytes, that is taken of a request's header."""
    eventlet.wsgi.MAX_HEADER_LINE = longest
    eventlet.wsgi.MAX_TOTAL_HEADER_SIZE = max(65536, 4 * longest)


def listening(descriptor: int) -> Any:
    """The socket of a descriptor, for green threads."""
    return GreenSocket(_socket.socket(fileno=os.dup(descriptor)))


def shut(connection: Any, how: int = _socket.SHUT_RDWR) -> None:
    """Shut a connection down, whichever kind it is and whether or not it still is one.

    Not by the method of a TLS socket: that takes TLS away, and whoever reads on would take what is
    encrypted for what was sent.
    """
    with contextlib.suppress(OSError):
        _socket.socket.shutdown(getattr(connection, 'fd', connection), how)


def call_in_hub(function: Any, *arguments: Any) -> None:
    """Have the hub call a function."""
    eventlet.hubs.get_hub().schedule_call_global(0, function, *arguments)


def leave_the_hub() -> None:
    """Give up the hub that patching and imports have made.

    Workers that inherited it would share one epoll and take each other's events.
    """
    hub = getattr(eventlet.hubs._threadlocal, 'hub', None)
    if hub is not None:
        hub.poll.close()
        del eventlet.hubs._threadlocal.hub


def wake_the_hub_by_signals() -> None:
    """Let a signal end the hub's sleep: a handler alone does not, and it may sleep a minute."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def listen() -> None:
        while True:
            eventlet.hubs.trampoline(woken, read=True)
            _os.read(woken, 512)

    eventlet.spawn(listen)


def meet_the_hub() -> None:
    """Let native threads and database drivers wait in this process's hub."""
    eventlet.hubs.get_hub()

    def wait_readable(descriptor: int, seconds: float | None = None) -> bool:
        try:
            trampoline(descriptor, read=True, timeout=seconds, timeout_exc=_TooLate)
        except _TooLate:
            return False
        return True

    concurrency.install(_thread.start_new_thread, wait_readable, _select.poll)
    try:
        from psycopg2 import extensions
    except ImportError:
        return

    def wait(connection: Any) -> None:
        while True:
            state = connection.poll()
            if state == extensions.POLL_OK:
                return
            writing = state == extensions.POLL_WRITE
            eventlet.hubs.trampoline(connection.fileno(), read=not writing, write=writing)

    engine.use_wait_callback(wait)
