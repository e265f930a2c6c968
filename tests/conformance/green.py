# SPDX-License-Identifier: Apache-2.0
"""The same tests once more where threads and sockets are green."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

from tests.sizes import full

ROOT = pathlib.Path(__file__).resolve().parents[2]

#: What is printed after the number of tests that passed.
COUNTED = 'passed under eventlet'

CODE = """
import eventlet
eventlet.monkey_patch()
import sys, pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def passes(file: str, select: str) -> None:
    """Run those tests of a file that are selected in a process that eventlet has patched."""
    done = subprocess.run(
        [
            sys.executable, '-W', 'ignore', '-c', CODE, '-q', '-p', 'no:cacheprovider',
            # Not tests/conftest.py, which lets nobody patch anything.
            '--noconftest', '-p', 'tests.backends.fixtures', file, '-k', select,
        ],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=full(300, 1500),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    counted = re.search(r'(\d+) passed', done.stdout)
    assert counted and 'skipped' not in done.stdout
    print(f'{counted[1]} {COUNTED}')
