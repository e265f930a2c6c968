# SPDX-License-Identifier: Apache-2.0
"""All images of one side are brought to another one, or compared with it, several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

from glance_lite.replication.peer import Peer
from glance_lite.replication.record import Record, ReplicationError, shown
from glance_lite.replication.transfer import Outcome, Stopped, Wishes, done, failed

Bring = Callable[[Record], Outcome]


class Run:
    """One run. ``stop`` ends it between two chunks."""

    def __init__(self, workers: int, told: Callable[[int], None]) -> None:
        """`told` is called with bytes that have passed, by one thread at a time."""
        self._workers = workers
        self._told = told
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def passed(self, count: int) -> None:
        """So many bytes have passed. `Stopped`."""
        if self._stopped.is_set():
            raise Stopped('interrupted')
        with self._lock:
            self._told(count)

    def each(self, records: Iterable[Record], bring: Bring) -> Iterator[Outcome]:
        """What comes of each, in the order in which they are done."""

        def one(record: Record) -> Outcome:
            try:
                if self._stopped.is_set():
                    raise Stopped(f'{record.id}: interrupted')
                return bring(record)
            except ReplicationError as ex:
                return failed(record, ex.message)
            except OSError as ex:
                return failed(record, f'{record.id}: {ex.strerror or shown(ex)}')

        with ThreadPoolExecutor(self._workers, 'replication') as pool:
            futures = [pool.submit(one, record) for record in records]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except BaseException:
                self._stopped.set()
                pool.shutdown(cancel_futures=True)
                raise


def chosen(
    found: Iterable[Record | ReplicationError], ids: Collection[str]
) -> tuple[list[Record], list[Outcome]]:
    """The records that are asked for (all, if no ids are named), and what is wrong with others."""
    records, faults = [], []
    for item in found:
        if isinstance(item, ReplicationError):
            faults.append(Outcome('', None, 'failed', item.message))
        elif not ids or item.id in ids:
            records.append(item)
    there = {record.id for record in records}
    faults += [
        Outcome(image_id, None, 'failed', f'{image_id}: there is no such image')
        for image_id in sorted(set(ids) - there)
    ]
    return records, faults


def comparing(target: Peer, wishes: Wishes) -> Bring:
    """Compares an image with that of the same id at `target`."""

    def compare(record: Record) -> Outcome:
        there = target.show(record.id)
        if there is None:
            return done(record, 'missing')
        changes = record.differences(there, wishes.left_out)
        if record.status != there.status:
            changes['status'] = (record.status, there.status)
        looked_at = not wishes.metadata_only and record.has_data and there.has_data
        if looked_at and record.same_data(there) is False:
            changes['data'] = (_digest(record), _digest(there))
        if changes:
            return done(record, 'differs', differences=changes)
        return done(record, 'same')

    return compare


def _digest(record: Record) -> str:
    return f'{record.size} bytes, {record.hash_algorithm} {record.hash_value or record.checksum}'


def removing(target: Peer, wishes: Wishes) -> Bring:
    """Removes an image that the other side does not have."""

    def remove(record: Record) -> Outcome:
        if record.attributes.get('protected'):
            return failed(record, f'{record.id}: it is to be removed there, and is protected')
        if not wishes.dry_run:
            target.delete(record.id)
        return done(record, 'removed')

    return remove
