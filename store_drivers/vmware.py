# SPDX-License-Identifier: Apache-2.0
"""Images as files on vSphere datastores: ``vsphere://HOST/folder/DIRECTORY/IMAGE-ID?dsName=...``.

An upload first *claims* its name by making a directory, of which a datastore takes only one of
a name; the data go to a file of another name and are moved to their own when all of them are
there. Whoever gives up removes file and directory; those of a killed process are among what
`locate` names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import re
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

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
    StoreFull,
    StoreUnavailable,
)
from store_drivers.answers import asked
from store_drivers.vmware_datastores import (
    Datastore,
    Datastores,
    NoDatastore,
    configured,
    is_directory,
)
from store_drivers.vsphere import Ref, Sent, SourceFailed, Vsphere, body_of, text

LOG = logging.getLogger(__name__)

PORT = 443
#: What follows a name: of the directory that claims it, and of the file that is being written.
CLAIM, PARTIAL = '.claim', '.part'
_NAME = re.compile('[A-Za-z0-9][A-Za-z0-9_-]{0,200}')
_FILE = re.compile('[A-Za-z0-9][A-Za-z0-9_.-]{0,220}')
_RANGE = re.compile(r'bytes (\d{1,18})-\d{1,18}/(?:\d{1,18}|\*)')

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        'vmware_server_host',
        help='vCenter or ESX server, as HOST or HOST:PORT; an IPv6 address stands in brackets if '
        'there is a port.',
    ),
    cfg.StrOpt('vmware_server_username', help='User of the server.'),
    cfg.StrOpt('vmware_server_password', secret=True, help='Password of the user.'),
    cfg.IntOpt(
        'vmware_api_retry_count',
        default=10,
        min=1,
        help='How often it is tried again to connect to the server, for half a minute at most.',
    ),
    cfg.IntOpt(
        'vmware_task_poll_interval',
        default=5,
        min=1,
        help='Most seconds between two looks at a task of the server. The first come sooner.',
    ),
    cfg.StrOpt(
        'vmware_store_image_dir',
        default='/openstack_glance',
        help='Directory of the images on each datastore. Made when it does not exist.',
    ),
    cfg.BoolOpt(
        'vmware_insecure',
        default=False,
        deprecated_name='vmware_api_insecure',
        help='Do not verify the certificate of the server. It does nothing where vmware_ca_file '
        'or vmware_thumbprint is set.',
    ),
    cfg.StrOpt(
        'vmware_ca_file',
        help='Certificates of authorities that the server is verified with, as PEM. Those of the '
        'system if it is not set.',
    ),
    cfg.StrOpt(
        'vmware_thumbprint',
        help='SHA-1 thumbprint of the certificate of the server, or the SHA-256 one, in '
        'hexadecimal digits with or without colons: this very certificate is trusted and no other.',
    ),
    cfg.MultiStrOpt(
        'vmware_datastores',
        help='Datastores as DATACENTER:DATASTORE or DATACENTER:DATASTORE:WEIGHT. New images go to '
        'one of the highest weight that has room; of equal ones to that with most room.',
    ),
]


@dataclasses.dataclass(frozen=True)
class File:
    """A file in the directory of the images of a datastore."""

    datastore: Datastore
    name: str
    #: None: the one that is configured; else that of another time
    directory: str | None = None


class VMwareStore(StoreDriver):
    """Datastores of a vCenter or ESX server."""

    schemes = ('vsphere',)
    caps = Cap.WRITE | Cap.LIST
    opts = OPTIONS
    io = 'socket'

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        for option in ('server_host', 'server_username', 'server_password', 'datastores'):
            if not settings[f'vmware_{option}']:
                self._wrong(option, 'must be set')
        self._address = self._host_and_port()
        self._directory: str = (settings['vmware_store_image_dir'] or '').strip('/')
        if not is_directory(self._directory):
            self._wrong(
                'store_image_dir', 'must be a path in ASCII, without empty steps, "." or ".."'
            )
        try:
            which = configured(settings['vmware_datastores'])
        except ValueError as ex:
            self._wrong('datastores', str(ex))
        self._datastores = Datastores(name, which, self._directory)
        self._tls, self._thumbprint = self._verification()

    # --- start

    def _wrong(self, option: str, reason: str) -> NoReturn:
        raise BadStoreConfiguration(f'[{self.name}] vmware_{option}: {reason}')

    def _host_and_port(self) -> tuple[str, int]:
        given: str = self.settings['vmware_server_host'].strip()
        bare = f'[{given}]' if given.count(':') > 1 and not given.startswith('[') else given
        try:
            parts = urlsplit(f'//{bare}')
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        whole = re.fullmatch(r'[\w.-]+(:\d+)?|\[[\w:.]+\](:\d+)?', bare, re.ASCII)
        if not whole or not host or port == 0:
            self._wrong('server_host', 'must be HOST or HOST:PORT')
        return host, port or PORT

    def _verification(self) -> tuple[ssl.SSLContext, str | None]:
        file, thumbprint = self.settings['vmware_ca_file'], self.settings['vmware_thumbprint']
        try:
            context = ssl.create_default_context(cafile=file or None)
        except (OSError, ssl.SSLError) as ex:
            self._wrong('ca_file', f'{file} cannot be read: {ex}')
        if thumbprint:
            thumbprint = thumbprint.replace(':', '').lower()
            if not re.fullmatch('[0-9a-f]{40}|[0-9a-f]{64}', thumbprint):
                self._wrong('thumbprint', 'must be 40 or 64 hexadecimal digits')
        if thumbprint or (self.settings['vmware_insecure'] and not file):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context, thumbprint or None

    def start(self) -> None:
        settings = self.settings
        self._server = Vsphere(
            self.name,
            self._address,
            (settings['vmware_server_username'], settings['vmware_server_password']),
            self._tls,
            self._thumbprint,
            settings['vmware_api_retry_count'],
            settings['vmware_task_poll_interval'],
        )
        self._datastores.connect(self._server)
        try:
            self.check()
        except NoDatastore as ex:
            self._wrong('datastores', ex.message)
        except StoreDenied:
            reason = 'the server refuses user and password, or does not let this user work'
            self._wrong('server_password', reason)
        except StoreUnavailable as ex:
            if 'certificate' in ex.message:
                option = 'thumbprint' if self._thumbprint else 'ca_file'
                self._wrong(option, 'the certificate of the server is not trusted')
            raise

    # --- names

    def _place(self, file: File) -> tuple[Ref, str]:
        """Its datacenter, and the name that the server's own operations know it by."""
        datacenter, _ = self._datastores.find(file.datastore)
        return datacenter, self._datastores.place(file.datastore, file.name, file.directory)

    def _path(self, file: File) -> str:
        """As requests for files name it."""
        query = {'dsName': file.datastore.name, 'dcPath': file.datastore.datacenter}
        directory = file.directory or self._directory
        return f'/folder/{quote(directory)}/{quote(file.name)}?{urlencode(query)}'

    def _url(self, file: File) -> str:
        host, port = self._address
        authority = f'[{host}]' if ':' in host else host
        port_of = '' if port == PORT else f':{port}'
        return f'vsphere://{authority}{port_of}{self._path(file)}'

    def parse(self, url: str) -> File:
        """The file, in whatever directory and datastore of our server it lies."""
        try:
            parts = urlsplit(url)
            address = parts.hostname, parts.port or PORT
            query = dict(parse_qsl(parts.query, strict_parsing=True, max_num_fields=2))
        except ValueError:
            raise BadStoreUri('Not a vsphere url') from None
        path, _, name = parts.path.rpartition('/')
        folder, _, directory = path.strip('/').partition('/')
        directory, name = unquote(directory).strip('/'), unquote(name)
        if (
            (parts.scheme, folder, parts.fragment) != ('vsphere', 'folder', '')
            or not _FILE.fullmatch(name)
            or not is_directory(directory)
        ):
            raise BadStoreUri('Not a vsphere url')
        if address != self._address:
            raise BadStoreUri(f'Not a file of store {self.name}')
        datastore = self._datastores.of(query.get('dcPath'), query.get('dsName'))
        if datastore is None:
            raise BadStoreUri('Not a vsphere url')
        return File(datastore, name, None if directory == self._directory else directory)

    def owns(self, url: str) -> bool:
        """In the directory of images of one of the datastores alone: disks of machines lie there,
        too."""
        try:
            file = self.parse(url)
        except BadStoreUri:
            return False
        return file.directory is None and file.datastore in self._datastores.which

    def redact(self, url: str) -> str:
        scheme, separator, rest = url.partition('://')
        authority, slash, path = rest.partition('/')
        return f'{scheme}{separator}{authority.rpartition("@")[2]}{slash}{path}'

    def locate(self, name: str) -> tuple[str, ...]:
        which = self._datastores.which
        files = [File(one, f'{name}{end}') for one in which for end in ('', PARTIAL)]
        return tuple(map(self._url, [*files, self._claim(name)]))

    def _claim(self, name: str) -> File:
        """Whatever datastore the data goes to, the claim is on the first."""
        return File(self._datastores.which[0], f'{name}{CLAIM}')

    # --- in

    def add(self, name: str, source: Source, size: int | None) -> str:
        if not _NAME.fullmatch(name):
            raise StoreError(f'{name!r} is not a name for a file of an image')
        datastore = self._datastores.choose(size)
        file, partial, claim = (
            File(datastore, name),
            File(datastore, f'{name}{PARTIAL}'),
            self._claim(name),
        )
        self._take(claim)
        made = [claim]
        try:
            for other in self._datastores.which:
                if self._size(File(other, name)) is not None:
                    raise ObjectExists(f'Store {self.name} holds {name} already')
            made.append(partial)
            self._send(partial, source, size)
            try:
                self._server.move(*self._place(partial), self._place(file)[1])
            except ObjectExists:
                raise  # somebody who makes no claims was quicker
            except BaseException:
                made.append(file)  # it may have been moved all the same
                raise
        except BaseException as ex:
            self._undo(made, ex)
            raise
        self._undo([claim], None)
        return self._url(file)

    def _take(self, claim: File) -> None:
        """`ObjectExists`, if somebody else has claimed the name."""
        try:
            try:
                self._server.make_directory(*self._place(claim))
            except ObjectNotFound:
                # Somebody has removed the directory of the images; it is made anew.
                self._datastores.forget()
                self._server.make_directory(*self._place(claim))
        except StoreUnavailable as ex:
            # Whether it is there nobody knows, nor whose it is.
            raise LeftBehind(ex.message) from ex

    def _send(self, file: File, source: Source, size: int | None) -> None:
        body = Sent(source, size)
        headers = {'Content-Type': 'application/octet-stream'}
        if size is not None:
            headers['Content-Length'] = str(size)
        try:
            answer = self._server.file('PUT', self._path(file), headers, body)
        except SourceFailed:
            assert body.error is not None
            raise body.error from None
        answer.close()
        if answer.status in (413, 507):
            raise StoreFull(f'Store {self.name} is full')
        if answer.status == 403:
            raise StoreDenied(f'Store {self.name} does not let us write')
        if answer.status not in (200, 201):
            raise StoreUnavailable(f'Store {self.name} answered with status {answer.status}')
        kept = self._size(file)
        if kept != body.count:
            raise StoreUnavailable(f'Store {self.name} kept {kept} of {body.count} bytes')

    def _undo(self, made: list[File], ex: BaseException | None) -> None:
        """Remove files, the claim last. `LeftBehind`, if the server does not let us."""
        try:
            for file in reversed(made):
                with contextlib.suppress(ObjectNotFound):
                    self.delete(file)
        except StoreError as second:
            LOG.error('Store %s keeps what an upload has left: %s', self.name, second)
            if isinstance(ex, Exception):
                raise LeftBehind(f'Store {self.name} failed: {second}') from ex

    # --- out

    def get(self, key: File, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        answer = self._server.file('GET', self._path(key), asked(offset, length))
        skip = offset
        if answer.status == 206:
            found = _RANGE.fullmatch(answer.headers.get('content-range', ''))
            if found is None or int(found[1]) != offset:
                answer.close()
                raise StoreUnavailable(f'Store {self.name} sent another range than it was asked')
            skip = 0
        elif answer.status == 416:
            answer.close()
            return iter(())
        elif answer.status != 200:
            answer.close()
            raise self._refused(answer.status, key)
        return body_of(answer, skip, length, self.chunk_size, self._server)

    def size(self, key: File) -> int:
        size = self._size(key)
        if size is None:
            raise self._refused(404, key)
        return size

    def _size(self, file: File) -> int | None:
        """None: there is no such file."""
        answer = self._server.file('HEAD', self._path(file), {})
        answer.close()
        if answer.status == 404:
            return None
        length = answer.headers.get('content-length', '')
        if answer.status != 200 or not re.fullmatch('[0-9]{1,18}', length):
            raise self._refused(answer.status, file)
        return int(length)

    def _refused(self, status: int, file: File) -> StoreError:
        if status == 404:
            # Without its datastore nobody knows if there was such a file.
            try:
                self._datastores.find(file.datastore)
                self.check()
            except StoreError as ex:
                return ex
            return ObjectNotFound(f'Store {self.name} does not hold the data')
        if status in (401, 403):
            return StoreDenied(f'Store {self.name} does not let us read')
        return StoreUnavailable(f'Store {self.name} answered with status {status}')

    def delete(self, key: File) -> None:
        self._server.delete(*self._place(key))

    def list(self) -> Iterator[tuple[str, int, float]]:
        """Files and claims."""
        details = {'fileType': False, 'fileSize': True, 'modification': True, 'fileOwner': False}
        for datastore in self._datastores.which:
            _, ref = self._datastores.find(datastore)
            browser = self._server.properties([ref], 'browser')[ref]['browser']
            found = self._server.run(
                'SearchDatastore_Task',
                Ref.of(browser),
                datastorePath=self._datastores.place(datastore),
                searchSpec={'details': details, 'matchPattern': '*'},
            )
            for entry in found if found is not None else ():
                name = text(entry, 'path')
                if entry.tag.endswith('}file') and _FILE.fullmatch(name):
                    when = datetime.datetime.fromisoformat(text(entry, 'modification'))
                    size = int(text(entry, 'fileSize') or 0)
                    yield self._url(File(datastore, name)), size, when.timestamp()

    # --- for people

    def describe(self) -> Mapping[str, Any]:
        which = [f'{one.datacenter}:{one.name}:{one.weight}' for one in self._datastores.which]
        return {'datastores': which, 'image_dir': self._directory}

    def room(self) -> tuple[int, int] | None:
        rooms = self._datastores.rooms().values()
        return sum(room.size for room in rooms), sum(room.free for room in rooms)

    def check(self) -> None:
        for datastore, room in self._datastores.rooms().items():
            if not room.usable:
                raise StoreUnavailable(f'Store {self.name} cannot reach datastore {datastore.name}')
