# SPDX-License-Identifier: Apache-2.0
"""Filters of OpenStack's libraries on our configuration, in the way of requests that need them.

PERF: each of these filters costs some 70 Python calls per request, which is a third of what the
whole API takes for an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from oslo_config import cfg
from oslo_middleware import base, cors, http_proxy_to_wsgi

App = Callable[..., Iterable[bytes]]


def is_filter(factory: Any) -> bool:
    """Whether a Paste factory makes one of oslo.middleware's filters."""
    kind = getattr(factory, '__self__', None)
    if getattr(factory, '__name__', '') != 'factory':
        return False  # an application, like healthcheck's
    return isinstance(kind, type) and issubclass(kind, base.ConfigurableMiddleware)


def is_profiler(factory: Any) -> bool:
    """Whether a Paste factory makes osprofiler's filter."""
    return getattr(getattr(factory, '__self__', None), '__module__', None) == 'osprofiler.web'


def is_audit(factory: Any) -> bool:
    """Whether a Paste factory makes keystonemiddleware's audit filter."""
    return getattr(factory, '__module__', None) == 'keystonemiddleware.audit'


def make(kind: Any, app: App, conf: cfg.ConfigOpts) -> App:
    """A filter of class `kind` around `app`."""
    filtered: App = kind(app, conf)
    if kind is cors.CORS:
        return Cors(app, filtered)
    if kind is http_proxy_to_wsgi.HTTPProxyToWSGI:
        # It registers the option, so it is made in any case.
        return filtered if conf.oslo_middleware.enable_proxy_headers_parsing else app
    return filtered


class Cors:
    """Only requests of browsers from elsewhere, and their questions beforehand, go through."""

    def __init__(self, app: App, filtered: App) -> None:
        self._app = app
        self._filtered = filtered

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if 'HTTP_ORIGIN' in environ or environ['REQUEST_METHOD'] == 'OPTIONS':
            return self._filtered(environ, start_response)
        return self._app(environ, start_response)


class Traced:
    """Only requests that ask to be traced go through; whether they may, osprofiler decides."""

    def __init__(self, app: App, filtered: App) -> None:
        self._app = app
        self._filtered = filtered

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        # osprofiler fails with a signature of other letters than ASCII.
        if 'HTTP_X_TRACE_INFO' in environ and environ.get('HTTP_X_TRACE_HMAC', '').isascii():
            return self._filtered(environ, start_response)
        return self._app(environ, start_response)
