# SPDX-License-Identifier: Apache-2.0
"""Traces of requests by osprofiler, as ``[profiler]`` says.

The library is imported only where the configuration has that group. Its own way to start would
write the connection string, which may hold a password, to the log, and go on without traces where
that string is wrong.
"""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any

from glance_lite import conf as configuration
from glance_lite.errors import ConfigurationError

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)

GROUP = 'profiler'

#: What osprofiler has for a key where none is set.
KNOWN_KEY = 'SECRET_KEY'


def enabled(conf: cfg.ConfigOpts) -> bool:
    """Whether requests may be traced. Raises `ConfigurationError`."""
    if GROUP not in conf.list_all_sections():
        return False
    return bool(_settings(conf)['enabled'])


def traces_statements(conf: cfg.ConfigOpts) -> bool:
    """Whether statements of the database are part of a trace."""
    return enabled(conf) and bool(_settings(conf)['trace_sqlalchemy'])


def _settings(conf: cfg.ConfigOpts) -> Any:
    from osprofiler import opts

    # Some ways to send have a group of their own.
    values = {group: configuration.read(conf, group, found) for group, found in opts.list_opts()}
    return values[GROUP]


def start(conf: cfg.ConfigOpts) -> None:
    """Open what traces are sent to, in each worker. Raises `ConfigurationError`."""
    if not enabled(conf):
        return
    from osprofiler import notifier, requests, web
    from osprofiler.drivers import base

    settings = _settings(conf)
    target: str = settings['connection_string']
    scheme = target.partition(':')[0]
    try:
        driver = base.get_driver(
            target,
            context={},
            project='glance',
            service='api',
            host=socket.gethostname(),
            conf=conf,
        )
    except Exception as ex:
        # Neither the string nor what the library says about it: there may be a password in it.
        raise ConfigurationError(
            f'[{GROUP}] connection_string: nothing can be sent by {scheme} ({type(ex).__name__})'
        ) from ex
    notifier.set(driver.notify)
    web.enable(settings['hmac_keys'])
    if settings['trace_requests']:
        requests.enable()
    if settings['hmac_keys'] == KNOWN_KEY:
        LOG.warning(
            '[%s] hmac_keys is the default, which is known to everybody, and so anybody can have '
            'requests traced',
            GROUP,
        )
