# SPDX-License-Identifier: Apache-2.0
"""The configuration: Glance's options by Glance's names, read from Glance's files.

Each module here is about one subject and has ``OPTIONS``: group -> options. `parse` reads the
files and turns whatever is wrong with a value into one sentence. Options that nobody knows are
ignored, as oslo.config does; those that Glance has removed are warned of once by `removed`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from oslo_config import cfg

from glance_lite.errors import ConfigurationError

MODULES = (
    'api', 'cache', 'controller', 'database', 'fetching', 'glance_download', 'image_format',
    'import_plugins', 'importing', 'locations', 'maintenance', 'metadefs', 'notify', 'paste',
    'protection', 'quota', 'server', 'signatures', 'stores', 'tasks',
)  # fmt: skip

#: Directory of the configuration when nothing else names one, as Glance has it.
DIRECTORY = 'OS_GLANCE_CONFIG_DIR'

#: Options that Glance once had and that do nothing any more: name -> what takes its place.
REMOVED: dict[str, str] = {
    'allow_additional_image_properties': 'additional properties are always allowed',
    'admin_role': 'the policy rule context_is_admin decides',
    'data_api': 'there is one database API',
    'enable_v1_api': 'the v1 API is a plug-in of its own',
    'enable_v1_registry': 'there is no registry service',
    'enable_v2_api': 'the v2 API is always served',
    'enable_v2_registry': 'there is no registry service',
    'owner_is_tenant': 'images belong to projects',
    'registry_host': 'there is no registry service',
    'registry_port': 'there is no registry service',
    'registry_client_protocol': 'there is no registry service',
    'secure_proxy_ssl_header': '[oslo_middleware] enable_proxy_headers_parsing does this',
    'send_identity_headers': 'there is no registry service',
    'use_user_token': 'there is no registry service',
}


def _modules() -> Iterator[Any]:
    for name in MODULES:
        yield importlib.import_module(f'{__name__}.{name}')


def options() -> dict[str, list[cfg.Opt]]:
    """Group -> all options of it."""
    found: dict[str, list[cfg.Opt]] = {}
    for module in _modules():
        for group, opts in module.OPTIONS.items():
            found.setdefault(group, []).extend(opts)
    return found


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """For oslo-config-generator."""
    return [(group, list(opts)) for group, opts in sorted(options().items())]


def set_defaults() -> None:
    """Defaults that Glance gives to options of other libraries."""
    from oslo_middleware import cors
    from oslo_policy import opts

    cors.set_defaults(
        allow_headers=[
            'Content-MD5', 'X-Image-Meta-Checksum', 'X-Storage-Token', 'Accept-Encoding',
            'X-Auth-Token', 'X-Identity-Status', 'X-Roles', 'X-Service-Catalog', 'X-User-Id',
            'X-Tenant-Id', 'X-OpenStack-Request-ID',
        ],
        expose_headers=[
            'X-Image-Meta-Checksum', 'X-Auth-Token', 'X-Subject-Token', 'X-Service-Token',
            'X-OpenStack-Request-ID',
        ],
        allow_methods=['GET', 'PUT', 'POST', 'DELETE', 'PATCH'],
    )  # fmt: skip
    opts.set_defaults(cfg.ConfigOpts(), policy_file='policy.yaml')


def register(conf: cfg.ConfigOpts) -> None:
    """Register every option of ours, and oslo.policy's, on `conf`."""
    from oslo_policy import opts

    set_defaults()
    for group, found in options().items():
        conf.register_opts(found, group=None if group == 'DEFAULT' else group)
    opts._register(conf)
    conf.set_default('policy_file', 'policy.yaml', group='oslo_policy')


def new() -> cfg.ConfigOpts:
    """A configuration of its own with everything registered, not parsed yet."""
    conf = cfg.ConfigOpts()
    register(conf)
    return conf


def default_files() -> list[str]:
    """The files that are read when the command line names none."""
    directory = pathlib.Path(os.environ.get(DIRECTORY) or '/etc/glance')
    names = ('glance-image-import.conf', 'glance-api.conf')
    return [str(directory / name) for name in names if (directory / name).exists()]


def parse(conf: cfg.ConfigOpts, arguments: Sequence[str] = (), **kwargs: Any) -> cfg.ConfigOpts:
    """Read files and command line into `conf`. Raises `ConfigurationError` in one sentence."""
    kwargs.setdefault('project', 'glance')
    try:
        conf(list(arguments), default_config_files=default_files(), **kwargs)
    except cfg.ConfigFilesNotFoundError as ex:
        raise ConfigurationError(
            f'The configuration file {", ".join(ex.config_files)} cannot be read'
        ) from ex
    except cfg.ConfigDirNotFoundError as ex:
        raise ConfigurationError(
            f'The configuration directory {ex.config_dir} does not exist'
        ) from ex
    except cfg.ConfigFileParseError as ex:
        raise ConfigurationError(_one_line(f'{ex.config_file} cannot be parsed: {ex}')) from ex
    except (ValueError, cfg.Error) as ex:
        check(conf)  # names the group as well, when it is one of our options
        raise ConfigurationError(_one_line(str(ex))) from ex
    check(conf)
    return conf


def check(conf: cfg.ConfigOpts) -> None:
    """Look at every value of ours once, so that a bad one is told at start."""
    for group, found in options().items():
        for option in found:
            value_of(conf, group, option.dest)


def value_of(conf: cfg.ConfigOpts, group: str, name: str) -> Any:
    """One value; a bad one is a `ConfigurationError` that names file, group and option."""
    try:
        return conf[name] if group == 'DEFAULT' else conf[group][name]
    except (ValueError, cfg.Error) as ex:
        # oslo.config's text has the file as the repr of where the value was found.
        file = re.search(r"detail='([^']*)'", str(ex))
        reason = re.sub(r'^.* is not valid: ', '', str(ex), flags=re.S)
        place = f'{file[1]}: ' if file else ''
        raise ConfigurationError(_one_line(f'{place}[{group}] {name}: {reason}')) from ex


def read(conf: cfg.ConfigOpts, group: str, opts: Sequence[cfg.Opt]) -> Mapping[str, Any]:
    """The values of options that a plug-in has of its own; a bad one is a `ConfigurationError`."""
    conf.register_opts(opts, group=None if group == 'DEFAULT' else group)
    return MappingProxyType({opt.dest: value_of(conf, group, opt.dest) for opt in opts})


def where(conf: cfg.ConfigOpts, group: str, name: str) -> str:
    """``FILE: `` of the file that sets an option, or nothing."""
    place = conf.get_location(name, None if group == 'DEFAULT' else group)
    if place is not None and place.location is cfg.Locations.user:
        return f'{_setter(conf, group, name) or place.detail}: '
    return ''


def _setter(conf: cfg.ConfigOpts, group: str, name: str) -> str | None:
    """The file that sets an option. oslo.config only knows the last one that has its group."""
    files = list(conf.config_file or [])
    for directory in conf.config_dir or []:
        files += sorted(map(str, pathlib.Path(directory).glob('*.conf')))
    path: str
    for path in reversed(files):
        sections: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(cfg.ConfigFileParseError, OSError):
            cfg.ConfigParser(path, sections).parse()
        if name in sections.get(group, {}):
            return path
    return None


def placed(conf: cfg.ConfigOpts, message: str) -> str:
    """A sentence that begins with ``[group] option``, with the file that sets it in front."""
    match = re.match(r'\[([^\]]+)\] (\w+)', message)
    if match is None:
        return message
    try:
        return where(conf, match[1], match[2]) + message
    except cfg.NoSuchOptError:
        return message


def removed(conf: cfg.ConfigOpts) -> list[str]:
    """A sentence for each option in the files that Glance has removed."""
    sentences = []
    for path in conf.config_file or []:
        text = pathlib.Path(path).read_text(errors='replace')
        for name, instead in REMOVED.items():
            if re.search(rf'^\s*{name}\s*=', text, re.M):
                sentences.append(f'{path}: {name} has no effect any more: {instead}')
    return sentences


def _one_line(text: str) -> str:
    return ' '.join(text.split())
