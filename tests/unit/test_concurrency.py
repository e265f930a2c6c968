# SPDX-License-Identifier: Apache-2.0
"""What native threads do for a request, whose own thread may be green."""

from __future__ import annotations

import gc
import os
import select
import threading
import time

import pytest

from glance_lite.concurrency import Hub, Pool, Queue, Signal, writable


@pytest.fixture(params=['threaded', 'green'], autouse=True)
def hub(request, monkeypatch):
    if request.param == 'green':
        wait = staticmethod(lambda fd, *seconds: bool(select.select([fd], [], [], *seconds)[0]))
        monkeypatch.setattr(Hub, 'wait_readable', wait)


def test_a_queue_keeps_the_order_and_forgets_nothing():
    """Many times over: what is put just when its thread finds nothing more must not stay."""
    told, pool = Signal(), Pool('test', 2)
    done: list[int] = []
    queue = Queue(pool, done.append, told)
    wanted = []
    for number in range(3000):
        wanted.append(number)
        queue.put(number)
        if number % 3 == 0:
            queue.join()
            assert done == wanted
    queue.join()
    assert done == wanted and len(queue) == 0


def test_one_queue_has_one_thread_at_a_time_and_two_have_two():
    told, pool = Signal(), Pool('test', 4)
    at_work: list[str] = []
    together = threading.Barrier(2)

    def work(name: str) -> None:
        assert name not in at_work
        at_work.append(name)
        together.wait(10)
        at_work.remove(name)

    queues = [Queue(pool, work, told) for _ in range(2)]
    for _ in range(20):
        for queue, name in zip(queues, 'ab', strict=True):
            queue.put(name)
    for queue in queues:
        queue.join()


def test_a_signal_before_anybody_waits_is_not_needed():
    told = Signal()
    told.set()
    told.wait_until(lambda: True)
    come = []
    threading.Timer(0.05, lambda: (come.append(1), told.set())).start()
    told.wait_until(lambda: bool(come))


def test_a_signal_leaves_no_descriptor_behind():
    def go() -> None:
        told, come = Signal(), []
        threading.Timer(0.001, lambda: (come.append(1), told.set())).start()
        told.wait_until(lambda: bool(come))

    go()
    time.sleep(0.05)
    before = len(os.listdir('/proc/self/fd'))
    for _ in range(20):
        go()
    time.sleep(0.05)
    gc.collect()
    assert len(os.listdir('/proc/self/fd')) <= before


def test_a_full_pipe_is_not_writable():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    assert writable(writer, 0)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))
    assert not writable(writer, 0.01)
    os.close(reader)
    assert writable(writer, 0.01), 'and who writes is told'
    os.close(writer)
