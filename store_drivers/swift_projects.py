# SPDX-License-Identifier: Apache-2.0
"""Accounts of projects, for ``swift_store_multi_tenant``: who asks for what, and where they are.

A caller's token is sent to the object stores of the caller's own catalog alone, and the service's
to those of the service's: urls of images come from a database in which users write.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from glance_lite.store import BadStoreUri, Caller, StoreDenied, StoreUnavailable
from store_drivers.swift_account import Account, Client
from store_drivers.swift_locations import normal
from store_drivers.swift_login import Login, PluginLogin

#: Names of accounts, and ids of projects. Nothing that is another path when it is quoted.
_NAME = re.compile(r'(?!\.{1,2}$)[A-Za-z0-9_.:~-]{1,256}')
_INTERFACES = ('publicURL', 'internalURL', 'adminURL')


class CallersLogin:
    """A token that cannot be renewed; and what is used instead when it ends."""

    def __init__(self, token: str, url: str, spare: Login | None = None) -> None:
        self._token = token
        self._url = url
        self._spare = spare
        self._ended = False

    def token(self) -> str:
        if self._ended and self._spare is not None:
            return self._spare.token()
        return self._token

    def forget(self, token: str) -> bool:
        if self._spare is None:
            return False
        if self._ended:
            return self._spare.forget(token)
        self._ended = True
        return True

    def url(self) -> str:
        return self._url


class ServicesLogin:
    """The service, in the account of a project."""

    def __init__(self, service: Login, url: str) -> None:
        self._service = service
        self._url = url

    def token(self) -> str:
        return self._service.token()

    def forget(self, token: str) -> bool:
        return self._service.forget(token)

    def url(self) -> str:
        return self._url


class Projects:
    """The accounts that callers, or the service for them, may ask for."""

    def __init__(
        self, client: Client, settings: Mapping[str, Any], service: PluginLogin | None
    ) -> None:
        """`service`: who the service itself is; None: nobody."""
        self._client = client
        self._settings = settings
        self._service = service

    def url_of(self, caller: Caller) -> str:
        """Url of the account in which a caller's images are stored. `StoreUnavailable`."""
        fixed: str | None = self._settings['swift_store_endpoint']
        if fixed:
            found = fixed
        elif caller.token:
            found = self._in_catalog(caller)
        else:
            found = self._beside_ours(caller.project_id)
        try:
            return normal(found)
        except ValueError:
            raise self._unknown() from None

    def _unknown(self) -> StoreUnavailable:
        store = self._client.store
        return StoreUnavailable(f'Store {store}: no catalog says where the account of a project is')

    def _in_catalog(self, caller: Caller) -> str:
        interface, region = (
            self._settings[f'swift_store_{name}'] for name in ('endpoint_type', 'region')
        )
        for found in self._endpoints(caller):
            if found.get(interface) and region in (None, found.get('region')):
                return str(found[interface])
        raise self._unknown()

    def _beside_ours(self, project_id: str | None) -> str:
        """What the catalog would say to a project."""
        service = self._acting()
        url = service.url()
        if project_id is None:
            return url
        base, _, account = url.rpartition('/')
        own = service.project_id()
        if not own or own not in account or not _NAME.fullmatch(project_id):
            raise self._unknown()
        return f'{base}/{account.replace(own, project_id)}'

    def account(self, caller: Caller, url: str, uploading: bool = False) -> Account:
        """The account at a url, as a caller reaches it; an upload may outlast the caller's token.

        `BadStoreUri`: no object store that we know is there.
        """
        base, _, name = url.rpartition('/')
        if not _NAME.fullmatch(name) or base not in self._bases(caller):
            raise BadStoreUri(
                f'The url is of no object store in the catalog of store {self._client.store}'
            )
        if not caller.token:
            return Account(self._client, ServicesLogin(self._acting(), url))
        spare = self._service if uploading else None
        return Account(self._client, CallersLogin(caller.token, url, spare))

    def _acting(self) -> PluginLogin:
        if self._service is None:
            raise StoreDenied(f'Store {self._client.store} has no credentials of its own')
        return self._service

    def _bases(self, caller: Caller) -> set[str]:
        """What the urls of accounts begin with."""
        known = [self._settings['swift_store_endpoint'] or '']
        if caller.token:
            known += [
                str(endpoint.get(interface, ''))
                for endpoint in self._endpoints(caller)
                for interface in _INTERFACES
            ]
        else:
            known += self._acting().urls()
        found = set()
        for url in known:
            with contextlib.suppress(ValueError):
                found.add(normal(url).rpartition('/')[0])
        return found

    def _endpoints(self, caller: Caller) -> Iterator[Mapping[str, Any]]:
        for service in caller.catalog:
            if service.get('type') == self._settings['swift_store_service_type']:
                yield from service.get('endpoints', ())


def as_image(account: str, container: str, name: str) -> str:
    """Url of an image, from that of its account."""
    scheme, _, rest = account.partition('://')
    return f'swift+{scheme}://{rest}/{container}/{name}'
