# SPDX-License-Identifier: Apache-2.0
"""A jobboard of TaskFlow on which imports are announced, for workers that need not look for them.

What counts are the rows: a note on the board says no more than that one waits. So nothing is lost
with the board, and whoever gets a note too late finds that there is nothing to do.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from oslo_config import cfg

from glance_lite.errors import ConfigurationError

LOG = logging.getLogger(__name__)

#: Seconds after which a note that somebody took and did not end is there for others, where the
#: board does not see by itself that he is gone.
EXPIRY = 60.0

#: Scheme of ``[task] jobboard_url`` -> name that TaskFlow has for it, and what must be installed.
KINDS = {
    'redis': ('redis', 'redis'),
    'etcd': ('etcd', 'etcd3gw'),
    'zookeeper': ('zookeeper', 'kazoo'),
}


def make(conf: cfg.ConfigOpts) -> Board | None:
    """The board of the configuration, if there is one. `ConfigurationError`."""
    if conf.task.task_executor != 'jobboard':
        return None
    url = conf.task.jobboard_url
    if not url:
        raise ConfigurationError('[task] jobboard_url: task_executor = jobboard needs it')
    return Board(settings(url))


def settings(url: str) -> dict[str, Any]:
    """What TaskFlow is told of a board. `ConfigurationError`."""
    try:
        parts = urlsplit(url)
        # ZooKeeper has several hosts, and its client reads them by itself.
        port = None if parts.scheme == 'zookeeper' else parts.port
    except ValueError as ex:
        raise ConfigurationError('[task] jobboard_url: it is not a url') from ex
    if parts.scheme not in KINDS or not parts.hostname:
        raise ConfigurationError(
            f'[task] jobboard_url: it must be {" or ".join(f"{kind}://HOST" for kind in KINDS)}'
        )
    kind = KINDS[parts.scheme][0]
    found: dict[str, Any] = {'board': kind, **dict(parse_qsl(parts.query))}
    if kind == 'zookeeper':
        hosts = parts.netloc.rpartition('@')[2]
        return {'hosts': hosts, 'path': parts.path or '/glance-lite/jobs', **found}
    found['host'] = parts.hostname
    if port is not None:
        found['port'] = port
    if kind == 'etcd':
        return {'path': (parts.path or '/glance-lite').strip('/') or 'glance-lite', **found}
    if parts.path.strip('/'):
        found['db'] = parts.path.strip('/')
    if parts.password:
        found['password'] = unquote(parts.password)
    if parts.username:
        found['username'] = unquote(parts.username)
    return {'namespace': 'glance-lite', **found}


class Board:
    """Connected when it is first used; every failure is logged, and costs only time."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._board: Any = None
        self._pid = 0

    def _connected(self) -> Any:
        with self._lock:
            if self._board is None or self._pid != os.getpid():
                from taskflow.jobs import backends

                board = backends.fetch('glance-lite', dict(self._settings))
                board.connect()
                self._board, self._pid = board, os.getpid()
            return self._board

    def announce(self, serial: int) -> None:
        """Say that an import waits."""
        with self._surviving('announced'):
            self._connected().post(f'import-{serial}', details={'serial': serial})

    def wait(self, seconds: float) -> list[Any]:
        """Notes that nobody has taken, as soon as there are any."""
        from taskflow import exceptions

        found: list[Any] = []
        with self._surviving('looked for'):
            board = self._connected()
            with contextlib.suppress(exceptions.NotFound):
                board.wait(timeout=seconds)
            # Some boards tell of nothing that was there before.
            found += board.iterjobs(only_unclaimed=True, ensure_fresh=True)
        return found

    @contextlib.contextmanager
    def taken(self, note: Any) -> Iterator[bool]:
        """Take a note, and take it off the board after the block; False: somebody else has it."""
        who = f'{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}'
        mine = False
        with self._surviving('taken'):
            more = {'expiry': EXPIRY} if self._settings['board'] == 'redis' else {}
            self._connected().claim(note, who, **more)
            mine = True
        yield mine
        if mine:
            with self._surviving('ended'):
                self._connected().consume(note, who)

    @contextlib.contextmanager
    def _surviving(self, what: str) -> Iterator[None]:
        """Nothing depends on the board but how soon an import begins."""
        from taskflow import exceptions

        try:
            yield
        except (exceptions.UnclaimableJob, exceptions.NotFound):
            pass  # somebody else was quicker
        except Exception as ex:
            # Not the text: it may name a password.
            LOG.warning('An import could not be %s on the board: %s', what, type(ex).__name__)
            LOG.debug('The board failed', exc_info=True)
            self._board = None
