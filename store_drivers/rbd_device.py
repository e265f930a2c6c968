# SPDX-License-Identifier: Apache-2.0
"""An open block device: several reads or writes on their way at a time, and no wait without an end.

When an OSD is silent, librbd's calls give up one after the other, and closing a device takes many
of them; some wait for ever. So whoever has been let down once does not wait any more: the device
is *parked* until librbd is done with it, and its connection takes no new work.
"""

from __future__ import annotations

import _queue
import collections
import contextlib
import errno
from collections.abc import Iterator
from typing import Any

from glance_lite.store import Source
from store_drivers.ceph import Cluster, Failed, Link, wait

#: Calls of a device that are on their way at a time, at first; and reads, at most: who takes what
#: comes slower than it comes has no use for more.
FIRST, MOST = 1, 16


class Device:
    """As a context: closed in the end, and all writes have succeeded unless it raises."""

    def __init__(self, cluster: Cluster, link: Link, image: Any) -> None:
        """`image`: an open ``rbd.Image``."""
        self._cluster = cluster
        self._link = link
        self.image = image
        #: how many calls may be on their way at a time
        self.depth = FIRST
        # (completion, what is told when it is there, bytes that librbd reads from until then)
        self._waiting: collections.deque[tuple[Any, Any, bytes]] = collections.deque()

    def __enter__(self) -> Device:
        return self

    def __exit__(self, kind: object, ex: BaseException | None, trace: object) -> None:
        try:
            if ex is None:
                self.join()
        except Failed as failed:
            ex = failed
            raise
        finally:
            self.close(patient=not self._cluster.is_silence(ex))

    def __len__(self) -> int:
        """Calls that are on their way."""
        return len(self._waiting)

    def write(self, data: bytes, offset: int) -> None:
        """Begin a write, when there is room for one. Raises what an earlier one failed with."""
        if len(self._waiting) >= self.depth:
            self._take()
        told = _queue.SimpleQueue()
        self._waiting.append((self.image.aio_write(data, offset, told.put), told, data))

    def read(self, offset: int, length: int) -> None:
        """Begin a read."""
        told = _queue.SimpleQueue()
        # It is called in a thread of librbd, which must not do more than this.
        completion = self.image.aio_read(offset, length, lambda _, data: told.put(data))
        self._waiting.append((completion, told, b''))

    def next_read(self) -> bytes:
        """What the first read has given."""
        if self._waiting[0][1].empty():
            self.depth = min(self.depth + 1, MOST)
        return bytes(self._take())

    def join(self) -> None:
        """Wait until nothing is on its way. `Failed`."""
        while self._waiting:
            self._take()

    def _take(self) -> Any:
        """Wait for the first call, and give what was told. `Failed`."""
        completion, told, _ = self._waiting[0]
        # Twice: what is known of the objects of a device may have to be written down before.
        found = wait(told, 2 * self._link.patience)
        self._waiting.popleft()
        code = int(completion.get_return_value())
        if code < 0:
            raise Failed(-code)
        return found

    def close(self, patient: bool = True) -> None:
        """Give it back. Not `patient`: without waiting. `Failed`, when it had to be parked."""
        image, self.image = self.image, None
        if image is None:
            return
        while patient and self._waiting:
            try:
                self._take()
            except Failed as ex:
                patient = ex.errno != errno.ETIMEDOUT
        told = _queue.SimpleQueue()
        image.aio_close(told.put)
        try:
            wait(told, 3 * self._link.patience if patient else 0.5)
        except Failed:
            self._cluster.park(self._link, told, (image, self._waiting))
            raise


class Reading(Iterator[bytes]):
    """The bytes of a device, read ahead of whoever takes them."""

    def __init__(
        self, cluster: Cluster, link: Link, device: Device, starts: range, end: int
    ) -> None:
        """`device` is closed in the end. `starts` of the pieces; `end`: of the last one."""
        self._cluster = cluster
        self._link = link
        self._device = device
        self._starts = iter(starts)
        self._step = starts.step
        self._end = end

    def __next__(self) -> bytes:
        try:
            self._read_ahead()
            if self._device:
                chunk = self._device.next_read()
                self._read_ahead()
                return chunk
        except self._cluster.errors as ex:
            self.close(patient=not self._cluster.is_silence(ex))
            raise self._cluster.told(ex, self._link) from ex
        self.close()
        raise StopIteration

    def _read_ahead(self) -> None:
        device = self._device
        while device.image is not None and len(device) < device.depth:
            start = next(self._starts, None)
            if start is None:
                return
            device.read(start, min(self._step, self._end - start))

    def close(self, patient: bool = True) -> None:
        with contextlib.suppress(Failed):
            self._device.close(patient)

    def __del__(self) -> None:
        self.close()


def read_piece(source: Source, size: int) -> bytes:
    """`size` bytes of a source, fewer at its end."""
    first = source.read(size)
    if len(first) == size or not first:
        return bytes(first)
    chunks, left = [first], size - len(first)
    while left and (chunk := source.read(left)):
        chunks.append(chunk)
        left -= len(chunk)
    return b''.join(chunks)
