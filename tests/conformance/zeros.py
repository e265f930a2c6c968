# SPDX-License-Identifier: Apache-2.0
"""A source as large as need be that takes no memory."""

from __future__ import annotations

MIB = 1024 * 1024


class Zeros:
    """So many zeros, or other bytes, none of which are kept."""

    def __init__(self, size, byte=b'\0'):
        self.size = size
        self.left = size
        self.data = byte * MIB

    def read(self, wanted):
        piece = min(wanted, self.left, MIB)
        self.left -= piece
        return memoryview(self.data)[:piece]
