# SPDX-License-Identifier: Apache-2.0
"""Steps of the day with the real clients: the cache."""

from __future__ import annotations

import time

from tests.clients.workflow import RAW, Checks, Day

#: Seconds for which an image is waited for.
PATIENCE = 120


def _state(day: Day) -> tuple[set[str], set[str]]:
    """Ids of images that are cached, and of those that are queued."""
    found = day.admin.cloud.image.get('/cache').json()
    return {one['image_id'] for one in found['cached_images']}, set(found['queued_images'])


def _cached(day: Day, image_id: str) -> bool:
    """Whether it is cached within some time."""
    deadline = time.monotonic() + PATIENCE
    while image_id not in _state(day)[0]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def cache(day: Day, check: Checks) -> None:
    first, queued = day.made['first'], day.made['queued']
    shell = day.admin.shell
    check.refused('a user does not look', 403, lambda: day.alice.shell.glance('cache-list'))
    check.refused('nor has it fetched', 403, lambda: day.alice.image.queue_image(first))
    shell.glance('cache-clear')
    check('nothing is cached', _state(day), (set(), set()))
    copy = day.directory / 'cached'
    day.alice.shell.openstack('image save --file', copy, first)
    check('a download is cached', _cached(day, first))
    rows = shell.json('cached image list')
    check('cached image list', [(row['ID'], row['State']) for row in rows], [(first, 'cached')])
    check('cache-list', first in shell.glance('cache-list'))
    day.server.settings.directory.joinpath('fast', first).rename(day.directory / 'away')
    day.alice.shell.openstack('image save --file', copy, first)
    check('the next one comes from it', copy.read_bytes() == RAW)
    (day.directory / 'away').rename(day.server.settings.directory / 'fast' / first)
    check('cache-nodes-list', day.server.url in shell.glance('cache-nodes-list', first))
    shell.openstack('cached image delete', first)
    check('cached image delete', _state(day), (set(), set()))
    shell.openstack('cached image queue', first)
    check('cached image queue', _cached(day, first))
    shell.glance('cache-delete', first)
    check('cache-delete', _state(day), (set(), set()))
    shell.glance('cache-queue', first)
    check('cache-queue', _cached(day, first))
    check.refused('one without data', 400, lambda: day.admin.image.queue_image(queued))
    cached = day.admin.image.get_image_cache().cached_images
    check('sdk cache', [one['image_id'] for one in cached], [first])
    check('cache-prune', 'prune' in shell.glance('cache-prune').lower())
    shell.glance('cache-clean')
    check('it stays', _cached(day, first))
    shell.openstack('cached image clear --cache')
    check('cached image clear', _state(day), (set(), set()))
    check('the image is as it was', day.alice.image.get_image(first).status, 'active')


STEPS = (cache,)
