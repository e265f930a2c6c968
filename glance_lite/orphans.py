# SPDX-License-Identifier: Apache-2.0
"""The search for data in a store that no image refers to.

What a process leaves that is killed has an operation row, and is swept. Orphans come from
elsewhere: from a Glance, from a database that was restored, from rows that were purged.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from glance_lite.errors import StoreError
from glance_lite.model import Location, Orphan
from glance_lite.store import StoreDriver

#: How many rows are asked for at a time.
PAGE = 1000

#: The names that an upload gives: the image's id, and a serial after it (`Operation.name`).
_NAME = re.compile(r'([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:-[0-9]+)?')


def wanted_keys(
    driver: StoreDriver, locations: Callable[[int, int], Sequence[Location]]
) -> frozenset[int]:
    """Hashes of the keys of all locations that the driver can make sense of.

    Whatever store a location says it is in: one too many is a file that stays, one too few is
    lost data. `locations` gives a page, from (largest id so far, count).
    """
    found: set[int] = set()
    last, full = 0, True
    while full:
        page = locations(last, PAGE)
        for location in page:
            last = location.id
            try:
                found.add(_hash(driver, location.url))
            except StoreError:
                continue  # not of this store
        full = len(page) == PAGE
    return frozenset(found)


def _hash(driver: StoreDriver, url: str) -> int:
    return hash(repr(driver.parse(url)))


def search(
    driver: StoreDriver,
    entries: Iterable[tuple[str, int, float]],
    min_age: float,
    wanted: frozenset[int],
    vanished: Callable[[Sequence[str]], frozenset[str]],
) -> Iterator[Orphan]:
    """What of the `entries` of a store is not wanted and older than `min_age` seconds.

    The wanted ones were asked for before: what was stored since is younger, or belongs to an
    image that is there. `vanished` gives those of some image ids that no image has any more.
    """
    now = time.time()
    old = (
        (url, size, now - modified)
        for url, size, modified in entries
        if now - modified >= min_age and _hash(driver, url) not in wanted
    )
    while page := list(islice(old, PAGE)):
        ids = [image_id_of(url) for url, _, _ in page]
        gone = vanished([image_id for image_id in ids if image_id is not None])
        for (url, size, age), image_id in zip(page, ids, strict=True):
            shown = driver.redact(url)
            yield Orphan(driver.name, url, shown, size, age, image_id, image_id in gone)


def image_id_of(url: str) -> str | None:
    """The image for which something was stored under this name; None: not a name of ours."""
    match = _NAME.fullmatch(url.rpartition('/')[2])
    return match[1] if match else None
