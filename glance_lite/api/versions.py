# SPDX-License-Identifier: Apache-2.0
"""The document of versions: which there are, and where."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import webob

from glance_lite.api import http, openapi
from glance_lite.api.v2.schemas import ImageSchema

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.service import Service

#: Versions that come with a configuration, newest first.
WITH_CACHE = ('v2.18', 'v2.17', 'v2.16', 'v2.15', 'v2.14')
WITHOUT_CACHE = ('v2.17', 'v2.15')
SEVERAL_STORES = ('v2.13', 'v2.12', 'v2.11', 'v2.10', 'v2.9', 'v2.8')
ONE_STORE = ('v2.9',)
ALWAYS = ('v2.7', 'v2.6', 'v2.5', 'v2.4', 'v2.3', 'v2.2', 'v2.1', 'v2.0')


def listed(conf: cfg.ConfigOpts) -> tuple[str, ...]:
    """Ids of the versions that this configuration serves, newest first."""
    newest = WITH_CACHE if conf.image_cache_dir else WITHOUT_CACHE
    middle = SEVERAL_STORES if conf.enabled_backends else ONE_STORE
    return (*newest, *middle, *ALWAYS)


class Versions:
    """Answers with the versions, or with the way to the API."""

    def __init__(self, service: Service) -> None:
        self.ids = listed(service.conf)
        self._endpoint: str | None = service.conf.public_endpoint
        self._conf = service.conf

    @functools.cached_property
    def _openapi(self) -> bytes:
        # For the few who ask; the others start without.
        return json.dumps(openapi.document(ImageSchema(self._conf))).encode()

    def document(self, request: webob.Request) -> bytes:
        href = http.base_url(request, self._endpoint) + '/v2/'
        links = [{'rel': 'self', 'href': href}]
        versions = [
            {'id': one, 'status': 'SUPPORTED' if number else 'CURRENT', 'links': links}
            for number, one in enumerate(self.ids)
        ]
        return json.dumps({'versions': versions}).encode()

    def openapi(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """The OpenAPI document, with the address by which this client has reached it."""
        base = http.base_url(webob.Request(environ), self._endpoint)
        servers = json.dumps({'servers': [{'url': base or '/'}]}).encode()
        body = servers.removesuffix(b'}') + b', ' + self._openapi.removeprefix(b'{')
        answer: Iterable[bytes] = http.json_bytes(body)(environ, start_response)
        return answer

    def answer(
        self, environ: dict[str, Any], start_response: Callable[..., Any], status: int
    ) -> Iterable[bytes]:
        request = webob.Request(environ)
        answer: Iterable[bytes] = http.json_bytes(self.document(request), status)(
            environ, start_response
        )
        return answer

    def redirect(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        request = webob.Request(environ)
        location = http.base_url(request, self._endpoint) + '/v2/'
        answer: Iterable[bytes] = webob.Response(
            status=302, headerlist=[('Location', location), ('Content-Length', '0')]
        )(environ, start_response)
        return answer


class VersionsApp:
    """The application at ``/``: 200 for ``/versions`` and the document, 300 for all else."""

    def __init__(self, service: Service) -> None:
        self._versions = Versions(service)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if environ.get('PATH_INFO') == openapi.PATH:
            return self._versions.openapi(environ, start_response)
        first = environ.get('PATH_INFO', '').lstrip('/').partition('/')[0]
        status = 200 if first == 'versions' else 300
        return self._versions.answer(environ, start_response, status)


def versions_factory(
    service: Service, global_conf: Mapping[str, str], **local_conf: str
) -> VersionsApp:
    """For Paste: ``paste.app_factory``."""
    return VersionsApp(service)
