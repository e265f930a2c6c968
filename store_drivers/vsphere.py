# SPDX-License-Identifier: Apache-2.0
"""What the vmware driver asks of a vCenter or ESX server: a few SOAP calls, and files over HTTPS.

Each request has its time limit. A session that has ended is renewed where it is noticed, once
for all threads that notice it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from glance_lite.store import (
    InUse,
    ObjectExists,
    ObjectNotFound,
    Source,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from store_drivers.answers import Body, broken

#: Seconds: to connect, without an answer or a byte of one, and for all attempts of one call.
CONNECT, READ, PATIENCE = 10.0, 60.0, 30.0
#: Seconds that a task of the server may take, and until the first look at it.
TASK, LOOK = 600.0, 0.05
#: Connections that are kept, and most bytes of a SOAP answer.
KEPT, MOST = 32, 32 * 1024 * 1024
MIB = 1024 * 1024

COOKIE = 'vmware_soap_session'
_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><e:Body>'
    '<{name} xmlns="urn:vim25">{content}</{name}></e:Body></e:Envelope>'
)
_TYPE = '{http://www.w3.org/2001/XMLSchema-instance}type'
_NOTHING: Mapping[str, Any] = {}
_LOGGED_OUT = frozenset({'NotAuthenticated', 'SecurityError'})
_ERRORS: Mapping[str, tuple[type[StoreError], str]] = {
    'FileNotFound': (ObjectNotFound, 'does not hold the data'),
    'FileAlreadyExists': (ObjectExists, 'holds something under that name already'),
    'NoDiskSpace': (StoreFull, 'is full'),
    'FileLocked': (InUse, 'says that the data is in use'),
    'ResourceInUse': (InUse, 'says that the data is in use'),
    'InvalidLogin': (StoreDenied, 'does not let us in'),
    'NotAuthenticated': (StoreDenied, 'does not let us in'),
    'NoPermission': (StoreDenied, 'does not let us do that'),
}


class Fault(Exception):
    """The server's own name for what went wrong."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclasses.dataclass(frozen=True)
class Ref:
    """A managed object."""

    kind: str
    value: str

    @classmethod
    def of(cls, element: ElementTree.Element) -> Ref:
        return cls(element.get('type', ''), element.text or '')


class Vsphere:
    """One server, under one account."""

    def __init__(
        self,
        store: str,
        address: tuple[str, int],
        account: tuple[str, str],
        tls: ssl.SSLContext,
        thumbprint: str | None = None,
        attempts: int = 10,
        poll: float = 5,
    ) -> None:
        """`store` is for messages; a `thumbprint` takes the place of the context's verification;
        `attempts` are made to connect, and a task is looked at every `poll` seconds."""
        self._store = store
        self._account = account
        self._attempts = attempts
        self._poll = poll
        verified = tls.verify_mode != ssl.CERT_NONE
        self._pool = urllib3.HTTPSConnectionPool(
            address[0],
            address[1],
            timeout=urllib3.Timeout(connect=CONNECT, read=READ),
            maxsize=KEPT,
            ssl_context=tls,
            assert_hostname=None if verified else False,
            assert_fingerprint=thumbprint,
        )
        self._cookie = ''
        self._login_lock = threading.Lock()
        self._content: dict[str, Ref] = {}

    # --- calls

    def service(self, name: str) -> Ref:
        """One of the server's managers, as ``fileManager``."""
        if not self._content:
            root, _ = self._post(
                'RetrieveServiceContent', Ref('ServiceInstance', 'ServiceInstance')
            )
            self._content = {_name(child): Ref.of(child) for child in root[0] if child.get('type')}
        return self._content[name]

    def call(self, operation: str, this: Ref, **arguments: Any) -> ElementTree.Element:
        """The answer to an operation on an object. Raises the contract's errors."""
        cookie = self._session()
        try:
            return self._post(operation, this, cookie, arguments)[0]
        except Fault as fault:
            if fault.name not in _LOGGED_OUT:
                raise self.error(fault.name) from None
        try:
            return self._post(operation, this, self._renewed(cookie), arguments)[0]
        except Fault as fault:
            raise self.error(fault.name) from None

    def _session(self) -> str:
        """The cookie of a session, which may have ended."""
        return self._cookie or self._renewed('')

    def _renewed(self, ended: str) -> str:
        """The cookie of a session other than the one that has ended."""
        with self._login_lock:
            if self._cookie != ended:
                return self._cookie  # another thread was here before
            user, password = self._account
            login = {'userName': user, 'password': password, 'locale': 'en'}
            try:
                _, cookies = self._post('Login', self.service('sessionManager'), '', login)
            except Fault as fault:
                raise self.error(fault.name) from None
            given = [cookie for cookie in cookies if cookie.startswith(f'{COOKIE}=')]
            if not given:
                raise StoreUnavailable(f'Store {self._store} gave us no session')
            self._cookie = given[0].partition(';')[0]
            return self._cookie

    def _post(
        self, operation: str, this: Ref, cookie: str = '', arguments: Mapping[str, Any] = _NOTHING
    ) -> tuple[ElementTree.Element, list[str]]:
        """The answer, and the cookies that came with it. Raises `Fault`."""
        content = _xml('_this', this) + ''.join(_xml(*item) for item in arguments.items())
        body = _ENVELOPE.format(name=operation, content=content).encode()
        headers = {'Content-Type': 'text/xml; charset=utf-8', 'SOAPAction': '"urn:vim25/6.0"'}
        answer = self._send('POST', '/sdk', body, headers, cookie)
        with contextlib.closing(answer):
            try:
                data = answer.read(MOST)
                root = ElementTree.fromstring(data)[-1][0]
            except (HTTPError, OSError) as ex:
                raise self.broken(ex) from None
            except (ElementTree.ParseError, IndexError):
                status = answer.status
                raise StoreUnavailable(
                    f'Store {self._store} answered with status {status}'
                ) from None
            answer.release_conn()
        if _name(root) == 'Fault':
            raise Fault(_fault(root))
        if operation == 'RetrievePropertiesEx':
            # A session that has ended is told of each property, or by ESX with nothing at all.
            missing = root.find('.//{*}missingSet/{*}fault/{*}fault')
            if missing is not None or not len(root):
                raise Fault('NotAuthenticated' if missing is None else _kind(missing))
        return root, answer.headers.getlist('set-cookie')

    def error(self, fault: str) -> StoreError:
        """The contract's error for a fault."""
        kind, text = _ERRORS.get(fault, (StoreUnavailable, f'answered with {fault}'))
        return kind(f'Store {self._store} {text}')

    # --- what objects are

    def properties(self, refs: Iterable[Ref], *names: str) -> dict[Ref, dict[str, Any]]:
        """Properties of objects of one kind, as XML; those not set are missing."""
        wanted = [{'obj': ref} for ref in refs]
        kind = wanted[0]['obj'].kind
        answer = self.call(
            'RetrievePropertiesEx',
            self.service('propertyCollector'),
            specSet={'propSet': {'type': kind, 'pathSet': list(names)}, 'objectSet': wanted},
            options={},
        )
        return {
            Ref.of(found[0]): {
                entry[0].text or '': entry[1] for entry in found if _name(entry) == 'propSet'
            }
            for found in answer[0]
            if _name(found) == 'objects'
        }

    def run(self, operation: str, this: Ref, **arguments: Any) -> Any:
        """Start a task and wait for its end; its result, an element or None."""
        task = Ref.of(self.call(operation, this, **arguments)[0])
        deadline = time.monotonic() + TASK
        pause = LOOK
        while True:
            info = self.properties([task], 'info').get(task, {}).get('info')
            state = None if info is None else text(info, 'state')
            if state == 'success':
                return find(info, 'result')
            if state == 'error':
                fault = find(find(info, 'error'), 'fault')
                raise self.error('' if fault is None else _kind(fault))
            if time.monotonic() > deadline:
                raise StoreUnavailable(f'A task of store {self._store} does not come to an end')
            time.sleep(pause)
            pause = min(pause * 2, self._poll)

    # --- files

    def make_directory(self, datacenter: Ref, place: str, parents: bool = False) -> None:
        """`ObjectExists`, unless missing parents are to be made as well."""
        self.call(
            'MakeDirectory',
            self.service('fileManager'),
            name=place,
            datacenter=datacenter,
            createParentDirectories=parents,
        )

    def move(self, datacenter: Ref, place: str, target: str) -> None:
        """`ObjectExists`, if there is something at the target."""
        self.run(
            'MoveDatastoreFile_Task',
            self.service('fileManager'),
            sourceName=place,
            sourceDatacenter=datacenter,
            destinationName=target,
            destinationDatacenter=datacenter,
            force=False,
        )

    def delete(self, datacenter: Ref, place: str) -> None:
        """A file, or a directory with what is in it. `ObjectNotFound`."""
        files = self.service('fileManager')
        self.run('DeleteDatastoreFile_Task', files, name=place, datacenter=datacenter)

    def file(self, method: str, path: str, headers: Mapping[str, str], body: Any = None) -> Any:
        """The answer to a request for a file, unread; the caller closes it.

        One with a body is sent once: what it was read from cannot be read again.
        """
        cookie = self._session()
        answer = self._send(method, path, body, headers, cookie)
        if answer.status == 401 and body is None:
            answer.close()
            answer = self._send(method, path, None, headers, self._renewed(cookie))
        return answer

    def _send(
        self, method: str, path: str, body: Any, headers: Mapping[str, str], cookie: str
    ) -> Any:
        sent = {**headers, 'Cookie': cookie} if cookie else dict(headers)
        deadline = time.monotonic() + PATIENCE
        for attempt in range(self._attempts + 1):
            try:
                return self._pool.urlopen(
                    method,
                    path,
                    body,
                    sent,
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    decode_content=False,
                )
            except (NewConnectionError, ConnectTimeoutError) as ex:
                # Nothing has been sent.
                if attempt == self._attempts or time.monotonic() > deadline:
                    raise self.broken(ex) from None
                time.sleep(min(2.0, 0.1 * 2**attempt))
            except (HTTPError, OSError) as ex:
                raise self.broken(ex) from None
        raise AssertionError

    def broken(self, ex: BaseException) -> StoreUnavailable:
        """The connection failed."""
        return broken(self._store, ex)


# --- bodies


class SourceFailed(Exception):
    """Reading the source failed: no failure of the connection, whatever kind it is."""


class Sent:
    """The body of an upload, read from its source."""

    def __init__(self, source: Source, size: int | None) -> None:
        self._source = source
        self._size = size
        self.count = 0
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes | memoryview]:
        return self

    def __next__(self) -> bytes | memoryview:
        if self.count == self._size:
            raise StopIteration
        left = MIB if self._size is None else min(MIB, self._size - self.count)
        try:
            chunk = self._source.read(left)
            if not chunk and self._size is not None:
                raise StoreError(f'{self._size} bytes were promised and {self.count} came')
        except BaseException as ex:
            self.error = ex
            raise SourceFailed from None
        if not chunk:
            raise StopIteration
        self.count += len(chunk)
        return chunk


def body_of(answer: Any, skip: int, length: int | None, chunk_size: int, server: Vsphere) -> Body:
    """The part of an answer that was asked for, of which `skip` bytes are too many."""
    chunks = iter(functools.partial(answer.read, chunk_size), b'')
    return Body(chunks, answer.close, (HTTPError, OSError), server.broken, skip, length)


# --- XML


def _xml(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ''.join(_xml(name, one) for one in value)
    if isinstance(value, Ref):
        return f'<{name} type={quoteattr(value.kind)}>{escape(value.value)}</{name}>'
    if isinstance(value, Mapping):
        content = ''.join(_xml(*item) for item in value.items())
    elif isinstance(value, bool):
        content = 'true' if value else 'false'
    else:
        content = escape(str(value))
    return f'<{name}>{content}</{name}>'


def _local(name: str) -> str:
    """Without its prefix or namespace."""
    return name.rpartition('}')[2].rpartition(':')[2]


def _name(element: ElementTree.Element) -> str:
    return _local(element.tag)


def _fault(element: ElementTree.Element) -> str:
    detail = find(element, 'detail')
    if detail is None or not len(detail):
        return text(element, 'faultcode')
    return _kind(detail[0]) or _name(detail[0]).removesuffix('Fault')


def _kind(element: ElementTree.Element) -> str:
    return _local(element.get(_TYPE, ''))


def find(element: Any, name: str) -> Any:
    """The first child of that name, or None."""
    return next(
        (child for child in (() if element is None else element) if _name(child) == name), None
    )


def text(element: Any, name: str) -> str:
    """The text of the first child of that name; empty if there is none."""
    child = find(element, name)
    return '' if child is None else child.text or ''
