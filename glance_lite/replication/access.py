# SPDX-License-Identifier: Apache-2.0
"""How an Image service is reached: from a word on the command line to a session and a url."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from keystoneauth1 import exceptions, loading, noauth, token_endpoint
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.session import Session

from glance_lite.replication.record import ReplicationError, shown

CLOUDS = 'clouds.yaml needs openstacksdk: pip install glance-lite[clouds]'
#: How the own program is called at the other side.
AGENT = 'glance-lite-replicator'


@dataclasses.dataclass(frozen=True)
class Options:
    """What is said of one side beside its address."""

    token: str | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    endpoint: str | None = None
    region: str | None = None
    interface: str | None = None
    cacert: str | None = None
    insecure: bool = False
    #: options of the plug-in of keystoneauth, which go before the environment
    auth: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: seconds without a byte after which a connection is given up
    timeout: float = 600.0


@dataclasses.dataclass(frozen=True)
class Access:
    """A session and the url of its Image service, with ``/v2``."""

    session: Session
    url: str
    headers: Mapping[str, str]


class _Fresh(requests.adapters.HTTPAdapter):
    """A connection for each request.

    uWSGI ends them after an answer without saying so, and the next request may find out too late:
    when it has sent what can be had only once.
    """

    def get_connection_with_tls_context(self, *arguments: Any, **more: Any) -> Any:
        self.poolmanager.clear()
        return super().get_connection_with_tls_context(*arguments, **more)


def connect(address: str, options: Options) -> Access:
    """Reach the service that `address` names; see `doc/source/admin/replication.rst` for its forms.

    `ReplicationError`.
    """
    kind, _, name = address.partition(':')
    try:
        if kind == 'cloud' and name:
            return _of_a_cloud(name, options)
        if kind == 'env':
            return _of_the_environment(name, options)
        return _of_a_url(address, options)
    except (exceptions.ClientException, OSError) as ex:
        raise ReplicationError(f'{_safe(address)}: {shown(ex)}') from None


def _safe(address: str) -> str:
    return shown(re.sub(r'//[^/@]*@', '//***@', address))


def _of_a_url(address: str, options: Options) -> Access:
    url = options.endpoint or (address if '://' in address else f'http://{address}')
    if options.auth:
        return _finished(_plugin(dict(options.auth)), options, url)
    if options.token:
        return _finished(token_endpoint.Token(url, options.token), options, url)
    return _finished(noauth.NoAuth(endpoint=url), options, url)


def _of_the_environment(prefix: str, options: Options) -> Access:
    start = f'{prefix}_OS_' if prefix else 'OS_'
    values = {
        name.removeprefix(start).lower(): value
        for name, value in os.environ.items()
        if name.startswith(start) and value
    }
    if not values:
        raise ReplicationError(f'no variable of the environment begins with {shown(start)}')
    options = dataclasses.replace(
        options,
        region=options.region or values.get('region_name'),
        interface=options.interface or values.get('interface'),
        cacert=options.cacert or values.get('cacert'),
        endpoint=options.endpoint or values.get('image_endpoint_override'),
    )
    return _finished(_plugin({**values, **options.auth}), options)


def _plugin(values: dict[str, str]) -> BaseAuthPlugin:
    """What keystoneauth makes of these options; ``auth_type`` is the name of its plug-in."""
    kind = values.get('auth_type') or (
        'token' if 'token' in values and 'password' not in values else 'password'
    )
    loader: Any = loading.get_plugin_loader(kind)
    known: dict[str, str] = {}
    for option in loader.get_options():
        for name in (option.dest, *(old.dest for old in option.deprecated)):
            if name in values and option.dest not in known:
                known[option.dest] = values[name]
    made: BaseAuthPlugin = loader.load_from_options(**known)
    return made


def _of_a_cloud(name: str, options: Options) -> Access:
    try:
        from openstack import config
    except ImportError:
        raise ReplicationError(CLOUDS) from None
    try:
        found = config.OpenStackConfig().get_one(cloud=name)
        verify, certificate = found.get_requests_verify_args()
        auth = found.get_auth()
        options = dataclasses.replace(
            options,
            region=options.region or found.region_name,
            interface=options.interface or _first(found.get_interface('image')),
            endpoint=options.endpoint or found.get_endpoint('image'),
            cacert=options.cacert or (verify if isinstance(verify, str) else None),
            insecure=options.insecure or verify is False,
        )
    except Exception as ex:
        # Whatever is in the file: openstacksdk has a class of its own for each fault of it.
        raise ReplicationError(f'cloud {shown(name)}: {shown(ex)}') from None
    return _finished(auth, options, certificate=certificate)


def _first(interface: str | list[str] | None) -> str | None:
    return interface[0] if isinstance(interface, list) else interface


def _finished(
    auth: BaseAuthPlugin | None,
    options: Options,
    url: str | None = None,
    certificate: Any = None,
) -> Access:
    transport = requests.Session()
    for scheme in ('http://', 'https://'):
        transport.mount(scheme, _Fresh())
    session = Session(
        auth=auth,
        session=transport,
        verify=False if options.insecure else options.cacert or True,
        cert=certificate,
        timeout=options.timeout,
        app_name=AGENT,
        redirect=False,
    )
    url = url or options.endpoint
    if url is None:
        url = session.get_endpoint(
            service_type='image',
            interface=options.interface or 'public',
            region_name=options.region,
        )
    if not url:
        raise ReplicationError(
            f'the catalog of {options.region or "the cloud"} has no image service'
        )
    return Access(session, versioned(url), options.headers)


def versioned(url: str) -> str:
    """The url of v2 of a service, of its url with a version or without. `ReplicationError`."""
    try:
        parts = urlsplit(url)
        well = parts.scheme in ('http', 'https') and bool(parts.hostname) and parts.port != 0
    except ValueError:
        well = False
    if not well or parts.query or parts.fragment or any(c <= ' ' for c in url):
        raise ReplicationError(f'{_safe(url)} is no address of an image service')
    if parts.username is not None:
        raise ReplicationError(f'{_safe(url)}: credentials do not belong into a url')
    return re.sub(r'/v2(\.\d+)?$', '', url.rstrip('/')) + '/v2'
