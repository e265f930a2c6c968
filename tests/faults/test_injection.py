# SPDX-License-Identifier: Apache-2.0
"""The faults themselves: what a line says, when it acts, what it does, and to whom."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from glance_lite import errors
from glance_lite.errors import BadStoreConfiguration, ConfigurationError, StoreFull, Unavailable
from glance_lite.layer import link
from glance_lite.store import Cap
from glance_lite.store_config import load
from glance_lite.testing.faults import Broken, Fault, Faults, FaultyStore, Mistake, Plan, Source
from glance_lite.testing.layers import Recorder, caller, make_parts
from store_drivers.memory import MemoryStore

DATA = bytes(range(250)) * 10


def plan(*lines, **kwargs):
    return Plan(lines, time.sleep, **kwargs)


def memory(*lines, **kwargs):
    """A store in memory with faults, which holds DATA under `key`."""
    driver = MemoryStore('ram', {'memory_store_size': None})
    driver.add('key', io.BytesIO(DATA), len(DATA))
    return FaultyStore.around(driver, *lines, **kwargs)


# --- lines


@pytest.mark.parametrize(
    ('line', 'why'),
    [
        ('', 'before, after or within'),
        ('sometimes add 1 kill', 'before, after or within'),
        ('before add@7 1 kill', 'within needs'),
        ('within add 1 kill', 'within needs'),
        ('within add@x 1 kill', 'within needs'),
        ('within delete@7 1 kill', 'add and get'),
        ('before add kill', 'calls'),
        ('before add 1-2-3 kill', 'calls'),
        ('before add 1 explode', 'action'),
        ('before add 1 kill now', 'takes no argument'),
        ('before add 1 fail', 'takes an argument'),
        ('before add 1 fail Nonsense', 'there is no error Nonsense'),
        ('before add 1 fail os:path', 'there is no error os:path'),
        ('before add 1 fail no_such_module:Error', 'cannot be imported'),
        ('before add 1 delay long', 'seconds'),
    ],
)
def test_a_line_that_is_no_fault(line, why):
    with pytest.raises(Mistake, match=why):
        Fault.read(line)
    with pytest.raises(BadStoreConfiguration, match=r'\[ram\] fault: '):
        memory(line)


@pytest.mark.parametrize(
    ('calls', 'failing'),
    [('1', [1]), ('3', [3]), ('2-4', [2, 3, 4]), ('4-', [4, 5, 6]), ('every', [1, 2, 3, 4, 5, 6])],
)
@pytest.mark.parametrize('counters', [False, True])
def test_calls_are_counted(calls, failing, counters, tmp_path):
    made = plan(f'before add {calls} fail Gone', counters=str(tmp_path) if counters else None)
    found = []
    for number in range(1, 7):
        try:
            made.reach('before add')
        except errors.Gone:
            found.append(number)
    assert found == failing


def test_other_places_are_not_counted():
    made = plan('before add 1 fail Gone')
    for point in ('after add', 'before get', 'within add@0'):
        made.reach(point)
    with pytest.raises(errors.Gone):
        made.reach('before add')


def test_counters_are_shared_and_survive(tmp_path):
    """Threads of several plans, as of several processes: each call has a number of its own."""
    plans = [plan('before add 100 fail Gone', counters=str(tmp_path)) for _ in range(4)]
    failed = []

    def work(made):
        for _ in range(50):
            try:
                made.reach('before add')
            except errors.Gone:
                failed.append(made)

    threads = [threading.Thread(target=work, args=(made,)) for made in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) == 1
    assert (tmp_path / 'before-add').stat().st_size == 200


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('StoreUnavailable', errors.StoreUnavailable),
        ('ImageNotFound', errors.ImageNotFound),
        ('RuntimeError', RuntimeError),
        ('ENOSPC', OSError),
        ('glance_lite.testing.faults:Broken', Broken),
    ],
)
def test_errors_by_name(name, kind):
    with pytest.raises(kind) as caught:
        plan(f'before add 1 fail {name}').reach('before add')
    if kind is OSError:
        assert caught.value.errno == errno.ENOSPC
    else:
        assert 'before add' in str(caught.value)


def test_delay_and_wait(tmp_path):
    slept = []
    hold = tmp_path / 'a file to hold it'
    hold.touch()

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 5:
            hold.unlink()

    made = Plan([f'before add 1 wait {hold}', 'before add 2 delay 1.5'], sleep)
    made.reach('before add')
    assert len(slept) == 5
    made.reach('before add')
    assert slept[5:] == [1.5]
    made.reach('before add')
    assert len(slept) == 6


@pytest.mark.parametrize(
    ('action', 'ended'), [('kill', os.WIFSIGNALED), ('stop', os.WIFSTOPPED)], ids=['kill', 'stop']
)
def test_kill_and_stop(action, ended):
    code = (
        'import time\n'
        'from glance_lite.testing.faults import Plan\n'
        f"Plan(['before add 2 {action}'], time.sleep).reach('before add')\n"
        "print('once', flush=True)\n"
        f"made = Plan(['before add 1 {action}'], time.sleep)\n"
        "made.reach('before add')\n"
        "print('alive', flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert ended(status)
    if action == 'stop':
        os.kill(process.pid, signal.SIGCONT)
        _, status = os.waitpid(process.pid, 0)
        assert status == 0
    assert process.stdout.read() == b'once\n' + (b'alive\n' if action == 'stop' else b'')


# --- the store


def test_before_it_is_not_done_and_after_it_is():
    store = memory('before delete 1 fail InUse', 'after delete 1 fail StoreUnavailable')
    with pytest.raises(errors.InUse):
        store.delete('key')
    assert store.size('key') == len(DATA)
    with pytest.raises(errors.StoreUnavailable):
        store.delete('key')
    with pytest.raises(errors.ObjectNotFound):
        store.size('key')


@pytest.mark.parametrize('at', [0, 1, 1000, len(DATA) - 1])
def test_within_add(at):
    store = memory(f'within add@{at} 1 fail StoreFull')
    source = io.BytesIO(DATA)
    with pytest.raises(StoreFull):
        store.add('other', source, len(DATA))
    assert source.tell() == at
    store.add('other', io.BytesIO(DATA), len(DATA))
    assert b''.join(store.get('other')) == DATA


@pytest.mark.parametrize('at', [0, 1, 1000, len(DATA)])
def test_within_get(at):
    store = memory(f'within get@{at} 1 fail EIO')
    chunks, given = store.get('key'), b''
    with pytest.raises(OSError):
        for chunk in chunks:
            given += chunk
    assert given == DATA[:at]
    assert b''.join(store.get('key')) == DATA


def test_it_is_what_it_wraps():
    store = memory('before size 1 fail EIO')
    assert (store.schemes, store.io) == (MemoryStore.schemes, MemoryStore.io)
    assert store.caps == MemoryStore.caps
    with pytest.raises(BadStoreConfiguration, match='there is no verb defrost'):
        memory('before defrost 1 kill')


CONFIGURATION = """
[DEFAULT]
enabled_backends = fast:faulty
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {directory}
fault = before size 1 fail EIO
fault = before size 2 fail StoreUnavailable
"""


@pytest.mark.parametrize(('more', 'sends'), [('', True), ('fault = before get 9 kill', False)])
def test_by_configuration(tmp_path, more, sends):
    text = CONFIGURATION.format(directory=tmp_path / 'images') + more
    driver = load(make_parts(tmp_path, text).conf)['fast'].driver
    driver.start()
    key = driver.parse(driver.add('name', io.BytesIO(DATA), len(DATA)))
    assert (tmp_path / 'images' / 'name').read_bytes() == DATA
    with pytest.raises(OSError):
        driver.size(key)
    with pytest.raises(errors.StoreUnavailable):
        driver.size(key)
    assert driver.size(key) == len(DATA)
    # What is planned for get must not be passed by.
    assert (Cap.SENDFILE in driver.caps) is sends


@pytest.mark.parametrize(
    ('line', 'sentence'),
    [
        ('faulty_type = nothing', r'\[fast\] faulty_type: there is no plug-in nothing'),
        ('filesystem_store_chunk_size = many', r'\[fast\] filesystem_store_chunk_size: '),
        ('fault = before noon 1 kill', r'\[fast\] fault: there is no verb noon'),
    ],
)
def test_a_mistake_in_the_group_is_one_sentence(tmp_path, line, sentence):
    text = CONFIGURATION.format(directory=tmp_path / 'images') + line
    with pytest.raises(ConfigurationError, match=sentence):
        load(make_parts(tmp_path, text).conf)


# --- the layer


def faults(tmp_path, *lines):
    text = '\n'.join(['[faults]', *(f'fault = {line}' for line in lines)])
    return Faults(make_parts(tmp_path, text))


def test_the_layer(tmp_path):
    layer = faults(
        tmp_path, 'before commit_upload 1 fail Unavailable', 'after delete_image 1 fail Unavailable'
    )
    layer.name = 'faults'
    inner = Recorder()
    outer = link([layer, inner]).outer
    with pytest.raises(Unavailable):
        outer.commit_upload(caller(), None, None, None)
    assert inner.names() == []
    with pytest.raises(Unavailable):
        outer.delete_image(caller(), 'an-image')
    assert inner.names() == ['delete_image']
    outer.delete_image(caller(), 'an-image')
    assert inner.names() == ['delete_image', 'delete_image']


def test_a_layer_without_faults_is_left_out(tmp_path):
    assert not faults(tmp_path).acts()


def test_an_operation_that_is_none(tmp_path):
    with pytest.raises(ConfigurationError, match=r'\[faults\] fault: there is no operation noon'):
        faults(tmp_path, 'before noon 1 kill')


# --- the source


def test_the_source_breaks_stalls_and_trickles():
    stalled = []
    source = Source(DATA, 1000, stall_at=500, stall=lambda: stalled.append(1), piece=300)
    sizes = []
    with pytest.raises(Broken):
        while chunk := source.read(4096):
            sizes.append(len(chunk))
    assert (sizes, stalled) == ([300, 200, 300, 200], [1])
    mine = RuntimeError('mine')
    with pytest.raises(RuntimeError) as caught:
        Source(DATA, 0, error=mine).read(1)
    assert caught.value is mine
    begin = time.monotonic()
    trickle = Source(DATA, piece=1, pause=0.01)
    assert [trickle.read(100) for _ in range(5)] == [bytes([number]) for number in range(5)]
    assert time.monotonic() - begin >= 0.05
