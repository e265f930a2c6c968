# SPDX-License-Identifier: Apache-2.0
"""Images as files: ``file:///DIRECTORY/IMAGE-ID``, as Glance names them.

A name never holds half an image. Data goes to a file that has no name yet, is flushed to disk
and then linked under its name, which fails if the name is taken. Where the file system knows no
unnamed files a hidden one takes their place; what a crash leaves of those is removed at the next
start and is in nobody's way until then.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, NoReturn
from urllib.parse import urlsplit

from oslo_config import cfg

from glance_lite.concurrency import green
from glance_lite.store import (
    BadStoreConfiguration,
    BadStoreUri,
    Cap,
    InUse,
    ObjectExists,
    ObjectNotFound,
    Source,
    StoreDenied,
    StoreDriver,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from store_drivers import plainfile

#: bytes read at a time where nobody sends the file without reading it
READ = 128 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        'filesystem_store_datadir',
        default='/var/lib/glance/images',
        help='Directory of the images. Made when it does not exist.',
    ),
    cfg.MultiStrOpt(
        'filesystem_store_datadirs',
        help='Several directories as DIRECTORY:PRIORITY. New images go to the one of highest '
        'priority that has room. Takes the place of filesystem_store_datadir.',
    ),
    cfg.StrOpt(
        'filesystem_store_metadata_file',
        help='JSON file with id and mountpoint of the directories, for services that mount them.',
    ),
    cfg.IntOpt(
        'filesystem_store_file_perm',
        default=0,
        help='Permission bits of new files in octal, like 640; 0 leaves them to the umask.',
    ),
    cfg.IntOpt(
        'filesystem_store_chunk_size',
        default=64 * 1024,
        min=1,
        help='Bytes written or read at a time; at least 1 MiB is used.',
    ),
    cfg.BoolOpt(
        'filesystem_thin_provisioning',
        default=False,
        help='Leave holes where an image holds nothing but zeros.',
    ),
    cfg.IntOpt(
        'filesystem_store_timeout',
        default=0,
        min=0,
        help='Understood and not needed: each store has threads of its own, so a directory that '
        'hangs holds up nobody else.',
    ),
    cfg.IntOpt('filesystem_store_thread_pool_size', default=10, min=1, help='As the above.'),
    cfg.IntOpt(
        'filesystem_store_threadpool_threshold', default=75, min=1, max=100, help='As the above.'
    ),
]


class FileStore(StoreDriver):
    """A directory, or several with priorities."""

    schemes = ('file', 'filesystem')
    private_schemes = schemes
    caps = Cap.WRITE | Cap.SENDFILE | Cap.LIST | Cap.COPY
    opts = OPTIONS
    io = 'native'

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        self.chunk_size = max(1024 * 1024, settings['filesystem_store_chunk_size'])
        self._thin: bool = settings['filesystem_thin_provisioning']
        self._mode = self._permissions()
        self._directories = self._configured()
        self._real: tuple[str, ...] = ()

    # --- start

    def _wrong(self, option: str, reason: str) -> NoReturn:
        raise BadStoreConfiguration(f'[{self.name}] {option}: {reason}')

    def _configured(self) -> tuple[str, ...]:
        """The directories, highest priority first."""
        several = self.settings['filesystem_store_datadirs']
        if not several:
            option = 'filesystem_store_datadir'
            return (self._directory(option, self.settings[option]),)
        option = 'filesystem_store_datadirs'
        found: dict[str, int] = {}
        for entry in several:
            path, _, priority = entry.partition(':')
            path = self._directory(option, path.strip())
            if not (priority.strip() or '0').isdigit():
                self._wrong(option, f'{entry} is not DIRECTORY:PRIORITY')
            if path in found:
                self._wrong(option, f'{path} is there twice')
            found[path] = int(priority.strip() or 0)
        return tuple(sorted(found, key=lambda path: -found[path]))

    def _directory(self, option: str, path: str) -> str:
        """Absolute. Its name is part of urls, which have no way to say some characters."""
        if any(character in '?#' or not character.isprintable() for character in path):
            self._wrong(option, f'{path!r} contains a character that no file url can')
        return os.path.abspath(path)

    def _permissions(self) -> int:
        """The digits are octal, as in Glance, though the option is a number."""
        option = 'filesystem_store_file_perm'
        given = self.settings[option]
        try:
            mode = int(str(max(0, given)), 8)
        except ValueError:
            self._wrong(option, f'{given} is not an octal number')
        if mode and not mode & stat.S_IRUSR:
            self._wrong(option, f'with {given} the service itself could not read its files')
        return mode

    def start(self) -> None:
        single = not self.settings['filesystem_store_datadirs']
        option = 'filesystem_store_datadir' if single else 'filesystem_store_datadirs'
        for path in self._directories:
            try:
                os.makedirs(path, exist_ok=True)
            except OSError as ex:
                self._wrong(option, f'{path} cannot be made: {ex.strerror}')
            if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
                self._wrong(option, f'{path} cannot be written to')
            plainfile.remove_partials(path)
        self._real = tuple(os.path.realpath(path) for path in self._directories)
        self._check_metadata()

    def _check_metadata(self) -> None:
        path = self.settings['filesystem_store_metadata_file']
        if not path:
            return
        option = 'filesystem_store_metadata_file'
        try:
            with open(path) as file:
                found = json.load(file)
        except OSError as ex:
            self._wrong(option, f'{path} cannot be read: {ex.strerror}')
        except ValueError as ex:
            self._wrong(option, f'{path} is not JSON: {ex}')
        for entry in found if isinstance(found, list) else [found]:
            given = entry if isinstance(entry, dict) else {}
            if not all(isinstance(given.get(key), str) for key in ('id', 'mountpoint')):
                self._wrong(option, f'{path} needs id and mountpoint, both text')

    # --- names

    def parse(self, url: str) -> str:
        """The path. Only what lies in one of the directories, symbolic links followed, is ours."""
        try:
            parts = urlsplit(url)
        except ValueError as ex:
            raise BadStoreUri('Not a file url') from ex
        path = parts.netloc + parts.path
        if parts.scheme not in self.schemes or parts.query or parts.fragment or '\0' in path:
            raise BadStoreUri('Not a file url')
        if not os.path.isabs(path) or os.path.normpath(path) != path:
            raise BadStoreUri('Not a file url of an absolute path')
        if os.path.dirname(os.path.realpath(path)) not in self._real:
            raise BadStoreUri(f'Not a file of store {self.name}')
        return path

    # --- in

    def add(self, name: str, source: Source, size: int | None) -> str:
        return self._store(name, size, lambda target: self._write(source, size, target))

    def copy_from(self, other: StoreDriver, key: str, name: str) -> str | None:
        if not isinstance(other, FileStore):
            return None
        file, size = other._open(key)
        with file, contextlib.suppress(plainfile.NotCopied):
            return self._store(name, size, lambda to: plainfile.copy(file.fileno(), to, size))
        return None

    def _store(self, name: str, size: int | None, write: Callable[[int], None]) -> str:
        """Give `name` to a file that `write` has filled; its url."""
        if not name or name.startswith('.') or '/' in name or '\0' in name:
            raise StoreError(f'{name!r} is not a name for a file')
        directory = self._choose(size)
        path = os.path.join(directory, name)
        for other in self._directories:
            if os.path.lexists(os.path.join(other, name)):
                raise ObjectExists(f'Store {self.name} holds {name} already')
        try:
            with plainfile.unnamed(directory, name) as (descriptor, hidden):
                write(descriptor)
                if self._mode > 0:
                    os.fchmod(descriptor, self._mode)
                plainfile.publish(descriptor, hidden, path)
        except FileExistsError as ex:
            raise ObjectExists(f'Store {self.name} holds {name} already') from ex
        except OSError as ex:
            self._failed(ex)
        return f'file://{path}'

    def _choose(self, size: int | None) -> str:
        """The first directory with room; where sizes are unknown, the one with most room."""
        if len(self._directories) == 1:
            return self._directories[0]
        free = {}
        for directory in self._directories:
            with contextlib.suppress(OSError):
                status = os.statvfs(directory)
                free[directory] = status.f_bavail * status.f_frsize
        for directory, room in free.items():
            if room > (size or 0):
                return directory
        raise StoreFull(f'Store {self.name} has no directory with room for {size} bytes')

    def _write(self, source: Source, size: int | None, descriptor: int) -> None:
        writer = plainfile.Writer(descriptor, self._thin)
        while size is None or writer.written < size:
            left = self.chunk_size if size is None else size - writer.written
            chunk = source.read(min(self.chunk_size, left))
            if not chunk:
                break
            writer.write(chunk)
        if size is not None and writer.written < size:
            raise StoreError(f'{size} bytes were promised and {writer.written} came')
        writer.end()

    def _failed(self, ex: OSError) -> NoReturn:
        if ex.errno in _FULL:
            raise StoreFull(f'Store {self.name} is full') from ex
        if ex.errno == errno.EROFS:
            raise StoreReadOnly(f'Store {self.name} takes no data') from ex
        if ex.errno in (errno.EACCES, errno.EPERM):
            raise StoreDenied(f'Store {self.name} cannot be written to') from ex
        raise StoreUnavailable(f'Store {self.name} failed: {ex.strerror}') from ex

    def _missing(self, path: str) -> StoreError:
        """There is no such file; and where its directory is gone, nobody knows if there was."""
        if not os.path.isdir(os.path.dirname(path)):
            return StoreUnavailable(f'A directory of store {self.name} is gone')
        return ObjectNotFound(f'Store {self.name} does not hold the data')

    # --- out

    def _open(self, key: str) -> tuple[BinaryIO, int]:
        """The open file and its size in bytes."""
        try:
            file = open(key, 'rb', buffering=0)  # noqa: SIM115 - the caller closes it
        except FileNotFoundError as ex:
            raise self._missing(key) from ex
        except (IsADirectoryError, NotADirectoryError) as ex:
            raise ObjectNotFound(f'Store {self.name} does not hold the data') from ex
        except PermissionError as ex:
            raise StoreDenied(f'Store {self.name} cannot be read') from ex
        except OSError as ex:
            raise StoreUnavailable(f'Store {self.name} failed: {ex.strerror}') from ex
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            file.close()
            raise ObjectNotFound(f'Store {self.name} does not hold the data')
        return file, status.st_size

    def get(self, key: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        file, size = self._open(key)
        left = max(0, size - offset if length is None else min(length, size - offset))
        return self._chunks(file, offset, left)

    def _chunks(self, file: BinaryIO, offset: int, left: int) -> Iterator[bytes]:
        # PERF: small blocks are used again while they are still in the processor's cache (uWSGI,
        # 8 streams: 1,534 MiB/s with 1 MiB); but in a green server each is handed over.
        size = self.chunk_size if green() else READ
        with file:
            file.seek(offset)
            while left:
                chunk = file.read(min(left, size))
                if not chunk:
                    return
                left -= len(chunk)
                yield chunk

    def sendfile(
        self, key: str, offset: int = 0, length: int | None = None
    ) -> tuple[BinaryIO, int, int]:
        file, size = self._open(key)
        left = max(0, size - offset if length is None else min(length, size - offset))
        return file, offset, left

    def size(self, key: str) -> int:
        file, size = self._open(key)
        file.close()
        return size

    def delete(self, key: str) -> None:
        try:
            os.unlink(key)
        except FileNotFoundError as ex:
            raise self._missing(key) from ex
        except OSError as ex:
            if ex.errno == errno.EBUSY:
                raise InUse(f'The data is in use in store {self.name}') from ex
            self._failed(ex)

    def locate(self, name: str) -> tuple[str, ...]:
        return tuple(f'file://{os.path.join(path, name)}' for path in self._directories)

    def list(self) -> Iterator[tuple[str, int, float]]:
        for directory in self._directories:
            for entry in os.scandir(directory):
                if entry.is_file(follow_symlinks=False) and not entry.name.startswith('.'):
                    status = entry.stat(follow_symlinks=False)
                    yield f'file://{entry.path}', status.st_size, status.st_mtime

    # --- for people

    def describe(self) -> Mapping[str, Any]:
        several = self.settings['filesystem_store_datadirs']
        return {
            'data_dir': list(several) if several else self._directories[0],
            'chunk_size': self.settings['filesystem_store_chunk_size'],
            'thin_provisioning': self._thin,
        }

    def room(self) -> tuple[int, int] | None:
        """Of the file systems on which the directories are, each once."""
        systems = {}
        for directory in self._directories:
            try:
                systems[os.stat(directory).st_dev] = os.statvfs(directory)
            except OSError as ex:
                raise StoreUnavailable(f'A directory of store {self.name} is gone') from ex
        return (
            sum(one.f_blocks * one.f_frsize for one in systems.values()),
            sum(one.f_bavail * one.f_frsize for one in systems.values()),
        )

    def check(self) -> None:
        for path in self._directories:
            if not os.path.isdir(path):
                raise StoreUnavailable(f'A directory of store {self.name} is gone')
