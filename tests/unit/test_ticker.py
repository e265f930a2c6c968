# SPDX-License-Identifier: Apache-2.0
"""Background jobs: when they run, and what their errors do."""

from __future__ import annotations

import logging
import threading

import pytest

from glance_lite.errors import ConfigurationError, Unavailable
from glance_lite.maintenance.sweeper import Sweeper
from glance_lite.maintenance.ticker import Job, Ticker
from glance_lite.testing.layers import make_parts

#: seconds in which everything here has long happened
LONG = 20


class Counted:
    """Something that can be waited for to run so often."""

    def __init__(self, *errors):
        self.count = 0
        self._errors = list(errors)
        self._changed = threading.Condition()

    def __call__(self):
        with self._changed:
            self.count += 1
            self._changed.notify_all()
        if self._errors:
            raise self._errors.pop(0)

    def wait(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: self.count >= count, LONG)


@pytest.fixture
def start():
    made = []

    def build(*jobs):
        ticker = Ticker(jobs)
        ticker.start()
        made.append(ticker)
        return ticker

    yield build
    for ticker in made:
        ticker.stop()


def test_a_job_is_run_again_and_again(start):
    job = Counted()
    start(Job('work', 0.01, job))
    job.wait(5)


def test_only_what_is_asked_for_is_run_at_once(start):
    soon, late = Counted(), Counted()
    start(Job('soon', LONG, soon, at_once=True), Job('late', LONG, late))
    soon.wait(1)
    assert (soon.count, late.count) == (1, 0)


@pytest.mark.parametrize(
    ('error', 'told'),
    [(Unavailable('The database is away'), 'away'), (ValueError('password'), 'ValueError')],
    ids=['known', 'unexpected'],
)
def test_an_error_is_one_sentence_and_ends_nothing(start, caplog, error, told):
    job = Counted(error)
    with caplog.at_level(logging.INFO):
        start(Job('work', 0.01, job))
        job.wait(3)
    (record,) = caplog.records
    assert 'work' in record.getMessage() and told in record.getMessage()
    assert 'password' not in caplog.text and record.exc_info is None


def test_one_that_hangs_holds_up_no_other(start):
    release, other = threading.Event(), Counted()
    start(Job('hangs', 0.01, lambda: release.wait(LONG), at_once=True), Job('work', 0.01, other))
    try:
        other.wait(3)
    finally:
        release.set()


def test_a_stop_waits_for_nobody_and_nothing_runs_after_it(start):
    job = Counted()
    ticker = start(Job('work', 0.01, job))
    job.wait(2)
    before = set(threading.enumerate())
    ticker.stop()
    mine = [thread for thread in before if thread.name == 'glance-lite work']
    assert all(thread.daemon for thread in mine)
    for thread in mine:
        thread.join(LONG)
        assert not thread.is_alive()


def test_an_expiry_that_a_heartbeat_cannot_hold_stops_the_start(tmp_path):
    text = '[maintenance]\nheartbeat_interval = 10\noperation_expiry = 29\n'
    with pytest.raises(ConfigurationError, match=r'^\[maintenance\] operation_expiry: .* 30'):
        Sweeper(make_parts(tmp_path, text).conf, None)
