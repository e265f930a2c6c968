# SPDX-License-Identifier: Apache-2.0
"""Images that are to be fetched into the cache of this host, oldest first: a file for each."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator

from glance_lite.cache import directory

_NAME = re.compile('[0-9A-Za-z-]{1,36}')


class Queue:
    """The directory ``queue`` of the cache."""

    def __init__(self, path: str) -> None:
        self._path = path

    def add(self, image_id: str) -> None:
        """Nothing happens to one that waits already. `OSError`."""
        if _NAME.fullmatch(image_id):
            flags = os.O_WRONLY | os.O_CREAT
            os.close(os.open(os.path.join(self._path, image_id), flags, 0o600))

    def remove(self, image_id: str) -> bool:
        """Whether it waited."""
        if not _NAME.fullmatch(image_id):
            return False
        try:
            os.unlink(os.path.join(self._path, image_id))
        except FileNotFoundError:
            return False
        return True

    def clear(self) -> int:
        """How many waited."""
        return sum(self.remove(image_id) for image_id in self.list())

    def list(self) -> list[str]:
        """Ids of the images, oldest first."""
        found = []
        try:
            with os.scandir(self._path) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        if _NAME.fullmatch(entry.name):
                            found.append((entry.stat().st_mtime_ns, entry.name))
        except FileNotFoundError:
            return []
        return [name for _, name in sorted(found)]

    @contextlib.contextmanager
    def taken(self, image_id: str) -> Iterator[bool]:
        """Whether it is ours to fetch, for as long as this lasts; no other process does then."""
        try:
            descriptor = os.open(os.path.join(self._path, image_id), os.O_RDONLY)
        except OSError:
            yield False
            return
        try:
            yield directory.lock(descriptor, fcntl.LOCK_EX) and bool(os.fstat(descriptor).st_nlink)
        finally:
            os.close(descriptor)
