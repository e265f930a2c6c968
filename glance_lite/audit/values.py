# SPDX-License-Identifier: Apache-2.0
"""What the auditor looks at, and what it finds."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from typing import Any

from glance_lite.model import Image, Location

#: How much of a copy is looked at: its size alone, or every byte.
SIZE, HASH = 'size', 'hash'

# --- what may be wrong

#: There is nothing at a location.
MISSING = 'missing'
#: There are fewer bytes than the image has.
TRUNCATED = 'truncated'
#: There are more bytes than the image has.
WRONG_SIZE = 'wrong size'
#: There are as many bytes, and others.
DAMAGED = 'damaged'
#: An image has no location at all.
NO_DATA = 'no data'
#: Data that no image refers to.
ORPHAN = 'orphan'

#: Those for which a copy is not served any more.
OF_COPIES = (MISSING, TRUNCATED, WRONG_SIZE, DAMAGED)

_EPOCH = datetime.datetime(1970, 1, 1)


def untold(count: int) -> None:
    """Nobody wants to know how many bytes have been read."""


@dataclasses.dataclass(frozen=True, slots=True)
class Copy:
    """A location, and what of its image says how the data must be."""

    location: Location
    image_id: str
    #: bytes; None: nobody knows
    size: int | None
    checksum: str | None
    os_hash_algo: str | None
    os_hash_value: str | None
    #: what was found wrong the last time it was looked at; None: nothing
    fault: str | None = None

    def image(self) -> Image:
        """As much of the image as is needed to read this copy and no other."""
        nothing: dict[str, Any] = dict.fromkeys(
            ('name', 'owner', 'disk_format', 'container_format', 'virtual_size')
        )
        return Image(
            id=self.image_id,
            status='active',
            visibility='private',
            size=self.size,
            checksum=self.checksum,
            os_hash_algo=self.os_hash_algo,
            os_hash_value=self.os_hash_value,
            min_disk=0,
            min_ram=0,
            protected=False,
            os_hidden=False,
            created_at=_EPOCH,
            updated_at=_EPOCH,
            locations=(self.location,),
            **nothing,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Looking:
    """A copy that is to be looked at."""

    copy: Copy
    #: `SIZE` or `HASH`
    depth: str = HASH
    #: ids of the stores in which copies are looked at; None: in all that are ours
    stores: frozenset[str] | None = None
    #: called with the bytes that have just been read; what it raises ends the reading
    told: Callable[[int], None] = untold


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    #: one of those above
    fault: str
    image_id: str | None
    store: str | None
    #: url without credentials; empty where there is none
    shown: str
    #: a sentence
    text: str
    #: of the location; None where there is none
    location_id: int | None = None
    #: whether nothing is known of the store but that nothing is found in it
    doubtful: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Looked:
    """What came of it."""

    #: False: the copy is in a store that was not meant
    meant: bool
    #: what is wrong; None: nothing
    finding: Finding | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Surveyed:
    """A store that is configured."""

    id: str
    #: whether what lies there is ours, and not somebody else's that we may read
    ours: bool
    #: whether it can say what it holds
    lists: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Quarantined:
    """A copy that was found not to be as it should be."""

    location_id: int
    image_id: str
    store: str | None
    shown: str
    fault: str
    text: str
    #: the database's clock
    since: datetime.datetime
    #: whether it is served all the same, because the image has no good one
    served: bool
