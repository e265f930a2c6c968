# SPDX-License-Identifier: Apache-2.0
"""A store in the memory of the process: for tests, and the shortest complete driver to read."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from oslo_config import cfg

from glance_lite.store import (
    BadStoreUri,
    Cap,
    ObjectExists,
    ObjectNotFound,
    Source,
    StoreDriver,
    StoreFull,
)

PREFIX = 'memory://'


class MemoryStore(StoreDriver):
    """Keeps everything in a dictionary, and loses it with the process."""

    schemes = ('memory',)
    caps = Cap.WRITE | Cap.LIST
    io = 'socket'  # it never blocks
    opts = [
        cfg.IntOpt('memory_store_size', min=0, help='Most bytes the store takes; no limit if unset')
    ]

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        self._held: dict[str, tuple[bytes, float]] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Nothing to open."""

    def parse(self, url: str) -> str:
        store, _, key = url.removeprefix(PREFIX).partition('/')
        if not url.startswith(PREFIX) or store != self.name or not key or '/' in key:
            raise BadStoreUri(f'Not a url of store {self.name}')
        return key

    def add(self, name: str, source: Source, size: int | None) -> str:
        if name in self._held:
            raise ObjectExists(f'Store {self.name} holds {name} already')
        room = self.settings['memory_store_size']
        data = bytearray()
        while size is None or len(data) < size:
            chunk = source.read(self.chunk_size if size is None else size - len(data))
            if not chunk:
                break
            data += chunk
            if (
                room is not None
                and sum(len(held) for held, _ in self._held.values()) + len(data) > room
            ):
                raise StoreFull(f'Store {self.name} is full')
        with self._lock:
            if name in self._held:
                raise ObjectExists(f'Store {self.name} holds {name} already')
            self._held[name] = bytes(data), time.time()
        return self.locate(name)[0]

    def _data(self, key: str) -> bytes:
        try:
            return self._held[key][0]
        except KeyError:
            raise ObjectNotFound(f'Store {self.name} holds no {key}') from None

    def get(self, key: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        data = self._data(key)
        end = len(data) if length is None else min(len(data), offset + length)
        size = self.chunk_size
        return (data[at : min(at + size, end)] for at in range(offset, end, size))

    def size(self, key: str) -> int:
        return len(self._data(key))

    def delete(self, key: str) -> None:
        with self._lock:
            self._data(key)
            del self._held[key]

    def locate(self, name: str) -> tuple[str, ...]:
        return (f'{PREFIX}{self.name}/{name}',)

    def list(self) -> Iterator[tuple[str, int, float]]:
        for name, (data, when) in list(self._held.items()):
            yield f'{PREFIX}{self.name}/{name}', len(data), when
