# SPDX-License-Identifier: Apache-2.0
"""A mount that hangs, as one does whose server is gone.

A FUSE file system that nobody serves: whoever looks into it waits in the kernel, natively, and no
signal handler of Python runs. When it heals all that waited fails, and what was there before the
mount is there again.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
from collections.abc import Iterator

import pytest

from tests.backends import databases

_LIBC = ctypes.CDLL(None, use_errno=True)
_DETACH = 2


class HungMount:
    """A directory that hangs between `hang` and `heal`."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = str(directory).encode()
        self._device = -1

    def hang(self) -> None:
        device = os.open('/dev/fuse', os.O_RDWR | os.O_CLOEXEC)
        options = f'fd={device},rootmode=40000,user_id=0,group_id=0,allow_other'.encode()
        if _LIBC.mount(b'hung', self._directory, b'fuse.hung', 0, options):
            os.close(device)
            raise OSError(ctypes.get_errno(), 'it cannot be mounted')
        self._device = device

    def heal(self) -> None:
        if self._device < 0:
            return
        # Detached first: whoever waited and tries again must find what lies beneath.
        _LIBC.umount2(self._directory, _DETACH)
        os.close(self._device)
        self._device = -1


@contextlib.contextmanager
def hanging(directory: pathlib.Path) -> Iterator[HungMount]:
    """Skips, or fails where peers are demanded, if this process may not mount anything."""
    mount = HungMount(directory)
    try:
        mount.hang()
    except OSError as ex:
        reason = f'a mount that hangs cannot be made: {ex.strerror}'
        if os.environ.get(databases.REQUIRE) == '1':
            pytest.fail(reason)
        pytest.skip(reason)
    mount.heal()
    try:
        yield mount
    finally:
        mount.heal()
