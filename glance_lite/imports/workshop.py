# SPDX-License-Identifier: Apache-2.0
"""The files of imports in the staging area, and what a step has at hand."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import re
import time
from collections.abc import Callable, Iterator, Mapping

from glance_lite import concurrency
from glance_lite.errors import LimitExceeded, Unavailable
from glance_lite.imports.files import POOL
from glance_lite.imports.values import Work

#: Seconds between two notes of how far a step is.
TELL = 2.0
#: What is behind the name of an operation in the name of its lock.
LOCKED = '.lock'

#: Ids of images at the beginning of names.
IDS = re.compile(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', re.IGNORECASE)


class Workshop:
    """A directory. All of an operation's files have its name as prefix, and a point behind it."""

    def __init__(self, directory: str) -> None:
        self._directory = pathlib.Path(directory)

    def path(self, name: str) -> pathlib.Path:
        """Of the file `name`."""
        return self._directory / name

    def url(self, name: str) -> str:
        """As the store of files calls it."""
        return f'file://{self.path(name)}'

    def has(self, name: str) -> bool:
        """Whether there is such a file on this host."""
        return concurrency.blocking(POOL, lambda: self.path(name).is_file())

    def has_of(self, image_id: str) -> bool:
        """Whether anything of an image lies here."""
        return concurrency.blocking(POOL, lambda: bool(self._names(image_id)))

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return concurrency.blocking(POOL, lambda: self.path(name).stat().st_size)

    def remove(self, name: str) -> None:
        """Remove one file, if it is there."""

        def unlink() -> None:
            self.path(name).unlink(missing_ok=True)

        concurrency.blocking(POOL, unlink)

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Nobody else on this host works on the files of an operation.

        `Unavailable`: somebody does, who was taken for dead.
        """

        def lock() -> int:
            flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
            descriptor = os.open(self.path(name + LOCKED), flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as ex:
                os.close(descriptor)
                raise Unavailable('Another process is still at work on the import') from ex
            return descriptor

        descriptor = concurrency.blocking(POOL, lock)
        try:
            yield
        finally:
            os.close(descriptor)

    def old(self, seconds: float) -> dict[str, list[str]]:
        """Image id -> names of its files, of those that nobody has written to for so long."""

        def look() -> dict[str, list[str]]:
            found: dict[str, list[str]] = {}
            for name in self._names(''):
                match = IDS.match(name)
                with contextlib.suppress(FileNotFoundError):
                    age = time.time() - self.path(name).stat().st_mtime
                    if match and age >= seconds:
                        found.setdefault(match[0].lower(), []).append(name)
            return found

        return concurrency.blocking(POOL, look)

    def clear(self, prefix: str, keep: str | None = None) -> None:
        """Remove the files of an operation; but for one, and the lock, while it goes on."""

        def unlink() -> None:
            for name in self._names(f'{prefix}.'):
                if keep is None or (name != keep and not name.endswith(LOCKED)):
                    self.path(name).unlink(missing_ok=True)

        concurrency.blocking(POOL, unlink)

    def _names(self, prefix: str) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return [name for name in os.listdir(self._directory) if name.startswith(prefix)]
        return []


class StepWork(Work):
    """A step under way."""

    def __init__(
        self,
        path: pathlib.Path,
        output: pathlib.Path,
        note: Mapping[str, str],
        most: int | None,
        tell: Callable[[float, Mapping[str, str] | None], None],
    ) -> None:
        """`tell` gets the part of the step that is done, 0 to 1, and what is to be kept."""
        self.path = path
        self.note = note
        self.most = most
        self._output = output
        self._tell = tell
        self._next = time.monotonic() + TELL

    def told(self, done: int, total: int | None = None) -> None:
        if self.most is not None and done > self.most:
            raise LimitExceeded(f'An image may have {self.most} bytes at most (image_size_cap)')
        if time.monotonic() >= self._next:
            self._tell(min(1.0, done / total) if total else 0.0, None)
            self._next = time.monotonic() + TELL

    def keep(self, note: Mapping[str, str]) -> None:
        self.note = dict(note)
        self._tell(0.0, self.note)

    def new(self) -> pathlib.Path:
        return self._output
