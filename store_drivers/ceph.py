# SPDX-License-Identifier: Apache-2.0
"""A connection to a Ceph cluster that a process shares, makes again, and never waits for for ever.

librados keeps threads and sockets for each connection and reconnects by itself where it can. What
it cannot get over (a key that was changed, a client that was shut out, an answer that never came)
makes us drop the connection: whoever uses it goes on, and the next one gets a new one.
"""

from __future__ import annotations

import _queue
import contextlib
import errno
import json
import os
import time
from collections.abc import Iterator
from typing import Any, NoReturn

from glance_lite.store import (
    BadStoreConfiguration,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)

#: Seconds to wait for monitors and OSDs where neither ``rados_connect_timeout`` nor ``ceph.conf``
#: says it. librados itself would wait for ever.
PATIENCE = 30
#: Seconds after which a connection is made anew. A session that is open outlives the key it was
#: opened with: what an operator has revoked is refused after that time.
LIFETIME = 600.0

#: What librados waits by, with the value that means that nobody has set it.
_TIMEOUTS = {
    'client_mount_timeout': '300',
    'rados_mon_op_timeout': '0',
    'rados_osd_op_timeout': '0',
}
#: What is so whatever ``ceph.conf`` says.
_SETTINGS = {
    # The cache is for disks: what comes and goes in one stream is only copied once more.
    'rbd_cache': 'false',
}
#: After these a connection is good for nothing, or may be.
_STALE = (errno.EACCES, errno.EPERM, errno.ESHUTDOWN, errno.ENOTCONN, errno.ETIMEDOUT)
#: The user may not do this.
DENIED = (errno.EACCES, errno.EPERM)
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Failed(Exception):
    """What was asked of a monitor, or of librbd's own threads, has failed."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.errno = number


def wait(queue: Any, seconds: float | None) -> Any:
    """What is put into a queue, within some time if one is given. `Failed`."""
    try:
        return queue.get(timeout=seconds)
    except _queue.Empty:
        raise Failed(errno.ETIMEDOUT) from None


class Mutex:
    """A lock between native threads; where `threading` is patched, its locks are for green ones."""

    def __init__(self) -> None:
        self._token: Any = _queue.SimpleQueue()
        self._token.put(None)

    @contextlib.contextmanager
    def held(self, seconds: float | None = None) -> Iterator[None]:
        """`Failed`, when it has not been had within a time, if there is one."""
        wait(self._token, seconds)
        try:
            yield
        finally:
            self._token.put(None)


class Link:
    """One connection. It ends with the last reference to it: nobody is cut off."""

    def __init__(self, handle: Any) -> None:
        #: a connected ``rados.Rados``
        self.handle = handle
        #: seconds after which librados gives up an operation
        self.patience = float(handle.conf_get('rados_osd_op_timeout'))
        self._until = time.monotonic() + LIFETIME
        self.retired = False

    @property
    def usable(self) -> bool:
        """Whether somebody new may have it."""
        return not self.retired and time.monotonic() < self._until


class Cluster:
    """The cluster of one store, as one user."""

    def __init__(
        self, store: str, conf: str, user: str | None, seconds: int, threads: int = 1
    ) -> None:
        """`seconds`: ``rados_connect_timeout``; not positive: what ``ceph.conf`` says. `threads`
        of librados that serve answers.

        With more threads than one a device that is only read must not be opened: librbd 16 looks at
        it once more after it has said that it is open, and where it is closed at once, by another
        thread, the process aborts. One that may be written is closed by the same thread anyway.
        """
        self._store = store
        self._threads = threads
        self._conf = conf
        self._user = user
        self._seconds = seconds
        self._mutex = Mutex()
        self._link: Link | None = None
        self._parked: list[tuple[Link, Any, Any]] = []
        self._attempts = 0
        self._failure = ''
        #: id of the cluster; None before anybody knows it
        self.fsid: str | None = None

    def load(self, needs: str) -> None:
        """Import the libraries. `BadStoreConfiguration` says what they `need`."""
        try:
            import rados
            import rbd
        except ImportError as ex:
            raise BadStoreConfiguration(
                f'[{self._store}] the driver rbd lacks {ex.name}; install it with: {needs}'
            ) from ex
        self._rados = rados
        #: what either library raises, and `Failed`
        self.errors: tuple[type[Exception], ...] = (rados.Error, rbd.Error, Failed)
        #: what librados raises for an object that is not there
        self.nothing: type[Exception] = rados.ObjectNotFound

    # --- connections

    def link(self) -> Link:
        """The connection to use now. `StoreUnavailable`, `StoreDenied`."""
        link = self._link
        if link is not None and link.usable:
            return link
        before = self._attempts
        with self._mutex.held():
            if self._link is not None and self._link.usable:
                return self._link
            if self._attempts != before and self._failure:
                # It has failed while we waited for our turn; each would wait once more.
                raise StoreUnavailable(self._failure)
            self._attempts += 1
            self._parked = [one for one in self._parked if one[1].empty()]
            try:
                self._link = Link(self._connect())
            except (BadStoreConfiguration, StoreError) as ex:
                self._link = None
                self._failure = f'Store {self._store} cannot be reached'
                if isinstance(ex, BadStoreConfiguration):
                    # Not at start: it was right then.
                    raise StoreDenied(
                        f'Store {self._store} refuses the user of the service'
                    ) from ex
                raise
            self._failure = ''
            return self._link

    def park(self, link: Link, told: Any, kept: Any) -> None:
        """Keep something that librados may still use until something is put into the queue `told`;
        what it keeps may go then, but not in a thread of librados, which would wait for itself."""
        link.retired = True
        with self._mutex.held():
            self._parked.append((link, told, kept))

    def connect(self) -> None:
        """For the start. `BadStoreConfiguration`: it will never succeed. `StoreUnavailable`."""
        self._link = Link(self._connect())

    def _connect(self) -> Any:
        rados = self._rados
        if self._conf and not os.access(self._conf, os.R_OK):
            self.wrong('rbd_store_ceph_conf', f'{self._conf} cannot be read')
        try:
            handle = rados.Rados(
                conffile=self._conf,
                rados_id=self._user,
                conf={**_SETTINGS, 'librados_thread_count': str(self._threads)},
            )
        except rados.Error as ex:
            self.wrong('rbd_store_ceph_conf', f'{self._conf or "ceph.conf"} is of no use ({ex})')
        self._limit(handle)
        try:
            handle.connect()
            self.fsid = str(handle.get_fsid())
        except (rados.PermissionDeniedError, rados.ObjectNotFound):
            self.wrong(
                'rbd_store_user',
                f'the cluster refuses client.{self._user or "admin"}: there is no such user, or '
                'the keyring that ceph.conf names is missing or has another key',
            )
        except rados.Error as ex:
            raise StoreUnavailable(f'Store {self._store} cannot be reached') from ex
        return handle

    def _limit(self, handle: Any) -> None:
        """Nothing waits for ever."""
        for name, unset in _TIMEOUTS.items():
            if self._seconds > 0:
                handle.conf_set(name, str(self._seconds))
            elif float(handle.conf_get(name) or 0) == float(unset):
                handle.conf_set(name, str(PATIENCE))

    def wrong(self, option: str, reason: str) -> NoReturn:
        """What only an operator can put right."""
        raise BadStoreConfiguration(f'[{self._store}] {option}: {reason}')

    # --- what goes wrong

    def is_silence(self, ex: object) -> bool:
        """Whether an error says that the cluster has not answered."""
        return isinstance(ex, self.errors) and getattr(ex, 'errno', None) == errno.ETIMEDOUT

    def told(self, ex: Exception, link: Link) -> StoreError:
        """An error of the libraries in our words; a connection that it says is bad is dropped."""
        number = getattr(ex, 'errno', None)
        if number in _STALE:
            link.retired = True
        if number in DENIED:
            return StoreDenied(f'Store {self._store} refuses the user of the service')
        if number in _FULL:
            return StoreFull(f'Store {self._store} is full')
        if number == errno.EROFS:
            return StoreReadOnly(f'Store {self._store} takes no data')
        if number == errno.ETIMEDOUT:
            return StoreUnavailable(f'Store {self._store} does not answer')
        return StoreUnavailable(f'Store {self._store} failed ({type(ex).__name__})')

    def room(self, link: Link, pool: str) -> tuple[int, int] | None:
        """(bytes that a pool could hold in all, bytes that it still takes); None: nobody knows."""
        code, out = self._ask_monitors(link, prefix='df', detail='detail', format='json')
        # Without a manager there are no figures, and somebody may not be let ask.
        for one in json.loads(out)['pools'] if code == 0 else ():
            if one['name'] == pool:
                told = one['stats']
                used, free = int(told['stored']), int(told['max_avail'])
                if quota := int(told.get('quota_bytes') or 0):
                    free = max(0, min(free, quota - used))
                return used + free, free
        return None

    def reach_monitors(self, link: Link) -> None:
        """`Failed`, when none answers."""
        self._ask_monitors(link, prefix='version')

    @staticmethod
    def _ask_monitors(link: Link, **command: str) -> tuple[int, bytes]:
        """(error or 0, answer). `Failed`, when none answers."""
        code, out, _ = link.handle.mon_command(json.dumps(command), b'')
        if -code == errno.ETIMEDOUT:
            raise Failed(errno.ETIMEDOUT)
        return int(code), bytes(out)
