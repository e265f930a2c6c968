# SPDX-License-Identifier: Apache-2.0
"""What a worker tells its master: that it lives, or why it could not start."""

from __future__ import annotations

import mmap
import struct
import time

_BEAT = struct.Struct('d')
_LENGTH = struct.Struct('H')


class Heart:
    """A page of memory that both processes have: nothing to read, nothing that can block."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    def beat(self) -> None:
        _BEAT.pack_into(self._page, 0, time.monotonic())

    def last(self) -> float:
        """When it beat; 0 before the worker is ready."""
        beat: float = _BEAT.unpack_from(self._page, 0)[0]
        return beat

    def complain(self, sentence: str) -> None:
        """Say why there will be no beat."""
        offset = _BEAT.size + _LENGTH.size
        text = sentence.encode()[: mmap.PAGESIZE - offset]
        _LENGTH.pack_into(self._page, _BEAT.size, len(text))
        self._page[offset : offset + len(text)] = text

    def complaint(self) -> str:
        length = _LENGTH.unpack_from(self._page, _BEAT.size)[0]
        offset = _BEAT.size + _LENGTH.size
        return self._page[offset : offset + length].decode(errors='replace')
