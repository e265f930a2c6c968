# SPDX-License-Identifier: Apache-2.0
"""The datastores of the vmware driver: which are configured, and what the server says of them."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterable

from glance_lite.store import BadStoreUri, ObjectExists, StoreFull, StoreUnavailable
from store_drivers.vsphere import Ref, Vsphere, text


class NoDatastore(StoreUnavailable):
    """The server does not know one that is configured."""


@dataclasses.dataclass(frozen=True)
class Datastore:
    """One of those that are configured."""

    datacenter: str
    name: str
    weight: int = dataclasses.field(default=0, compare=False)


def is_directory(path: str) -> bool:
    """Whether images may lie there: no step of it leads elsewhere."""
    steps = path.split('/')
    return bool(re.fullmatch('[ -~]+', path)) and not {'', '.', '..'} & set(steps)


def configured(entries: Iterable[str]) -> tuple[Datastore, ...]:
    """Of ``DATACENTER:DATASTORE:WEIGHT``. Raises `ValueError` in a sentence."""
    found: list[Datastore] = []
    for entry in entries:
        parts = [part.strip() for part in entry.rsplit(':', 2)]
        weight = parts[2] if len(parts) == 3 else ''
        if len(parts) < 2 or not all(parts[:2]) or not re.fullmatch(r'(-?\d+)?', weight):
            raise ValueError(f'{entry} is not DATACENTER:DATASTORE:WEIGHT')
        one = Datastore(parts[0], parts[1], int(weight or 0))
        if one in found:
            raise ValueError(f'{parts[0]}:{parts[1]} is there twice')
        found.append(one)
    return tuple(found)


@dataclasses.dataclass(frozen=True)
class Room:
    """What the server says of a datastore."""

    #: bytes
    size: int
    free: int
    usable: bool


class Datastores:
    """Those that are configured, at their server."""

    def __init__(self, store: str, which: tuple[Datastore, ...], directory: str) -> None:
        """`store` is the store's id, for messages; `directory` that of the images on each."""
        self._store = store
        self.which = which
        self._directory = directory
        self._server: Vsphere
        #: datacenter and datastore, as the server names them
        self._found: dict[Datastore, tuple[Ref, Ref]] = {}

    def connect(self, server: Vsphere) -> None:
        self._server = server

    def place(self, datastore: Datastore, name: str = '', directory: str | None = None) -> str:
        """A file of the directory, or that itself, as the server's operations name it."""
        return f'[{datastore.name}] {directory or self._directory}/{name}'.rstrip('/')

    def of(self, datacenter: str | None, name: str | None) -> Datastore | None:
        """The one that a url names. That of an ESX server names no datacenter: it has one."""
        for one in self.which:
            if one.name == name and datacenter in (None, one.datacenter):
                return one
        return Datastore(datacenter, name) if datacenter and name else None

    def find(self, datastore: Datastore) -> tuple[Ref, Ref]:
        """Datacenter and datastore; the directory is made when it is first asked for.

        `NoDatastore`. `BadStoreUri`: that of another time is not there any more.
        """
        if datastore not in self._found:
            if datastore in self.which:
                self._found[datastore] = refs = self._look(datastore)
                with contextlib.suppress(ObjectExists):
                    self._server.make_directory(refs[0], self.place(datastore), parents=True)
                return refs
            try:
                return self._look(datastore)
            except NoDatastore as ex:
                raise BadStoreUri(f'Store {self._store}: {ex.message}') from None
        return self._found[datastore]

    def _look(self, datastore: Datastore) -> tuple[Ref, Ref]:
        datacenter = self._datacenter(datastore.datacenter)
        server = self._server
        given = server.properties([datacenter], 'datastore')[datacenter].get('datastore', ())
        names = server.properties(map(Ref.of, given), 'name') if len(given) else {}
        refs = [ref for ref, found in names.items() if found['name'].text == datastore.name]
        if not refs:
            raise NoDatastore(
                f'datacenter {datastore.datacenter} has no datastore {datastore.name}'
            )
        return datacenter, refs[0]

    def forget(self) -> None:
        """Ask again, and make directories again, when they are asked for."""
        self._found.clear()

    def _datacenter(self, path: str) -> Ref:
        index = self._server.service('searchIndex')
        answer = self._server.call('FindByInventoryPath', index, inventoryPath=path)
        if not len(answer) or answer[0].get('type') != 'Datacenter':
            raise NoDatastore(f'there is no datacenter {path}')
        return Ref.of(answer[0])

    def rooms(self) -> dict[Datastore, Room]:
        """Of all of them, as things are now."""
        refs = {self.find(datastore)[1]: datastore for datastore in self.which}
        try:
            summaries = self._server.properties(refs, 'summary')
        except StoreUnavailable:
            self.forget()  # the server may call them otherwise when it is back
            raise
        return {
            refs[ref]: Room(
                int(text(found['summary'], 'capacity') or 0),
                int(text(found['summary'], 'freeSpace') or 0),
                text(found['summary'], 'accessible') == 'true',
            )
            for ref, found in summaries.items()
        }

    def choose(self, size: int | None) -> Datastore:
        """One of the highest weight with room for that many bytes, of those the one with most."""
        fitting = {
            datastore: room.free
            for datastore, room in self.rooms().items()
            if room.usable and room.free > 0 and room.free >= (size or 0)
        }
        if not fitting:
            raise StoreFull(f'Store {self._store} has no datastore with room for {size} bytes')
        return max(fitting, key=lambda datastore: (datastore.weight, fitting[datastore]))
