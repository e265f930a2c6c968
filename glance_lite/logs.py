# SPDX-License-Identifier: Apache-2.0
"""Logging: oslo.log, as operators of Glance have it.

Files, journal, formats and levels are oslo.log's own options; ``debug`` and the levels can be
changed while the service runs (SIGHUP). Each line of a request carries its request id and the
one that services share.
"""

from __future__ import annotations

import logging

from oslo_config import cfg
from oslo_log import log

from glance_lite import conf as configuration
from glance_lite.errors import ConfigurationError

LOG = logging.getLogger(__name__)

#: Libraries whose information is of no use to an operator.
QUIET = (
    'routes.middleware=INFO',
    'paste=WARN',
    'alembic=WARN',
    'urllib3.connectionpool=WARN',
    # It tells of each request with its signature and the access key.
    'botocore=WARN',
)


def register(conf: cfg.ConfigOpts) -> None:
    """Register oslo.log's options; before the configuration is parsed."""
    log.register_options(conf)
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), *QUIET])


def setup(conf: cfg.ConfigOpts) -> None:
    """Begin to log as the configuration says. Raises `ConfigurationError`."""
    try:
        log.setup(conf, 'glance')
    except log.LogConfigError as ex:
        file = configuration.where(conf, 'DEFAULT', 'log_config_append')
        reason = ' '.join(str(ex).split())
        raise ConfigurationError(f'{file}[DEFAULT] log_config_append: {reason}') from ex
    except RuntimeError as ex:
        # oslo.log says so when the bindings are missing, and nothing else.
        file = configuration.where(conf, 'DEFAULT', 'use_journal')
        raise ConfigurationError(
            f'{file}[DEFAULT] use_journal: {ex}; '
            f'install them with: pip install glance-lite[journal]'
        ) from ex
    except OSError as ex:
        file = configuration.where(conf, 'DEFAULT', 'log_file')
        raise ConfigurationError(f'{file}[DEFAULT] log_file: {ex}') from ex
    for sentence in configuration.removed(conf):
        LOG.warning('%s', sentence)


def unshare_locks() -> None:
    """Give each handler a lock of this process, after a fork.

    Under eventlet oslo.log's locks are pipes, which a fork shares: a worker killed with one in
    its hands would stop the master and all others at their next line.
    """
    for reference in logging._handlerList:  # type: ignore[attr-defined]
        handler = reference()
        if handler is not None and handler.lock is not None:
            handler.createLock()
