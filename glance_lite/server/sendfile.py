# SPDX-License-Identifier: Apache-2.0
"""Files that the kernel sends, without a copy of them in this process."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from glance_lite.server import eventlet as green

App = Callable[..., Iterable[bytes]]

#: Bytes of a file that go out together with the headers.
FIRST = 64 * 1024


class SendFiles:
    """Sends what lies in a plain file without reading it, where nothing stands between."""

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        answer = self._app(environ, start_response)
        file = getattr(answer, 'sendfile', None)
        if file is None or environ['REQUEST_METHOD'] == 'HEAD':
            return answer
        connection = environ['eventlet.input'].get_socket()
        if not isinstance(connection, green.GreenSocket):
            return answer  # TLS
        return Sent(answer, file, connection)


class Sent:
    """An answer of which eventlet sends the beginning and the kernel the rest."""

    def __init__(self, answer: Any, file: Any, connection: Any) -> None:
        self._answer = answer
        self._file = file
        self._connection = connection

    def __iter__(self) -> Iterator[bytes]:
        file, tell = self._file, self._answer.went_out
        if file.left:
            first = file.read(FIRST)
            tell(len(first))
            yield first  # the headers have gone out with it when this goes on
        while file.left:
            tell(self._step())
        if file.unread:
            yield from self._answer  # from elsewhere

    def _step(self) -> int:
        descriptor = self._connection.fileno()
        while True:
            try:
                sent: int = self._file.send(descriptor)
                return sent
            except BlockingIOError:
                green.trampoline(
                    descriptor,
                    write=True,
                    timeout=self._connection.gettimeout(),
                    timeout_exc=TimeoutError(errno.ETIMEDOUT, 'the client reads no more'),
                )

    def close(self) -> None:
        self._answer.close()
