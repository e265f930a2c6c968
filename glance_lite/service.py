# SPDX-License-Identifier: Apache-2.0
"""The whole service, put together from a configuration.

`Service` builds without any I/O, thread or connection, so a master may do it before it forks;
`start` opens what each worker needs, and `start_background` sets its background work going.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from oslo_config import cfg

from glance_lite import conf as configuration
from glance_lite import plugins, tracing
from glance_lite.errors import ConfigurationError, GlanceLiteError, PluginError
from glance_lite.gateway import Gateway
from glance_lite.layer import Chain, Layer, Parts, link
from glance_lite.maintenance.cacher import Cacher
from glance_lite.maintenance.importer import Importer
from glance_lite.maintenance.jobs import Jobs
from glance_lite.maintenance.keeper import Keeper
from glance_lite.maintenance.sweeper import Sweeper
from glance_lite.maintenance.ticker import Job, Ticker
from glance_lite.policy.enforcer import Enforcer

LOG = logging.getLogger(__name__)

#: Seconds between two looks at stores that hang or are left alone.
LOOK_AT_STORES = 1.0


class Service:
    """Policy, stores and the chain of layers. Raises `ConfigurationError` in one sentence."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf
        #: set by a Paste filter that takes everybody for an administrator
        self.open_to_all = False
        #: set by the Paste filter to which the older routes of the cache belong
        self.cache_managed = False
        with self._naming_files():
            self.enforcer = Enforcer(conf)
            self.gateway = Gateway(conf)
            parts = Parts(conf, self.gateway, self.enforcer)
            self.layers = load_layers(parts)
            self.chain: Chain = link(self.layers)
            inner = self.chain.inner
            self.importer = Importer(conf, inner, parts.wake)
            self.keeper = Keeper(conf, inner)
            self.jobs = Jobs(conf, inner, parts.wake_jobs)
            sweeper = Sweeper(conf, inner)
            vital = [
                sweeper.heartbeat,
                self.keeper.heartbeat,
                Job('look at the stores', LOOK_AT_STORES, self.gateway.look_after),
            ]
            jobs = [
                *vital,
                sweeper.sweeping,
                *self.importer.jobs,
                *Cacher(conf, inner, self.gateway.cache).jobs,
            ]
            for layer in self.layers:
                if layer.acts():
                    jobs += layer.jobs()
            self._ticker = Ticker(jobs)
            self._job_ticker = Ticker((*self.jobs.jobs, self.jobs.cleaning))
            self._duty_ticker = Ticker(self.keeper.jobs)
            self._vital = Ticker(vital)

    def start(self) -> None:
        """Open what a worker needs. Raises `ConfigurationError`."""
        with self._naming_files():
            tracing.start(self.conf)
            self.enforcer.start()
            self.gateway.start()
            for layer in self.layers:
                if layer.acts():
                    with _naming(f'[controller] layers: {layer.name} cannot be started'):
                        layer.start()

    def start_background(self, imports: bool | None = None) -> None:
        """Set the background work going: after `start`, in a process that does not fork.

        `imports`: whether it does imports and duties; None: as the configuration has it for the
        API.
        """
        self._ticker.start()
        if self.conf.task.api_runs_jobs if imports is None else imports:
            self._job_ticker.start()
        if self.conf.maintenance.run_duties if imports is None else imports:
            self._duty_ticker.start()

    @contextlib.contextmanager
    def _naming_files(self) -> Iterator[None]:
        """Parts and drivers know their group and option; which file sets it is known here."""
        try:
            yield
        except ConfigurationError as ex:
            raise type(ex)(configuration.placed(self.conf, ex.message)) from ex

    def stop(self) -> None:
        self._ticker.stop()
        self._job_ticker.stop()
        self._duty_ticker.stop()
        self.keeper.stop()
        for layer in self.layers:
            layer.stop()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """For a command: started, with no background work but signs of life of what it does."""
        self.start()
        self._vital.start()
        try:
            yield
        finally:
            self._vital.stop()
            self.stop()

    @property
    def dispensable(self) -> frozenset[str]:
        """Parts of `check` without which the service still serves.

        The last good rules are in force while policy files are broken; and of several stores one
        that is down, for all hosts as likely as not, takes nothing from the images of the others.
        """
        stores = self.gateway.stores.values()
        return frozenset({'policy', *(f'store {one.id}' for one in stores if not one.default)})

    def check(self) -> dict[str, str | None]:
        """Part -> None when it is well, else a sentence without secrets, for /healthcheck."""
        result: dict[str, str | None] = {'policy': self.enforcer.check()}
        for store_id, problem in self.gateway.check().items():
            result[f'store {store_id}'] = problem
        for layer in self.layers:
            if not layer.acts():
                continue
            try:
                layer.check()
                problem = None
            except GlanceLiteError as ex:
                problem = ex.message
            result[f'layer {layer.name}'] = problem
        return result


def load_layers(parts: Parts) -> list[Layer]:
    """The layers that ``[controller] layers`` names, in its order."""
    conf = parts.conf
    option = f'{configuration.where(conf, "controller", "layers")}[controller] layers'
    names: list[str] = conf.controller.layers
    layers = []
    for name in names:
        if names.count(name) > 1:
            raise PluginError(f'{option}: {name} is in the list twice')
        kind = plugins.load(plugins.LAYERS, name, option)
        if not (isinstance(kind, type) and issubclass(kind, Layer)):
            raise PluginError(f'{option}: {name} is not a layer')
        with _naming(f'{option}: {name} cannot be made'):
            layer = kind(parts)
        layer.name = name
        layers.append(layer)
    return layers


@contextlib.contextmanager
def _naming(what: str) -> Iterator[None]:
    """A plug-in of someone else's can fail with anything; the start says which one it was."""
    try:
        yield
    except GlanceLiteError:
        raise
    except Exception as ex:
        LOG.debug('%s', what, exc_info=True)
        said = ' '.join(f'{type(ex).__name__}: {ex}'.split())
        raise PluginError(f'{what}: {said}') from ex
