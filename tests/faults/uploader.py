# SPDX-License-Identifier: Apache-2.0
"""A process that is killed in the middle of an upload.

It is told on its command line, as JSON, which driver it is to have and what it is to upload.
"""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: What it says when it waits to be killed.
NOW = 'NOW'


class Stopping:
    """Zeros, up to where it stops for good."""

    def __init__(self, stop):
        self._stop = stop
        self._given = 0

    def read(self, size):
        if self._given >= self._stop:
            print(NOW, flush=True)
            sys.stdin.read()
        self._given += size
        return bytes(size)


def kill_uploading(driver, name, size, stop):
    """Kill a process with a driver as this one, which has sent `stop` bytes of `size`."""
    kind = type(driver)
    job = {
        'module': kind.__module__,
        'kind': kind.__name__,
        'store': driver.name,
        'settings': dict(driver.settings),
        'name': name,
        'size': size,
        'stop': stop,
    }
    process = subprocess.Popen(
        [sys.executable, '-m', 'tests.faults.uploader', json.dumps(job)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == f'{NOW}\n'
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()


def main():
    job = json.loads(sys.argv[1])
    kind = getattr(importlib.import_module(job['module']), job['kind'])
    driver = kind(job['store'], job['settings'])
    driver.start()
    driver.add(job['name'], Stopping(job['stop']), job['size'])


if __name__ == '__main__':
    main()
