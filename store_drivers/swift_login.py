# SPDX-License-Identifier: Apache-2.0
"""Tokens for the swift driver, and where the accounts are that they are good for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from glance_lite.store import BadStoreUri, StoreDenied, StoreUnavailable
from store_drivers.swift_locations import Access

if TYPE_CHECKING:
    from store_drivers.swift_account import Client


class Login(Protocol):
    """A token, and where the account is that it is good for."""

    def token(self) -> str:
        """One that is good for a while. `StoreDenied`, `StoreUnavailable`."""

    def forget(self, token: str) -> bool:
        """This one is refused. Whether there may be another."""

    def url(self) -> str:
        """Of the account."""


class PluginLogin:
    """Tokens that a plug-in of keystoneauth gets, and renews."""

    def __init__(
        self, client: Client, plugin: Any, settings: Mapping[str, Any], elsewhere: bool = False
    ) -> None:
        """`elsewhere`: that there are none says nothing of the store."""
        self._client = client
        self._plugin = plugin
        self._elsewhere = elsewhere
        self._settings = settings
        self._lock = threading.Lock()
        plugin.MIN_TOKEN_LIFE_SECONDS = settings['swift_store_expire_soon_interval'] or 0

    def token(self) -> str:
        return str(self.ask(lambda session: self._plugin.get_access(session).auth_token))

    def forget(self, token: str) -> bool:
        with self._lock:
            known = self._plugin.auth_ref
            if known is not None and known.auth_token == token:
                self._plugin.invalidate()
        return True

    def url(self) -> str:
        settings = self._settings
        found = settings['swift_store_endpoint'] or self.ask(
            lambda session: self._plugin.get_endpoint(
                session,
                service_type=settings['swift_store_service_type'],
                interface=settings['swift_store_endpoint_type'].removesuffix('URL'),
                region_name=settings['swift_store_region'],
            )
        )
        if not found:
            raise StoreUnavailable(
                f'Store {self._client.store}: the catalog has no '
                f'{settings["swift_store_service_type"]} service in this region'
            )
        return str(found).rstrip('/')

    def urls(self) -> list[str]:
        """Of all accounts of ours that the catalog has, whatever their region."""
        catalog = self.ask(lambda session: self._plugin.get_access(session).service_catalog)
        kind = self._settings['swift_store_service_type']
        return [
            str(url)
            for interface in ('public', 'internal', 'admin')
            for url in catalog.get_urls(service_type=kind, interface=interface)
        ]

    def project_id(self) -> str | None:
        found: str | None = self.ask(lambda session: self._plugin.get_project_id(session))
        return found

    def ask(self, question: Callable[[Any], Any]) -> Any:
        """What `question` finds out with a session. `BadStoreUri`, where it is elsewhere."""
        try:
            return self._ask(question)
        except (StoreDenied, StoreUnavailable) as ex:
            if not self._elsewhere:
                raise
            raise BadStoreUri(f'{ex.message}, and it is of another account') from None

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        from keystoneauth1 import exceptions

        store = self._client.store
        try:
            with self._lock:
                return question(self._client.session)
        except (exceptions.Unauthorized, exceptions.Forbidden):
            raise StoreDenied(f'Store {store} refuses our credentials') from None
        except exceptions.InvalidResponse as ex:  # of version 1
            status = getattr(ex.response, 'status_code', 0)
            if status in (401, 403):
                raise StoreDenied(f'Store {store} refuses our credentials') from None
            raise StoreUnavailable(f'Store {store}: no token, but status {status}') from None
        except exceptions.EndpointNotFound:
            return None
        except exceptions.ClientException as ex:
            raise self._client.broken(ex) from None


def plugin_of(access: Access) -> Any:
    """The plug-in of keystoneauth that gets tokens for somebody."""
    if access.version == '1':
        from swiftclient import authv1  # type: ignore[import-untyped]

        return authv1.PasswordPlugin(access.auth_url, access.user, access.key)
    from keystoneauth1.identity import v3

    if access.application:
        return v3.ApplicationCredential(access.auth_url, access.key, access.user)
    project, _, user = access.user.partition(':')
    domains: dict[str, Any] = dict(access.domains)
    return v3.Password(
        access.auth_url,
        username=user,
        password=access.key,
        project_name=project,
        **domains,
    )
