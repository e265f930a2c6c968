# SPDX-License-Identifier: Apache-2.0
"""What of the cache lies on the disk. All processes of a host share it, by locks on files.

::

    whole/KEY      all of an image, and what its digest says
    growing/KEY    a copy that is being made, from its beginning to where its size says
    leaving/KEY~X  nobody finds it any more, and somebody still reads it
    hits/KEY       a byte for each time that it was read, the last one when it was written
    queue/ID       an image that is to be fetched

Whoever writes a growing file has it locked, exclusively; the kernel takes the lock from a process
that is killed, and another one goes on from where it was. Whoever reads a whole one has it locked
together with others, so that nobody makes room of what is read. What is decided on, what is
admitted and what goes, is decided under the lock of the whole directory.

Nothing here waits for anything but the disk. Under the green server it runs in native threads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import pathlib
import re
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from glance_lite.cache.key import Key
from glance_lite.errors import ConfigurationError

#: What an owner may do with a file says whether its bytes are known to be right: to everybody who
#: has it open, whatever its name is by now.
GROWING, RIGHT = 0o600, 0o700

EXCLUSIVE, SHARED = fcntl.LOCK_EX, fcntl.LOCK_SH

#: Names of files that Glance has left in the directory.
_GLANCES = re.compile(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', re.I)

_PARTS = ('whole', 'growing', 'leaving', 'hits', 'queue')


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """An image in the cache. Times are seconds of the epoch."""

    key: Key
    hits: int
    last_accessed: float
    last_modified: float


class Found(NamedTuple):
    """An open file of the cache. `whole`: all of it is there; else `mine`: it is ours to fill."""

    descriptor: int
    whole: bool
    mine: bool = False


class _File(NamedTuple):
    """A file that takes room: how much, and when it was used last."""

    path: str
    size: int
    used: float


class Directory:
    """The files of the cache."""

    def __init__(self, path: str, limit: int) -> None:
        """`limit` is the most bytes that may lie in it."""
        self.path = os.path.abspath(path)
        self.limit = limit

    def start(self) -> None:
        """Make what is missing, and forget what an earlier boot has left. `ConfigurationError`."""
        try:
            os.makedirs(self.path, exist_ok=True)
            for part in _PARTS:
                os.makedirs(os.path.join(self.path, part), mode=0o700, exist_ok=True)
                self._own(part)
            with self._locked():
                self._begin_boot()
        except OSError as ex:
            raise ConfigurationError(
                f'[DEFAULT] image_cache_dir: {self.path} cannot be used: {ex.strerror}'
            ) from ex

    def _begin_boot(self) -> None:
        """What was being written when the host went down may hold anything."""
        try:
            boot = pathlib.Path('/proc/sys/kernel/random/boot_id').read_text()
        except OSError:
            boot = ''
        note = pathlib.Path(self.path, '.boot')
        if not boot or not note.exists() or note.read_text() != boot:
            for part in ('growing', 'leaving'):
                for entry in self._entries(part):
                    _unlink_unlocked(entry.path)
            note.write_text(boot)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._at('.lock'), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._own('.lock')
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def open_turn(self) -> int:
        """Waits for one's turn to look after the cache; it ends when the descriptor is closed."""
        descriptor = os.open(self._at('.turn'), os.O_RDWR | os.O_CREAT, 0o600)
        self._own('.turn')
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return descriptor

    def _own(self, name: str) -> None:
        """What a command of root makes must be there for the service, whose the directory is."""
        if os.geteuid() == 0:
            there = os.stat(self.path)
            os.chown(self._at(name), there.st_uid, there.st_gid)

    def _at(self, *parts: str) -> str:
        return os.path.join(self.path, *parts)

    # --- one image

    def open_whole(self, key: Key) -> int | None:
        """A descriptor of all of it, locked so that it stays; None: it is not there."""
        path = self._at('whole', key.name)
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            return None
        if lock(descriptor, fcntl.LOCK_SH):
            found = os.fstat(descriptor)
            if found.st_nlink and found.st_size == key.size:
                return descriptor
            if found.st_nlink:  # somebody has cut it
                with contextlib.suppress(OSError):
                    os.unlink(path)
        os.close(descriptor)
        return None

    def open_growing(self, key: Key) -> int | None:
        """A descriptor of a copy that is being made; None: there is none."""
        try:
            return os.open(self._at('growing', key.name), os.O_RDWR)
        except OSError:
            return None

    def admit(self, key: Key) -> Found | None:
        """The file of an image, for which room is made where there is none yet.

        None: there is not so much room, or what has it is being read. `OSError`.
        """
        with self._locked():
            whole = self.open_whole(key)
            if whole is not None:
                return Found(whole, True)
            descriptor = self.open_growing(key)
            if descriptor is None:
                if not self._make_room(key.size):
                    return None
                path = self._at('growing', key.name)
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, GROWING)
            return Found(descriptor, False, lock(descriptor, fcntl.LOCK_EX))

    def _make_room(self, size: int) -> bool:
        self._remove_left()
        files = [*self._files()]
        missing = sum(file.size for file in files) + size - self.limit
        room = os.statvfs(self.path)
        missing = max(missing, size - room.f_bavail * room.f_frsize)
        return missing <= 0 or (size <= self.limit and self._evict(files, missing)[1] >= missing)

    def _evict(self, files: Iterable[_File], missing: int) -> tuple[int, int]:
        """Remove what was used least lately, up to `missing` bytes in all; (files, bytes).

        Nothing, if what nobody reads would not do.
        """
        with contextlib.ExitStack() as stack:
            chosen = []
            found = 0
            for file in sorted(files, key=lambda file: file.used):
                if found >= missing:
                    break
                descriptor = _lock_path(file.path)
                if descriptor is None:
                    continue
                stack.callback(os.close, descriptor)
                chosen.append(file)
                found += file.size
            if found < missing:
                return 0, 0
            for file in chosen:
                self._unlink(file.path)
            return len(chosen), found

    def publish(self, key: Key, descriptor: int) -> None:
        """All of it is there and right: let it be found, also after the host has gone down."""
        os.fdatasync(descriptor)
        # Nobody but whoever has an exclusive lock makes room of it.
        lock(descriptor, fcntl.LOCK_SH)
        with self._locked():
            growing, whole = self._at('growing', key.name), self._at('whole', key.name)
            # Unless it was dropped, or another process has just done the same.
            with contextlib.suppress(FileNotFoundError):
                if os.stat(growing).st_ino == os.fstat(descriptor).st_ino:
                    os.utime(descriptor)
                    os.rename(growing, whole)
        directory = os.open(self._at('whole'), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def discard(self, key: Key, descriptor: int) -> None:
        """What was written is wrong, or there is no room for more of it."""
        with self._locked(), contextlib.suppress(FileNotFoundError):
            path = self._at('growing', key.name)
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                os.unlink(path)

    def note_hit(self, key: Key) -> None:
        """It has been read once more. What does not succeed is not counted."""
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            descriptor = os.open(self._at('hits', key.name), flags, 0o600)
            try:
                os.write(descriptor, b'.')
            finally:
                os.close(descriptor)

    def drop(self, unwanted: Callable[[Key], bool]) -> int:
        """Let nobody find these any more; whoever reads one reads on. How many were whole."""
        with self._locked():
            return self._drop(unwanted)

    def clear(self) -> int:
        """Drop all that is whole; how many there were."""
        with self._locked():
            return self._drop(lambda key: True, ('whole',))

    def _drop(
        self, unwanted: Callable[[Key], bool], parts: tuple[str, ...] = ('whole', 'growing')
    ) -> int:
        count = 0
        for part in parts:
            for entry in self._entries(part):
                key = Key.parse(entry.name)
                if key is not None and unwanted(key):
                    self._retire(entry.path)
                    count += part == 'whole'
        return count

    def _retire(self, path: str) -> None:
        descriptor = _lock_path(path)
        if descriptor is not None:
            self._unlink(path)
            os.close(descriptor)
            return
        # Its bytes are there until its readers are done, and count.
        name = f'{os.path.basename(path)}~{uuid.uuid4().hex}'
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, self._at('leaving', name))

    def _unlink(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._at('hits', os.path.basename(path)))

    # --- all of them

    def entries(self) -> list[Entry]:
        """What is whole."""
        found = []
        for entry in self._entries('whole'):
            key = Key.parse(entry.name)
            with contextlib.suppress(FileNotFoundError):
                if key is not None:
                    modified = entry.stat().st_mtime
                    hits, accessed = self._hits(entry.name)
                    found.append(Entry(key, hits, max(accessed, modified), modified))
        return found

    def keys(self) -> list[Key]:
        """What is whole or growing."""
        names = (entry.name for part in ('whole', 'growing') for entry in self._entries(part))
        return [key for key in map(Key.parse, names) if key is not None]

    def used(self) -> int:
        """Bytes that count: what is whole, what growing files will have, what is leaving."""
        return sum(file.size for file in self._files())

    def prune(self) -> tuple[int, int]:
        """(files, bytes) that went, so that the rest is within the limit."""
        with self._locked():
            self._remove_left()
            files = [*self._files()]
            missing = sum(file.size for file in files) - self.limit
            count = size = 0
            # What is read stays: as much as can go now goes.
            for file in sorted(files, key=lambda file: file.used):
                if missing <= size:
                    break
                gone = self._evict([file], 1)
                count, size = count + gone[0], size + gone[1]
            return count, size

    def clean(self, before: float, everything: bool) -> int:
        """Remove copies that nobody has gone on with since then.

        With `everything` also what Glance has left, which may still run beside us.
        """
        count = 0
        with self._locked():
            self._remove_left()
            for entry in self._entries('growing'):
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat().st_mtime <= before:
                        count += _unlink_unlocked(entry.path)
            for file in self._glances() if everything else ():
                count += _unlink_unlocked(file.path)
            whole = {entry.name for part in ('whole', 'growing') for entry in self._entries(part)}
            for entry in self._entries('hits'):
                if entry.name not in whole:
                    _unlink_unlocked(entry.path)
        return count

    def _remove_left(self) -> None:
        for entry in self._entries('leaving'):
            _unlink_unlocked(entry.path)

    def _hits(self, name: str) -> tuple[int, float]:
        try:
            found = os.stat(self._at('hits', name))
        except FileNotFoundError:
            return 0, 0.0
        return found.st_size, found.st_mtime

    def _entries(self, part: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._at(part)) as found:
                return [entry for entry in found if not entry.name.startswith('.')]
        except FileNotFoundError:
            return []

    def _files(self) -> Iterator[_File]:
        """All that takes room, or will."""
        for part in ('whole', 'growing', 'leaving'):
            for entry in self._entries(part):
                key = Key.parse(entry.name.partition('~')[0])
                with contextlib.suppress(FileNotFoundError):
                    there = entry.stat()
                    size = there.st_size if key is None else key.size
                    used = max(there.st_mtime, self._hits(entry.name)[1])
                    yield _File(entry.path, size, used)
        yield from self._glances()

    def _glances(self) -> Iterator[_File]:
        """What Glance has cached here. It goes first: nobody reads it any more."""
        for part in ('', 'incomplete', 'invalid'):
            for entry in self._entries(part):
                with contextlib.suppress(FileNotFoundError):
                    if _GLANCES.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        yield _File(entry.path, entry.stat().st_size, 0.0)


def lock(descriptor: int, how: int) -> bool:
    """Lock a file unless somebody else has it."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_right(found: os.stat_result) -> bool:
    """Whether somebody has found that a file is all that it should be."""
    return bool(found.st_mode & stat.S_IXUSR)


def _lock_path(path: str) -> int | None:
    """A descriptor of a file that nobody else has to do with."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    if lock(descriptor, fcntl.LOCK_EX):
        return descriptor
    os.close(descriptor)
    return None


def _unlink_unlocked(path: str) -> bool:
    """Remove a file unless somebody has it."""
    descriptor = _lock_path(path)
    if descriptor is None:
        return False
    try:
        os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
