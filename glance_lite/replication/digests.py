# SPDX-License-Identifier: Apache-2.0
"""Bytes are compared with what was said of them while they pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from glance_lite.replication.record import Record, ReplicationError

#: Kinds of `os_hash_algo` that are computed.
KNOWN = frozenset(name for name in hashlib.algorithms_guaranteed if not name.startswith('shake'))


class WrongData(ReplicationError):
    """The bytes are not those that were promised."""


class Digests:
    """Digests of bytes: MD5, and the algorithm that the record names."""

    def __init__(self, record: Record) -> None:
        self._record = record
        known = record.hash_algorithm in KNOWN
        self._algorithm = str(record.hash_algorithm) if known else 'sha512'
        self._hash = hashlib.new(self._algorithm, usedforsecurity=False)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size = 0

    def update(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self._md5.update(chunk)
        self.size += len(chunk)

    def verify(self, record: Record | None = None) -> None:
        """Compare with what a record says: the own one, or that of the other side. `WrongData`."""
        record = record or self._record
        if record.size is not None and record.size != self.size:
            raise WrongData(f'{record.id}: {self.size} bytes came, it should be {record.size}')
        if record.hash_algorithm == self._algorithm and record.hash_value is not None:
            if record.hash_value != self._hash.hexdigest():
                raise WrongData(f'{record.id}: the {self._algorithm} of the data is another one')
        elif record.checksum is not None and record.checksum != self._md5.hexdigest():
            raise WrongData(f'{record.id}: the checksum of the data is another one')


def verified(chunks: Iterable[bytes], record: Record, digests: Digests) -> Iterator[bytes]:
    """The chunks; the last one only when all of them are what the record says. `WrongData`.

    Who is given less than was announced keeps nothing, so that wrong bytes never make an image.
    """
    held = b''
    for chunk in chunks:
        if not chunk:
            continue
        digests.update(chunk)
        if record.size is not None and digests.size > record.size:
            raise WrongData(f'{record.id}: more than its {record.size} bytes came')
        if held:
            yield held
        held = chunk
    digests.verify()
    if held:
        yield held
