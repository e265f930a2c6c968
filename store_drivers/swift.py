# SPDX-License-Identifier: Apache-2.0
"""Images in a Swift: ``swift+config://REFERENCE/CONTAINER/IMAGE-ID``, as Glance names them.

What is large, or of unknown size, is stored as *segments* that an empty object binds together by
the beginning of their names (a dynamic large object). Each attempt has a beginning of its own, so
that nobody reads, or removes, the segments of another one.

Of two who write the same object Swift keeps the later one and tells both of success. So a name is
*claimed*: each puts an object of its own beside it, and whoever then finds another's there gives
up. A killed process leaves a claim and segments, and `delete` by that name removes both.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import os
import random
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from oslo_config import cfg

from glance_lite.store import (
    BadStoreConfiguration,
    BadStoreUri,
    Cap,
    LeftBehind,
    ObjectExists,
    ObjectNotFound,
    Source,
    StoreDenied,
    StoreDriver,
    StoreError,
    StoreUnavailable,
)
from store_drivers import swift_locations as locations
from store_drivers.swift_account import Account, Client, PastTheEnd, PluginLogin, plugin_of
from store_drivers.swift_locations import Access, Place
from store_drivers.swift_options import OPTIONS
from store_drivers.swift_pieces import Buffered, Piece, Pieces

LOG = logging.getLogger(__name__)

#: Bytes that the options for sizes call a megabyte: Glance's.
MB = 1000 * 1024
#: How often a name is claimed, before whoever else claims it at the same time is taken to have it.
CLAIMS = 8
#: Seconds that a claim has stood when it is no race any more, but an upload.
UPLOADING = 5.0
#: Header of objects that says which upload wrote it.
UPLOAD = 'X-Object-Meta-Glance-Lite-Upload'
#: Credentials in urls of which connections are remembered.
REMEMBERED = 32

#: What stands after a name: a claim, a segment of ours, or a segment of Glance's. The names that
#: an upload may have beside that of its image end with a number that does not begin with 0.
_BESIDE = re.compile(r'(.*?)(\+[0-9a-f]{32}|-[0-9a-f]{32}-[0-9]{5,}|-0[0-9]{4})?')


class NoContainer(StoreUnavailable):
    """There is no such container."""


class SwiftStore(StoreDriver):
    """An account of a Swift."""

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
        self._buffer: str | None = None
        if not re.fullmatch('[!-~]{1,200}', self._container) or '/' in self._container:
            self._wrong('swift_store_container', f'{self._container!r} is no name of a container')
        if settings['swift_buffer_on_upload']:
            self._buffer = settings['swift_upload_buffer_dir']
            if not self._buffer or not os.access(self._buffer, os.W_OK | os.X_OK):
                self._wrong('swift_upload_buffer_dir', 'must be a directory that we may write')
        self._reference: str = settings['default_swift_reference']
        self._known = locations.references(name, settings)
        if self._reference not in self._known:
            self._wrong('swift_store_config_file', 'must be set: nothing says who we are for Swift')

    def _wrong(self, option: str, reason: str) -> NoReturn:
        raise BadStoreConfiguration(f'[{self.name}] {option}: {reason}')

    def start(self) -> None:
        self._client = Client(self.name, self.settings, self.needs)
        self._accounts: dict[Access, Account] = {}
        try:
            self.check()
        except NoContainer:
            self._wrong(
                'swift_store_container',
                f'there is no container {self._container}; make it, or set '
                'swift_store_create_container_on_put',
            )
        except StoreDenied:
            where = f'{self._known[self._reference].auth_url}'
            self._wrong('default_swift_reference', f'{where} or Swift refuses {self._reference}')
        except StoreUnavailable as ex:
            if 'certificate' in ex.message:
                self._wrong('swift_store_cacert', 'the certificate of the server is not trusted')
            raise

    def _account(self, access: Access) -> Account:
        found = self._accounts.get(access)
        if found is None:
            login = PluginLogin(self._client, plugin_of(access), self.settings)
            found = self._accounts[access] = Account(self._client, login)
            others = [one for one in self._accounts if one not in self._known.values()]
            for one in others[:-REMEMBERED]:
                self._accounts.pop(one, None)
        return found

    @property
    def _own(self) -> Account:
        return self._account(self._known[self._reference])

    # --- names

    def _container_of(self, name: str) -> str:
        """The container of an image: the same for all, or by the beginning of its id."""
        if not self._seed:
            return self._container
        length = self._seed + name[: self._seed].count('-')
        return f'{self._container}_{name.lower()[:length]}'

    def _is_ours(self, container: str) -> bool:
        return container == self._container or container.startswith(f'{self._container}_')

    def parse(self, url: str) -> Place:
        scheme, credentials, account, container, name = locations.parse(url)
        if scheme == 'swift+config':
            if credentials is not None or account not in self._known:
                raise BadStoreUri('The url has a reference that is not configured')
            return Place(self._known[account], container, name)
        where = locations.address(scheme, account)
        access = locations.access_of(credentials, where, self._known, self._is_ours(container))
        return Place(access, container, name)

    def redact(self, url: str) -> str:
        return locations.redact(url)

    def _url(self, container: str, name: str) -> str:
        return f'swift+config://{self._reference}/{container}/{name}'

    def locate(self, name: str) -> tuple[str, ...]:
        return (self._url(self._container_of(name), name),)

    # --- in

    def add(self, name: str, source: Source, size: int | None) -> str:
        if not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9._-]{0,200}', name):
            raise StoreError(f'{name!r} is not a name for an object')
        container = self._container_of(name)
        with self._attempt(_Attempt(self._own, container, name)) as attempt:
            pieces = Pieces(source, size, self._segment)
            whole = pieces.whole(self._large)
            if whole is not None:
                self._put(attempt, whole, {})
            else:
                for piece in pieces:
                    self._add_segment(attempt, piece)
                manifest = locations.quoted(container, f'{attempt.prefix}-')
                self._put(attempt, None, {'X-Object-Manifest': manifest.replace('%2F', '/')})
        return self._url(container, name)

    @contextlib.contextmanager
    def _attempt(self, attempt: _Attempt) -> Iterator[_Attempt]:
        """Nothing is left of it if the block fails."""
        try:
            self._take(attempt)
            yield attempt
        except BaseException as ex:
            self._undo(attempt, ex)
            raise
        try:
            attempt.remove(attempt.claim)
        except StoreError as ex:
            LOG.warning('Store %s keeps a claim until the image is deleted: %s', self.name, ex)

    def _take(self, attempt: _Attempt) -> None:
        """Claim a name that nobody has. `ObjectExists`."""
        for number in range(CLAIMS):
            self._put_claim(attempt)
            found = {
                entry['name']: _seconds(entry['last_modified'])
                for entry in attempt.account.entries(
                    attempt.container, prefix=attempt.name, end_marker=f'{attempt.name}-'
                )
            }
            now = found.pop(attempt.claim, max(found.values(), default=0.0))
            if not found:
                return
            attempt.remove(attempt.claim)
            attempt.claim = ''
            if attempt.name in found or now - min(found.values()) > UPLOADING:
                break
            time.sleep(random.uniform(0, 0.05 * 2**number))
        raise ObjectExists(f'Store {self.name} holds {attempt.name} already')

    def _put_claim(self, attempt: _Attempt) -> None:
        attempt.claim = f'{attempt.name}+{uuid.uuid4().hex}'
        try:
            attempt.account.do('PUT', attempt.container, attempt.claim)
        except ObjectNotFound:
            if not self.settings['swift_store_create_container_on_put']:
                attempt.claim = ''
                raise self._no_container(attempt.container) from None
            attempt.account.do('PUT', attempt.container)
            attempt.account.do('PUT', attempt.container, attempt.claim)

    def _no_container(self, container: str) -> NoContainer:
        return NoContainer(f'Store {self.name} has no container {container}')

    def _add_segment(self, attempt: _Attempt, piece: Piece) -> None:
        # It costs little beside a segment, and a token that was revoked is found out while it can
        # be renewed: what has been read of the source cannot be read again.
        attempt.account.do('HEAD', attempt.container)
        attempt.segments += 1
        self._send(attempt, attempt.segment(attempt.segments), piece, {})

    def _send(
        self, attempt: _Attempt, name: str, piece: Piece | None, headers: Mapping[str, str]
    ) -> None:
        kind = {'Content-Type': 'application/octet-stream', **headers}
        with contextlib.ExitStack() as stack:
            body = piece
            if piece is not None and self._buffer is not None:
                body = stack.enter_context(contextlib.closing(Buffered(piece, self._buffer)))
            try:
                attempt.account.do('PUT', attempt.container, name, headers=kind, body=body)
            except StoreError:
                if piece is not None and piece.error is not None:
                    raise piece.error from None
                raise

    def _put(self, attempt: _Attempt, piece: Piece | None, headers: Mapping[str, str]) -> None:
        """Write the object itself, under a name that nothing has."""
        attempt.begun = True
        only = {'If-None-Match': '*', UPLOAD: attempt.token, **headers}
        try:
            self._send(attempt, attempt.name, piece, only)
        except ObjectExists:
            # Or it is ours, and the answer to the first attempt was lost.
            if not attempt.is_ours():
                attempt.begun = False
                raise
        except StoreError:
            # Or it is done, and the answer was lost.
            if piece is not None and not piece.complete or not attempt.is_ours():
                raise

    def _undo(self, attempt: _Attempt, ex: BaseException) -> None:
        """Remove what a failed upload has left. `LeftBehind`, when the server does not let us."""
        try:
            for number in range(1, attempt.segments + 1):
                attempt.remove(attempt.segment(number))
            if attempt.begun and attempt.is_ours(or_nobodys=True):
                # Of what is still on its way to us: a later deletion is stronger.
                attempt.remove(attempt.name)
            if attempt.claim:
                attempt.remove(attempt.claim)
        except StoreError as second:
            LOG.error('Store %s may hold something of a failed upload: %s', self.name, second)
            if isinstance(ex, Exception):
                raise LeftBehind(f'Store {self.name} failed: {second}') from ex

    # --- out

    def get(self, key: Place, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        if length == 0:
            self.size(key)
            return iter(())
        try:
            return _Download(self, key, offset, length)
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

    def _account_of(self, key: Place) -> Account:
        assert isinstance(key.account, Access)
        return self._account(key.account)

    def _missing(self, key: Place) -> StoreError:
        """There is no such object; and without the container nobody knows if there was."""
        try:
            if key.container == self._container:
                self.check()
        except StoreError as ex:
            return ex
        return ObjectNotFound(f'Store {self.name} does not hold the data')

    def delete(self, key: Place) -> None:
        account = self._account_of(key)
        head = account.head(key.container, key.name)
        if head is not None and head.get('X-Static-Large-Object', '').lower() == 'true':
            answer = account.ask(
                'DELETE', key.container, key.name, **{'multipart-manifest': 'delete'}
            )
            answer.close()
            return
        found = [(key.container, name) for name in self._beside(account, key)]
        manifest = locations.unquoted((head or {}).get('X-Object-Manifest', ''))
        container, _, prefix = manifest.partition('/')
        if prefix.startswith(key.name):
            found += [
                (container, entry['name']) for entry in account.entries(container, prefix=prefix)
            ]
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

    def list(self) -> Iterator[tuple[str, int, float]]:
        """Objects with their segments; and what a broken upload has left, as if it were one."""
        account = self._own
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
            modified = _seconds(entry['last_modified'])
            open_[name] = size + entry['bytes'], max(when, modified)
        yield from ((self._url(container, one), *said) for one, said in open_.items())

    # --- for people

    def describe(self) -> Mapping[str, Any]:
        return {
            'container': self._container,
            'large_object_size': self._large,
            'large_object_chunk_size': self._segment,
        }

    def check(self) -> None:
        if self._seed:
            self._own.do('HEAD')
        elif self._own.head(self._container) is None:
            # The next upload makes it; until then there is nothing to read.
            if not self.settings['swift_store_create_container_on_put']:
                raise self._no_container(self._container)


@dataclasses.dataclass
class _Attempt:
    """An upload, and what it has made so far."""

    account: Account
    container: str
    name: str
    token: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    #: name of the claim; empty: there is none
    claim: str = ''
    #: number of segments that there may be
    segments: int = 0
    #: whether there may be the object itself
    begun: bool = False

    @property
    def prefix(self) -> str:
        return f'{self.name}-{self.token}'

    def segment(self, number: int) -> str:
        return f'{self.prefix}-{number:05d}'

    def remove(self, name: str) -> None:
        with contextlib.suppress(ObjectNotFound):
            self.account.do('DELETE', self.container, name)

    def is_ours(self, or_nobodys: bool = False) -> bool:
        """Whether the object is there and this upload has written it."""
        head = self.account.head(self.container, self.name)
        return or_nobodys if head is None else head.get(UPLOAD) == self.token


class _Download:
    """The bytes of an object. Where it breaks off it is asked for the rest, some times."""

    def __init__(self, store: SwiftStore, key: Place, offset: int, length: int | None) -> None:
        self._store = store
        self._key = key
        self._offset = offset
        self._length = length
        self._left: int = store.settings['swift_store_retry_get_count']
        self._reading = self._open()

    def _open(self) -> Any:
        key, store = self._key, self._store
        return store._account_of(key).read(
            key.container,
            key.name,
            offset=self._offset,
            length=self._length,
            chunk_size=store.chunk_size,
        )

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while True:
            try:
                chunk: bytes = next(self._reading)
            except StoreError as ex:
                self._reading.close()
                if not self._left:
                    raise
                self._left -= 1
                LOG.warning(
                    'Store %s broke off, and is asked for the rest: %s', self._store.name, ex
                )
                etag = self._reading.etag
                self._reading = self._open()
                if self._reading.etag != etag:
                    raise StoreUnavailable(f'Store {self._store.name} holds other data now') from ex
                continue
            self._offset += len(chunk)
            if self._length is not None:
                self._length -= len(chunk)
            return chunk

    def close(self) -> None:
        self._reading.close()


def _seconds(stamp: str) -> float:
    """A time of a listing, as seconds of the epoch."""
    return datetime.datetime.fromisoformat(f'{stamp}+00:00').timestamp()
