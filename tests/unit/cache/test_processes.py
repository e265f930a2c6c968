# SPDX-License-Identifier: Apache-2.0
"""Several processes of a host share a cache; one of them is killed at each step."""

from __future__ import annotations

import hashlib
import signal
import time

import pytest

from glance_lite.cache import growing as growing_module
from glance_lite.model import Wanted
from tests.unit.cache.world import MIB, World, noise

SIZE = 5 * MIB + 17
DATA = noise(SIZE)
DIGEST = hashlib.sha512(DATA).hexdigest()


def outcome(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out.strip(), err[-2000:]


def test_processes_read_the_backend_once(tmp_path):
    world = World(tmp_path, 'within get@1048576 1 delay 3')
    world.note(world.image())
    processes = [world.process() for _ in range(3)]
    assert [outcome(one)[:2] for one in processes] == [(0, DIGEST)] * 3
    assert world.reads() == 1 and len(world.files()) == 1


@pytest.mark.parametrize('step', [
    'before admit 1', 'after admit 1', 'before begin 1', 'after begin 1', 'before _fetch 1',
    'before _append 1', 'after _append 1', 'before _append 3', 'after _append 30',
    'after _fetch 1', 'before _judge 1', 'after _judge 1', 'before publish 1', 'after publish 1',
])  # fmt: skip
def test_the_writer_is_killed(tmp_path, step):
    world = World(tmp_path)
    image = world.image()
    world.note(image)
    assert outcome(world.process(f'{step} kill'))[0] == -signal.SIGKILL
    assert world.read(image) == DATA
    world.settled()
    assert len(world.files()) == 1 and world.files('growing') == []
    (whole,) = (tmp_path / 'cache' / 'whole').iterdir()
    assert whole.read_bytes() == DATA
    if 'judge' in step or 'publish' in step:
        assert world.reads() == 1  # nothing was left to be fetched


def test_a_follower_goes_on_where_the_writer_was_killed(tmp_path):
    hold = tmp_path / 'hold'
    hold.touch()
    world = World(tmp_path, f'within get@3145728 1 wait {hold}', 'within get@3145728 1 kill')
    image = world.image()
    world.note(image)
    writer = world.process()
    deadline = time.monotonic() + 60
    growing = tmp_path / 'cache' / 'growing'
    while not any(path.stat().st_size >= 3 * MIB for path in growing.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    download = world.gateway.open(image, Wanted())
    followers = [world.process() for _ in range(2)]
    first = next(download)
    assert world.reads() == 1
    hold.unlink()
    assert outcome(writer)[0] == -signal.SIGKILL
    assert first + b''.join(download) == DATA
    download.close()
    assert [outcome(one)[:2] for one in followers] == [(0, DIGEST)] * 2
    world.settled()
    assert world.reads() == 2 and len(world.files()) == 1


def test_a_writer_that_stands_still_holds_up_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(growing_module, 'PATIENCE', 1.0)
    world = World(tmp_path, 'within get@3145728 1 stop')
    image = world.image()
    world.note(image)
    writer = world.process()
    growing = tmp_path / 'cache' / 'growing'
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size >= 3 * MIB for path in growing.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert world.read(image) == DATA  # the rest of it from the backend
    begun = time.monotonic()
    assert world.read(image) == DATA and time.monotonic() < begun + 1
    writer.send_signal(signal.SIGCONT)
    assert outcome(writer)[:2] == (0, DIGEST)
    assert len(world.files()) == 1


def test_the_limit_holds_among_processes(tmp_path):
    world = World(tmp_path, limit=6 * MIB)
    image = world.image()
    world.note(image)
    other = world.image(seed=2)
    processes = [world.process() for _ in range(3)]
    while any(one.poll() is None for one in processes):
        assert world.read(other) == noise(SIZE, 2)
        sizes = []
        for part in ('whole', 'growing', 'leaving'):
            for path in (tmp_path / 'cache' / part).iterdir():
                try:
                    sizes.append(path.stat().st_size)
                except FileNotFoundError:
                    continue
        assert sum(sizes) <= 6 * MIB
    assert [outcome(one)[:2] for one in processes] == [(0, DIGEST)] * 3
