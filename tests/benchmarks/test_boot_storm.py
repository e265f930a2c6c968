# SPDX-License-Identifier: Apache-2.0
"""The storm in small: it works on both sides, and ours reads the backend once."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

from tests.peers import glance33
from tests.sizes import full

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / 'benchmarks' / 'boot_storm.py'
SIZE, CLIENTS = full(8, 512), full(8, 50)


@pytest.mark.peer
def test_a_storm_costs_one_read_of_the_backend(tmp_path):
    glance33.home()
    file = tmp_path / 'figures.json'
    command = [sys.executable, str(SCRIPT), '--rounds', '1', '--rate', str(full(40, 200)),
               '--size', str(SIZE), '--clients', str(CLIENTS), '--file', str(file)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'{CLIENTS} clients' in done.stdout and 'Glance 33' in done.stdout
    (found,) = json.loads(file.read_text())['lite']
    assert (found['first']['reads'], found['first']['bytes']) == (1, SIZE << 20)
    assert found['first']['cached'] and found['again']['reads'] == 0
