# SPDX-License-Identifier: Apache-2.0
"""Who asks: filters that leave a `RequestContext` in ``environ['glance_lite.context']``.

``context`` and ``trusted-context`` believe the headers that keystonemiddleware's auth_token sets
after it has removed those of the client; the second is for a proxy in front that does the same.
``unauthenticated-context`` knows nobody and ``local-context`` takes everybody for a fixed
administrator, for a service that listens on the loopback interface only.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import webob
from oslo_context.context import generate_request_id

from glance_lite.api import faults
from glance_lite.context import RequestContext
from glance_lite.errors import Forbidden, Invalid, NotAuthenticated

if TYPE_CHECKING:
    from glance_lite.service import Service

LOG = logging.getLogger(__name__)

Environ = dict[str, Any]
App = Callable[..., Iterable[bytes]]
Identify = Callable[[Environ], dict[str, Any]]

HEADER = 'x-openstack-request-id'

#: Argument of the context -> header that auth_token sets.
HEADERS: Mapping[str, str] = {
    'user_id': 'HTTP_X_USER_ID',
    'project_id': 'HTTP_X_PROJECT_ID',
    'user_domain_id': 'HTTP_X_USER_DOMAIN_ID',
    'project_domain_id': 'HTTP_X_PROJECT_DOMAIN_ID',
    'domain_id': 'HTTP_X_DOMAIN_ID',
    'user_name': 'HTTP_X_USER_NAME',
    'project_name': 'HTTP_X_PROJECT_NAME',
    'auth_token': 'HTTP_X_AUTH_TOKEN',
    'system_scope': 'HTTP_OPENSTACK_SYSTEM_SCOPE',
}

#: Ids that may stand in a log line as they are.
_SAFE_ID = re.compile(r'[A-Za-z0-9._:-]+')

#: The id that services share.
_SHARED_ID = re.compile(r'req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')

#: What a proxy adds.
PROXIED = frozenset({'HTTP_X_FORWARDED_FOR', 'HTTP_FORWARDED', 'HTTP_VIA'})

LOCAL: Mapping[str, Any] = {
    'user_id': 'local',
    'project_id': 'local',
    'user_name': 'local',
    'project_name': 'local',
    'roles': ('admin', 'member', 'reader'),
}


class ContextFilter:
    """Gives a request its context and its id, and the answer the id."""

    def __init__(self, app: App, service: Service, identify: Identify) -> None:
        self._app = app
        self._enforcer = service.enforcer
        self._identify = identify
        self._longest: int = service.conf.max_request_id_length

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        request_id = self._request_id(environ)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            headers.append((HEADER, request_id))
            return start_response(status, headers, *rest)

        try:
            # oslo.context keeps whatever it is given, and lines of the log carry it.
            given = environ.get('HTTP_X_OPENSTACK_REQUEST_ID', '')
            shared = given if _SHARED_ID.fullmatch(given) else None
            context = RequestContext(
                request_id=request_id, global_request_id=shared, **self._identify(environ)
            )
        except (NotAuthenticated, Forbidden, Invalid) as ex:
            answer: Iterable[bytes] = faults.answer(webob.Request(environ), ex)(environ, start)
            return answer
        self._enforcer.admit(context)
        LOG.debug(
            'Request by user %s of project %s with roles %s',
            context.user_id,
            context.project_id,
            context.roles,
        )
        environ['glance_lite.context'] = context
        return self._app(environ, start)

    def _request_id(self, environ: Environ) -> str:
        """The client's, where it may be written to a log, or a new one."""
        given: str | None = environ.get('HTTP_X_OPENSTACK_REQUEST_ID')
        if given and len(given) <= self._longest and _SAFE_ID.fullmatch(given):
            return given if given.startswith('req-') else 'req-' + given
        new: str = generate_request_id()
        return new


# --- identities


def from_headers(service: Service) -> Identify:
    """What auth_token, or a trusted proxy, has found out."""
    anonymous: bool = service.conf.allow_anonymous_access

    def identify(environ: Environ) -> dict[str, Any]:
        status = environ.get('HTTP_X_IDENTITY_STATUS')
        if status != 'Confirmed':
            if anonymous:
                return {'read_only': True}
            raise NotAuthenticated('This request needs a valid token')
        if environ.get('HTTP_X_SERVICE_IDENTITY_STATUS', 'Confirmed') != 'Confirmed':
            # Not to be passed over: it also lifts the restrictions that a user's token may have.
            raise NotAuthenticated('The service token of this request is not valid')
        found: dict[str, Any] = {name: environ.get(header) for name, header in HEADERS.items()}
        if found['project_id'] is None:
            found['project_id'] = environ.get('HTTP_X_TENANT_ID')
        if found['user_name'] is None:
            found['user_name'] = environ.get('HTTP_X_USER')
        found['roles'] = _words(environ.get('HTTP_X_ROLES', ''))
        if 'HTTP_X_SERVICE_ROLES' in environ:
            found['service_roles'] = _words(environ['HTTP_X_SERVICE_ROLES'])
        catalog = environ.get('HTTP_X_SERVICE_CATALOG')
        if catalog:
            found['service_catalog'] = _catalog(catalog)
        return found

    return identify


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(',') if word.strip()]


def _catalog(text: str) -> list[Mapping[str, Any]]:
    try:
        catalog = json.loads(text)
    except (ValueError, RecursionError) as ex:
        raise Invalid('X-Service-Catalog is not JSON') from ex
    if not isinstance(catalog, list):
        raise Invalid('X-Service-Catalog is not a list')
    return catalog


def _filter(service: Service, identify: Identify) -> Callable[[App], ContextFilter]:
    return lambda app: ContextFilter(app, service, identify)


def keystone_context(
    service: Service, global_conf: Mapping[str, str], **local_conf: str
) -> Callable[[App], ContextFilter]:
    """For Paste: identity from auth_token, which stands in front."""
    return _filter(service, from_headers(service))


def trusted_context(
    service: Service, global_conf: Mapping[str, str], **local_conf: str
) -> Callable[[App], ContextFilter]:
    """For Paste: identity from a proxy in front that sets auth_token's headers."""
    return _filter(service, from_headers(service))


def unauthenticated_context(
    service: Service, global_conf: Mapping[str, str], **local_conf: str
) -> Callable[[App], ContextFilter]:
    """For Paste: nobody in particular, without project and roles."""
    return _filter(service, lambda environ: {})


def local_context(
    service: Service, global_conf: Mapping[str, str], **local_conf: str
) -> Callable[[App], ContextFilter]:
    """For Paste: a fixed administrator, whoever asks from this machine."""
    service.open_to_all = True
    return _filter(service, _local)


def _local(environ: Environ) -> dict[str, Any]:
    # Who comes through a proxy is not on this machine, whatever the address.
    if not PROXIED.isdisjoint(environ) or not _is_loopback(environ.get('REMOTE_ADDR', '')):
        raise Forbidden('The flavor local serves this machine only')
    # A page in a browser of this machine is not its user, whatever its name resolves to.
    if 'HTTP_ORIGIN' in environ or not _names_loopback(environ.get('HTTP_HOST', '')):
        raise Forbidden('The flavor local does not serve browsers')
    return dict(LOCAL)


def _names_loopback(host: str) -> bool:
    name = re.sub(r':\d+$', '', host).strip('[]')
    return name == 'localhost' or _is_loopback(name)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
