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

#: How many rows, or entries of a store, are asked for at a time.
PAGE = 1000
#: How many that may be orphans are kept at a time, until all locations have been compared.
KEPT = 10_000

#: The names that an upload gives: the image's id, and a serial after it (`Operation.name`).
_NAME = re.compile(r'([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:-[0-9]+)?')

#: What a driver lists: (url, size in bytes, time of the last change as seconds of the epoch).
Entry = tuple[str, int, float]


class Search:
    """What of a store is not wanted and old enough. It keeps a page of anything at a time.

    Most things have the id of their image in their name, and that image is asked whether it refers
    to them. What is left is compared with all locations, of whatever store they say they are: one
    too many is a file that stays, one too few is lost data.
    """

    def __init__(
        self,
        driver: StoreDriver,
        locations: Callable[[int, int], Sequence[Location]],
        of_images: Callable[[Sequence[str]], Sequence[Location]],
        vanished: Callable[[Sequence[str]], frozenset[str]],
    ) -> None:
        """`locations` gives a page of all, from (largest id so far, count); `of_images` those of
        some images; `vanished` those of some image ids that no image has any more."""
        self._driver = driver
        self._locations = locations
        self._of_images = of_images
        self._vanished = vanished

    def run(self, entries: Iterable[Entry], min_age: float) -> Iterator[Orphan]:
        """What of the `entries` of the store is not wanted and older than `min_age` seconds."""
        now = time.time()
        old = (entry for entry in entries if now - entry[2] >= min_age)
        kept: dict[str, Entry] = {}
        while page := list(islice(old, PAGE)):
            kept |= self._unknown(page)
            if len(kept) >= KEPT:
                yield from self._orphans(kept, now)
                kept = {}
        if kept:
            yield from self._orphans(kept, now)

    def _unknown(self, page: list[Entry]) -> dict[str, Entry]:
        """Key -> entry of those to which the image of their name does not refer."""
        ids = [found for url, _, _ in page if (found := image_id_of(url)) is not None]
        there = {self._key(found.url) for found in self._of_images(ids)} if ids else set()
        entries = {self._key(entry[0]) or entry[0]: entry for entry in page}
        return {key: entry for key, entry in entries.items() if key not in there}

    def _key(self, url: str) -> str | None:
        """What the driver makes of a url; None: nothing, it is not of this store."""
        try:
            return repr(self._driver.parse(url))
        except StoreError:
            return None

    def _orphans(self, kept: dict[str, Entry], now: float) -> Iterator[Orphan]:
        last, full = 0, True
        while full:
            page = self._locations(last, PAGE)
            for location in page:
                last = location.id
                kept.pop(self._key(location.url) or '', None)
            full = len(page) == PAGE
        left = iter(kept.values())
        while entries := list(islice(left, PAGE)):
            ids = [image_id_of(url) for url, _, _ in entries]
            gone = self._vanished([image_id for image_id in ids if image_id is not None])
            for (url, size, modified), image_id in zip(entries, ids, strict=True):
                shown = self._driver.redact(url)
                yield Orphan(
                    self._driver.name, url, shown, size, now - modified, image_id, image_id in gone
                )


def image_id_of(url: str) -> str | None:
    """The image for which something was stored under this name; None: not a name of ours."""
    if url.startswith('rbd:'):
        url = url.removesuffix('/snap')  # behind the name is that of its snapshot
    match = _NAME.fullmatch(url.rpartition('/')[2])
    return match[1] if match else None
