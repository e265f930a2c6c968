# SPDX-License-Identifier: Apache-2.0
"""One line per request, when its answer has gone out.

glance-lite-api puts it around everything; under another server it is a filter for the Paste
file, where that server's own log does not do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from glance_lite.service import Service

LOG = logging.getLogger(__name__)

App = Callable[..., Iterable[bytes]]


class AccessLog:
    """A filter that logs ``CLIENT "METHOD PATH" STATUS BYTES SECONDS``."""

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        line = Line(environ)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            line.status = status[:3]
            return start_response(status, headers, *rest)

        try:
            answer = self._app(environ, start)
        except BaseException:
            line.status = '500'
            line.write(0)
            raise
        return Counted(answer, line)


class Line:
    """What is known of a request."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self._begun = time.monotonic()
        self._environ = environ
        # Filters further in shorten the path.
        self._path: str = environ.get('SCRIPT_NAME', '') + environ['PATH_INFO']
        self.status = '-'

    def write(self, count: int) -> None:
        environ = self._environ
        query = environ.get('QUERY_STRING')
        target = f'{self._path}?{query}' if query else self._path
        LOG.info(
            '%s "%s %s" %s %d %.6f',
            environ.get('REMOTE_ADDR', '-'),
            _shown(environ['REQUEST_METHOD']),
            _shown(target),
            self.status,
            count,
            time.monotonic() - self._begun,
            extra={'context': environ.get('glance_lite.context')},
        )


def _shown(text: str) -> str:
    """What a client has sent, so that it cannot pass for more than one word of a line."""
    return text.encode('unicode_escape').decode().replace('"', '%22').replace(' ', '%20')


class Told(Protocol):
    """Who wants to know when an answer is over."""

    def write(self, count: int) -> None:
        """It is, and so many bytes went out."""


class Counted:
    """An answer that counts its bytes and tells when it is closed."""

    def __init__(self, answer: Iterable[bytes], line: Told) -> None:
        self._answer = answer
        self._line = line
        self._count = 0
        #: what a server may send in place of iterating
        self.sendfile = getattr(answer, 'sendfile', None)

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._answer:
            self._count += len(chunk)
            yield chunk

    def went_out(self, count: int) -> None:
        """The server has sent bytes by itself."""
        self._count += count
        tell = getattr(self._answer, 'went_out', None)
        if tell is not None:
            tell(count)

    def close(self) -> None:
        try:
            close = getattr(self._answer, 'close', None)
            if close is not None:
                close()
        finally:
            self._line.write(self._count)


def factory(
    service: Service, global_conf: Mapping[str, str], **local_conf: str
) -> Callable[[App], AccessLog]:
    """For Paste: ``paste.filter_factory``."""
    return AccessLog
