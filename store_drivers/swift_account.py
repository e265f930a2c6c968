# SPDX-License-Identifier: Apache-2.0
"""What the swift driver asks of its server about one account."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from glance_lite.store import (
    BadStoreConfiguration,
    ObjectNotFound,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from store_drivers.answers import Body, asked, broken, refused
from store_drivers.swift_locations import quoted
from store_drivers.swift_login import Login

if TYPE_CHECKING:
    import requests

LOG = logging.getLogger(__name__)

#: Seconds, and how often a request is tried that can be repeated.
CONNECT, READ, ATTEMPTS = 20.0, 60.0, 3
#: Seconds before a request is repeated; longer each time.
PAUSE = 0.3
#: Connections that are kept; more are made when they are needed.
KEPT = 64
#: Entries of a listing that are asked for at a time.
PAGE = 10_000
#: Answers after which a request is worth to be repeated.
PASSING = frozenset({408, 429, 498, 500, 502, 503, 504})


class Rewindable(Protocol):
    """The body of a request."""

    #: whether any of it has been read
    started: bool

    def __iter__(self) -> Iterator[bytes | memoryview]: ...

    def rewind(self) -> bool:
        """Whether it can be sent once more, from its beginning."""


class Client:
    """Connections of one store, to any server."""

    def __init__(self, store: str, settings: Mapping[str, Any], needs: str) -> None:
        """Asks nobody. `BadStoreConfiguration`; `needs` is how the libraries are installed."""
        try:
            import keystoneauth1.exceptions
            import keystoneauth1.session
            import requests
            import requests.adapters
            import swiftclient.authv1  # type: ignore[import-untyped]  # noqa: F401 - it must be there
            import urllib3.exceptions
        except ImportError as ex:
            raise BadStoreConfiguration(
                f'[{store}] a store of type swift needs python-swiftclient and keystoneauth1, '
                f'which are not installed: {needs}'
            ) from ex
        self.store = store
        self.breaks: tuple[type[BaseException], ...] = (
            requests.exceptions.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
        )
        #: what is raised where something is read that must be JSON
        self.garbled = (*self.breaks, ValueError)
        self.refusals = keystoneauth1.exceptions.ClientException
        self._settings = settings
        file = settings['swift_store_cacert']
        try:
            with open(file or '/dev/null'):
                pass
        except OSError as ex:
            raise BadStoreConfiguration(
                f'[{store}] swift_store_cacert: {file} cannot be read: {ex.strerror}'
            ) from None
        self._verify: bool | str = False if settings['swift_store_auth_insecure'] else file or True
        if self._verify is False:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._http = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=KEPT)
        self._http.mount('http://', adapter)
        self._http.mount('https://', adapter)
        self.session: Any = keystoneauth1.session.Session(verify=self._verify, timeout=READ)

    def send(self, method: str, url: str, **parameters: Any) -> requests.Response:
        return self._http.request(
            method,
            url,
            stream=True,
            allow_redirects=False,
            timeout=(CONNECT, READ),
            verify=self._verify,
            **parameters,
        )

    def broken(self, ex: BaseException) -> StoreUnavailable:
        return broken(self.store, ex)


class Account:
    """An account, and what is asked of it in terms of the contract."""

    def __init__(self, client: Client, login: Login) -> None:
        self._client = client
        self._login = login

    def ask(
        self,
        method: str,
        *path: str,
        headers: Mapping[str, str] | None = None,
        body: Rewindable | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> requests.Response:
        """The answer, whose body is not read yet, if it is a success. The contract's errors.

        What can be repeated is repeated.
        """
        login, attempt, renewed = self._login, 0, False
        while True:
            attempt += 1
            token = login.token()
            url = f'{login.url()}/{quoted(*path)}' if path else login.url()
            try:
                answer = self._client.send(
                    method,
                    url,
                    headers={'X-Auth-Token': token, **(headers or {})},
                    data=body if body is not None else None,
                    params=query,
                )
            except self._client.breaks as ex:
                if attempt < ATTEMPTS and self._again(body):
                    time.sleep(PAUSE * attempt)
                    continue
                raise self._client.broken(ex) from None
            status = answer.status_code
            if status < 300:
                return answer
            answer.close()
            if status == 401 and not renewed and login.forget(token) and self._again(body):
                renewed = True
                continue
            if status in PASSING and attempt < ATTEMPTS and self._again(body):
                time.sleep(PAUSE * attempt)
                continue
            raise self._refused(status)

    @staticmethod
    def _again(body: Rewindable | None) -> bool:
        return body is None or not body.started or body.rewind()

    def do(self, method: str, *path: str, **parameters: Any) -> Mapping[str, str]:
        """The headers of the answer, which is read."""
        answer = self.ask(method, *path, **parameters)
        try:
            _ = answer.content
        except self._client.breaks as ex:
            raise self._client.broken(ex) from None
        finally:
            answer.close()
        return answer.headers

    def head(self, *path: str) -> Mapping[str, str] | None:
        """The headers of something, if it is there."""
        try:
            return self.do('HEAD', *path)
        except ObjectNotFound:
            return None

    def entries(self, *path: str, **parameters: str) -> Iterator[Mapping[str, Any]]:
        """What a listing of the account, or of a container, has. `ObjectNotFound`."""
        marker = ''
        while True:
            query = {'format': 'json', 'limit': PAGE, 'marker': marker, **parameters}
            answer = self.ask('GET', *path, query=query)
            try:
                page = answer.json() if answer.status_code == 200 else []
            except self._client.garbled as ex:
                raise self._client.broken(ex) from None
            finally:
                answer.close()
            yield from page
            if not page:
                return
            marker = page[-1]['name']

    def remove_static(self, container: str, name: str) -> None:
        """Delete an object with all the segments that its manifest names. `StoreUnavailable`."""
        answer = self.ask(
            'DELETE',
            container,
            name,
            headers={'Accept': 'application/json'},
            query={'multipart-manifest': 'delete'},
        )
        try:
            done = answer.json()
        except self._client.garbled as ex:
            raise self._client.broken(ex) from None
        finally:
            answer.close()
        # The status of the answer is a success in any case.
        if not str(done.get('Response Status', '')).startswith('200'):
            raise StoreUnavailable(f'Store {self._client.store} kept segments of {name}')

    def read(self, *path: str, offset: int, length: int | None, chunk_size: int) -> Reading:
        """The bytes of an object from `offset`. `ObjectNotFound`, `PastTheEnd`."""
        wanted = asked(offset, length)
        answer = self.ask('GET', *path, headers={'Accept-Encoding': 'identity', **wanted})
        found = Reading(self._client, answer, chunk_size)
        said = answer.headers.get('Content-Range', '')
        if wanted and not said.startswith(f'bytes {offset}-'):
            found.close()
            raise StoreUnavailable(f'Store {self._client.store} sent another range than asked')
        return found

    def _refused(self, status: int) -> StoreError:
        store = self._client.store
        if status in (413, 507):
            return StoreFull(f'Store {store} is full, or our quota is exhausted')
        known = refused(store, status)
        return known or StoreUnavailable(f'Store {store} answered with status {status}')


class Reading(Body):
    """The body of an answer."""

    def __init__(self, client: Client, answer: requests.Response, chunk_size: int) -> None:
        chunks = iter(functools.partial(answer.raw.read, chunk_size), b'')
        super().__init__(chunks, answer.close, client.breaks, client.broken)
        self.etag: str = answer.headers.get('Etag', '')


class Download:
    """The bytes of an object. Where it breaks off it is asked for the rest, some times."""

    def __init__(
        self,
        account: Account,
        *path: str,
        offset: int,
        length: int | None,
        chunk_size: int,
        again: int,
    ) -> None:
        """`again`: how often. What `Account.read` raises."""
        self._account = account
        self._path = path
        self._offset = offset
        self._length = length
        self._chunk_size = chunk_size
        self._left = again
        self._reading = self._open()

    def _open(self) -> Reading:
        return self._account.read(
            *self._path, offset=self._offset, length=self._length, chunk_size=self._chunk_size
        )

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while True:
            try:
                chunk = next(self._reading)
            except StoreError as ex:
                self._reading.close()
                if not self._left:
                    raise
                self._left -= 1
                LOG.warning('It broke off, and is asked for the rest: %s', ex)
                etag = self._reading.etag
                self._reading = self._open()
                if self._reading.etag != etag:
                    raise StoreUnavailable('The store holds other data now') from ex
                continue
            self._offset += len(chunk)
            if self._length is not None:
                self._length -= len(chunk)
            return chunk

    def close(self) -> None:
        self._reading.close()
