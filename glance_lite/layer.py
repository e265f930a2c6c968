# SPDX-License-Identifier: Apache-2.0
"""A layer: one concern of the chain. Read this first.

A request goes through a list of layers, outermost first::

    auth > property_protection > notifier > policy > quota > location > db

Each layer is one class that inherits `Layer` and overrides the operations it has something to
say about (`glance_lite.operations` lists them all). It passes on with ``self.next``::

    class Freeze(Layer):
        '''Refuses every change while a file exists.'''

        def update_image(self, ctx, image_id, changes):
            if os.path.exists(self.path):
                raise Forbidden('The image catalogue is frozen')
            return self.next.update_image(ctx, image_id, changes)

`link` connects the layers once, at start: ``self.next.update_image`` is the bound method of
the next layer that overrides ``update_image``, so a layer that does not care costs nothing.
"""

from __future__ import annotations

import dataclasses
import inspect
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from glance_lite.errors import PluginError
from glance_lite.operations import OPERATIONS, Operations, is_inner

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.gateway import Gateway
    from glance_lite.maintenance.ticker import Job
    from glance_lite.policy.enforcer import Enforcer

#: Version of the contract. It changes only when an old layer would no longer work.
LAYER_API = 1


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a layer may be built from. A layer takes what it needs and keeps only that."""

    conf: cfg.ConfigOpts
    gateway: Gateway
    enforcer: Enforcer
    #: set by a layer that has left something for the background to do at once
    wake: threading.Event = dataclasses.field(default_factory=threading.Event)
    #: the same for imports
    wake_jobs: threading.Event = dataclasses.field(default_factory=threading.Event)


class Metric(NamedTuple):
    """A number that a layer knows of the whole service, not of this process alone."""

    #: as Prometheus wants it: ``acme_licences``; one that only grows ends with ``_total``
    name: str
    help: str
    value: float
    labels: Mapping[str, str] = MappingProxyType({})


class Layer(Operations):
    """One concern. Its state is configuration: nothing of a request is kept on it."""

    #: version of the contract it was written for
    requires_api: ClassVar[int] = LAYER_API
    #: names of layers that must stand further in, where they are configured at all
    outside_of: ClassVar[tuple[str, ...]] = ()
    #: operations that it does itself, asking nobody further in for the same
    ends: ClassVar[frozenset[str]] = frozenset()
    #: name in the configuration; set when the layer is loaded
    name: str = ''
    #: the operations of the layers further in; set by `link`
    next: Operations

    def __init__(self, parts: Parts) -> None:
        """Read the configuration. Raises `ConfigurationError` naming file, group and option."""

    def acts(self) -> bool:
        """Whether the configuration gives this layer anything to do; if not it is left out."""
        return True

    def start(self) -> None:
        """Open what must be opened in each worker process, after fork. `ConfigurationError`."""

    def stop(self) -> None:
        """Close what `start` opened."""

    def jobs(self) -> tuple[Job, ...]:
        """What is to be done again and again in the background of each worker."""
        return ()

    def check(self) -> None:
        """Cheap proof that what this layer needs is there, for /healthcheck. Raises."""

    def metrics(self) -> Iterable[Metric]:
        """What the filter ``metrics`` shows of this layer. Asked every few seconds: be cheap.

        The labels must be few and known beforehand: no project, no image. Whatever it raises is
        logged, and costs only these metrics.
        """
        return ()


class Links:
    """The operations that are reachable from one place of the chain, as bound methods."""

    def __init__(self, methods: dict[str, Callable[..., Any]]) -> None:
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        # Only reached for what was not linked; a missing public operation stops the start.
        raise AttributeError(f'no layer further in implements {name}')


@dataclasses.dataclass(frozen=True)
class Chain:
    """A linked chain: where requests enter, where background work enters, and who acts."""

    #: all layers
    outer: Operations
    #: from ``location`` down: no policy, no quota, no events
    inner: Operations
    #: the layers in order, those without anything to do included
    layers: tuple[Layer, ...]
    #: operation -> names of the layers that act on it, outermost first
    acting: dict[str, tuple[str, ...]]

    def watch(self, around: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
        """Put a function around each operation where requests and background work come in.

        For whoever wants to know what the chain does; until then it costs nothing.
        """
        for entry in {id(links): links for links in (self.outer, self.inner)}.values():
            methods = vars(entry)
            methods.update({name: around(name, method) for name, method in methods.items()})


def overrides(layer: type[Layer]) -> tuple[str, ...]:
    """Names of the operations a layer class has something to say about."""
    return tuple(
        name for name, contract in OPERATIONS.items() if getattr(layer, name) is not contract
    )


def link(layers: Sequence[Layer], background: str = 'location') -> Chain:
    """Connect the layers, outermost first. Raises `PluginError` in one sentence."""
    _check_order(layers)
    methods: dict[str, Callable[..., Any]] = {}
    acting: dict[str, tuple[str, ...]] = dict.fromkeys(OPERATIONS, ())
    inner: Operations | None = None
    for layer in reversed(layers):
        _check_contract(layer)
        layer.next = cast(Operations, Links(methods))
        if layer.acts():
            for name in overrides(type(layer)):
                methods[name] = getattr(layer, name)
                acting[name] = (layer.name, *acting[name])
        if layer.name == background:
            inner = cast(Operations, Links(methods))
    for name in OPERATIONS:
        if not is_inner(name) and not any(name in layer.ends for layer in layers):
            raise PluginError(
                f'[controller] layers: no layer in the list implements {name}; '
                f'location and db must be among them'
            )
    outer = cast(Operations, Links(methods))
    return Chain(outer, inner or outer, tuple(layers), acting)


def _check_order(layers: Sequence[Layer]) -> None:
    names = [layer.name for layer in layers]
    for position, layer in enumerate(layers):
        written: object = layer.outside_of
        if isinstance(written, str):  # each of its letters would pass for a name
            raise PluginError(
                f'[controller] layers: outside_of of {layer.name} is {written!r}, and not a tuple '
                f'of names'
            )
        for other in layer.outside_of:
            if other in names[:position]:
                raise PluginError(
                    f'[controller] layers: {layer.name} must stand before {other}, '
                    f'but the order is {", ".join(names)}'
                )


def _check_contract(layer: Layer) -> None:
    kind = type(layer)
    if layer.requires_api != LAYER_API:
        raise PluginError(
            f'[controller] layers: {layer.name} was written for version {layer.requires_api} of '
            f'the layer contract; this is version {LAYER_API}'
        )
    for name, member in inspect.getmembers(kind, inspect.isfunction):
        if name not in OPERATIONS or member is OPERATIONS[name]:
            continue
        wanted = list(inspect.signature(OPERATIONS[name]).parameters)
        given = list(inspect.signature(member).parameters)
        if given != wanted:
            raise PluginError(
                f'[controller] layers: {layer.name} overrides {name}({", ".join(given[1:])}), '
                f'but the operation is {name}({", ".join(wanted[1:])})'
            )
