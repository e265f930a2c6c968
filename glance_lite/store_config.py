# SPDX-License-Identifier: Apache-2.0
"""From the configuration to drivers: several stores, or one the old way.

Several: ``enabled_backends = fast:file,cheap:file``, a group of options for each id, and
``[glance_store] default_backend``. One: ``[glance_store] stores`` and ``default_store``, with all
options in that group. Everything that is wrong is one sentence with file, group and option.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from oslo_config import cfg

from glance_lite import conf as configuration
from glance_lite import plugins
from glance_lite.conf.stores import COMMON
from glance_lite.errors import BadStoreConfiguration, ConfigurationError, PluginError
from glance_lite.imports.jobs import STAGING
from glance_lite.store import STORE_API, StoreDriver

SINGLE = 'glance_store'
#: Where staged data lies when nobody says where.
STAGING_DIRECTORY = '/var/lib/glance/staging'

#: Names that stores of the single-store option had, by the names they have here.
LONG_NAMES = {
    'glance.store.filesystem.Store': 'file',
    'glance.store.http.Store': 'http',
    'glance.store.rbd.Store': 'rbd',
    'glance.store.s3.Store': 's3',
    'glance.store.swift.Store': 'swift',
    'glance.store.cinder.Store': 'cinder',
    'glance.store.vmware_datastore.Store': 'vmware',
}


@dataclasses.dataclass(frozen=True)
class Configured:
    """A driver with what its group says beside the driver's own options."""

    type: str
    driver: StoreDriver
    weight: int
    description: str | None
    default: bool


def load(conf: cfg.ConfigOpts) -> dict[str, Configured]:
    """Store id -> driver, in the order of the configuration."""
    backends = conf.enabled_backends
    return _several(conf, backends) if backends else _single(conf)


def _several(conf: cfg.ConfigOpts, backends: Mapping[str, str]) -> dict[str, Configured]:
    file = configuration.where(conf, 'DEFAULT', 'enabled_backends')
    _refuse_twice(conf, file)
    default = conf.glance_store.default_backend
    if not default:
        raise BadStoreConfiguration(
            f'{file}[glance_store] default_backend: must name one of the stores of '
            f'enabled_backends ({", ".join(backends)})'
        )
    if default not in backends:
        place = configuration.where(conf, SINGLE, 'default_backend')
        raise BadStoreConfiguration(
            f'{place}[glance_store] default_backend: {default} is not one of the stores of '
            f'enabled_backends ({", ".join(backends)})'
        )
    option = f'{file}[DEFAULT] enabled_backends'
    return {
        name: _configured(conf, name, name, kind, option, name == default)
        for name, kind in backends.items()
    }


def _refuse_twice(conf: cfg.ConfigOpts, file: str) -> None:
    """A dict option keeps the last of two equal ids, and an operator would lose a store."""
    for path in conf.config_file or ():
        with open(path, errors='replace') as lines:
            text = lines.read()
        for value in re.findall(r'^\s*enabled_backends\s*=(.*)$', text, re.M):
            names = [pair.partition(':')[0].strip() for pair in value.split(',') if pair.strip()]
            for name in names:
                if names.count(name) > 1:
                    raise BadStoreConfiguration(
                        f'{file}[DEFAULT] enabled_backends: there are two stores {name}'
                    )


def _single(conf: cfg.ConfigOpts) -> dict[str, Configured]:
    file = configuration.where(conf, SINGLE, 'stores')
    option = f'{file}[glance_store] stores'
    wanted = [LONG_NAMES.get(name, name) for name in conf.glance_store.stores]
    default = LONG_NAMES.get(conf.glance_store.default_store, conf.glance_store.default_store)
    if not file:
        # Nobody wrote this list: a driver that is not installed is no mistake of the operator.
        known = plugins.names(plugins.STORES)
        wanted = [name for name in wanted if name in known]
    if default not in wanted:
        place = configuration.where(conf, SINGLE, 'default_store')
        raise BadStoreConfiguration(
            f'{place}[glance_store] default_store: {default} is not one of the stores '
            f'({", ".join(wanted)})'
        )
    return {
        kind: _configured(conf, kind, SINGLE, kind, option, kind == default)
        for kind in dict.fromkeys(wanted)
    }


def staging(conf: cfg.ConfigOpts) -> Configured:
    """The staging area: a store of files in a group of its own, or at ``node_staging_uri``."""
    driver = driver_class('file', '[os_glance_staging_store]')
    opts = [copy.copy(one) for one in driver.opts]
    directory = next(one for one in opts if one.name == 'filesystem_store_datadir')
    if conf.enabled_backends:
        directory.default = STAGING_DIRECTORY
        settings = dict(read_group(conf, STAGING, [*COMMON, *opts]))
    else:
        uri: str = conf.node_staging_uri
        if not uri.startswith('file:///'):
            place = configuration.where(conf, 'DEFAULT', 'node_staging_uri')
            raise BadStoreConfiguration(
                f'{place}[DEFAULT] node_staging_uri: it must begin with file:///'
            )
        settings = {one.dest: one.default for one in (*COMMON, *opts)}
        settings['filesystem_store_datadir'] = uri.removeprefix('file://')
    several = settings['filesystem_store_datadirs']
    if several:
        settings['filesystem_store_datadir'] = several[0].partition(':')[0]
        settings['filesystem_store_datadirs'] = None
    made = driver(STAGING, MappingProxyType(settings))
    return Configured('file', made, 0, None, False)


def _configured(
    conf: cfg.ConfigOpts, name: str, group: str, kind: str, option: str, default: bool
) -> Configured:
    driver = driver_class(kind, option)
    settings = read_group(conf, group, [*COMMON, *driver.opts])
    more = driver.more_opts(group, settings)
    if more:
        settings = MappingProxyType({**settings, **read_group(conf, group, more)})
    try:
        made = driver(name, settings)
    except ConfigurationError:
        raise
    except Exception as ex:
        # A class that lacks a verb says so. What else is said may carry anything.
        said = f': {ex}' if isinstance(ex, TypeError) else ''
        text = ' '.join(f'{type(ex).__name__}{said}'.split())
        raise PluginError(f'{option}: {kind} cannot be made: {text}') from ex
    return Configured(
        kind,
        made,
        settings['weight'],
        settings['store_description'],
        default,
    )


def driver_class(kind: str, option: str) -> type[StoreDriver]:
    """The driver called `kind`. Raises `PluginError` in one sentence."""
    base, plus, inner = kind.partition('+')
    driver: type[StoreDriver] = plugins.load(
        plugins.STORES, base, option, needs=f'pip install glance-lite[{base}]'
    )
    if not (isinstance(driver, type) and issubclass(driver, StoreDriver)):
        raise PluginError(f'{option}: {base} is not a store driver')
    if driver.requires_api != STORE_API:
        raise PluginError(
            f'{option}: {base} was written for version {driver.requires_api} of the store '
            f'contract; this is version {STORE_API}'
        )
    if not plus:
        return driver
    try:
        return driver.variant(inner)
    except BadStoreConfiguration as ex:
        raise PluginError(f'{option}: {ex.message}') from ex


def read_group(conf: cfg.ConfigOpts, group: str, opts: list[cfg.Opt]) -> Mapping[str, Any]:
    """The values of a store's group. `BadStoreConfiguration` names a bad one."""
    try:
        return configuration.read(conf, group, opts)
    except ConfigurationError as ex:
        raise BadStoreConfiguration(ex.message) from ex
