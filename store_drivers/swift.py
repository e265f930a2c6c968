# SPDX-License-Identifier: Apache-2.0
"""Images in a Swift: ``swift+config://REFERENCE/CONTAINER/IMAGE-ID``, as Glance names them.

What is large, or of unknown size, is stored as *segments* that an empty object binds together by
the beginning of their names (a dynamic large object). Each attempt has a beginning of its own, so
that nobody reads, or removes, the segments of another one.

Of two who write the same object Swift keeps the later one and tells both of success. So a name is
*claimed*: each puts an object of its own beside it, whoever then finds an earlier one there gives
up, and the first one begins when the others are withdrawn. A killed process leaves a claim and
segments, and `delete` by that name removes both.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from glance_lite.store import (
    BadStoreConfiguration,
    BadStoreUri,
    Caller,
    Cap,
    ObjectNotFound,
    Source,
    StoreDenied,
    StoreDriver,
    StoreError,
    StoreUnavailable,
)
from store_drivers import swift_locations as locations
from store_drivers.answers import PastTheEnd
from store_drivers.swift_account import Account, Client, Download
from store_drivers.swift_locations import Access, Place, Storage
from store_drivers.swift_login import PluginLogin, plugin_of
from store_drivers.swift_options import OPTIONS
from store_drivers.swift_projects import Projects, as_image
from store_drivers.swift_upload import Attempt, NoContainer, remove_container, seconds

LOG = logging.getLogger(__name__)

#: Bytes that the options for sizes call a megabyte: Glance's.
MB = 1000 * 1024
#: Credentials in urls of which connections are remembered.
REMEMBERED = 32

#: What stands after a name: a claim, a segment of ours, or a segment of Glance's. The names that
#: an upload may have beside that of its image end with a number that does not begin with 0.
_BESIDE = re.compile(r'(.*?)(\+[0-9a-f]{32}|-[0-9a-f]{32}-[0-9]{5,}|-0[0-9]{4})?')


class _Links:
    """What is there when a store has started; its views for callers share it."""

    client: Client
    #: with `swift_store_multi_tenant`
    projects: Projects
    accounts: dict[Access, Account]


class SwiftStore(StoreDriver):
    """An account of a Swift, or the accounts of projects."""

    schemes = ('swift+config', 'swift+https', 'swift', 'swift+http')
    private_schemes = ('swift+config',)
    caps = Cap.WRITE | Cap.LIST
    opts = OPTIONS
    needs = 'pip install glance-lite[swift]'
    io = 'socket'

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        self._large: int = settings['swift_store_large_object_size'] * MB
        self._segment: int = settings['swift_store_large_object_chunk_size'] * MB
        self._container: str = settings['swift_store_container']
        self._seed: int = settings['swift_store_multiple_containers_seed']
        self._many: bool = settings['swift_store_multi_tenant']
        self._buffer: str | None = None
        if not re.fullmatch('[!-~]{1,200}', self._container) or '/' in self._container:
            self._wrong('swift_store_container', f'{self._container!r} is no name of a container')
        if settings['swift_buffer_on_upload']:
            self._buffer = settings['swift_upload_buffer_dir']
            if not self._buffer or not os.access(self._buffer, os.W_OK | os.X_OK):
                self._wrong('swift_upload_buffer_dir', 'must be a directory that we may write')
        self._reference: str = settings['default_swift_reference']
        self._known = locations.references(name, settings)
        own = self._known.get(self._reference)
        if self._many:
            self.caps = Cap.WRITE | Cap.ACL | Cap.CALLER
            self.schemes = ('swift+https', 'swift+http', 'swift', 'swift+config')
            if own is not None and own.version == '1':
                self._wrong('swift_store_auth_version', 'accounts of projects need Keystone')
        elif own is None:
            self._wrong('swift_store_config_file', 'must be set: nothing says who we are for Swift')
        self._links = _Links()
        self._caller = Caller(None)

    def _wrong(self, option: str, reason: str) -> NoReturn:
        raise BadStoreConfiguration(f'[{self.name}] {option}: {reason}')

    def start(self) -> None:
        links, own = self._links, self._known.get(self._reference)
        links.client = client = Client(self.name, self.settings, self.needs)
        links.accounts = {}
        if self._many:
            service = PluginLogin(client, plugin_of(own), self.settings) if own else None
            links.projects = Projects(client, self.settings, service)
        if own is None:
            LOG.warning(
                'Store %s has no credentials of its own: nothing is deleted, or told who may read, '
                'but by users',
                self.name,
            )
            return
        try:
            self.check()
        except NoContainer:
            self._wrong(
                'swift_store_container',
                f'there is no container {self._container}; make it, or set '
                'swift_store_create_container_on_put',
            )
        except StoreDenied:
            self._wrong(
                'default_swift_reference', f'{own.auth_url} or Swift refuses {self._reference}'
            )
        except StoreUnavailable as ex:
            if 'certificate' in ex.message:
                self._wrong('swift_store_cacert', 'the certificate of the server is not trusted')
            raise

    def acting_for(self, caller: Caller | None) -> SwiftStore:
        if not self._many:
            return self
        view = copy.copy(self)
        view._caller = caller or Caller(None)
        return view

    # --- accounts

    def _own(self, uploading: bool = False) -> Account:
        """The account in which images are stored."""
        if not self._many:
            return self._account(self._known[self._reference])
        projects = self._projects
        return projects.account(self._caller, projects.url_of(self._caller), uploading)

    @property
    def _projects(self) -> Projects:
        return self._links.projects

    def _account(self, access: Access) -> Account:
        accounts = self._links.accounts
        found = accounts.get(access)
        if found is None:
            elsewhere = access != self._known.get(self._reference)
            login = PluginLogin(self._links.client, plugin_of(access), self.settings, elsewhere)
            found = accounts[access] = Account(self._links.client, login)
            others = [one for one in list(accounts) if one not in self._known.values()]
            for one in others[:-REMEMBERED]:
                accounts.pop(one, None)
        return found

    def _account_of(self, key: Place) -> Account:
        if isinstance(key.account, Access):
            return self._account(key.account)
        return self._projects.account(self._caller, key.account.url)

    # --- names

    def _container_of(self, name: str) -> str:
        """The container of an image: the same for all, by the beginning of its id, or its own."""
        if self._many:
            return f'{self._container}_{name}'
        if not self._seed:
            return self._container
        length = self._seed + name[: self._seed].count('-')
        return f'{self._container}_{name.lower()[:length]}'

    def parse(self, url: str) -> Place:
        """An object in whatever account, of which the configuration or the url has the credentials;
        with accounts of projects, in any account."""
        scheme, credentials, account, container, name = locations.parse(url)
        if scheme == 'swift+config':
            if credentials is not None or account not in self._known:
                raise BadStoreUri('The url has a reference that is not configured')
            return Place(self._known[account], container, name)
        where, own = locations.address(scheme, account), self._known.get(self._reference)
        access: Access | Storage
        if credentials is None and self._many:
            access = Storage(where)
        elif own is None:
            raise BadStoreUri(f'Store {self.name} has no credentials of its own')
        elif credentials is None:
            access = locations.access_without(where, self._known, own)
        else:
            access = locations.access_of(credentials, where, self._known, own)
        return Place(access, container, name)

    def owns(self, url: str) -> bool:
        """In our account, or any account of a project, and in the container for that name."""
        try:
            place = self.parse(url)
        except BadStoreUri:
            return False
        ours = self._many or place.account == self._known[self._reference]
        return ours and place.container == self._container_of(place.name)

    def redact(self, url: str) -> str:
        return locations.redact(url)

    def _url(self, container: str, name: str) -> str:
        if self._many:
            return as_image(self._projects.url_of(self._caller), container, name)
        return f'swift+config://{self._reference}/{container}/{name}'

    def locate(self, name: str) -> tuple[str, ...]:
        return (self._url(self._container_of(name), name),)

    # --- in

    def add(self, name: str, source: Source, size: int | None) -> str:
        if not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9._-]{0,200}', name):
            raise StoreError(f'{name!r} is not a name for an object')
        container = self._container_of(name)
        url = self._url(container, name)
        Attempt(
            self.name,
            self._own(uploading=True),
            container,
            name,
            # One of an image's own cannot be there before.
            create=self._many or self.settings['swift_store_create_container_on_put'],
            buffer=self._buffer,
            alone=self._many,
        ).run(source, size, self._segment, self._large)
        return url

    # --- out

    def get(self, key: Place, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        if length == 0:
            self.size(key)
            return iter(())
        try:
            return Download(
                self._account_of(key),
                key.container,
                key.name,
                offset=offset,
                length=length,
                chunk_size=self.chunk_size,
                again=self.settings['swift_store_retry_get_count'],
            )
        except ObjectNotFound:
            raise self._missing(key) from None
        except PastTheEnd:
            return iter(())

    def size(self, key: Place) -> int:
        return int(self._head(key)['Content-Length'])

    def _head(self, key: Place) -> Mapping[str, str]:
        head = self._account_of(key).head(key.container, key.name)
        if head is None:
            raise self._missing(key)
        return head

    def _missing(self, key: Place) -> StoreError:
        """There is no such object; and without the container nobody knows if there was."""
        gone = ObjectNotFound(f'Store {self.name} does not hold the data')
        try:
            if isinstance(key.account, Storage) or self._account_of(key).head(key.container):
                return gone  # a container of its own goes with it
            if (key.account, key.container) != (
                self._known[self._reference],
                self._container_of(key.name),
            ):
                return BadStoreUri(f'Store {self.name}: there is no such container any more')
        except StoreError as ex:
            return ex
        creates = self.settings['swift_store_create_container_on_put']
        return gone if creates else self._no_container(key.container)

    def _no_container(self, container: str) -> NoContainer:
        return NoContainer(f'Store {self.name} has no container {container}')

    # --- away

    def delete(self, key: Place) -> None:
        account = self._account_of(key)
        gone: ObjectNotFound | None = None
        try:
            self._delete(account, key)
        except ObjectNotFound as ex:
            gone = ex
        if self._is_alone(key):
            remove_container(account, key.container)
        if gone is not None:
            raise gone

    def _is_alone(self, key: Place) -> bool:
        """Whether the container is for this object alone."""
        return isinstance(key.account, Storage) and key.container == self._container_of(key.name)

    def _delete(self, account: Account, key: Place) -> None:
        head = account.head(key.container, key.name)
        if head is not None and head.get('X-Static-Large-Object', '').lower() == 'true':
            account.remove_static(key.container, key.name)
            return
        found = [(key.container, name) for name in self._beside(account, key)]
        manifest = locations.unquoted((head or {}).get('X-Object-Manifest', ''))
        container, _, prefix = manifest.partition('/')
        if prefix.startswith(key.name):
            found += [
                (container, entry['name']) for entry in account.entries(container, prefix=prefix)
            ]
        elif manifest:
            raise StoreError(
                f'Store {self.name}: the data of {key.name} is in segments whose names do not '
                'begin with it, and may be those of others'
            )
        for place in dict.fromkeys(found):
            with contextlib.suppress(ObjectNotFound):
                account.do('DELETE', *place)
        if head is not None:
            with contextlib.suppress(ObjectNotFound):  # answered, and the answer was lost
                account.do('DELETE', key.container, key.name)
        elif not found:
            raise self._missing(key)

    @staticmethod
    def _beside(account: Account, key: Place) -> Iterator[str]:
        """Segments and claims of a name."""
        with contextlib.suppress(ObjectNotFound):
            for entry in account.entries(key.container, prefix=key.name):
                found = _BESIDE.fullmatch(entry['name'])
                if found and found[1] == key.name and found[2]:
                    yield entry['name']

    # --- who reads, with accounts of projects

    def acl(self, key: Place, public: bool, projects: Sequence[str]) -> None:
        if not self._is_alone(key):
            return  # of a time when there was one account, of which only we read
        readers = '*:*' if public else ','.join(f'{project}:*' for project in projects)
        writers = (f'{project}:*' for project in self.settings['swift_store_admin_tenants'])
        self._account_of(key).do(
            'POST',
            key.container,
            headers={'X-Container-Read': readers, 'X-Container-Write': ','.join(writers)},
        )

    # --- for people

    def list(self) -> Iterator[tuple[str, int, float]]:
        """Objects with their segments; and what a broken upload has left, as if it were one."""
        account = self._own()
        containers = [self._container]
        if self._seed:
            found = account.entries(prefix=f'{self._container}_')
            containers = [entry['name'] for entry in found]
        for container in containers:
            try:
                yield from self._list(container, account.entries(container))
            except ObjectNotFound:
                self.check()

    def _list(
        self, container: str, entries: Iterator[Mapping[str, Any]]
    ) -> Iterator[tuple[str, int, float]]:
        open_: dict[str, tuple[int, float]] = {}
        first = ''
        for entry in entries:
            match = _BESIDE.fullmatch(entry['name'])
            name = match[1] if match else entry['name']
            if not name.startswith(first):
                yield from ((self._url(container, one), *said) for one, said in open_.items())
                open_, first = {}, name
            first = first or name
            size, when = open_.get(name, (0, 0.0))
            modified = seconds(entry['last_modified'])
            open_[name] = size + entry['bytes'], max(when, modified)
        yield from ((self._url(container, one), *said) for one, said in open_.items())

    def describe(self) -> Mapping[str, Any]:
        return {
            'container': self._container,
            'large_object_size': self._large,
            'large_object_chunk_size': self._segment,
        }

    def check(self) -> None:
        if self._many:
            if self._reference in self._known:
                self.acting_for(None)._own().head()  # there may be none, and it can be asked for
        elif self._seed:
            self._own().do('HEAD')
        # Else the next upload makes it; until then there is nothing to read.
        elif not (
            self._own().head(self._container)
            or self.settings['swift_store_create_container_on_put']
        ):
            raise self._no_container(self._container)
