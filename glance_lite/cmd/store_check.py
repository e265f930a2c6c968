# SPDX-License-Identifier: Apache-2.0
"""Whether a store does what it should: each verb is tried, and each fault is a sentence."""

from __future__ import annotations

import contextlib
import io
import uuid
from collections.abc import Callable, Iterator

from glance_lite.errors import GlanceLiteError, ObjectExists, ObjectNotFound, StoreError
from glance_lite.store import Key
from glance_lite.store_serving import Store

#: Bytes that are written: more than one chunk of most drivers, and no two of them alike.
DATA = b''.join(number.to_bytes(4, 'big') for number in range(600_000))


class Refused(Exception):
    """What a source raises that is to be refused at its end."""


class _Broken(io.BytesIO):
    """Breaks before its last byte."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() + (size or 0) >= len(DATA) - 1:
            raise Refused
        return super().read(size)


class Check:
    """Tries one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._driver = store.driver

    def faults(self, write: bool, step: Callable[[], None]) -> Iterator[str]:
        """A sentence for each thing that is wrong; `step` is called after each thing tried."""
        problem = self._start()
        step()
        if problem is None and write and not self._store.read_only:
            yield from self._round_trip(step)
        elif problem is not None:
            yield problem

    def _start(self) -> str | None:
        try:
            self._store.start()
        except GlanceLiteError as ex:
            return ex.message
        return self._store.health.problem or self._store.check()

    def _tried(self, what: str, function: Callable[[], str | None]) -> str | None:
        """What is wrong with it: what `function` says, or why it failed."""
        try:
            said = self._store.run(function, patient=True)
        except StoreError as ex:
            said = ex.message
        return None if said is None else f'Store {self._store.id} {what}: {said}'

    def _round_trip(self, step: Callable[[], None]) -> Iterator[str]:
        name, keys = str(uuid.uuid4()), []

        def add() -> str | None:
            url = self._driver.add(name, io.BytesIO(DATA), len(DATA))
            keys.append(self._driver.parse(url))
            return None

        problem = self._tried('cannot be written to', add)
        step()
        if problem is not None:
            yield problem
            return
        key = keys[0]
        trials: tuple[tuple[str, Callable[[], str | None]], ...] = (
            ('does not know the size of what it holds', lambda: self._size(key)),
            ('does not give back what was written', lambda: self._whole(key)),
            ('does not give the parts that are asked for', lambda: self._parts(key)),
            ('writes over what is there', lambda: self._twice(name)),
            ('takes no data of unknown size', self._unknown),
            ('keeps what was refused at its end', self._refused),
            ('does not remove what it should', lambda: self._delete(key)),
        )
        for what, trial in trials:
            problem = self._tried(what, trial)
            step()
            if problem is not None:
                yield problem

    #: how many times `step` is called
    STEPS = 9

    def _size(self, key: Key) -> str | None:
        size = self._driver.size(key)
        return None if size == len(DATA) else f'it says {size} bytes, and there are {len(DATA)}'

    def _read(self, key: Key, offset: int = 0, length: int | None = None) -> bytes:
        chunks = self._driver.get(key, offset, length)
        try:
            return b''.join(bytes(chunk) for chunk in chunks)
        finally:
            close = getattr(chunks, 'close', None)
            if close is not None:
                close()

    def _whole(self, key: Key) -> str | None:
        read = self._read(key)
        return None if read == DATA else f'{len(read)} bytes came back, and others'

    def _parts(self, key: Key) -> str | None:
        middle = len(DATA) // 2
        for offset, length in ((0, 1), (middle, 1000), (len(DATA) - 7, 7), (1, None)):
            end = None if length is None else offset + length
            if self._read(key, offset, length) != DATA[offset:end]:
                return f'{length or "all"} bytes from {offset} on are others'
        return None

    def _twice(self, name: str) -> str | None:
        with contextlib.suppress(ObjectExists):
            self._driver.add(name, io.BytesIO(DATA[::-1]), len(DATA))
            return 'a name was taken twice'
        return None

    def _unknown(self) -> str | None:
        url = self._driver.add(str(uuid.uuid4()), io.BytesIO(DATA), None)
        key = self._driver.parse(url)
        same = self._read(key) == DATA
        self._driver.delete(key)
        return None if same else 'other bytes came back'

    def _refused(self) -> str | None:
        name = str(uuid.uuid4())
        with contextlib.suppress(Refused):
            self._driver.add(name, _Broken(DATA), len(DATA))
            return 'it took what broke off'
        for url in self._driver.locate(name):
            with contextlib.suppress(ObjectNotFound):
                self._driver.size(self._driver.parse(url))
                return f'something is left under the name {name}'
        return None

    def _delete(self, key: Key) -> str | None:
        self._driver.delete(key)
        with contextlib.suppress(ObjectNotFound):
            self._driver.size(key)
            return 'what was removed is there still'
        return None
