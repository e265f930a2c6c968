# SPDX-License-Identifier: Apache-2.0
"""One image is brought to another service, or to a directory.

At a service it is made first, queued; then its data is sent, and the last of it only when all
was as promised. Who breaks off in between leaves an image that is queued, which the next run goes
on with.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Iterator
from typing import Any, Protocol

from glance_lite.replication.digests import Digests, WrongData, verified
from glance_lite.replication.directory import Directory
from glance_lite.replication.peer import Broken, Peer, Told
from glance_lite.replication.record import Record, ReplicationError

#: Statuses of an image that somebody is giving its data.
BUSY = frozenset({'saving', 'uploading', 'importing'})

Differences = dict[str, tuple[Any, Any]]


class Stopped(ReplicationError):
    """It was interrupted."""


class Source(Protocol):
    """Where the data of images comes from: a service or a directory."""

    def read(self, record: Record, offset: int = 0) -> Iterator[bytes]: ...


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What has come of one image; with ``dry_run`` what would."""

    image: str
    name: str | None
    #: created, completed (it was queued there), updated, same, skipped, dumped, removed, failed;
    #: of a comparison: same, missing, differs
    action: str
    problem: str | None = None
    size: int = 0
    differences: Differences = dataclasses.field(default_factory=dict)

    @property
    def failed(self) -> bool:
        return self.action == 'failed'


@dataclasses.dataclass(frozen=True)
class Wishes:
    """How it shall be done."""

    left_out: Collection[str] = ()
    update: bool = False
    metadata_only: bool = False
    dry_run: bool = False
    attempts: int = 3
    #: seconds for which an image is waited for that somebody else writes
    patience: float = 30.0


def failed(record: Record, problem: object) -> Outcome:
    return Outcome(record.id, record.attributes.get('name'), 'failed', str(problem))


def done(record: Record, action: str, **more: Any) -> Outcome:
    return Outcome(record.id, record.attributes.get('name'), action, **more)


class ToService:
    """Brings images to a service."""

    def __init__(self, source: Source, target: Peer, wishes: Wishes, told: Told) -> None:
        """`told` is called with the bytes that have passed since the last time."""
        self._source = source
        self._target = target
        self._wishes = wishes
        self._told = told

    def bring(self, record: Record) -> Outcome:
        """`ReplicationError`: why it could not be done."""
        if not record.has_data and not self._wishes.metadata_only:
            return done(record, 'skipped', problem=f'it is {record.status}')
        absent, attempt = False, 1
        while True:
            try:
                there = self._settled(record.id)
                absent = absent or there is None
                outcome = self._once(record, there)
                return dataclasses.replace(outcome, action='created') if absent else outcome
            except (Broken, WrongData):
                # What is done already is found to be so the next time.
                if attempt >= self._wishes.attempts:
                    raise
            time.sleep(min(30.0, 0.5 * 2**attempt))
            attempt += 1

    def _once(self, record: Record, there: Record | None) -> Outcome:
        if there is None:
            return self._make(record)
        if there.status == 'queued' and record.has_data and not self._wishes.metadata_only:
            return self._complete(record, there)
        if record.has_data and there.status in ('active', 'deactivated'):
            if record.same_data(there) is False:
                raise ReplicationError(f'{record.id}: its data is not the same there')
        elif there.status not in ('queued', 'active', 'deactivated'):
            raise ReplicationError(f'{record.id}: it is {there.status} there')
        return self._refresh(record, there)

    def _settled(self, image_id: str) -> Record | None:
        """The image as it is there; waits for one that is being given its data."""
        deadline = time.monotonic() + self._wishes.patience
        while (there := self._target.show(image_id)) is not None and there.status in BUSY:
            if time.monotonic() > deadline:
                raise ReplicationError(
                    f'{image_id}: somebody else gives it data, it is {there.status}'
                )
            time.sleep(0.5)
        return there

    def _differences(self, there: Record, record: Record) -> Differences:
        """What is to be changed. A service gives defaults to what the record does not speak of."""
        return {
            name: (old, new)
            for name, (old, new) in there.differences(record, self._wishes.left_out).items()
            if new is not None or name not in there.attributes or name in record.attributes
        }

    def _refresh(self, record: Record, there: Record) -> Outcome:
        changes = self._differences(there, record)
        if not changes:
            return done(record, 'same')
        if not self._wishes.update:
            return done(record, 'same', differences=changes)
        if not self._wishes.dry_run:
            self._target.update(record.id, changes)
        return done(record, 'updated', differences=changes)

    def _make(self, record: Record) -> Outcome:
        values = record.wanted(self._wishes.left_out)
        if not self._wishes.dry_run:
            self._target.create(
                record.id, {name: value for name, value in values.items() if value is not None}
            )
            self._send(record)
        return done(record, 'created', size=self._size(record))

    def _complete(self, record: Record, there: Record) -> Outcome:
        if not self._wishes.dry_run:
            self._target.update(record.id, self._differences(there, record))
            self._send(record)
        return done(record, 'completed', size=self._size(record))

    def _size(self, record: Record) -> int:
        return 0 if self._wishes.metadata_only else record.size or 0

    def _remove(self, there: Record) -> None:
        if there.attributes.get('protected'):
            self._target.update(there.id, {'protected': (True, False)})
        self._target.delete(there.id)

    # --- data

    def _send(self, record: Record) -> None:
        if self._wishes.metadata_only:
            return
        if record.size is None:
            raise ReplicationError(f'{record.id}: nobody knows its size')
        digests = Digests(record)
        passed = 0

        def counted() -> Iterator[bytes]:
            nonlocal passed
            for chunk in self._source.read(record):
                passed += len(chunk)
                self._told(len(chunk))
                yield chunk

        try:
            self._target.upload(record.id, verified(counted(), record, digests), record.size)
        except ReplicationError:
            if self._whole(record, digests):
                return
            self._told(-passed)
            raise
        there = self._target.show(record.id)
        if there is None or there.status != 'active':
            status = there.status if there else 'gone'
            raise ReplicationError(f'{record.id}: all was sent, and it is {status} there')
        try:
            digests.verify(there)
        except WrongData as ex:
            self._remove(there)
            raise ReplicationError(f'{ex} there, and it is removed') from None

    def _whole(self, record: Record, digests: Digests) -> bool:
        """Whether all has arrived though the answer was lost.

        A service that has made an image of what it got so far must not keep it.
        """
        there = self._settled(record.id)
        if there is None or there.status != 'active':
            return False
        try:
            digests.verify()
            digests.verify(there)
        except WrongData:
            self._remove(there)
            raise ReplicationError(f'{record.id}: it was cut short there, and is removed') from None
        return True


class ToDirectory:
    """Brings images to a directory."""

    def __init__(self, source: Peer, target: Directory, wishes: Wishes, told: Told) -> None:
        self._source = source
        self._target = target
        self._wishes = wishes
        self._told = told

    def bring(self, record: Record) -> Outcome:
        """`ReplicationError`: why it could not be done."""
        document = record.document()
        if self._wishes.metadata_only:
            whole = self._target.has(record)
            return self._write(record, document if whole else {**document, 'status': 'queued'})
        if not record.has_data:
            return done(record, 'skipped', problem=f'it is {record.status}')
        if record.size is None:
            raise ReplicationError(f'{record.id}: nobody knows its size')
        if self._target.has(record):
            known = self._target.known(record.id)
            if known is not None and not known.differences(record, ()):
                return done(record, 'same')
            return self._write(record, document)
        size = self._target.missing(record)
        if not self._wishes.dry_run:
            self._target.fetch(record, self._source, self._told)
        return self._write(record, document, size)

    def _write(self, record: Record, document: dict[str, Any], size: int = 0) -> Outcome:
        if not self._wishes.dry_run:
            self._target.write(record, document)
        return done(record, 'dumped', size=size)
