# SPDX-License-Identifier: Apache-2.0
"""``/healthcheck``: whether this process can serve, for load balancers and people.

200 ``OK`` or 503 with a word; with ``detailed = true`` in the Paste file each part and what is
wrong with it, without secrets. What the service can do without is told and is no reason for 503:
policy files that cannot be read, for the last good rules are in force, and a store that is not the
default one. All hosts are likely to have the same trouble with them.
``disable_by_file_path`` takes a host out of service. Results are kept for a second, so that
asking often costs nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import webob
from oslo_utils import strutils

from glance_lite.api import http

if TYPE_CHECKING:
    from glance_lite.service import Service

#: Seconds for which a result is good enough.
FRESH = 1.0


class Healthcheck:
    """Asks the service how its parts are."""

    def __init__(self, service: Service, disable_file: str | None, detailed: bool) -> None:
        self._service = service
        self._disable_file = disable_file
        self._detailed = detailed
        self._last: tuple[float, dict[str, str | None]] | None = None

    def _parts(self) -> dict[str, str | None]:
        if self._disable_file and os.path.exists(self._disable_file):
            return {'service': 'DISABLED BY FILE'}
        last, now = self._last, time.monotonic()
        if last is None or now - last[0] > FRESH:
            last = self._last = (now, self._service.check())
        return last[1]

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        parts = self._parts()
        wrong = {name: problem for name, problem in parts.items() if problem}
        status = 503 if wrong.keys() - self._service.dispensable else 200
        if 'application/json' in environ.get('HTTP_ACCEPT', ''):
            response = http.json_answer(self._document(parts, wrong), status)
        else:
            response = webob.Response(
                status=status, content_type='text/plain', charset='UTF-8', text=self._text(wrong)
            )
        if status == 200 and environ['REQUEST_METHOD'] == 'HEAD':
            response = http.no_content()
        response.headers['Cache-Control'] = 'no-store'
        answer: Iterable[bytes] = response(environ, start_response)
        return answer

    def _text(self, wrong: Mapping[str, str]) -> str:
        if wrong == {'service': 'DISABLED BY FILE'}:
            return 'DISABLED BY FILE'
        failing = [name for name in wrong if name not in self._service.dispensable]
        lines = [] if failing else ['OK']
        if self._detailed:
            lines += [f'{name}: {problem}' for name, problem in wrong.items()]
        elif failing:
            lines.append(', '.join(failing) + ' not available')
        return '\n'.join(lines)

    def _document(
        self, parts: Mapping[str, str | None], wrong: Mapping[str, str]
    ) -> dict[str, Any]:
        healthy = not wrong.keys() - self._service.dispensable
        if not self._detailed:
            return {'healthy': healthy, 'parts': {name: name not in wrong for name in parts}}
        return {'healthy': healthy, 'parts': {name: text or 'OK' for name, text in parts.items()}}


def factory(
    service: Service,
    global_conf: Mapping[str, str],
    disable_by_file_path: str | None = None,
    detailed: str = 'false',
    **local_conf: str,
) -> Healthcheck:
    """For Paste: ``paste.app_factory``."""
    return Healthcheck(service, disable_by_file_path, strutils.bool_from_string(detailed))
