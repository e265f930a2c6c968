# SPDX-License-Identifier: Apache-2.0
"""Looking at stored data again: whether it is there, and what it was."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from glance_lite.audit.values import (
    DAMAGED,
    HASH,
    MISSING,
    TRUNCATED,
    WRONG_SIZE,
    Finding,
    Looked,
    Surveyed,
)
from glance_lite.errors import ObjectNotFound, StoreError
from glance_lite.model import Digests, Wanted
from glance_lite.store import Cap
from glance_lite.stream import Digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from glance_lite.audit.values import Copy, Looking
    from glance_lite.gateway import Gateway
    from glance_lite.model import Image
    from glance_lite.store_serving import Store


class Audits:
    """Looks at one copy at a time."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def survey(self) -> tuple[Surveyed, ...]:
        """The stores that are configured."""
        return tuple(
            Surveyed(
                store.id, not (store.read_only or store.reserved), Cap.LIST in store.driver.caps
            )
            for store in self._gateway.stores.values()
        )

    def look(self, looking: Looking) -> Looked:
        """What is wrong with a copy. `StoreError`: it cannot be looked at."""
        store = self._gateway.find(looking.copy.location)
        meant = not store.read_only if looking.stores is None else store.id in looking.stores
        return Looked(meant, self._look(store, looking) if meant else None)

    def _look(self, store: Store, looking: Looking) -> Finding | None:
        copy = looking.copy
        try:
            return self._size(store, copy) or self._data(store, looking)
        except ObjectNotFound:
            # In a directory that is not mounted nothing is found, either.
            store.run(store.driver.check)
            doubtful = self._is_empty(store)
            where = ', nor is anything else' if doubtful else ''
            return self._finding(store, copy, MISSING, f'There is nothing there{where}', doubtful)

    def _size(self, store: Store, copy: Copy) -> Finding | None:
        size = store.size(copy.location.url)
        if copy.size is None or size == copy.size:
            return None
        fault = TRUNCATED if size < copy.size else WRONG_SIZE
        return self._finding(store, copy, fault, f'There are {size} bytes, and not {copy.size}')

    def _data(self, store: Store, looking: Looking) -> Finding | None:
        copy = looking.copy
        algorithm, wanted = copy.os_hash_algo, copy.os_hash_value
        if not algorithm or not wanted or algorithm not in hashlib.algorithms_available:
            algorithm, wanted = 'md5', copy.checksum
        if looking.depth != HASH or not wanted:
            return None  # nobody has ever said what it should be
        digest = Digest(algorithm)
        try:
            data = self._gateway.open(copy.image(), Wanted())
            try:
                for chunk in data:
                    digest.update(chunk)
                    looking.told(len(chunk))
            finally:
                data.close()
            if digest.hexdigest() == wanted:
                return None
        finally:
            digest.join()
        return self._finding(store, copy, DAMAGED, f'The {algorithm} is another one')

    @staticmethod
    def _finding(
        store: Store, copy: Copy, fault: str, text: str, doubtful: bool = False
    ) -> Finding:
        shown = store.driver.redact(copy.location.url)
        return Finding(fault, copy.image_id, store.id, shown, text, copy.location.id, doubtful)

    @staticmethod
    def _is_empty(store: Store) -> bool:
        """Whether a store that can list holds nothing at all: something is wrong with it."""
        if Cap.LIST not in store.driver.caps:
            return False
        return store.run(lambda: next(iter(store.driver.list()), None)) is None

    # --- hashes

    def hash(self, image: Image, algorithm: str, told: Callable[[int], None]) -> Digests:
        """What the data of an image is. `StoreError`: it cannot be read, or has another size."""
        where = self._gateway.order(image.locations)[0]
        size = self._gateway.size(where)
        if image.size is not None and size != image.size:
            raise StoreError(f'There are {size} bytes, and not {image.size}')
        value, checksum = Digest(algorithm), Digest('md5')
        data = self._gateway.open(image.replace(locations=(where,)), Wanted())
        try:
            for chunk in data:
                value.update(chunk)
                checksum.update(chunk)
                told(len(chunk))
            return Digests(checksum.hexdigest(), algorithm, value.hexdigest())
        finally:
            value.join()
            checksum.join()
            data.close()
