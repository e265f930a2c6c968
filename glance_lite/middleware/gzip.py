# SPDX-License-Identifier: Apache-2.0
"""Compresses documents for clients that accept it; never the data of images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import webob

if TYPE_CHECKING:
    from glance_lite.service import Service

App = Callable[..., Iterable[bytes]]

#: Shorter bodies would not get shorter.
SHORTEST = 512


class Gzip:
    """A filter around everything that answers with JSON or text."""

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if 'gzip' not in environ.get('HTTP_ACCEPT_ENCODING', ''):
            return self._app(environ, start_response)
        request = webob.Request(environ)
        response = request.get_response(self._app)
        kind = response.content_type or ''
        short = (response.content_length or 0) < SHORTEST
        if kind != 'application/octet-stream' and not short and not response.content_encoding:
            response.encode_content('gzip')
            response.vary = [*(response.vary or ()), 'Accept-Encoding']
        answer: Iterable[bytes] = response(environ, start_response)
        return answer


def factory(
    service: Service, global_conf: Mapping[str, str], **local_conf: str
) -> Callable[[App], Gzip]:
    """For Paste: ``paste.filter_factory``."""
    return Gzip
