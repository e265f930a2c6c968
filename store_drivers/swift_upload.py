# SPDX-License-Identifier: Apache-2.0
"""One upload of the swift driver: a claim, segments, the object; and nothing of it if it fails."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import random
import time
import uuid
from collections.abc import Iterator, Mapping

from glance_lite.store import (
    LeftBehind,
    ObjectExists,
    ObjectNotFound,
    Source,
    StoreError,
    StoreUnavailable,
)
from store_drivers.swift_account import Account
from store_drivers.swift_locations import quoted
from store_drivers.swift_pieces import Buffered, Piece, Pieces

LOG = logging.getLogger(__name__)

#: Seconds that whoever has the first claim waits for those who came later to withdraw theirs.
WAITING = 20.0
#: Header of objects that says which upload wrote it.
UPLOAD = 'X-Object-Meta-Glance-Lite-Upload'


class NoContainer(StoreUnavailable):
    """There is no such container."""


@dataclasses.dataclass
class Attempt:
    """An upload, and what it has made so far."""

    store: str
    account: Account
    container: str
    name: str
    #: whether the container is made if it is not there
    create: bool
    #: directory in which what is sent is written to a file first
    buffer: str | None
    #: whether the container is for this object alone, and goes with it
    alone: bool
    token: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    #: name of the claim; empty: there is none
    claim: str = ''
    #: number of segments that there may be
    segments: int = 0
    #: whether there may be the object itself
    begun: bool = False

    def run(self, source: Source, size: int | None, segment: int, large: int) -> None:
        """Store a source; from `large` bytes on, or of unknown size, in segments of so many."""
        with self._all_or_nothing():
            pieces = Pieces(source, size, segment)
            whole = pieces.whole(large)
            if whole is not None:
                self._put(whole, {})
                return
            for piece in pieces:
                self._add_segment(piece)
            manifest = f'{quoted(self.container)}/{quoted(self._prefix)}-'
            self._put(None, {'X-Object-Manifest': manifest})

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        try:
            self._take()
            yield
        except BaseException as ex:
            self._undo(ex)
            raise
        try:
            self._remove(self.claim)
        except StoreError as ex:
            LOG.warning('Store %s keeps a claim until the image is deleted: %s', self.store, ex)

    @property
    def _prefix(self) -> str:
        return f'{self.name}-{self.token}'

    def _segment(self, number: int) -> str:
        return f'{self._prefix}-{number:05d}'

    def _remove(self, name: str) -> None:
        with contextlib.suppress(ObjectNotFound):
            self.account.do('DELETE', self.container, name)

    def _is_ours(self, or_nobodys: bool = False) -> bool:
        """Whether the object is there and this upload has written it."""
        head = self.account.head(self.container, self.name)
        return or_nobodys if head is None else head.get(UPLOAD) == self.token

    # --- the name

    def _take(self) -> None:
        """Claim a name that nobody has. `ObjectExists`.

        Of several claims the first one stands, but its upload does not begin before the others are
        withdrawn: clocks differ, and a later one may have been alone when its upload looked.
        """
        self._put_claim()
        until = time.monotonic() + WAITING
        while True:
            found = self._listed()
            if found.keys() <= {self.claim}:
                return
            if time.monotonic() > until or self._is_taken(found):
                raise ObjectExists(f'Store {self.store} holds {self.name} already')
            time.sleep(random.uniform(0.05, 0.2))

    def _is_taken(self, found: Mapping[str, float]) -> bool:
        """Whether the object is there, or a claim that was made before ours."""
        first = self.name
        if first not in found:
            first = min(found, key=lambda name: (found[name], name))
            if first == self.claim or self.claim not in found:
                return False
        # Listings are late at times: it may be gone.
        return self.account.head(self.container, first) is not None

    def _listed(self) -> dict[str, float]:
        """The object and all claims of its name, with the times (seconds) when they were made."""
        return {
            entry['name']: seconds(entry['last_modified'])
            for entry in self.account.entries(
                self.container, prefix=self.name, end_marker=f'{self.name}-'
            )
        }

    def _put_claim(self) -> None:
        self.claim = f'{self.name}+{uuid.uuid4().hex}'
        try:
            self.account.do('PUT', self.container, self.claim)
        except ObjectNotFound:
            if not self.create:
                self.claim = ''
                raise NoContainer(f'Store {self.store} has no container {self.container}') from None
            self.account.do('PUT', self.container)
            self.account.do('PUT', self.container, self.claim)

    # --- the data

    def _add_segment(self, piece: Piece) -> None:
        # It costs little beside a segment, and a token that was revoked is found out while it can
        # be renewed: what has been read of the source cannot be read again.
        self.account.do('HEAD', self.container)
        self.segments += 1
        self._send(self._segment(self.segments), piece, {})

    def _send(self, name: str, piece: Piece | None, headers: Mapping[str, str]) -> None:
        kind = {'Content-Type': 'application/octet-stream', **headers}
        with contextlib.ExitStack() as stack:
            body = piece
            if piece is not None and self.buffer is not None:
                body = stack.enter_context(contextlib.closing(Buffered(piece, self.buffer)))
            try:
                self.account.do('PUT', self.container, name, headers=kind, body=body)
            except StoreError:
                if piece is not None and piece.error is not None:
                    raise piece.error from None
                raise

    def _put(self, piece: Piece | None, headers: Mapping[str, str]) -> None:
        """Write the object itself, under a name that nothing has."""
        self.begun = True
        only = {'If-None-Match': '*', UPLOAD: self.token, **headers}
        try:
            self._send(self.name, piece, only)
        except ObjectExists:
            # Or it is ours, and the answer to the first request was lost.
            if not self._is_ours():
                self.begun = False
                raise
        except StoreError:
            # Or it is done, and the answer was lost.
            if (piece is not None and not piece.complete) or not self._is_ours():
                raise

    def _undo(self, ex: BaseException) -> None:
        """Remove what a failed upload has left. `LeftBehind`, when the server does not let us."""
        try:
            for number in range(1, self.segments + 1):
                self._remove(self._segment(number))
            if self.begun and self._is_ours(or_nobodys=True):
                # Of what is still on its way to us: a later deletion is stronger.
                self._remove(self.name)
            if self.claim:
                self._remove(self.claim)
            if self.alone:
                remove_container(self.account, self.container)
        except StoreError as second:
            LOG.error('Store %s may hold something of a failed upload: %s', self.store, second)
            if isinstance(ex, Exception):
                raise LeftBehind(f'Store {self.store} failed: {second}') from ex


def remove_container(account: Account, container: str) -> None:
    """Remove a container, unless there is something in it."""
    with contextlib.suppress(ObjectNotFound, ObjectExists):
        account.do('DELETE', container)


def seconds(stamp: str) -> float:
    """A time of a listing, as seconds of the epoch."""
    return datetime.datetime.fromisoformat(f'{stamp}+00:00').timestamp()
