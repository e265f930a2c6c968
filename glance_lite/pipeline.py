# SPDX-License-Identifier: Apache-2.0
"""The way of a request as the configuration makes it, for people and programs.

`describe` collects it from a service and its Paste file; `as_text` and `as_json` write it,
`glance_lite.drawing` draws it. Nothing in it is a setting, so no credential is.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from glance_lite import deploy
from glance_lite.layer import overrides
from glance_lite.operations import OPERATIONS, Operations, is_inner, is_write
from glance_lite.store import Cap

if TYPE_CHECKING:
    from glance_lite.layer import Layer
    from glance_lite.service import Service
    from glance_lite.store_serving import Store


@dataclasses.dataclass(frozen=True)
class Part:
    """A layer in the list of the configuration."""

    name: str
    #: the class, as module:Class
    made_by: str
    #: whether the configuration gives it anything to do
    acts: bool
    operations: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Asked:
    """An operation, and who acts on it from the outermost layer on."""

    name: str
    family: str
    layers: tuple[str, ...]
    writes: bool
    #: only layers and the background call it
    inner: bool


@dataclasses.dataclass(frozen=True)
class Kept:
    """A store."""

    id: str
    type: str
    made_by: str
    weight: int
    default: bool
    read_only: bool
    #: for the service itself
    reserved: bool
    schemes: tuple[str, ...]
    capabilities: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """All of it."""

    #: the section of the Paste file
    application: str
    #: its filters and what they stand in front of, as `deploy.Loader.pipeline` gives them
    pipeline: tuple[str, ...]
    paths: tuple[deploy.Path, ...]
    layers: tuple[Part, ...]
    operations: tuple[Asked, ...]
    stores: tuple[Kept, ...]

    @property
    def acting(self) -> tuple[Part, ...]:
        return tuple(layer for layer in self.layers if layer.acts)

    @property
    def idle(self) -> tuple[Part, ...]:
        return tuple(layer for layer in self.layers if not layer.acts)


def describe(service: Service) -> Pipeline:
    """The pipeline of a service that need not be started. Raises `ConfigurationError`."""
    loader = deploy.loader(service)
    application = deploy.application_name(service)
    return Pipeline(
        application,
        tuple(loader.pipeline(application)),
        tuple(loader.paths(application)),
        tuple(map(_part, service.layers)),
        tuple(
            Asked(name, FAMILIES[name], service.chain.acting[name], is_write(name), is_inner(name))
            for name in OPERATIONS
        ),
        tuple(map(_kept, service.gateway.stores.values())),
    )


#: Operation -> the family it belongs to.
FAMILIES = {
    name: family.__name__.removesuffix('Operations')
    for family in Operations.__mro__
    for name in vars(family)
    if name in OPERATIONS
}


def _class(thing: object) -> str:
    return f'{type(thing).__module__}:{type(thing).__qualname__}'


def _part(layer: Layer) -> Part:
    return Part(layer.name, _class(layer), layer.acts(), overrides(type(layer)))


def _kept(store: Store) -> Kept:
    driver = store.driver
    return Kept(
        store.id,
        store.type,
        _class(driver),
        store.weight,
        store.default,
        store.read_only,
        store.reserved,
        tuple(driver.schemes),
        tuple(cap.name.lower() for cap in Cap if cap in driver.caps and cap.name),
    )


def as_text(found: Pipeline) -> str:
    """For a terminal."""
    lines = [
        found.application,
        '  ' + ' > '.join(found.pipeline),
        '',
        'layers',
        '  ' + ' > '.join(layer.name for layer in found.acting),
    ]
    if found.idle:
        lines.append(f'  nothing to do for: {", ".join(layer.name for layer in found.idle)}')
    lines += ['', 'stores']
    for store in found.stores:
        default = ', default' if store.default else ''
        can = ', '.join(store.capabilities) or 'read only'
        lines.append(f'  {store.id} ({store.type}, weight {store.weight}{default}): {can}')
    lines += ['', 'operations']
    width = max(len(one.name) for one in found.operations)
    for one in found.operations:
        mark = ' (between layers)' if one.inner else ''
        lines.append(f'  {one.name:<{width}} {" > ".join(one.layers)}{mark}')
    return '\n'.join(lines) + '\n'


def as_json(found: Pipeline) -> str:
    """For a program."""
    return json.dumps(dataclasses.asdict(found), indent=2) + '\n'
