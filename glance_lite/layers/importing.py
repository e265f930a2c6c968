# SPDX-License-Identifier: Apache-2.0
"""Imports: what a request may ask for, and which stores and methods there are."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from glance_lite import plugins
from glance_lite.conf import where
from glance_lite.errors import Conflict, Invalid, PluginError, StagedElsewhere
from glance_lite.imports.jobs import STAGE_HOST, ImportRequest, NewJob
from glance_lite.imports.method import ImportMethod
from glance_lite.imports.plugin import ImportPlugin
from glance_lite.imports.values import IMPORT_API
from glance_lite.imports.workshop import Workshop

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.context import RequestContext
    from glance_lite.gateway import Gateway
    from glance_lite.model import Image


class Importing:
    """The methods and plug-ins of this installation, and what may be imported where."""

    def __init__(self, gateway: Gateway, conf: cfg.ConfigOpts) -> None:
        self._gateway = gateway
        self.workshop = Workshop(gateway.staging_directory)
        #: how other API hosts reach this one, if that is configured
        self.self_url: str | None = conf.worker_self_reference_url or conf.public_endpoint
        self._hours: int = conf.task.task_time_to_live
        known = plugins.names(plugins.IMPORT_METHODS)
        self.methods = {
            name: load_method(conf, name, gateway)
            for name in dict.fromkeys(conf.enabled_import_methods)
            if name in known
        }
        names = dict.fromkeys(conf.image_import_opts.image_import_plugins)
        self.plugins = [load_plugin(conf, name) for name in names]

    def new_job(self, image: Image, wanted: ImportRequest) -> NewJob | None:
        """What is to be done; None: nothing. `Invalid`, `Conflict`, `StagedElsewhere`."""
        method = self.methods.get(wanted.method)
        if method is None:
            raise Invalid(f'The import method {wanted.method[:80]} is not available here')
        _check_status(image, wanted.method, method.status)
        fields = method.validate(wanted.fields, image)
        stores = self._stores(wanted)
        if method.status == 'active':
            there = {location.store for location in image.locations}
            left = tuple(store for store in stores if store not in there)
            if left != stores and not wanted.all_stores:
                taken = next(store for store in stores if store in there)
                raise Invalid(f'The image has data in store {taken} already')
            stores = left
            if not stores:
                return None
        staged = None
        if method.status == 'uploading':
            self._check_host(image)
            staged = self.workshop.url(image.id)
        several = self._gateway.multi
        return NewJob(wanted, fields, stores, several, method.status, staged, self._hours)

    def accept(self, ctx: RequestContext, image: Image, new: NewJob) -> NewJob:
        """The job, with what its method wants of the caller for later. `Forbidden`."""
        method = self.methods[new.request.method]
        return dataclasses.replace(new, fields=method.accept(ctx, new.fields, image))

    def _stores(self, wanted: ImportRequest) -> tuple[str, ...]:
        gateway = self._gateway
        if not gateway.multi:
            return (gateway.default,)
        if wanted.all_stores:
            return tuple(
                store.id
                for store in gateway.stores.values()
                if not store.reserved and not store.read_only
            )
        names = wanted.stores if wanted.stores is not None else (gateway.default,)
        for name in names:
            if name not in gateway.known_ids():
                raise Conflict(f'There is no store {name[:80]}')
            if gateway.stores[name].read_only:
                raise Conflict(f'Store {name} takes no data')
        if not names:
            raise Invalid('At least one store must be named')
        return tuple(dict.fromkeys(names))

    def _check_host(self, image: Image) -> None:
        """Whether what was staged is here. `StagedElsewhere`: somebody else has it."""
        host = image.properties.get(STAGE_HOST)
        if host and host != self.self_url and not self.workshop.has_of(image.id):
            raise StagedElsewhere(host)


def _check_status(image: Image, name: str, status: str) -> None:
    if image.status != status:
        hint = ': its data must be staged first' if status == 'uploading' else ''
        raise Conflict(
            f'{name} needs an image in status {status}, and this one is {image.status}{hint}'
        )
    for field in ('container_format', 'disk_format'):
        if not getattr(image, field):
            raise Conflict(f'{field} must be set before an import')


def load_method(conf: cfg.ConfigOpts, name: str, gateway: Gateway) -> ImportMethod:
    """An import method. Raises `PluginError` in one sentence."""
    option = f'{where(conf, "DEFAULT", "enabled_import_methods")}[DEFAULT] enabled_import_methods'
    kind = plugins.load(plugins.IMPORT_METHODS, name, option)
    if not (isinstance(kind, type) and issubclass(kind, ImportMethod)):
        raise PluginError(f'{option}: {name} is not an import method')
    _check_version(kind.requires_api, name, option)
    for group, opts in kind.opts.items():
        conf.register_opts(opts, group=group)
    return kind(name, conf, gateway.guard)


def load_plugin(conf: cfg.ConfigOpts, name: str) -> ImportPlugin:
    """An import plug-in. Raises `PluginError` in one sentence."""
    place = where(conf, 'image_import_opts', 'image_import_plugins')
    option = f'{place}[image_import_opts] image_import_plugins'
    kind = plugins.load(plugins.IMPORT_PLUGINS, name, option)
    if not (isinstance(kind, type) and issubclass(kind, ImportPlugin)):
        raise PluginError(f'{option}: {name} is not an import plug-in')
    _check_version(kind.requires_api, name, option)
    for group, opts in kind.opts.items():
        conf.register_opts(opts, group=group)
    made: ImportPlugin = kind(name, conf)
    return made


def _check_version(version: int, name: str, option: str) -> None:
    if version != IMPORT_API:
        raise PluginError(
            f'{option}: {name} was written for version {version} of the import contract; this is '
            f'version {IMPORT_API}'
        )
