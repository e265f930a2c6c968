# SPDX-License-Identifier: Apache-2.0
"""The old way to change locations: what the steps of a patch make of those an image has.

Steps work on the list one after another, as in Glance. Nothing here asks a store.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from glance_lite.errors import Conflict, Forbidden, Invalid
from glance_lite.model import Image, Location, LocationStep, NewLocation, Relocation

Entry = Location | NewLocation


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, and what must be looked at before."""

    #: fields of the image that change with it: status, digests
    fields: Mapping[str, Any]
    relocation: Relocation
    #: those of which nobody knows yet whether there is anything
    unknown: tuple[NewLocation, ...]


def plan(image: Image, steps: Iterable[LocationStep], algorithm: str) -> Plan:
    """Work steps out. `algorithm` is the one of os_hash_value here.

    `Conflict`: the status or the digests do not allow it. `Forbidden`: none would be left.
    `Invalid`: a position, a location twice, others than before.
    """
    work = _Work(image, algorithm)
    for step in steps:
        work.take(step)
    return work.plan()


class _Work:
    def __init__(self, image: Image, algorithm: str) -> None:
        self._image = image
        self._algorithm = algorithm
        self._entries: list[Entry] = list(image.locations)
        self._status = image.status
        self._digests: dict[str, str] = {}
        self._drop: set[int] = set()
        self._remove: set[int] = set()
        #: urls that the image had already, so that nobody looks at them again
        self._known = frozenset(found.url for found in image.locations)
        self._unknown: list[NewLocation] = []

    def take(self, step: LocationStep) -> None:
        allowed = ('active',) if step.op == 'remove' else ('active', 'queued')
        if self._status not in allowed:
            raise Conflict(f'Locations of an image in status {self._status} cannot be changed')
        if step.op == 'remove':
            self._take_off(step.position)
            return
        self._believe(step.values)
        if step.op == 'add':
            (new,) = step.values
            at = _position(step.position, len(self._entries))
            if any(_same(new, entry) for entry in self._entries):
                raise Invalid('The image has this location already')
            self._entries.insert(at, new)
            self._unknown.append(new)
        else:
            self._replace(step.values)
        if self._status == 'queued':
            if not self._image.disk_format or not self._image.container_format:
                raise Invalid('disk_format and container_format must be set before locations are')
            self._status = 'active'

    def _replace(self, values: tuple[NewLocation, ...]) -> None:
        before = sorted(entry.url for entry in self._entries)
        if before and before != sorted(new.url for new in values):
            raise Invalid('Locations that are there can only be replaced with other metadata')
        for number, new in enumerate(values):
            if any(_same(new, other) for other in values[:number]):
                raise Invalid('A location is there twice')
        if not before:
            self._unknown.extend(values)
        self._drop |= {entry.id for entry in self._entries if isinstance(entry, Location)}
        self._entries = list(values)

    def _take_off(self, position: str) -> None:
        if len(self._entries) == 1:
            raise Forbidden('The last location of an image cannot be removed')
        last = len(self._entries) - 1
        at = last if position == '-' else _position(position, last)
        if at > last:
            raise Invalid(f'There is no location {position[:20]}')
        entry = self._entries.pop(at)
        if isinstance(entry, Location):
            self._remove.add(entry.id)
        elif entry in self._unknown:
            self._unknown.remove(entry)
        else:
            # It took the place of a row that names the same bytes.
            before = {found.id for found in self._image.locations if found.url == entry.url}
            self._remove |= before & self._drop
            self._drop -= before

    def _believe(self, values: Iterable[NewLocation]) -> None:
        """Take over digests that clients give, where they contradict nothing."""
        given: dict[str, str] = {}
        for new in values:
            for name, value in new.validation.items():
                if given.setdefault(name, value) != value:
                    raise Conflict(f'There are two values of {name}')
        fresh = {}
        for name, value in given.items():
            known = self._digests.get(name) or getattr(self._image, name)
            if known and known != value:
                raise Conflict(f'{name} has another value already')
            if not known:
                fresh[name] = value
        if not fresh:
            return
        if self._status != 'queued':
            raise Conflict('Digests can be given only while the image is queued')
        if 'checksum' in fresh:
            check_digest('checksum', 'md5', fresh['checksum'], Conflict)
        if fresh.get('os_hash_algo') != self._algorithm:
            raise Conflict(f'os_hash_algo must be {self._algorithm}')
        check_digest('os_hash_value', self._algorithm, fresh['os_hash_value'], Conflict)
        self._digests |= fresh

    def plan(self) -> Plan:
        fields: dict[str, Any] = dict(self._digests)
        if self._status != self._image.status:
            fields['status'] = self._status
        return Plan(
            fields,
            Relocation(
                expected=tuple(sorted(found.id for found in self._image.locations)),
                add=tuple(
                    Location(0, entry.url, entry.metadata)
                    for entry in self._entries
                    if isinstance(entry, NewLocation)
                ),
                drop=frozenset(self._drop),
                remove=frozenset(self._remove),
            ),
            tuple(self._unknown),
        )


def _same(new: NewLocation, other: Entry) -> bool:
    return new.url == other.url and dict(new.metadata) == dict(other.metadata)


def _position(text: str, end: int) -> int:
    if text == '-':
        return end
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Invalid(f'{text[:20]!r} is no position in a list')
    return int(text)


def check_digest(name: str, algorithm: str, value: str, error: type[Exception] = Invalid) -> None:
    """Whether `value` can be a hexadecimal digest by `algorithm`. Raises `error`."""
    try:
        size = len(bytes.fromhex(value))
    except ValueError:
        raise error(f'{name} is not hexadecimal') from None
    wanted = hashlib.new(algorithm, usedforsecurity=False).digest_size
    if size != wanted or len(value) != 2 * wanted:
        raise error(f'{name} must have {wanted} bytes for {algorithm}')
