# SPDX-License-Identifier: Apache-2.0
"""Downloads through the cache, of one process with many readers."""

from __future__ import annotations

import os
import select
import threading
import time

import pytest

from glance_lite.cache.cache import AVOIDED
from glance_lite.concurrency import Hub
from glance_lite.errors import ObjectNotFound, StoreUnavailable
from glance_lite.model import Span, Wanted
from tests.unit.cache.world import MIB, World, noise

SIZE = 5 * MIB + 17
DATA = noise(SIZE)


@pytest.fixture(params=['threaded', 'green'], autouse=True)
def server(request, monkeypatch):
    if request.param == 'green':
        wait = staticmethod(lambda fd, *seconds: bool(select.select([fd], [], [], *seconds)[0]))
        monkeypatch.setattr(Hub, 'wait_readable', wait)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def spoil(path, offset=SIZE // 2):
    with open(path, 'r+b') as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


def crowd(count, work):
    """What `count` threads that begin together come to."""
    results, barrier = [None] * count, threading.Barrier(count)

    def run(number):
        barrier.wait()
        try:
            results[number] = work(number)
        except Exception as ex:
            results[number] = ex

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_the_second_read_is_from_the_cache(world):
    image = world.image()
    assert world.read(image) == DATA
    world.settled()
    (world.directory / 'slow' / image.id).unlink()
    assert world.read(image) == DATA
    assert world.reads() == 1
    (name,) = world.files()
    assert name.startswith(image.id) and world.files('growing') == []


def test_ranges_are_read_from_a_whole_copy(world):
    image = world.image()
    world.read(image)
    world.settled()
    for span in (Span(0, 0), Span(MIB - 1, MIB + 1), Span(None, 5), Span(SIZE - 1, None)):
        download = world.gateway.open(image, Wanted(span))
        got = b''.join(download)
        download.close()
        assert got == DATA[download.offset : download.offset + download.length]
    assert world.reads() == 1


def test_a_range_of_what_is_not_there_does_not_fetch_all(world):
    image = world.image()
    assert world.read(image, span=Span(10, 19)) == DATA[10:20]
    assert world.files() == world.files('growing') == []


def test_a_head_opens_nothing(world):
    image = world.image()
    assert world.gateway.open(image, Wanted(body=False)).length == SIZE
    assert world.reads() == 0 and world.files('growing') == []


def test_many_first_readers_cost_one_read(tmp_path):
    world = World(tmp_path, 'within get@1048576 1 delay 0.3')
    image = world.image()
    assert crowd(20, lambda number: world.read(image)) == [DATA] * 20
    assert world.reads() == 1


def test_a_slow_client_holds_up_nobody(world):
    image = world.image(40 * MIB)
    slow = world.gateway.open(image, Wanted())
    first = next(slow)
    assert world.read(image) == noise(40 * MIB)
    rest = b''.join(slow)
    slow.close()
    assert first + rest == noise(40 * MIB) and world.reads() == 1


def test_a_range_is_read_of_what_grows(tmp_path):
    hold = tmp_path / 'hold'
    hold.touch()
    world = World(tmp_path, f'within get@4194304 1 wait {hold}')
    image = world.image()
    download = world.gateway.open(image, Wanted())
    deadline = time.monotonic() + 30
    (growing,) = world.gateway.cache._under_way.values()
    while growing.size < 4 * MIB and time.monotonic() < deadline:
        time.sleep(0.01)
    assert world.read(image, span=Span(MIB, 2 * MIB)) == DATA[MIB : 2 * MIB + 1]
    assert world.reads() == 1
    hold.unlink()
    assert b''.join(download) == DATA
    download.close()


def test_who_goes_away_leaves_what_there_is_for_the_next(tmp_path):
    hold = tmp_path / 'hold'
    hold.touch()
    world = World(tmp_path, f'within get@3145728 1 wait {hold}')
    image = world.image()
    download = world.gateway.open(image, Wanted())
    next(download)
    download.close()
    hold.unlink()
    world.settled()
    assert world.files() == [] and len(world.files('growing')) == 1
    assert world.read(image) == DATA
    world.settled()
    assert len(world.files()) == 1


def test_a_backend_that_breaks_off_is_gone_on_with(tmp_path):
    world = World(tmp_path, 'within get@2097152 1 fail StoreUnavailable')
    image = world.image()
    assert crowd(5, lambda number: world.read(image)) == [DATA] * 5
    assert world.reads() == 2


def test_a_backend_that_is_down_is_told_before_the_answer_begins(tmp_path):
    world = World(tmp_path, 'before get 1 fail StoreUnavailable')
    image = world.image()
    with pytest.raises(StoreUnavailable):
        world.gateway.open(image, Wanted())
    assert world.files('growing') == []
    assert world.read(image) == DATA
    (world.directory / 'slow' / image.id).unlink()
    world.gateway.cache.drop(image.id)
    with pytest.raises(ObjectNotFound):
        world.gateway.open(image, Wanted())


def test_damaged_data_is_never_taken_for_whole(world):
    image = world.image()
    spoil(world.directory / 'slow' / image.id)

    def work(number):
        got = b''
        download = world.gateway.open(image, Wanted())
        try:
            for chunk in download:
                got += chunk
        except StoreUnavailable:
            return len(got)
        finally:
            download.close()
        return 'whole'

    # Those that come after that read past the cache, as if there was none.
    results = crowd(5, work)
    assert all(result == 'whole' or result < SIZE for result in results)
    assert any(result != 'whole' for result in results)
    world.settled()
    assert world.files() == world.files('growing') == []
    assert len(world.read(image)) == SIZE


def test_an_image_that_was_damaged_is_cached_again_later(world, monkeypatch):
    image = world.image()
    path = world.directory / 'slow' / image.id
    spoil(path)
    with pytest.raises(StoreUnavailable):
        world.read(image)
    spoil(path)
    assert world.read(image) == DATA and world.files() == []
    moment = time.monotonic() + AVOIDED + 1
    monkeypatch.setattr(time, 'monotonic', lambda: moment)
    assert world.read(image) == DATA
    world.settled()
    assert len(world.files()) == 1


def test_a_copy_that_was_cut_is_not_given_out(world):
    image = world.image()
    world.read(image)
    world.settled()
    (name,) = world.files()
    os.truncate(world.directory / 'cache' / 'whole' / name, 100)
    assert world.read(image) == DATA
    world.settled()
    assert (world.directory / 'cache' / 'whole' / name).stat().st_size == SIZE


def test_other_bytes_are_another_copy(world):
    image = world.image()
    world.read(image)
    other = noise(SIZE, 2)
    image = world.image(seed=2).replace(id=image.id)
    assert world.read(image) == other


@pytest.mark.parametrize('fields', [
    {'status': 'deactivated'},
    {'os_hash_value': None, 'checksum': None},
    {'os_hash_algo': 'gone_out_of_fashion', 'checksum': None},
])  # fmt: skip
def test_what_is_not_cached(world, fields):
    image = world.image(**fields)
    assert world.read(image) == DATA
    assert world.files() == world.files('growing') == []


def test_an_image_with_nothing_but_a_checksum_is_verified_by_it(world):
    image = world.image(os_hash_algo=None, os_hash_value=None)
    world.read(image)
    world.settled()
    assert '.md5.' in world.files()[0]
    other = world.image(seed=2, os_hash_algo=None, os_hash_value=None)
    spoil(world.directory / 'slow' / other.id)
    with pytest.raises(StoreUnavailable):
        world.read(other)


def test_without_the_filter_nothing_is_cached(world):
    world.gateway.cache.serves = False
    assert world.read(world.image()) == DATA
    assert world.files('growing') == world.files() == []


def test_who_reads_is_not_cut_when_the_image_goes(world):
    image = world.image(20 * MIB)
    world.read(image)
    world.settled()
    download = world.gateway.open(image, Wanted())
    first = next(download)
    assert world.gateway.cache.drop(image.id)
    assert world.files() == [] and len(world.files('leaving')) == 1
    assert first + b''.join(download) == noise(20 * MIB)
    download.close()
    world.gateway.cache.clean()
    assert world.files('leaving') == world.files('hits') == []


def test_an_image_that_goes_while_it_grows(tmp_path):
    hold = tmp_path / 'hold'
    hold.touch()
    world = World(tmp_path, f'within get@3145728 1 wait {hold}')
    image = world.image()
    download = world.gateway.open(image, Wanted())
    first = next(download)
    world.gateway.cache.drop(image.id)
    hold.unlink()
    assert first + b''.join(download) == DATA
    download.close()
    world.settled()
    assert world.files() == world.files('growing') == []
