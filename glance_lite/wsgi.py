# SPDX-License-Identifier: Apache-2.0
"""``glance_lite.wsgi:application`` for uWSGI, gunicorn and mod_wsgi.

The configuration is read as Glance does: from OS_GLANCE_CONFIG_DIR, or /etc/glance. What is wrong
with it ends the process with one sentence.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from oslo_config import cfg

from glance_lite import conf as configuration
from glance_lite import deploy, logs, memory
from glance_lite.errors import ConfigurationError
from glance_lite.service import Service

#: Most bytes of an unread body that are thrown away, and most seconds that this may take.
DRAIN = 4 * 1024 * 1024
LINGER = 5.0
PIECE = 64 * 1024


class Application:
    """The service, started anew in a process that was forked after the start.

    Nobody but uWSGI says whether the process that loads this will serve or only fork, so elsewhere
    the background work begins with the first request.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        configuration.register(conf)
        logs.register(conf)
        configuration.parse(conf)
        logs.setup(conf)
        memory.stay_small()
        self._chunked_read = _uwsgi()
        self._lock = threading.Lock()
        self._service = Service(conf)
        self._app = deploy.load_app(self._service)
        self._started_in = os.getpid()
        self._serving_in = 0
        self._service.start()
        _when_uwsgi_serves(self._begin)

    def _begin(self) -> None:
        """Make this a process that serves."""
        with self._lock:
            if self._serving_in == os.getpid():
                return
            if self._started_in != os.getpid():
                self._service.start()
                self._started_in = os.getpid()
            self._service.start_background()
            self._serving_in = os.getpid()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if self._serving_in != os.getpid():
            self._begin()
        coding = environ.get('HTTP_TRANSFER_ENCODING')
        chunked = coding is not None and coding.lower() == 'chunked'
        if coding is not None and (not chunked or environ.get('CONTENT_LENGTH')):
            return _refuse(chunked, start_response)
        if self._chunked_read and chunked:
            environ['wsgi.input'] = ChunkedInput(self._chunked_read)
        if not (chunked or environ.get('CONTENT_LENGTH')):
            answer: Iterable[bytes] = self._app(environ, start_response)
            return answer
        body = environ['wsgi.input'] = Body(environ['wsgi.input'], environ)
        return Drained(self._app(environ, start_response), body)


def _refuse(chunked: bool, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """For a body that might end here or there; not every server refuses it."""
    if chunked:
        status, text = '400 Bad Request', b'Content-Length and Transfer-Encoding exclude each other'
    else:
        status, text = '501 Not Implemented', b'The only Transfer-Encoding that is known is chunked'
    headers = [('Content-Type', 'text/plain'), ('Content-Length', str(len(text)))]
    start_response(status, headers)
    return [text]


class Body:
    """A request's body that can throw away what nobody has read of it."""

    def __init__(self, stream: Any, environ: dict[str, Any]) -> None:
        self._stream = stream
        length = environ.get('CONTENT_LENGTH') or ''
        #: bytes that are unread; None: that is not known
        self._left = int(length) if length.isdecimal() else None
        self._socket = environ.get('gunicorn.socket')
        self._ended = self._left == 0

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; empty at the end."""
        try:
            chunk: bytes = self._stream.read(size)
        except BaseException:
            self._ended = True  # nothing can follow
            raise
        if self._left is not None:
            self._left -= len(chunk)
        if (size and not chunk) or self._left == 0:
            self._ended = True
        return chunk

    def drain(self) -> None:
        """Read a little of what is left, for a client that sends first and reads then.

        To close a connection on which data waits resets it, and the answer is lost.
        """
        if self._ended:
            return
        if self._socket is not None:
            self._socket.settimeout(LINGER)  # gunicorn sets its own for the next request
        deadline = time.monotonic() + LINGER
        # A client that is gone, or sends chunks that are none.
        with contextlib.suppress(OSError, ValueError):
            for _ in range(DRAIN // PIECE):
                self.read(PIECE)
                if self._ended or time.monotonic() > deadline:
                    break


class Drained:
    """An answer after which the rest of the request's body is dealt with."""

    def __init__(self, answer: Iterable[bytes], body: Body) -> None:
        self._answer = answer
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        try:
            close = getattr(self._answer, 'close', None)
            if close is not None:
                close()
        finally:
            self._body.drain()


class ChunkedInput:
    """A chunked body under uWSGI, which hands over its chunks by a call of its own."""

    def __init__(self, chunked_read: Callable[[], bytes]) -> None:
        self._next = chunked_read
        self._rest = b''
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; empty at the end. All that is left when `size` is negative."""
        if size < 0:
            return b''.join(iter(lambda: self.read(1 << 20), b''))
        if not self._rest and not self._ended:
            self._rest = self._next()
            self._ended = not self._rest
        chunk, self._rest = self._rest[:size], self._rest[size:]
        return chunk


def _uwsgi() -> Callable[[], bytes] | None:
    """How a chunked body is read under uWSGI; None elsewhere. Raises `ConfigurationError`."""
    try:
        import uwsgi
    except ImportError:
        return None
    options = {name if isinstance(name, str) else name.decode() for name in uwsgi.opt}
    if not options & {'enable-threads', 'threads'}:
        raise ConfigurationError('uWSGI must be started with enable-threads = true')
    read: Callable[[], bytes] = uwsgi.chunked_read
    return read


def _when_uwsgi_serves(begin: Callable[[], None]) -> None:
    """Call when this is, or as soon as it has forked, a process of uWSGI that serves."""
    try:
        import uwsgi
    except ImportError:
        return
    if uwsgi.worker_id():
        begin()
        return
    before = getattr(uwsgi, 'post_fork_hook', None)

    def hook() -> None:
        if before is not None:
            before()
        if uwsgi.worker_id():
            begin()

    uwsgi.post_fork_hook = hook


def _load() -> Application:
    try:
        return Application(cfg.CONF)
    except ConfigurationError as ex:
        print(f'glance-lite: {ex}', file=sys.stderr)
        sys.exit(1)


application = _load()
