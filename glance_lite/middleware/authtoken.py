# SPDX-License-Identifier: Apache-2.0
"""Tokens: keystonemiddleware's auth_token, made to measure.

It reads ``[keystone_authtoken]`` of the configuration that the service was started with, and
differs from what it is derived from in this: a Keystone that does not answer is 503 and not 401,
whether the decision is delayed or not; nothing that Keystone or the token cache does ends in a
traceback; and settings with which no token could ever be accepted stop the start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import webob
from keystoneauth1 import exceptions as keystone_errors
from keystonemiddleware import auth_token

from glance_lite.api import faults
from glance_lite.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from glance_lite.service import Service

LOG = logging.getLogger(__name__)

App = Callable[..., Iterable[bytes]]

#: What auth_token takes for a token that is no good when the decision is delayed.
OUTAGES = (
    auth_token.ServiceError,
    keystone_errors.ConnectFailure,
    keystone_errors.DiscoveryFailure,
    keystone_errors.RequestTimeout,
)

#: Seconds after which a client may ask again.
RETRY_AFTER = 5

DOWN = 'The identity service cannot be asked about this token at present'


class AuthToken(auth_token.AuthProtocol):  # type: ignore[misc]
    """Finds out who a token belongs to, and leaves it in headers."""

    def __init__(self, app: App, settings: dict[str, Any]) -> None:
        super().__init__(app, settings)
        if self._auth is None:
            raise ConfigurationError(
                '[keystone_authtoken] auth_type is not set; without it no token can be checked'
            )
        if self._conf.get('memcached_servers') and not self._conf.get('cache'):
            try:
                # Otherwise the first request would find out that a library is missing.
                self._token_cache.initialize({})
            except ImportError as ex:
                raise ConfigurationError(
                    f'[keystone_authtoken] memcached_servers: {ex}; '
                    f'install it with: pip install glance-lite[memcached]'
                ) from ex

    def process_request(self, request: Any) -> webob.Response | None:
        """An answer where the request ends here."""
        try:
            answer: webob.Response | None = super().process_request(request)
        except Unavailable as ex:
            answer = faults.answer(request, ex)
        return answer

    def fetch_token(self, token: str, **kwargs: Any) -> Mapping[str, Any]:
        """What Keystone says about a token. Raises `Unavailable` when it says nothing."""
        try:
            found: Mapping[str, Any] = super().fetch_token(token, **kwargs)
        except (auth_token.InvalidToken, webob.exc.HTTPServiceUnavailable) as ex:
            if isinstance(ex.__context__, OUTAGES):
                # It has been logged, with the reason.
                raise Unavailable(DOWN, retry_after=RETRY_AFTER) from ex
            raise
        except keystone_errors.ClientException as ex:
            LOG.critical('Unable to validate token: %s: %s', type(ex).__name__, ex)
            raise Unavailable(DOWN, retry_after=RETRY_AFTER) from ex
        return found

    def _token_cache_factory(self) -> Any:
        return Forgiving(super()._token_cache_factory())


class Forgiving:
    """A token cache that knows nothing while it is out of order."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def initialize(self, environ: Mapping[str, Any]) -> None:
        self._cache.initialize(environ)

    def get(self, token: str) -> Any:
        """What was kept of a token, None where nothing is."""
        try:
            return self._cache.get(token)
        except Exception as ex:
            # Whatever a library for memcached, or what lies there, may come up with.
            LOG.warning('The token cache cannot be read: %s: %s', type(ex).__name__, ex)
            return None

    def set(self, token: str, data: Any) -> None:
        try:
            self._cache.set(token, data)
        except Exception as ex:
            LOG.warning('The token cache cannot be written: %s: %s', type(ex).__name__, ex)


def factory(
    service: Service, global_conf: Mapping[str, str], **local_conf: str
) -> Callable[[App], AuthToken]:
    """For Paste: ``paste.filter_factory``. Raises `ConfigurationError`."""
    conf = service.conf
    for group, options in auth_token.list_opts():
        conf.register_opts(options, group=group)
    # Or credentials that are restricted to some requests would be good for none.
    conf.set_default('service_type', 'image', group='keystone_authtoken')
    settings = {**global_conf, **local_conf, 'oslo_config_config': conf}
    return lambda app: AuthToken(app, dict(settings))
