# SPDX-License-Identifier: Apache-2.0
"""The size limit holds at every moment, and a disk that takes nothing costs no download."""

from __future__ import annotations

import errno
import os
import threading
import time

import pytest

from glance_lite.cache import growing as growing_module
from glance_lite.model import Wanted
from tests.unit.cache.test_cache import crowd
from tests.unit.cache.world import MIB, World, noise


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, limit=10 * MIB)


def images(world, count, size=4 * MIB):
    return [world.image(size, seed) for seed in range(1, count + 1)]


def cached(world):
    return [name.partition('-')[0].lstrip('0') for name in world.files()]


def read(world, *wanted):
    for image in wanted:
        assert world.read(image) == noise(image.size, int(image.id[:8], 16))
        world.settled()
        time.sleep(0.02)  # times of files are no finer than the kernel's tick


def test_the_least_recently_used_makes_room(world):
    one, two, three = images(world, 3)
    read(world, one, two, one)
    assert cached(world) == ['1', '2']
    read(world, three)
    assert cached(world) == ['1', '3']


def test_what_is_read_stays(world):
    one, two, three = images(world, 3)
    read(world, one, two)
    readers = [world.gateway.open(image, Wanted()) for image in (one, two)]
    begun = [next(reader) for reader in readers]
    read(world, three)  # from the backend, past the cache
    assert cached(world) == ['1', '2']
    for image, reader, first in zip((one, two), readers, begun, strict=True):
        seed = int(image.id[:8], 16)
        assert first + b''.join(reader) == noise(image.size, seed)
        reader.close()
    read(world, three)
    assert '3' in cached(world)


def test_an_image_larger_than_the_cache_makes_no_room(world):
    small, large = world.image(MIB, 1), world.image(11 * MIB, 2)
    read(world, small, large)
    assert cached(world) == ['1']


def test_the_limit_holds_while_many_are_fetched(world):
    wanted = images(world, 12, 3 * MIB)
    most = [0]
    over = threading.Event()

    def watch():
        cache = world.directory / 'cache'
        while not over.is_set():
            size = 0
            for part in ('whole', 'growing', 'leaving'):
                for path in (cache / part).iterdir():
                    try:
                        size += path.stat().st_size
                    except FileNotFoundError:
                        continue
            most[0] = max(most[0], size)

    watcher = threading.Thread(target=watch)
    watcher.start()
    results = crowd(12, lambda number: world.read(wanted[number]))
    assert results == [noise(3 * MIB, seed) for seed in range(1, 13)]
    world.settled()
    over.set()
    watcher.join()
    assert 3 * MIB <= most[0] <= 10 * MIB
    assert world.files()


def test_a_full_disk_costs_no_download(world, monkeypatch):
    (image,) = images(world, 1)
    write = growing_module._write_all

    def full(descriptor, chunk, offset):
        if offset + len(chunk) > 2 * MIB:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(descriptor, chunk, offset)

    monkeypatch.setattr(growing_module, '_write_all', full)
    assert crowd(5, lambda number: world.read(image)) == [noise(4 * MIB, 1)] * 5
    world.settled()
    assert world.files() == world.files('growing') == []


def test_a_disk_without_room_is_not_written_to(world, monkeypatch):
    (image,) = images(world, 1)
    found = os.statvfs(world.directory)
    few = os.statvfs_result((*found[:4], 1, *found[5:]))
    monkeypatch.setattr(os, 'statvfs', lambda path: few)
    read(world, image)
    assert world.files() == world.files('growing') == []


def test_a_directory_that_is_gone_costs_no_download(world):
    (image,) = images(world, 1)
    cache = world.directory / 'cache'
    cache.rename(world.directory / 'elsewhere')
    assert world.read(image) == noise(4 * MIB, 1)


def test_a_smaller_limit_is_come_down_to(tmp_path):
    world = World(tmp_path, limit=20 * MIB)
    read(world, *images(world, 4))
    again = World(tmp_path, limit=9 * MIB)
    assert again.gateway.cache.prune() == (2, 8 * MIB)
    assert cached(again) == ['3', '4']
    assert again.gateway.cache.prune() == (0, 0)


def test_what_glance_has_left_counts_and_goes_first(world):
    one, two, _three = images(world, 3)
    read(world, one)
    left = world.directory / 'cache' / 'cccccccc-0000-4000-8000-000000000000'
    left.write_bytes(bytes(4 * MIB))
    (world.directory / 'cache' / 'notes.txt').write_text('of somebody else')
    read(world, two)
    assert not left.exists() and cached(world) == ['1', '2']
    assert (world.directory / 'cache' / 'notes.txt').exists()
    left.write_bytes(b'again')
    world.gateway.cache.clean(everything=False)
    assert left.exists()
    world.gateway.cache.clean()
    assert not left.exists() and cached(world) == ['1', '2']


def test_what_was_given_up_is_cleaned_after_a_while(world):
    hold = world.directory / 'cache' / 'growing'
    path = hold / f'{"a" * 8}-0000-4000-8000-000000000000.100.md5.{"0" * 32}'
    path.write_bytes(b'some')
    assert world.gateway.cache.clean() == 0
    os.utime(path, (time.time() - 90000,) * 2)
    assert world.gateway.cache.clean() == 1 and world.files('growing') == []


def test_a_start_after_a_boot_forgets_what_was_being_written(world):
    path = world.directory / 'cache' / 'growing' / f'x.100.md5.{"0" * 32}'
    path.write_bytes(b'some')
    world.gateway.cache.start()
    assert path.exists()
    (world.directory / 'cache' / '.boot').write_text('another one')
    world.gateway.cache.start()
    assert not path.exists()
