# SPDX-License-Identifier: Apache-2.0
"""``/v2/cache``: refusals only."""

from __future__ import annotations

from glance_lite.api.described import CHAIN, NOTHING, Described

HANDLERS = {
    name: Described(f'{about}. There is no cache.', NOTHING, CHAIN)
    for name, about in (
        ('index', 'What is cached and queued'),
        ('clear', 'Drop what is cached and queued'),
        ('queue', 'Have an image fetched into the cache'),
        ('drop', 'Drop an image from the cache'),
        ('nodes', 'Which hosts have an image in their cache'),
        ('clean', 'Remove what is broken from the cache'),
        ('prune', 'Bring the cache back to its size'),
    )
}
