# SPDX-License-Identifier: Apache-2.0
"""A store in which each project has an account, and which remembers for whom it acted."""

from __future__ import annotations

from typing import Any

from glance_lite.store import Caller, Cap, StoreDenied
from tests.unit.layers.acl_store import AclStore


class AccountsStore(AclStore):
    caps = AclStore.caps | Cap.CALLER

    def __init__(self, name: str, settings: Any) -> None:
        super().__init__(name, settings)
        #: (verb, who), as they came
        self.did: list[tuple[str, Caller | None]] = []
        #: tokens that are good for nothing any more
        self.ended: set[str] = set()

    def acting_for(self, caller: Caller | None) -> Any:
        return _View(self, caller)

    def acts(self) -> list[tuple[str, Caller | None]]:
        """What was done since this was last asked."""
        did, self.did = self.did, []
        return did


class _View:
    VERBS = frozenset({'add', 'get', 'delete', 'size', 'acl', 'locate'})

    def __init__(self, store: AccountsStore, caller: Caller | None) -> None:
        self._store = store
        self._caller = caller

    def __getattr__(self, name: str) -> Any:
        if name in self.VERBS:
            if self._caller is not None and self._caller.token in self._store.ended:
                raise StoreDenied('The token has ended')
            self._store.did.append((name, self._caller))
        return getattr(self._store, name)
