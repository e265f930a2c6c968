# SPDX-License-Identifier: Apache-2.0
"""Whether a process can still be there."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from glance_lite.process import SLACK, Process, is_gone


@pytest.fixture
def sleeping():
    process = subprocess.Popen(['sleep', '60'])
    yield process
    process.kill()
    process.wait()


def test_a_process_that_runs_is_there(sleeping):
    assert not is_gone(sleeping.pid, 0)
    assert not is_gone(os.getpid(), 0.1)


def test_one_that_was_killed_is_gone_even_while_nobody_has_waited_for_it(sleeping):
    sleeping.kill()
    deadline = time.monotonic() + 10
    while not is_gone(sleeping.pid, 0):
        assert time.monotonic() < deadline
    sleeping.wait()
    assert is_gone(sleeping.pid, 0)


def test_one_that_began_later_is_another_one(sleeping):
    assert is_gone(sleeping.pid, SLACK + 1)
    assert not is_gone(sleeping.pid, SLACK - 0.5)
    assert not is_gone(1, SLACK + 1)  # somebody else's, and older


def test_a_pid_means_something_only_in_its_own_namespace_and_boot():
    here = Process.this()
    assert here.boot_id and len(here.boot_id) <= 36
    assert here.knows(Process(here.host, here.boot_id, 1))
    assert not here.knows(Process('another', here.boot_id, here.pid))
    assert not here.knows(Process(here.host, 'another', here.pid))
    unknown = Process(here.host, '', here.pid)
    assert not unknown.knows(unknown)


def test_a_container_is_another_boot():
    command = ['unshare', '--user', '--pid', '--fork', '--mount-proc']
    code = 'from glance_lite.process import Process; print(Process.this().boot_id)'
    done = subprocess.run([*command, sys.executable, '-c', code], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f'no namespace can be made here: {done.stderr.strip()[:80]}')
    assert done.stdout.strip() not in ('', Process.this().boot_id)
