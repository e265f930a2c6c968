# SPDX-License-Identifier: Apache-2.0
"""From a Paste file to an application.

The file may be Glance's own: factories it names by ``glance.*`` are replaced by ours before
anything is imported, so it works whether Glance is installed or not. Our factories get the
`Service` as their first argument, which Paste's strings could not carry:
``factory(service, global_conf, **local_conf)``.
"""

from __future__ import annotations

import configparser
import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import webob
from oslo_utils import strutils
from paste.deploy import loadwsgi

from glance_lite import conf as configuration
from glance_lite import tracing
from glance_lite.api import faults
from glance_lite.errors import ConfigurationError, GlanceLiteError
from glance_lite.middleware import oslo

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.service import Service

#: What Glance's Paste file and those of operators name, and what stands for it here.
ALIASES: Mapping[str, str] = {
    'glance.api:root_app_factory': 'paste.urlmap:urlmap_factory',
    'glance.api:pipeline_factory': 'glance_lite.deploy:pipeline_of_flavor',
    'glance.api.versions:create_resource': 'glance_lite.api.versions:versions_factory',
    'glance.api.v2.router:API.factory': 'glance_lite.api.app:api_factory',
    'glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory':
        'glance_lite.middleware.version_negotiation:factory',
    'glance.api.middleware.context:ContextMiddleware.factory':
        'glance_lite.middleware.context:keystone_context',
    'glance.api.middleware.context:UnauthenticatedContextMiddleware.factory':
        'glance_lite.middleware.context:unauthenticated_context',
    'glance.api.middleware.cache:CacheFilter.factory': 'glance_lite.middleware.switches:cache',
    'glance.api.middleware.cache_manage:CacheManageFilter.factory':
        'glance_lite.middleware.switches:cachemanage',
    'glance.api.middleware.gzip:GzipMiddleware.factory': 'glance_lite.middleware.gzip:factory',
    'keystonemiddleware.auth_token:filter_factory': 'glance_lite.middleware.authtoken:factory',
    'egg:keystonemiddleware#auth_token': 'egg:glance-lite#authtoken',
}  # fmt: skip

#: oslo's filters read files of their own choice when these are set; they shall read ours.
FOREIGN_CONFIGURATION = frozenset({'oslo_config_project', 'oslo_config_program'})

#: Options of a section that name what makes it.
NAMING = ('paste.', 'use')
COMPOSITE = 'paste.composite_factory'

PASTE_FILE = 'glance-api-paste.ini'
APPLICATION = 'glance-api'


@dataclasses.dataclass(frozen=True)
class Named:
    """A filter or an application of a Paste file."""

    name: str
    #: what the file says that makes it, as ``egg:glance-lite#api``
    made_by: str


@dataclasses.dataclass(frozen=True)
class Path:
    """What is served under a path."""

    path: str
    #: on the way to it, outermost first
    filters: tuple[Named, ...]
    application: Named


class Loader(loadwsgi.ConfigLoader):  # type: ignore[misc]
    """A Paste loader that knows the service and Glance's names."""

    def __init__(self, path: str, service: Service) -> None:
        super().__init__(path)
        self.path = path
        self._service = service
        for section in self.parser.sections():
            for name, value in self.parser.items(section, raw=True):
                if name.startswith(NAMING) and value.strip() in ALIASES:
                    self.parser.set(section, name, ALIASES[value.strip()])

    def get_context(self, *args: Any, **kwargs: Any) -> Any:
        context = super().get_context(*args, **kwargs)
        factory = context.object
        module = getattr(factory, '__module__', None) or ''
        if module.startswith('glance_lite.'):
            context.object = functools.partial(factory, self._service)
        else:
            context.object = _with_configuration(factory, self._service.conf)
        return context

    def names(self) -> tuple[str, ...]:
        """What the file can serve."""
        kinds = ('app:', 'application:', 'composite:', 'composit:', 'pipeline:')
        return tuple(
            section.partition(':')[2]
            for section in self.parser.sections()
            if section.startswith(kinds)
        )

    def pipeline(self, name: str) -> list[str]:
        """Names of the filters in front of an application and of what they lead to, for people."""
        values, steps = self._section(name)
        if steps:
            return steps
        return self.pipeline(values['/']) if '/' in values else [name]

    def paths(self, name: str, prefix: str = '', before: tuple[Named, ...] = ()) -> Iterator[Path]:
        """What is served where, and the filters on the way, outermost first."""
        values, steps = self._section(name)
        if steps:
            filters = tuple(Named(step, self._made_by('filter', step)) for step in steps[:-1])
            yield from self.paths(steps[-1], prefix, before + filters)
            return
        mounts = sorted(key for key in values if key.startswith('/'))
        for path in mounts:
            yield from self.paths(values[path], prefix + path.rstrip('/'), before)
        if not mounts:
            yield Path(prefix or '/', before, Named(name, self._made_by('app', name)))

    def _section(self, name: str) -> tuple[dict[str, str], list[str]]:
        """What a section that serves says, and the steps it is made of if it is a pipeline."""
        for kind in ('pipeline:', 'composite:', 'app:'):
            if not self.parser.has_section(kind + name):
                continue
            values: dict[str, str] = dict(self.parser.items(kind + name, raw=True))
            if values.get(COMPOSITE) == ALIASES['glance.api:pipeline_factory']:
                return values, values[_flavor(self._service)].split()
            return values, values['pipeline'].split() if kind == 'pipeline:' else []
        return {}, []

    def _made_by(self, kind: str, name: str) -> str:
        """What the file says that makes a filter or an application."""
        section = f'{kind}:{name}'
        if not self.parser.has_section(section):
            return ''
        for option, value in self.parser.items(section, raw=True):
            if option == 'use' or option.startswith('paste.'):
                return str(value)
        return ''


def _flavor(service: Service) -> str:
    """The key of the flavor where a section has a pipeline for each."""
    flavor: str = service.conf.paste_deploy.flavor or 'default'
    return flavor


def pipeline_of_flavor(
    service: Service, loader: Any, global_conf: Mapping[str, str], **local_conf: str
) -> Any:
    """For Paste: ``paste.composite_factory`` of a section that has a pipeline for each flavor."""
    flavor = _flavor(service)
    if flavor not in local_conf:
        raise ConfigurationError(
            f'[paste_deploy] flavor: the Paste file has no pipeline {flavor} '
            f'(there are: {", ".join(sorted(local_conf))})'
        )
    *filters, application = local_conf[flavor].split()
    app = loader.get_app(application, global_conf=global_conf)
    for name in reversed(filters):
        app = loader.get_filter(name, global_conf=global_conf)(app)
    return app


def _with_configuration(factory: Any, conf: Any) -> Any:
    """A filter of a library made with our configuration; any other factory as it is."""
    # Partials, because the context that uses this one comes by as well.
    if oslo.is_filter(factory):
        return functools.partial(_oslo_filter, factory, conf)
    if oslo.is_profiler(factory):
        return functools.partial(_profiler, factory, conf)
    if oslo.is_audit(factory):
        return functools.partial(_audit, factory, conf)
    return factory


def _oslo_filter(factory: Any, conf: Any, global_conf: Mapping[str, str], **local_conf: str) -> Any:
    if local_conf.keys() <= FOREIGN_CONFIGURATION:
        return lambda app: oslo.make(factory.__self__, app, conf)
    return factory(global_conf, **local_conf)


def _profiler(factory: Any, conf: Any, global_conf: Mapping[str, str], **local_conf: str) -> Any:
    # Its section may switch it on as well, the old way.
    if not (tracing.enabled(conf) or strutils.bool_from_string(local_conf.get('enabled'))):
        return lambda app: app
    make = factory(global_conf, **local_conf)
    return lambda app: oslo.Traced(app, make(app))


def _audit(factory: Any, conf: Any, global_conf: Mapping[str, str], **local_conf: str) -> Any:
    # It would read the files of a project otherwise, or what nobody has parsed.
    return factory({**global_conf, 'oslo_config_config': conf}, **local_conf)


def paste_file(service: Service) -> str:
    """Path of the Paste file. Raises `ConfigurationError`."""
    conf = service.conf
    place = configuration.where(conf, 'paste_deploy', 'config_file')
    named = conf.paste_deploy.config_file
    found = conf.find_file(named or PASTE_FILE)
    if found is None:
        raise ConfigurationError(
            f'{place}[paste_deploy] config_file: {named or PASTE_FILE} does not exist'
        )
    path: str = os.path.abspath(found)
    return path


def application_name(service: Service) -> str:
    flavor = service.conf.paste_deploy.flavor
    return f'{APPLICATION}-{flavor}' if flavor else APPLICATION


def loader(service: Service) -> Loader:
    """The loader of the configured Paste file. Raises `ConfigurationError`."""
    path = paste_file(service)
    try:
        found = Loader(path, service)
    except (OSError, UnicodeError, configparser.Error) as ex:
        raise ConfigurationError(f'{path} cannot be read: {_one_line(ex)}') from ex
    name = application_name(service)
    if name not in found.names():
        place = configuration.where(service.conf, 'paste_deploy', 'flavor')
        known = [one.removeprefix(APPLICATION).lstrip('-') or '(none)' for one in found.names()
                 if one.startswith(APPLICATION)]  # fmt: skip
        raise ConfigurationError(
            f'{place}[paste_deploy] flavor: {path} has no section {name} '
            f'(flavors there: {", ".join(known)})'
        )
    return found


def load_app(service: Service) -> Any:
    """The WSGI application of the configured flavor. Raises `ConfigurationError`."""
    found = loader(service)
    try:
        return OnlyPaths(found.get_app(application_name(service)))
    except GlanceLiteError:
        raise
    except Exception as ex:
        # A plug-in of someone else's can fail with anything.
        raise ConfigurationError(f'{found.path}: {type(ex).__name__}: {_one_line(ex)}') from ex


class OnlyPaths:
    """Refuses requests for what is no path (``OPTIONS *``), on which Paste's urlmap fails."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ.get('PATH_INFO', '')
        if path and not path.startswith('/'):
            request = webob.Request(environ)
            return faults.fault(request, 400, 'This is not a path')(environ, start_response)
        return self._app(environ, start_response)


def _one_line(ex: BaseException) -> str:
    return ' '.join(str(ex).split())


def refuse_open_local(conf: cfg.ConfigOpts, service: Service) -> None:
    """Where everybody is an administrator, nobody else may come."""
    if not service.open_to_all:
        return
    if conf.bind_host not in ('127.0.0.1', '::1', 'localhost'):
        file = configuration.where(conf, 'DEFAULT', 'bind_host')
        raise ConfigurationError(
            f'{file}[DEFAULT] bind_host: the flavor {conf.paste_deploy.flavor} makes everybody an '
            f'administrator and is served on 127.0.0.1 or ::1 only, not on {conf.bind_host}'
        )
