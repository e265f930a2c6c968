# SPDX-License-Identifier: Apache-2.0
"""What several processes count, and what is left of those that have been killed."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading

import pytest

from glance_lite.errors import ConfigurationError
from glance_lite.metrics import BUCKETS, HISTOGRAM, ROOM, RUNNING, SUMMARY, Meter, Tally

COUNTED = Meter('things', 'Things.', ('kind',))
TIMED = Meter('thing_seconds', 'Seconds.', ('kind',), HISTOGRAM)
SUMMED = Meter('thing_work', 'Work.', (), SUMMARY)
GOING = Meter('things_going', 'Things that go on.', (), RUNNING)


@pytest.fixture
def tally(tmp_path):
    return Tally(tmp_path / 'metrics')


def values(tally):
    """(name, labels without their names) -> value."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in tally.collect()
        for sample in family.samples
    }


def forked(tally, work):
    """Run something in a child that then waits to be killed; its process id."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work(tally)
            os.write(writer, b'x')
            signal.pause()
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    said = os.read(reader, 1)
    os.close(reader)
    assert said == b'x'
    return pid


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_counts(tally):
    tally.add(COUNTED, ('a',))
    tally.add(COUNTED, ('a',), 2)
    tally.add(COUNTED, ('b',))
    found = values(tally)
    assert found['things_total', 'a'] == 3 and found['things_total', 'b'] == 1


@pytest.mark.parametrize('value', [0, *BUCKETS, 0.3, 1e9])
def test_a_histogram_has_every_bucket(tally, value):
    tally.observe(TIMED, ('a',), value)
    found = values(tally)
    for bound in (*BUCKETS, float('inf')):
        name = '+Inf' if bound == float('inf') else str(float(bound))
        key = next(key for key in found if key[0] == 'thing_seconds_bucket' and name in key)
        assert found[key] == (value <= bound), name
    assert found['thing_seconds_count', 'a'] == 1 and found['thing_seconds_sum', 'a'] == value


def test_a_summary(tally):
    tally.observe(SUMMED, (), 2.5)
    tally.observe(SUMMED, (), 1.5)
    found = values(tally)
    assert found[('thing_work_count',)] == 2 and found[('thing_work_sum',)] == 4


def test_nothing_is_opened_before_something_is_counted(tally, tmp_path):
    assert {path.name for path in (tmp_path / 'metrics').iterdir()} == {'slots'}


def test_processes_are_added_up(tally):
    """Also that of the one who forked, which the child must not go on with."""
    tally.add(COUNTED, ('a',), 5)
    children = [forked(tally, lambda tally: tally.add(COUNTED, ('a',), 100)) for _ in range(3)]
    tally.add(COUNTED, ('a',))
    assert values(tally)['things_total', 'a'] == 306
    for pid in children:
        kill(pid)
    tally.add(COUNTED, ('a',))
    assert values(tally)['things_total', 'a'] == 307


def test_what_was_counted_outlives_a_kill_and_what_ran_does_not(tally):
    def work(tally):
        tally.add(COUNTED, ('a',), 7)
        tally.add(GOING, (), 3)

    pid = forked(tally, work)
    tally.add(GOING, ())
    assert values(tally)[('things_going',)] == 4
    kill(pid)
    found = values(tally)
    assert found[('things_going',)] == 1 and found['things_total', 'a'] == 7


def test_who_comes_after_a_dead_one_takes_its_slot(tally, tmp_path):
    def work(tally):
        tally.add(COUNTED, ('a',), 7)
        tally.add(GOING, ())

    files = None
    for count in range(1, 6):
        pid = forked(tally, work)
        found = values(tally)
        assert found['things_total', 'a'] == 7 * count and found[('things_going',)] == 1
        kill(pid)
        files = files or set(os.listdir(tmp_path / 'metrics'))
        assert set(os.listdir(tmp_path / 'metrics')) <= files


def test_two_services_of_one_directory_take_slots_of_their_own(tally, tmp_path):
    """As two processes that each have loaded the application by themselves."""
    other = Tally(tmp_path / 'metrics')
    for one in (tally, other):
        one.add(COUNTED, ('a',))
        one.add(COUNTED, ('a',))
    assert values(tally) == values(other) == {('things_total', 'a'): 4}


def test_threads_do_not_lose_counts(tally):
    def work():
        for _ in range(500):
            tally.add(COUNTED, ('a',))
            tally.observe(TIMED, ('a',), 1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = values(tally)
    assert found['things_total', 'a'] == found['thing_seconds_count', 'a'] == 4000


def test_labels_may_be_anything(tally):
    strange = 'a "b"\n\\ é'
    tally.add(COUNTED, (strange,))
    assert values(tally)['things_total', strange] == 1


def test_more_than_the_file_holds_at_first(tally):
    for number in range(2000):
        tally.add(COUNTED, (f'kind-{number}',))
    assert sum(values(tally).values()) == 2000


def test_a_directory_that_is_gone_fails_nobody(tally, tmp_path, caplog):
    shutil.rmtree(tmp_path / 'metrics')
    for _ in range(3):
        tally.add(COUNTED, ('a',))
        tally.observe(TIMED, ('a',), 1)
    assert caplog.text.count('is not counted') == 1
    assert values(tally) == {}


def test_a_file_system_without_locks_fails_nobody(tally, tmp_path, monkeypatch, caplog):
    """And is not taken for one on which every slot is held."""

    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr('glance_lite.metrics.fcntl.flock', flock)
    for _ in range(3):
        tally.add(COUNTED, ('a',))
    assert caplog.text.count('is not counted') == 1
    assert {path.name for path in (tmp_path / 'metrics').iterdir()} == {'slots', 'slot_0'}


def test_its_files_have_their_room_from_the_beginning(tally, tmp_path):
    tally.add(COUNTED, ('a',))
    tally.observe(TIMED, ('a',), 1)
    for path in (tmp_path / 'metrics').glob('*.db'):
        assert path.stat().st_blocks * 512 >= ROOM


def test_a_directory_that_cannot_be_used_is_one_sentence(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigurationError, match=r'file/metrics for metrics cannot be written'):
        Tally(tmp_path / 'file' / 'metrics')
