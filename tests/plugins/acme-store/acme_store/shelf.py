# SPDX-License-Identifier: Apache-2.0
"""Images on shelves: each in a table of a SQLite database, as boxes of a fixed size.

A stand-in for a medium of one's own. What it shows: all or nothing, any range, names that are taken
once, errors in the words of the contract, and no more than one box in memory.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from typing import Any

from oslo_config import cfg

from glance_lite.store import (
    BadStoreConfiguration,
    BadStoreUri,
    Cap,
    ObjectExists,
    ObjectNotFound,
    Source,
    StoreDriver,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

#: Bytes of a box.
BOX = 1024 * 1024

TABLES = """
CREATE TABLE IF NOT EXISTS things (name TEXT PRIMARY KEY, size INTEGER, stored REAL);
CREATE TABLE IF NOT EXISTS boxes (name TEXT, number INTEGER, data BLOB, PRIMARY KEY (name, number));
"""

NAME = re.compile(r'[0-9A-Za-z][0-9A-Za-z._-]{0,254}')


class ShelfStore(StoreDriver):
    """Boxes on a shelf."""

    schemes = ('shelf',)
    private_schemes = schemes
    caps = Cap.WRITE | Cap.LIST
    io = 'native'  # SQLite blocks
    opts = [
        cfg.StrOpt('shelf_file', help='The database. Its directory must exist.'),
        cfg.IntOpt('shelf_size', default=0, min=0, help='Most bytes on the shelf; 0: any number.'),
    ]

    # --- start

    def start(self) -> None:
        self._file = self.settings['shelf_file']
        if not self._file:
            raise BadStoreConfiguration(f'[{self.name}] shelf_file: it must be set')
        if not os.path.isabs(self._file):
            raise BadStoreConfiguration(f'[{self.name}] shelf_file: {self._file} is not absolute')
        with self._opened() as database:
            database.executescript(TABLES)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own, so that any thread may call any verb."""
        if not os.path.isdir(os.path.dirname(self._file)):
            raise StoreUnavailable(f'The shelf of store {self.name} is gone')
        try:
            with contextlib.closing(sqlite3.connect(self._file, 30)) as database, database:
                yield database
        except sqlite3.Error as ex:
            # The text of the error may carry paths; its kind says enough.
            raise StoreUnavailable(f'Store {self.name} failed: {type(ex).__name__}') from ex

    # --- names

    def parse(self, url: str) -> str:
        scheme, _, rest = url.partition('://')
        store, _, key = rest.partition('/')
        if scheme != 'shelf' or store != self.name or not NAME.fullmatch(key):
            raise BadStoreUri(f'Not a url of store {self.name}')
        return key

    def locate(self, name: str) -> tuple[str, ...]:
        return (f'shelf://{self.name}/{name}',)

    # --- in

    def add(self, name: str, source: Source, size: int | None) -> str:
        """Boxes lie under a name that nobody can ask for, until all of them are there."""
        hidden = f'.{name}.{os.urandom(8).hex()}'
        try:
            stored = self._fill(hidden, source, size)
            with self._opened() as database:
                values = (name, stored, time.time())
                # The name is taken and the boxes are moved, or neither is.
                database.execute('INSERT INTO things VALUES (?, ?, ?)', values)
                database.execute('UPDATE boxes SET name = ? WHERE name = ?', (name, hidden))
        except BaseException as ex:
            with contextlib.suppress(StoreError), self._opened() as database:
                database.execute('DELETE FROM boxes WHERE name = ?', (hidden,))
            if isinstance(ex.__cause__, sqlite3.IntegrityError):
                raise ObjectExists(f'Store {self.name} holds {name} already') from ex
            raise
        return self.locate(name)[0]

    def _fill(self, name: str, source: Source, size: int | None) -> int:
        """Put all of the source into boxes; how many bytes there were."""
        count = number = 0
        while size is None or count < size:
            box = self._box(source, None if size is None else size - count)
            if not box:
                break
            count += len(box)
            with self._opened() as database:
                self._check_room(database, len(box))
                database.execute('INSERT INTO boxes VALUES (?, ?, ?)', (name, number, box))
            number += 1
            if len(box) < BOX:
                break  # the source has ended, and must not be asked again
        if size is not None and count < size:
            raise StoreError(f'{size} bytes were promised and {count} came')
        return count

    @staticmethod
    def _box(source: Source, left: int | None) -> bytes:
        """A full box, or what is left; not a byte more than that is asked for."""
        wanted = BOX if left is None else min(BOX, left)
        box = bytearray()
        while len(box) < wanted:
            chunk = source.read(wanted - len(box))
            if not chunk:
                break
            box += chunk
        return bytes(box)

    def _check_room(self, database: sqlite3.Connection, more: int) -> None:
        limit = self.settings['shelf_size']
        if not limit:
            return
        (used,) = database.execute('SELECT total(length(data)) FROM boxes').fetchone()
        if used + more > limit:
            raise StoreFull(f'Store {self.name} is full')

    # --- out

    def size(self, key: str) -> int:
        with self._opened() as database:
            row = database.execute('SELECT size FROM things WHERE name = ?', (key,)).fetchone()
        if row is None:
            raise ObjectNotFound(f'Store {self.name} does not hold the data')
        return int(row[0])

    def get(self, key: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        end = self.size(key)  # it is missed at once, not at the first chunk
        if length is not None:
            end = min(end, offset + length)
        return self._boxes(key, offset, end)

    def _boxes(self, key: str, offset: int, end: int) -> Iterator[bytes]:
        query = 'SELECT data FROM boxes WHERE name = ? AND number = ?'
        while offset < end:
            number, skip = divmod(offset, BOX)
            with self._opened() as database:
                row = database.execute(query, (key, number)).fetchone()
            if row is None:
                raise StoreUnavailable(f'Store {self.name} has lost a box')
            chunk = row[0][skip : skip + end - offset]
            offset += len(chunk)
            yield chunk

    def delete(self, key: str) -> None:
        with self._opened() as database:
            gone = database.execute('DELETE FROM things WHERE name = ?', (key,)).rowcount
            database.execute('DELETE FROM boxes WHERE name = ?', (key,))
        if not gone:
            raise ObjectNotFound(f'Store {self.name} does not hold the data')

    def list(self) -> Iterator[tuple[str, int, float]]:
        with self._opened() as database:
            rows = database.execute('SELECT name, size, stored FROM things').fetchall()
        for name, size, stored in rows:
            yield self.locate(name)[0], size, stored

    # --- for people

    def describe(self) -> Mapping[str, Any]:
        return {'size': self.settings['shelf_size']}

    def check(self) -> None:
        with self._opened() as database:
            database.execute('SELECT 1 FROM things LIMIT 1').fetchone()
