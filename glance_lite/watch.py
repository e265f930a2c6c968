# SPDX-License-Identifier: Apache-2.0
"""How the stores tell somebody what they do. Until one wants to know it costs nothing."""

from __future__ import annotations

import dataclasses
from typing import Protocol


class Watcher(Protocol):
    """Who wants to know what the stores do."""

    def stored(self, store_id: str, count: int) -> None:
        """A store has taken so many bytes, all of an upload."""

    def given(self, store_id: str, count: int) -> None:
        """So many bytes of a store have gone out."""

    def given_from_cache(self, count: int) -> None:
        """So many bytes of the cache have gone out."""

    def looked_up(self, hit: bool) -> None:
        """The data of an image was wanted, and the cache had it or got it just then."""

    def failed(self, store_id: str) -> None:
        """A store did not do what it should."""

    def left_alone(self, store_id: str, begins: bool) -> None:
        """From now on this process leaves a store alone, or does no more."""


@dataclasses.dataclass
class Watch:
    """The watcher of all stores, if there is one."""

    by: Watcher | None = None
