# SPDX-License-Identifier: Apache-2.0
"""The benchmark itself works: not how fast anything is."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

from benchmarks import report, rows, servers
from benchmarks.suite import load
from tests.backends import databases
from tests.peers import glance33
from tests.servers.processes import required
from tests.sizes import full

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUN = [sys.executable, str(ROOT / 'benchmarks' / 'run')]
SMALL = ['--images', '1000', '--scale', '1000,1100', '--seconds', '0.2', '--rounds', '1']
SMALL += ['--size', '1']
#: one of each kind, or all
ROWS = full(
    # The last one has a world of its own, whose images have the ids of the first one's.
    'get,pages,patch,upload1,download1,start,get-by-16,middle-project@1000,file-download1',
    ','.join(row.name for row in rows.table((1000, 1100))),
)


@pytest.fixture(scope='module')
def peers():
    databases.require('postgresql')
    glance33.home()
    required(servers._nginx(), 'nginx')


@pytest.fixture
def scratch():
    """For all files of a run; PostgreSQL has another user, who must be able to enter."""
    path = pathlib.Path(tempfile.mkdtemp(prefix='glance-lite-benchmark-test-'))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def environment(scratch):
    made = {**os.environ, 'TMPDIR': str(scratch), 'PYTHONUNBUFFERED': '1'}
    # A server of its own, so that it can be seen to be gone.
    made.pop(databases.DIRECTORY, None)
    return made


def run(scratch, *arguments):
    command = [*RUN, *arguments]
    return subprocess.run(command, env=environment(scratch), capture_output=True, text=True)


def left(scratch):
    """Processes that have something to do with a directory."""
    found = []
    for entry in pathlib.Path('/proc').iterdir():
        with contextlib.suppress(OSError):
            line = (entry / 'cmdline').read_bytes().replace(b'\0', b' ').decode()
            if str(scratch) in line or str(scratch) in os.readlink(entry / 'cwd'):
                found.append(line)
    return found


def test_a_small_run(peers, scratch, tmp_path):
    pytest.importorskip('matplotlib')
    file, plot = tmp_path / 'figures.json', tmp_path / 'plot.svg'
    done = run(scratch, *SMALL, '--rows', ROWS, '--file', str(file), '--plot', str(plot))
    assert done.returncode == 0, done.stderr + done.stdout
    figures = json.loads(file.read_text())
    assert set(figures['rows']) == set(ROWS.split(','))
    for row in rows.table((1000, 1100)):
        if row.name in figures['rows']:
            measured = figures['rows'][row.name]
            assert (set(measured['sides']), measured['skipped']) == (set(row.sides), {})
            for rounds in measured['sides'].values():
                (one,) = rounds
                assert one['errors'] == []
                assert row.kind != 'load' or (one['units'] > 0 and one['elapsed'] > 0)
    # Both were walked through to the end: all images but others' community ones.
    walked = [sides[0]['images'] for sides in figures['rows']['pages']['sides'].values()]
    assert walked[0] == walked[1] > 1000
    assert 'GET image, Glance 33' in plot.read_text()
    assert (left(scratch), list(scratch.iterdir())) == ([], [])

    again = run(scratch, '--file', str(file), '--report')
    assert (again.returncode, again.stdout) == (0, done.stdout)
    # Nothing is left to do, so nothing is started.
    resumed = run(scratch, *SMALL, '--rows', ROWS, '--file', str(file), '--resume')
    assert (resumed.returncode, resumed.stdout, resumed.stderr) == (0, done.stdout, '')


@pytest.mark.parametrize(
    'number, code, when',
    [
        (signal.SIGINT, 130, 'list 25: Glance 33'),
        (signal.SIGTERM, 128 + signal.SIGTERM, 'making 1,000 images'),
    ][full(1, 0) :],
)
def test_an_interrupted_run_leaves_nothing(peers, scratch, tmp_path, number, code, when):
    long = ['--images', '1000', '--seconds', '300', '--rows', 'list25']
    with open(tmp_path / 'output', 'w+') as output:
        process = subprocess.Popen(
            [*RUN, *long],
            env=environment(scratch),
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            # A shell has background jobs ignore it, and tests that are one would hand that on.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        told = ''
        for line in process.stderr:
            told += line
            if when in line:
                break
        assert left(scratch), told
        process.send_signal(number)
        told += process.communicate(timeout=300)[1]
    assert process.returncode == code, told
    assert (left(scratch), list(scratch.iterdir())) == ([], [])


def test_wrong_answers_are_told():
    port = glance33.free_port()
    stub = subprocess.Popen([sys.executable, str(ROOT / 'benchmarks' / 'stub.py'), str(port)])
    try:
        servers._first_answer(port, stub, pathlib.Path('/dev/null'))
        request = rows.head('GET', '/', rows.READER)
        side = servers.Side('stub', port, stub.pid, 0)

        def ask(status):
            return load(side, rows.Work([rows.Client([request], status=status)] * 2, count=3))

        right, wrong = ask(200), ask(201)
    finally:
        stub.kill()
        stub.wait()
    assert (right['requests'], right['errors']) == (6, [])
    assert (wrong['requests'], wrong['errors']) == (0, ['status 200'] * 6)


def figures(**sides):
    return {'rows': {'row': {'unit': 'request', 'sides': sides}}}


@pytest.mark.parametrize(
    'what, ours, theirs, goal, ratio, reached',
    [
        # More is better: 30/s to 10/s.
        ('rate', {'units': 30, 'elapsed': 1}, {'units': 20, 'elapsed': 2}, 3, 3, True),
        ('rate', {'units': 30, 'elapsed': 1}, {'units': 20, 'elapsed': 2}, 3.1, 3, False),
        # Theirs to ours: 0.5 s to 0.1 s each.
        ('cpu', {'units': 10, 'server_cpu': 1}, {'units': 2, 'server_cpu': 1}, 5, 5, True),
        ('cpu', {'units': 10, 'server_cpu': 1}, {'units': 2, 'server_cpu': 1}, 5.1, 5, False),
        # Less is better.
        ('idle', {'idle_mib': 50}, {'idle_mib': 100}, 0.5, 0.5, True),
        ('idle', {'idle_mib': 50}, {'idle_mib': 100}, 0.4, 0.5, False),
        ('rate', {'units': 30, 'elapsed': 1}, {'units': 20, 'elapsed': 2}, None, 3, None),
    ],
)
def test_whether_a_goal_is_reached(what, ours, theirs, goal, ratio, reached):
    wanted = rows.Goal('title', what, 'row', 'lite', 'glance', goal)
    found = report.compare(figures(lite=[ours], glance=[theirs]), wanted)
    assert (found.ratio, found.reached) == (ratio, reached)
    assert report.compare(figures(lite=[ours]), wanted) is None
