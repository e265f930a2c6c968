# SPDX-License-Identifier: Apache-2.0
"""The contract of a store driver: five verbs and some data.

A driver knows its medium, and nothing of images, hashes, quotas, HTTP or threads. Hashing,
size limits, format inspection, retries, redaction, failover and the choice among locations
live once, in the `Gateway` and in `glance_lite.stream`. A driver package imports this module
and nothing else of the framework, registers itself in the entry point group
``glance_lite.stores`` and proves itself with ``glance_lite.testing.stores.StoreConformance``.
"""

from __future__ import annotations

import abc
import builtins
import dataclasses
import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Protocol

from oslo_config import cfg

from glance_lite.errors import (
    BadStoreConfiguration,
    BadStoreUri,
    InUse,
    LeftBehind,
    ObjectExists,
    ObjectNotFound,
    StillNeeded,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from glance_lite.guarded import Guard

__all__ = [
    'STORE_API',
    'BadStoreConfiguration',
    'BadStoreUri',
    'Caller',
    'Cap',
    'InUse',
    'Key',
    'LeftBehind',
    'ObjectExists',
    'ObjectNotFound',
    'Source',
    'StillNeeded',
    'StoreDenied',
    'StoreDriver',
    'StoreError',
    'StoreFull',
    'StoreReadOnly',
    'StoreUnavailable',
]

#: Version of this contract. A driver may demand it with ``requires_api``.
STORE_API = 1

#: A driver's own name for a stored thing: whatever its `parse` returns.
Key = Any


class Cap(enum.Flag):
    """What a driver can do beyond reading. The optional verbs are used only when said here."""

    NONE = 0
    #: `add` and `delete` work
    WRITE = enum.auto()
    #: `sendfile(key, offset, length)` gives (open binary file, offset, length)
    SENDFILE = enum.auto()
    #: `list()` yields (url, size, modified) of everything stored
    LIST = enum.auto()
    #: `copy_from(other, key, name)` copies within the backend; no byte passes through here
    COPY = enum.auto()
    #: `sign_url(key, seconds)` gives a url that needs no credentials
    SIGN_URL = enum.auto()
    #: `acl(key, public, projects)`: the store itself decides who reads, and must be told
    ACL = enum.auto()
    #: `acting_for(caller)`: what a project stores lies in an account of its own
    CALLER = enum.auto()


@dataclasses.dataclass(frozen=True)
class Caller:
    """On whose behalf a store with `Cap.CALLER` acts."""

    project_id: str | None
    #: None: the service acts for the project, with credentials of its own
    token: str | None = dataclasses.field(default=None, repr=False)
    #: where services are, as the token's catalog says it: in the form of X-Service-Catalog
    catalog: Sequence[Mapping[str, Any]] = dataclasses.field(default=(), repr=False)


class Source(Protocol):
    """What `add` reads from."""

    def read(self, size: int) -> bytes | memoryview:
        """At most `size` bytes; empty at the end. Raises when the upload must not be kept."""


class StoreDriver(abc.ABC):
    """One configured store.

    Constructed with the store's id and its group of options; does no I/O before `start`. All
    verbs may be called from several threads at once.
    """

    #: url schemes of this driver, the one it writes first
    schemes: tuple[str, ...] = ()
    caps: Cap = Cap.NONE
    #: options of a store's group
    opts: ClassVar[list[cfg.Opt]] = []
    #: how its libraries are installed, for example ``pip install glance-lite[swift]``
    needs: ClassVar[str] = ''
    #: 'socket': safe in a green thread; 'native': run in the store's own pool of threads
    io: ClassVar[str] = 'native'
    requires_api: ClassVar[int] = STORE_API
    #: bytes a reader should ask for at a time
    chunk_size: int = 1024 * 1024
    #: those of `schemes` by which nobody may register data: of local files, of others' credentials
    private_schemes: ClassVar[tuple[str, ...]] = ()
    #: whether a failure to reach one thing says something of all: False where each url may name
    #: another server
    shares_fate: ClassVar[bool] = True
    #: the client for urls that users give; set before `start` by whoever has a configuration
    guard: Guard | None = None
    #: the whole configuration, for a driver that runs one of another framework; set as `guard` is
    conf: cfg.ConfigOpts | None = None

    @classmethod
    def variant(cls, name: str) -> type[StoreDriver]:
        """The driver of a store whose type is written ``TYPE+NAME``.

        For one that runs drivers of another framework, which have names there.
        `BadStoreConfiguration`: there is none of that name, or it cannot be had.
        """
        raise BadStoreConfiguration(f'{cls.__name__} is one driver, and takes no +{name}')

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        """`name` is the store's id; `settings` its options, by name, already type-checked."""
        self.name = name
        self.settings = settings

    @classmethod
    def more_opts(cls, group: str, settings: Mapping[str, Any]) -> builtins.list[cfg.Opt]:
        """Options that depend on those of `opts`: of the driver inside, for one that wraps another.

        They are in the same `group`, and in the `settings` that the driver is made from.
        """
        return []

    @abc.abstractmethod
    def start(self) -> None:
        """Check settings and credentials, once, and open what the verbs need.

        `BadStoreConfiguration`, for what only an operator can put right, stops the service. With
        `StoreUnavailable`, for a backend that is merely down, the service starts without this
        store, and calls this again until it succeeds.
        """

    @abc.abstractmethod
    def parse(self, url: str) -> Key:
        """The key behind `url`. The url is hostile. Raises `BadStoreUri`."""

    def owns(self, url: str) -> bool:
        """Whether a url names something where this driver, as it is configured now, stores images.

        All that it can `parse` is read and deleted: the configuration may have changed since it
        was stored. But users may register only what it owns, for they would read with the
        service's rights whatever these reach. Never raises.
        """
        try:
            self.parse(url)
        except StoreError:
            return False
        return True

    def redact(self, url: str) -> str:
        """`url` without credentials, for logs and answers."""
        return url

    @abc.abstractmethod
    def add(self, name: str, source: Source, size: int | None) -> str:
        """Store all of `source` under `name`; give its url.

        All or nothing: whatever `source.read` or the medium raises, nothing is left under that
        name. With a `size` in bytes, read exactly that many and do not ask for the end; None is
        unknown, read until empty. Never writes over something that exists: `ObjectExists`.
        Raises `StoreFull`, `StoreReadOnly`, `StoreDenied`, `StoreUnavailable`; `LeftBehind`, when
        an upload failed and the medium does not let what was written be removed either: what
        `locate` names is then deleted until it succeeds.
        """

    @abc.abstractmethod
    def get(self, key: Key, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes from `offset`, `length` of them or up to the end.

        Raises `ObjectNotFound` and `StoreUnavailable` at the call, not at the first chunk. The
        iterator may have ``close()``; it is called in any case.
        """

    @abc.abstractmethod
    def size(self, key: Key) -> int:
        """Size in bytes. Raises `ObjectNotFound`."""

    @abc.abstractmethod
    def delete(self, key: Key) -> None:
        """Remove it. Raises `ObjectNotFound`, `StoreDenied`, `StoreUnavailable`.

        `InUse`: something depends on it, and it is as it was. `StillNeeded`: something does, but
        from now on it is found by nobody but by `delete`, which is called until it succeeds.
        """

    # --- optional, for whoever cleans up after a process that has ended

    def locate(self, name: str) -> tuple[str, ...]:
        """The urls under which `add` may have put this name, whether or not there is anything.

        Should ask nobody. Without this verb, bytes that were stored just when a process was killed
        stay in the store, where nobody refers to them.
        """
        return ()

    # --- optional: used only with the capability

    def sendfile(
        self, key: Key, offset: int = 0, length: int | None = None
    ) -> tuple[BinaryIO, int, int]:
        """An open file with offset and length in bytes; the caller closes it."""
        raise StoreError(f'store {self.name} has no files to send')

    def list(self) -> Iterator[tuple[str, int, float]]:
        """(url, size in bytes, time of last change as seconds of the epoch) of all stored."""
        raise StoreError(f'store {self.name} cannot list')

    def copy_from(self, other: StoreDriver, key: Key, name: str) -> str | None:
        """Store under `name` what `other` holds under `key`, within the backend; give its url.

        None: the two do not share one that can do this. Nothing has been stored then, and whoever
        asked copies through this process. `other` is any driver, of this type or not, and may be
        this very one; it is only asked what it is, and has been started. All or nothing, and never
        over something that exists, like `add`. The bytes are not looked at: whoever asked compares
        size and, if need be, hashes. Raises `ObjectNotFound` where `other` holds no such thing, and
        what `add` raises.
        """
        raise StoreError(f'store {self.name} cannot copy')

    def acl(self, key: Key, public: bool, projects: Sequence[str]) -> None:
        """Let everybody (`public`), or these projects and no others, read what the owner stored.

        It takes the place of whatever was said before, and may be said again at any time. Who
        has said nothing has let nobody in. Raises `ObjectNotFound`, `StoreDenied`,
        `StoreUnavailable`.
        """
        raise StoreError(f'store {self.name} does not decide who reads')

    def acting_for(self, caller: Caller | None) -> StoreDriver:
        """This driver, as it serves one caller; None is nobody but the service itself.

        It costs next to nothing, and asks nobody. All verbs of what it gives act with the
        caller's rights and in the caller's account; `parse` and `redact` do as they always do.
        """
        return self

    # --- for people

    def describe(self) -> Mapping[str, Any]:
        """What ``info/stores/detail`` may show of the settings: no credential."""
        return {}

    def room(self) -> tuple[int, int] | None:
        """(bytes that the medium has in all, bytes that are free); None: it does not say.

        Asked whenever metrics are: it must cost little. Raises `StoreError`.
        """
        return None

    def check(self) -> None:  # noqa: B027 - a driver without a cheap proof needs none
        """Cheap proof that the medium answers. Raises `StoreError`.

        For /healthcheck, and to find out whether a store that has failed or hangs can be used
        again: it should ask what reading and writing need, and not what this process remembers.
        """
