# SPDX-License-Identifier: Apache-2.0
"""Stores that fail and stores that hang: who is left alone, who is not, and what brings it back.

The cases run as under a threaded server and as under the green one; see test_gateway.
"""

from __future__ import annotations

import os
import threading
import time

import pytest

from glance_lite import health as module
from glance_lite.concurrency import green
from glance_lite.errors import (
    BadStoreConfiguration,
    ObjectNotFound,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from glance_lite.gateway import Gateway
from glance_lite.model import Location
from glance_lite.testing.layers import make_parts
from tests.backends import hung_mount
from tests.unit.stores.test_gateway import DATA, Noted, read, server, stored, upload  # noqa: F401

STORES = """
[DEFAULT]
enabled_backends = first:faulty,second:file,web:http
[glance_store]
default_backend = second
breaker_failures = 3
breaker_hang_time = 0.5
breaker_longest_pause = 1
[first]
filesystem_store_datadir = {directory}/first
weight = 20
{faults}
[second]
filesystem_store_datadir = {directory}/second
weight = 10
"""


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'FIRST_PAUSE', 0.2)
    (tmp_path / 'first').mkdir()

    def made(*faults: str) -> Gateway:
        lines = '\n'.join(f'fault = {fault}' for fault in faults)
        text = STORES.format(directory=tmp_path, faults=lines)
        return make_parts(tmp_path, text).gateway

    return made


def state(gateway, store='first'):
    return gateway.stores[store].health.seen().state


def until(condition, seconds=10.0):
    """Wait for something as the service does, which looks after its stores now and then."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it has not come to be'
        time.sleep(0.02)


def recovered(gateway):
    gateway.look_after()
    return state(gateway) != 'open'


def size_of(gateway, image, number=0):
    store = gateway.find(image.locations[number])
    return store.run(lambda: store.driver.size(store.driver.parse(image.locations[number].url)))


def timed(function):
    """How long it took, and what came of it."""
    begun = time.monotonic()
    try:
        result = function()
    except StoreError as ex:
        result = ex
    return time.monotonic() - begun, result


# --- one that fails


def test_one_that_fails_again_and_again_is_left_alone_and_comes_back(make):
    gateway = make(
        'before size 1-3 fail StoreUnavailable', 'before check 2-3 fail StoreUnavailable'
    )
    image = stored(gateway, 'first', 'second')
    for _ in range(3):
        assert state(gateway) == 'closed'
        with pytest.raises(StoreUnavailable):
            size_of(gateway, image)
    assert state(gateway) == 'open'
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match='Store first does not serve now') as caught:
        size_of(gateway, image)
    assert time.monotonic() - begun < 0.1
    assert caught.value.retry_after == 1
    seen = gateway.stores['first'].health.seen()
    assert seen.problem and seen.since
    # The others are none the worse, and the data is read from there.
    assert size_of(gateway, image, 1) == len(DATA)
    assert read(gateway, image) == (DATA, None)
    until(lambda: recovered(gateway))
    assert state(gateway) == 'half-open'
    assert size_of(gateway, image) == len(DATA)
    assert state(gateway) == 'closed'


def test_after_a_probe_the_first_failure_is_enough(make):
    gateway = make('before size 1-4 fail StoreUnavailable')
    image = stored(gateway, 'first')
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            size_of(gateway, image)
    until(lambda: recovered(gateway))
    with pytest.raises(StoreUnavailable):
        size_of(gateway, image)
    assert state(gateway) == 'open'
    until(lambda: recovered(gateway))
    assert size_of(gateway, image) == len(DATA)


def test_pauses_grow_as_long_as_nothing_is_served(make):
    gateway = make('before size 1- fail StoreUnavailable')
    image, store = stored(gateway, 'first'), gateway.stores['first']
    lengths = []
    for _ in range(4):
        until(lambda: recovered(gateway))
        while not store.health.is_open:
            with pytest.raises(StoreUnavailable):
                size_of(gateway, image)
        begun = time.monotonic()
        until(lambda: recovered(gateway))
        lengths.append(time.monotonic() - begun)
    assert lengths == sorted(lengths)
    assert lengths[-1] > 3 * lengths[0]


@pytest.mark.parametrize('error', ['StoreFull', 'StoreDenied', 'ObjectNotFound', 'InUse'])
def test_one_that_answers_no_is_not_left_alone(make, error):
    gateway = make(f'before size 1-9 fail {error}')
    image = stored(gateway, 'first')
    for _ in range(9):
        with pytest.raises((StoreFull, StoreDenied, ObjectNotFound, StoreError)):
            size_of(gateway, image)
    assert state(gateway) == 'closed'
    assert size_of(gateway, image) == len(DATA)


def test_a_success_between_failures_keeps_it(make):
    gateway = make(*(f'before size {number} fail StoreUnavailable' for number in (1, 2, 4, 5, 7)))
    image = stored(gateway, 'first')
    for _ in range(8):
        try:
            size_of(gateway, image)
        except StoreUnavailable:
            pass
        assert state(gateway) == 'closed'


def test_web_servers_do_not_answer_for_each_other(make):
    """Or whoever registers a url could take all web images away."""
    gateway = make()
    dead = Location(1, 'http://192.0.2.1:1/image', {'store': 'web'})
    store = gateway.stores['web']
    for _ in range(9):
        store.failed(StoreUnavailable('The server of a url does not answer'))
    assert store.health.seen().state == 'closed'
    assert gateway.find(dead) is store


def test_a_short_file_is_the_failure_of_that_file(make):
    gateway = make()
    image = stored(gateway, 'first').replace(size=len(DATA) + 1)
    for _ in range(5):
        answer = timed(lambda: read(gateway, image))[1]
        # The size of a file that is sent as it is is seen before anything is sent.
        error = answer if green() else answer[1]
        assert isinstance(error, StoreUnavailable)
    assert state(gateway) == 'closed'


def test_who_watches_is_told_once(make):
    gateway = make('before size 1-3 fail StoreUnavailable')
    gateway.watch.by = Noted()
    image = stored(gateway, 'first')
    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            size_of(gateway, image)
    until(lambda: recovered(gateway))
    told = [one for one in gateway.watch.by.told if one[0] == 'left alone']
    assert told == [('left alone', 'first', True), ('left alone', 'first', False)]


def test_an_upload_to_one_that_is_left_alone_reads_nothing(make):
    gateway = make('before size 1-3 fail StoreUnavailable')
    image = stored(gateway, 'first')
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            size_of(gateway, image)
    source = upload()
    with pytest.raises(StoreUnavailable, match='does not serve'):
        gateway.put('first', 'name', 'spare', source)
    assert not source.started


def test_a_download_goes_on_elsewhere_and_the_next_begins_there(make):
    gateway = make('within get@1048576 1-3 fail StoreUnavailable')
    image = stored(gateway, 'first', 'second')
    for _ in range(3):
        assert read(gateway, image) == (DATA, None)
    assert state(gateway) == 'open'
    assert read(gateway, image) == (DATA, None)


# --- one that is down at the start


def test_one_that_is_down_is_started_later(make):
    gateway = make('before start 1-2 fail StoreUnavailable')
    assert (state(gateway), state(gateway, 'second')) == ('open', 'closed')
    assert gateway.check()['first']
    assert next(iter(gateway.info(detail=True))).properties == {}
    image = stored(gateway, 'second')
    assert read(gateway, image) == (DATA, None)
    until(lambda: recovered(gateway))
    kept = gateway.put('first', 'name', 'spare', upload())
    assert kept.size == len(DATA)
    assert gateway.check() == {'first': None, 'second': None, 'web': None}


@pytest.mark.parametrize('error', ['RuntimeError', 'BadStoreConfiguration'])
def test_one_that_cannot_be_started_ever_stops_the_start(make, error):
    with pytest.raises(BadStoreConfiguration) as caught:
        make(f'before start 1 fail {error}')
    assert '\n' not in str(caught.value)


def test_old_locations_of_one_that_is_down_are_not_of_nobody(make):
    """Their store is found by asking, and who is asked must answer first."""
    gateway = make('before start 1-2 fail StoreUnavailable')
    old = Location(1, 'file:///somewhere/else', {})
    with pytest.raises(StoreUnavailable, match='Store first does not serve now'):
        gateway.find(old)


# --- one that hangs


@pytest.fixture
def hung(tmp_path, make):
    """(gateway, image in both stores, mount that makes the first hang)."""
    gateway = make()
    image = stored(gateway, 'first', 'second')
    with hung_mount.hanging(tmp_path / 'first') as mount:
        yield gateway, image, mount


def test_one_that_hangs_holds_up_nobody(hung):
    gateway, image, mount = hung
    only = image.replace(locations=image.locations[:1])
    mount.hang()
    # Many at once, more than the store has threads: each is answered.
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(timed(lambda: size_of(gateway, only))))
        for _ in range(40 if not green() else 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(answers) == len(threads)
    assert all(isinstance(answer, StoreUnavailable) and took < 5 for took, answer in answers)
    assert state(gateway) == 'open'
    took, answer = timed(lambda: size_of(gateway, only))
    assert took < 0.1 and isinstance(answer, StoreUnavailable) and answer.retry_after
    took, answer = timed(lambda: read(gateway, image))
    assert took < 1 and answer == (DATA, None)
    took, answer = timed(lambda: gateway.put('first', 'name', 'spare', upload()))
    assert took < 0.1 and isinstance(answer, StoreUnavailable)
    took, checks = timed(gateway.check)
    assert took < 1 and checks == {
        'first': 'Store first does not answer',
        'second': None,
        'web': None,
    }
    mount.heal()
    until(lambda: recovered(gateway))
    assert read(gateway, only) == (DATA, None)
    assert state(gateway) == 'closed'


def test_an_upload_to_one_that_hangs_is_given_up(hung, tmp_path):
    gateway, image, mount = hung
    mount.hang()
    if not green():
        gateway.stores['first'].health._heard -= 10  # it has just been written to
    source = upload()
    took, answer = timed(lambda: gateway.put('first', 'name', 'spare', source))
    assert took < 5 and isinstance(answer, StoreUnavailable)
    assert state(gateway) == 'open'
    assert source.left_behind == green()  # it may have begun
    mount.heal()
    until(lambda: recovered(gateway))
    until(lambda: [file.name for file in (tmp_path / 'first').iterdir()] == [image.id])
    assert gateway.put('first', 'name', 'spare', upload()).size == len(DATA)


def test_one_that_hangs_at_the_start_does_not_hang_the_start(tmp_path, make, monkeypatch):
    monkeypatch.setattr('glance_lite.store_serving.START', 0.5)
    with hung_mount.hanging(tmp_path / 'first') as mount:
        mount.hang()
        took, gateway = timed(make)
        assert took < 5
        assert (state(gateway), state(gateway, 'second')) == ('open', 'closed')
        mount.heal()
        until(lambda: recovered(gateway))
    assert gateway.put('first', 'name', 'spare', upload()).size == len(DATA)


def test_the_check_of_one_that_hangs_comes_back(hung):
    gateway, _, mount = hung
    mount.hang()
    took, checks = timed(gateway.check)
    assert took < 2
    assert checks == {'first': 'Store first does not answer', 'second': None, 'web': None}


def test_work_that_takes_long_is_not_taken_for_hanging(make, tmp_path):
    """A delete of much takes minutes, and the store answers all the while."""
    hold = tmp_path / 'hold'
    hold.touch()
    gateway = make(f'before delete 1 wait {hold}')
    image = stored(gateway, 'first')
    threading.Timer(2.5, hold.unlink).start()
    begun = time.monotonic()
    gateway.remove(image.locations[0])
    assert time.monotonic() - begun > 2
    assert state(gateway) == 'closed'
    assert not os.listdir(tmp_path / 'first')


def test_a_read_that_never_ends_is_given_up_though_the_store_answers(make, tmp_path):
    hold = tmp_path / 'hold'
    hold.touch()
    gateway = make(f'before get 1 wait {hold}')
    image = stored(gateway, 'first', 'second')
    took, answer = timed(lambda: read(gateway, image))
    hold.unlink()
    assert answer == (DATA, None)
    assert 1 < took < 5
    assert state(gateway) == 'closed'


def test_threads_are_the_stores_own(make):
    """What blocks the kernel must not be the thread that answers others."""
    gateway = make()
    here = threading.get_ident()
    assert gateway.stores['first'].run(threading.get_ident) != here
