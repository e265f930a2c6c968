# SPDX-License-Identifier: Apache-2.0
"""Images in a directory: ``ID`` is what the service told of one, ``ID.img`` its data.

The names are those of Glance's replicator. Data that is not complete is in ``ID.img.part``, and
``ID`` is written last: what has both is whole. Nothing outside of the directory is touched,
whatever lies in it; links are not followed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from typing import Any

from glance_lite.replication.digests import Digests, WrongData
from glance_lite.replication.peer import LARGEST, Peer, Told
from glance_lite.replication.record import Record, ReplicationError, is_id, parse, shown

DATA, PART, NEW = '.img', '.img.part', '.new'
MODE = 0o640


class Directory:
    """A dump. May be used by several threads; of several processes the first one has an image."""

    def __init__(self, path: str, chunk: int, make: bool = False) -> None:
        """`make` it if there is none. `ReplicationError`."""
        self._chunk = chunk
        self.path = path
        try:
            if make:
                os.makedirs(path, 0o750, exist_ok=True)
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as ex:
            raise ReplicationError(f'{shown(path)}: {ex.strerror}') from None

    def close(self) -> None:
        os.close(self._fd)

    def _open(self, name: str, flags: int) -> int:
        """A regular file in the directory."""
        fd = os.open(
            name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, MODE, dir_fd=self._fd
        )
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise ReplicationError(f'{name} is no regular file')
        return fd

    def _size(self, name: str) -> int | None:
        """Bytes of a regular file; None: there is no such."""
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                return found.st_size
        return None

    # --- reading

    def records(self) -> Iterator[Record | ReplicationError]:
        """All images, by id; in place of one that is not whole, what is wrong with it."""
        names = set(os.listdir(self._fd))
        ids = {name.removesuffix(PART).removesuffix(DATA) for name in names}
        for image_id in sorted(filter(is_id, ids)):
            if image_id in names:
                try:
                    yield self._record(image_id)
                except (ReplicationError, OSError) as ex:
                    yield ReplicationError(f'{image_id}: {shown(ex)}')
            else:
                yield ReplicationError(f'{image_id}: its dump was broken off; dump it again')

    def _record(self, image_id: str) -> Record:
        record = self.known(image_id)
        if record is None:
            raise ReplicationError('it cannot be read')
        if record.has_data and self._size(image_id + DATA) != record.size:
            raise ReplicationError('its data is missing or has another size')
        return record

    def known(self, image_id: str) -> Record | None:
        """What the directory tells of an image; None if nothing."""
        try:
            fd = self._open(image_id, os.O_RDONLY)
        except FileNotFoundError:
            return None
        with open(fd, 'rb') as file:
            text = file.read(LARGEST + 1)
        try:
            document = json.loads(text) if len(text) <= LARGEST else None
        except (ValueError, RecursionError):
            document = None
        record = parse(_of_v1(document))
        if record.id != image_id:
            raise ReplicationError(f'{image_id} tells of the image {record.id}')
        return record

    def read(self, record: Record, offset: int = 0) -> Iterator[bytes]:
        """The data from `offset` on."""
        with open(self._open(record.id + DATA, os.O_RDONLY), 'rb') as file:
            file.seek(offset)
            while chunk := file.read(self._chunk):
                yield chunk

    # --- writing

    def has(self, record: Record) -> bool:
        """Whether it is here already, as the service tells it."""
        if self._size(record.id) is None or self._size(record.id + DATA) != record.size:
            return False
        known = self.known(record.id)
        return known is not None and known.same_data(record) is not False

    def missing(self, record: Record) -> int:
        """Bytes that would have to be read to have it."""
        whole = record.size or 0
        return max(0, whole - (self._size(record.id + PART) or 0))

    def write(self, record: Record, document: dict[str, Any]) -> None:
        """What was told of an image; its data is there already."""
        temporary = record.id + NEW
        with open(self._open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 'wb') as file:
            file.write(json.dumps(document, indent=2, sort_keys=True).encode() + b'\n')
            file.flush()
            os.fsync(file.fileno())
        self._rename(temporary, record.id)

    def fetch(self, record: Record, source: Peer, told: Told) -> None:
        """Get the data, from where an earlier run has left off. `WrongData`, `ReplicationError`."""
        if self._whole(record):
            told(record.size or 0)
            return
        with open(self._open(record.id + PART, os.O_RDWR | os.O_CREAT), 'r+b') as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ReplicationError(f'{record.id} is being dumped by another process') from None
            begun = os.fstat(file.fileno()).st_size
            if begun > (record.size or 0):
                begun = 0
            try:
                self._fill(record, source, file, begun, told)
            except WrongData:
                if not begun:
                    file.truncate(0)
                    raise
                # What an earlier run left may be what is wrong.
                told(begun - (record.size or 0))
                self._fill(record, source, file, 0, told)
            file.flush()
            os.fsync(file.fileno())
            self._rename(record.id + PART, record.id + DATA)

    def _whole(self, record: Record) -> bool:
        """Whether an earlier run got all of the data, and was broken off then."""
        if self._size(record.id + DATA) != record.size:
            return False
        digests = Digests(record)
        for chunk in self.read(record):
            digests.update(chunk)
        try:
            digests.verify()
        except WrongData:
            return False
        return True

    def _fill(self, record: Record, source: Peer, file: Any, begun: int, told: Told) -> None:
        digests = Digests(record)
        file.seek(0)
        file.truncate(begun)
        while chunk := file.read(self._chunk):
            digests.update(chunk)
        for chunk in source.read(record, begun):
            digests.update(chunk)
            if digests.size > (record.size or 0):
                raise WrongData(f'{record.id}: more than its {record.size} bytes came')
            file.write(chunk)
            told(len(chunk))
        digests.verify()

    def _rename(self, old: str, new: str) -> None:
        os.replace(old, new, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        os.fsync(self._fd)


def _of_v1(document: Any) -> Any:
    """A record as v2 tells it, of one that an old replicator of Glance has written."""
    if not isinstance(document, dict) or not isinstance(document.get('properties'), dict):
        return document
    found = {**document['properties'], **document}
    del found['properties']
    public = found.pop('is_public', None)
    if public is not None and 'visibility' not in found:
        found['visibility'] = 'public' if public in (True, 'True', 'true') else 'shared'
    for name in ('size', 'min_disk', 'min_ram'):
        if isinstance(found.get(name), str) and found[name].isdigit():
            found[name] = int(found[name])
    for name in ('protected', 'deleted'):
        if isinstance(found.get(name), str):
            found[name] = found[name].lower() == 'true'
    return found
