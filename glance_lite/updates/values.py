# SPDX-License-Identifier: Apache-2.0
"""What is to be brought up to date in the background."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable

from glance_lite.model import Digests, Image


def untold(count: int) -> None:
    """Nobody wants to know how many bytes have been read."""


@dataclasses.dataclass(frozen=True, slots=True)
class Placement:
    """In which stores an image is to be, and in which not, as far as that is not so yet."""

    image_id: str
    #: ids of stores where there is to be a copy
    wanted: tuple[str, ...]
    #: ids of stores where there is to be none
    unwanted: tuple[str, ...]
    #: how often it was tried, at most
    attempts: int = 0
    #: why it failed the last time; None: it has not
    problem: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Placed:
    """An image with data, for a rule that says where it is to be."""

    image_id: str
    visibility: str
    owner: str | None
    disk_format: str | None
    container_format: str | None
    os_hidden: bool
    #: the image's; the database's clock is compared with it
    age: datetime.timedelta
    tags: frozenset[str]
    #: ids of the stores that its locations say they are in
    stores: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Hashing:
    """An image whose data is to be hashed."""

    image_id: str
    #: called with the bytes that have just been read; what it raises ends the reading
    told: Callable[[int], None] = untold


@dataclasses.dataclass(frozen=True)
class Hashed:
    """What was found out, and of which image as it then was."""

    image: Image
    digests: Digests
