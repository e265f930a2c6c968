# SPDX-License-Identifier: Apache-2.0
"""Which version of the API a request is for, by its path or by ``Accept``.

All versions of the Image API v2 behave alike, so ``/v2.N`` becomes ``/v2``. What fits no version
is answered with the document of versions (300).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from glance_lite.api import openapi
from glance_lite.api.versions import Versions

if TYPE_CHECKING:
    from glance_lite.service import Service

App = Callable[..., Iterable[bytes]]

_ACCEPT = re.compile(r'application/vnd\.openstack\.images-(v[0-9.]{1,8})(?![0-9.])')


class VersionNegotiation:
    """Rewrites the path, or answers with the versions."""

    def __init__(self, app: App, service: Service) -> None:
        self._app = app
        self._versions = Versions(service)
        self._known = frozenset({'v2', *self._versions.ids})

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        path: str = environ['PATH_INFO']
        # PERF: nearly all requests are these.
        if path.startswith('/v2/'):
            return self._app(environ, start_response)
        if path.lstrip('/').partition('/')[0] == 'versions':
            return self._versions.answer(environ, start_response, 200)
        if path == openapi.PATH:
            return self._versions.openapi(environ, start_response)
        accepted = _ACCEPT.search(environ.get('HTTP_ACCEPT', ''))
        if accepted and accepted[1] in self._known:
            environ['PATH_INFO'] = '/v2' + (path or '/')
            return self._app(environ, start_response)
        first, slash, rest = path.lstrip('/').partition('/')
        if first not in self._known:
            return self._versions.answer(environ, start_response, 300)
        if not slash:
            return self._versions.redirect(environ, start_response)
        environ['PATH_INFO'] = '/v2/' + rest
        return self._app(environ, start_response)


def factory(
    service: Service, global_conf: Mapping[str, str], **local_conf: str
) -> Callable[[App], VersionNegotiation]:
    """For Paste: ``paste.filter_factory``."""
    return lambda app: VersionNegotiation(app, service)
