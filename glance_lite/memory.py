# SPDX-License-Identifier: Apache-2.0
"""Keeps a serving process small: glibc's allocator gives back what uploads have used.

By default glibc raises its own threshold for mapped blocks with the first chunk that is freed,
keeps all chunks after that in heaps of its own, one for several threads, and the process stays
as large as its busiest moment (mallopt(3), "dynamic mmap threshold").

PERF: the chunks in which data moves are not mapped. The kernel would clear each anew: 1 GiB that
is read from a socket took 0.8 seconds of processor time more, and from Ceph 1.3.
"""

from __future__ import annotations

import contextlib
import ctypes

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8

#: Bytes from which a block is mapped by itself, and given back when it is freed: more than a
#: chunk of 1 MiB and what the interpreter and the libraries put around it.
MAPPED = (1024 + 64) * 1024
#: Bytes at the end of the heap from which they are given back: some chunks.
TRIMMED = 4 * 1024 * 1024


def stay_small() -> None:
    """Set the allocator's limits, where it is glibc's."""
    # Another C library has no mallopt.
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, MAPPED)
        mallopt(M_TRIM_THRESHOLD, TRIMMED)
        mallopt(M_ARENA_MAX, 2)
