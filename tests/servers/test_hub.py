# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import glance_lite.server.eventlet as server
import os, eventlet.hubs
from eventlet.hubs import _threadlocal
def polls():
    links = (os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')
             if os.path.exists(f'/proc/self/fd/{fd}'))
    return sum('eventpoll' in link for link in links)
server.leave_the_hub()
assert not hasattr(_threadlocal, 'hub') and polls() == 0, 'the master has a hub'
server.meet_the_hub()
assert polls() == 1, 'a worker has its own'
"""


def test_workers_do_not_share_an_epoll():
    """Patching makes a hub; workers that inherited it took each other's events and hung."""
    done = subprocess.run([sys.executable, '-c', PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
