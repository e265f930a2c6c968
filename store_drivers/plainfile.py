# SPDX-License-Identifier: Apache-2.0
"""How a file comes into a directory so that its name never holds half of it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from typing import Any

#: Start of the hidden name of a file that is being written, where it must have one.
PARTIAL = '.partial-'

#: Start writing back to disk each time this many bytes have been written, so that the flush
#: at the end has little left to do.
WRITE_BACK = 8 * 1024 * 1024
_SYNC_FILE_RANGE_WRITE = 2

#: Bytes that the kernel copies in one call.
STEP = 64 * 1024 * 1024

#: Holes are made in units of this many bytes.
BLOCK = 64 * 1024
_ZEROS = bytes(BLOCK)

#: What the kernel says where it cannot copy between two files by itself.
_NOT_BY_KERNEL = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM)


class NotCopied(Exception):
    """The kernel cannot copy between these two files."""


@contextlib.contextmanager
def unnamed(directory: str, name: str) -> Iterator[tuple[int, str]]:
    """A descriptor to write to and the path to link from; nothing is left of it after."""
    try:
        descriptor = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        hidden = ''
    except OSError as ex:
        if ex.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
            raise
        hidden = os.path.join(directory, f'{PARTIAL}{name}-{uuid.uuid4().hex}')
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        descriptor = os.open(hidden, flags, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield descriptor, hidden or f'/proc/self/fd/{descriptor}'
    finally:
        if hidden:
            with contextlib.suppress(OSError):
                os.unlink(hidden)  # the next start tries again
        os.close(descriptor)


def remove_partials(directory: str) -> None:
    """Remove what a crash left. A file that is still being written is locked."""
    for entry in os.scandir(directory):
        if not entry.name.startswith(PARTIAL):
            continue
        with contextlib.suppress(OSError), open(entry.path, 'rb') as partial:
            fcntl.flock(partial, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(entry.path)


def publish(descriptor: int, hidden: str, path: str) -> None:
    """Give a file its name, for good. `FileExistsError`: somebody has the name."""
    os.fsync(descriptor)
    # Any directory descriptor makes Python call linkat, which follows the link of /proc; both
    # paths are absolute, so it is not looked at.
    os.link(hidden, path, src_dir_fd=descriptor, follow_symlinks=True)
    _sync_name(path)


def _sync_name(path: str) -> None:
    """The name itself must survive a crash, too; one that might not is taken back."""
    try:
        descriptor = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


class Writer:
    """Writes chunks one after another; ``thin`` leaves holes where there are only zeros."""

    def __init__(self, descriptor: int, thin: bool) -> None:
        self._descriptor = descriptor
        self._thin = thin
        #: bytes so far
        self.written = 0
        self._flushed = 0

    def write(self, chunk: bytes | memoryview) -> None:
        if self._thin:
            self._write_thin(chunk)
        else:
            _write_all(self._descriptor, chunk)
        self.written += len(chunk)
        if self.written - self._flushed >= WRITE_BACK:
            _start_write_back(self._descriptor, self._flushed, self.written - self._flushed)
            self._flushed = self.written

    def _write_thin(self, chunk: bytes | memoryview) -> None:
        view = memoryview(chunk)
        for start in range(0, len(view), BLOCK):
            block = view[start : start + BLOCK]
            if block == _ZEROS[: len(block)]:
                os.lseek(self._descriptor, len(block), os.SEEK_CUR)
            else:
                _write_all(self._descriptor, block)

    def end(self) -> None:
        """There is no more: a hole at the end counts."""
        if self._thin:
            os.ftruncate(self._descriptor, self.written)


def copy(source: int, target: int, size: int) -> None:
    """Have the kernel copy all `size` bytes, holes as holes; where it can, they share the blocks.

    `NotCopied`: it cannot.
    """
    offset = 0
    while offset < size:
        try:
            offset = os.lseek(source, offset, os.SEEK_DATA)
        except OSError as ex:
            if ex.errno != errno.ENXIO:
                raise
            break  # nothing but a hole follows
        end = min(size, os.lseek(source, offset, os.SEEK_HOLE))
        while offset < end:
            offset += _copy_step(source, target, offset, min(STEP, end - offset))
    os.ftruncate(target, size)


def _copy_step(source: int, target: int, offset: int, count: int) -> int:
    try:
        copied = os.copy_file_range(source, target, count, offset, offset)
    except OSError as ex:
        if ex.errno in _NOT_BY_KERNEL:
            raise NotCopied from ex
        raise
    if not copied:  # some file systems say nothing and do nothing
        raise NotCopied
    _start_write_back(target, offset, copied)
    return copied


def _write_all(descriptor: int, chunk: bytes | memoryview) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _start_write_back(descriptor: int, offset: int, length: int) -> None:
    """Ask the kernel to begin writing a range to disk; nothing waits for it. Linux only."""
    if _sync_file_range is not None:
        _sync_file_range(descriptor, offset, length, _SYNC_FILE_RANGE_WRITE)


try:
    _sync_file_range: Any = ctypes.CDLL(None).sync_file_range
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
except AttributeError:
    _sync_file_range = None
