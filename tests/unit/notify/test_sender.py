# SPDX-License-Identifier: Apache-2.0
"""The sender on a real outbox, with notifiers that do as a test tells them."""

from __future__ import annotations

import dataclasses
import threading
import time

import pytest

from glance_lite import conf as configuration
from glance_lite.db import admin, outbox
from glance_lite.maintenance.ticker import Ticker
from glance_lite.notify import sender as module
from glance_lite.notify.driver import NotifierDriver
from glance_lite.notify.events import make_notice
from glance_lite.notify.sender import Sender
from tests.backends import databases
from tests.backends.fixtures import context, make_conf, make_layer

SETTINGS = '[notifier]\nbatch_size = 3\nmax_events = 10\nretry_interval = 1\n'


class Ear(NotifierDriver):
    """Hears, unless it is told not to."""

    def __init__(self, conf=None):
        super().__init__(conf)
        #: numbers of the events, and their ids
        self.heard = []
        self.ids = []
        #: numbers of events that do not arrive
        self.deaf = set()
        #: called before each
        self.before = lambda number: None

    def send(self, notice):
        number = notice.message['payload']
        self.before(number)
        if number in self.deaf:
            raise ConnectionError('secret://of.the.bus')
        self.heard.append(number)
        self.ids.append(notice.message['message_id'])


@pytest.fixture
def db(tmp_path):
    url = databases.create('sqlite', tmp_path)
    admin.sync(make_conf(url))
    layer = make_layer(url)
    yield layer
    layer.stop()


@pytest.fixture
def ear():
    return Ear()


@pytest.fixture
def make(db, tmp_path):
    """Builds senders on one outbox, and stops them."""
    file = tmp_path / 'sender.conf'
    file.write_text(SETTINGS)
    conf = configuration.parse(configuration.new(), ['--config-file', str(file)])
    made = []

    def build(*drivers):
        made.append(Sender(conf, drivers, lambda: db))
        return made[-1]

    yield build
    for sender in made:
        sender.stop()


@pytest.fixture
def sender(make, ear):
    return make(ear)


def notice(number):
    return make_notice('image.update', 'image.test', 'INFO', number)


def put(db, *numbers):
    db._write(context(), outbox.write, [notice(number) for number in numbers])


def soon(db):
    """The while after a failure is over."""
    db._write(context(), outbox.release, outbox.Sending('nobody'), [], False)
    with db.database.engine.begin() as connection:
        connection.execute(
            outbox.sa.update(outbox.tables.outbox_sender).values(
                heartbeat=outbox.sa.text("'2026-01-01 00:00:00.000000'")
            )
        )


def look(db):
    return db.look_at_outbox(context())


def test_all_that_waits_is_sent_in_order(db, sender, ear):
    put(db, *range(8))
    sender.run()
    assert ear.heard == list(range(8))
    assert look(db).waiting == 0


def test_what_does_not_arrive_stays_and_nothing_overtakes_it(db, sender, ear, caplog):
    put(db, *range(8))
    ear.deaf = {4}
    sender.run()
    assert ear.heard == [0, 1, 2, 3] and look(db).waiting == 4
    assert look(db).failing_since is not None
    assert 'Ear sends no events; they are kept: ConnectionError' in caplog.text
    assert 'secret' not in caplog.text
    sender.run()
    assert ear.heard == [0, 1, 2, 3], 'for a while nobody tries again'
    ear.deaf = set()
    soon(db)
    sender.run()
    assert ear.heard == list(range(8)) and look(db).failing_since is None


def test_trouble_is_logged_once_in_a_while(db, sender, ear, caplog):
    put(db, 1)
    ear.deaf = {1}
    for _ in range(3):
        sender.run()
        soon(db)
    assert caplog.text.count('sends no events') == 1
    assert caplog.text.count('1 events wait to be sent') == 1


def test_who_has_it_already_is_not_told_again(db, make):
    first, second = Ear(), Ear()
    sender = make(first, second)
    put(db, 1, 2)
    second.deaf = {1}
    sender.run()
    soon(db)
    sender.run()
    second.deaf = set()
    soon(db)
    sender.run()
    assert first.heard == second.heard == [1, 2]


def test_what_comes_again_after_a_death_has_the_same_id(db, make):
    """The events had arrived, and their sender ended before it could say so."""
    first, second = Ear(), Ear()
    put(db, 1, 2)
    dead = make(first)
    for each in db.take_notices(context(), dead._sending, []):
        first.send(each)
    db.release_outbox(context(), dead._sending, [], False)
    make(second).run()
    assert second.heard == [1, 2] and second.ids == first.ids


def test_the_turn_is_handed_on_when_the_outbox_is_empty(db, make):
    first, second = Ear(), Ear()
    one, other = make(first), make(second)
    for number in range(4):
        put(db, number)
        (one if number % 2 else other).run()
    assert (first.heard, second.heard) == ([1, 3], [0, 2])


def test_of_two_at_once_one_sends_at_a_time(db, make):
    """Both are woken all the time; nothing comes twice, nothing overtakes."""
    ear = Ear()
    senders = [make(ear), make(ear)]
    ended = threading.Event()

    def work(sender):
        while not ended.is_set():
            sender.run()

    threads = [threading.Thread(target=work, args=(sender,)) for sender in senders]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    for number in range(30):
        # Never so many that some are dropped.
        while number - len(ear.heard) > 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        put(db, number)
    while len(ear.heard) < 30 and time.monotonic() < deadline:
        time.sleep(0.05)
    ended.set()
    for thread in threads:
        thread.join()
    assert ear.heard == list(range(30))


def test_who_was_stopped_for_a_while_asks_whether_it_is_still_its_turn(db, make, monkeypatch):
    first, second = Ear(), Ear()
    late, other = make(first), make(second)

    def sleep_over(number):
        """As if the process had been stopped for a minute, and another one took over."""
        if number == 1:
            late._alive -= 60
            db.release_outbox(context(), late._sending, [], False)
            other.run()

    put(db, 1, 2, 3)
    first.before = sleep_over
    late.run()
    assert second.heard == [1, 2, 3]
    assert first.heard == [1], 'what was under way may come twice, and nothing more'


def test_signs_of_life_keep_the_turn_and_the_limit(db, sender, ear):
    """While one event hangs in the bus, others come, too many of them."""
    other = dataclasses.replace(sender._sending, sender='another')

    def hang(number):
        if number == 0:
            put(db, *range(3, 20))
            sender.beat()
            assert look(db).waiting == 10
            assert db.take_notices(context(), other, []) is None

    ear.before = hang
    put(db, 0, 1, 2)
    sender.run()
    assert ear.heard == [0, 1, 2, *range(13, 20)]
    assert look(db).dropped == 10


def test_what_was_dropped_is_logged(db, sender, ear, caplog):
    put(db, *range(14))
    ear.deaf = {4}
    sender.run()
    assert '10 events wait to be sent, the oldest for ' in caplog.text
    assert '; 4 were dropped up to now' in caplog.text


def test_without_a_turn_there_is_no_sign_of_life(db, sender):
    class Nothing:
        def __getattr__(self, name):
            raise AssertionError(f'{name} was asked for')

    sender._operations = Nothing
    sender.beat()


# --- in memory


def test_what_has_no_row_goes_the_same_way(db, sender, ear):
    put(db, 1)
    sender.put(notice(2))
    sender.run()
    assert sorted(ear.heard) == [1, 2]


def test_what_has_no_row_waits_as_well(db, sender, ear):
    ear.deaf = {1}
    sender.put(notice(1))
    sender.put(notice(2))
    sender.run()
    assert ear.heard == []
    ear.deaf = set()
    sender.run()
    assert ear.heard == [1, 2]


def test_too_many_in_memory_are_dropped_and_counted(db, sender, ear, caplog):
    ear.deaf = {0}
    for number in range(module.IN_MEMORY + 7):
        sender.put(notice(number))
    sender.run()
    assert look(db).dropped == 7
    assert '7 events of downloads were dropped' in caplog.text
    ear.deaf = set()
    sender.run()
    assert ear.heard == list(range(module.IN_MEMORY))


def test_the_end_waits_a_moment_for_what_would_be_lost(sender, ear):
    sender.put(notice(1))
    sender.stop()
    assert ear.heard == [1]


def test_the_end_does_not_wait_for_a_bus_that_hangs(sender, ear, monkeypatch, caplog):
    monkeypatch.setattr(module, 'LAST', 0.2)
    freed = threading.Event()
    ear.before = lambda number: freed.wait(30)
    sender.put(notice(1))
    sender.put(notice(2))
    begun = time.monotonic()
    sender.stop()
    assert time.monotonic() - begun < 10
    assert '1 events of downloads were not sent' in caplog.text
    freed.set()


# --- as a job


def test_it_sends_as_soon_as_it_is_woken_and_ends_at_once(db, make):
    ear = Ear()
    sender = make(ear)
    sender.jobs = tuple(dataclasses.replace(job, period=300) for job in sender.jobs)
    ticker = Ticker(sender.jobs)
    ticker.start()
    try:
        for number in range(3):
            put(db, number)
            sender.wake()
            deadline = time.monotonic() + 30
            while len(ear.heard) <= number and time.monotonic() < deadline:
                time.sleep(0.01)
        assert ear.heard == [0, 1, 2]
    finally:
        ticker.stop()
        sender.stop()
    deadline = time.monotonic() + 30
    while _running() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _running()


def _running():
    return [thread for thread in threading.enumerate() if 'sender of events' in thread.name]
