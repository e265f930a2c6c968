# SPDX-License-Identifier: Apache-2.0
"""A store that decides for itself who reads, and remembers what it was told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from glance_lite.store import Cap
from store_drivers.memory import MemoryStore


class AclStore(MemoryStore):
    caps = MemoryStore.caps | Cap.ACL

    def __init__(self, name: str, settings: Any) -> None:
        super().__init__(name, settings)
        #: (key, public, projects), as they came
        self.said: list[tuple[str, bool, tuple[str, ...]]] = []
        #: called while the store is being told
        self.meanwhile: Callable[[], Any] = lambda: None

    def acl(self, key: str, public: bool, projects: Sequence[str]) -> None:
        self._data(key)
        self.meanwhile()
        self.said.append((key, public, tuple(projects)))

    def new(self) -> list[tuple[bool, tuple[str, ...]]]:
        """What was said since this was last asked."""
        said, self.said = self.said, []
        return [(public, projects) for _, public, projects in said]
