# SPDX-License-Identifier: Apache-2.0
"""A duty of somebody else's: done by one process at a time, whatever happens to that one."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest
import sqlalchemy as sa

from glance_lite.db import tables
from tests.backends import databases
from tests.backends.fixtures import make_layer
from tests.plugins.test_acme import distribution
from tests.servers import processes
from tests.servers.processes import until
from tests.unit.db.helpers import create, fill

ACME = pathlib.Path(__file__).parent / 'acme-duty'

#: Signs of life as often as can be configured.
DUTIES = """
[maintenance]
heartbeat_interval = 1
operation_expiry = 3
sweep_interval = 1
duties = acme_ledger
schedule = acme_ledger:1s
[duty_acme_ledger]
file = {directory}/ledger
pause = {pause}
"""
IMAGES = 6


@pytest.fixture(scope='module')
def acme(environment, tmp_path_factory):
    """The package as its author has it, installed."""
    source = tmp_path_factory.mktemp('acme') / 'acme-duty'
    shutil.copytree(ACME, source, ignore=shutil.ignore_patterns('build', '*.egg-info'))
    environment.install(source)
    return source


class Scene:
    """A service with some images, and processes that do the duty."""

    def __init__(self, environment, directory, url, pause):
        self.environment, self.directory, self.url = environment, directory, url
        text = DUTIES.format(directory=directory, pause=pause)
        self.made = processes.settings(directory, database=url, more=text, sync=False)
        self.manage('db', 'sync')
        self.processes = []

    def command(self, *words):
        return (self.environment.command('manage'), '--config-file', self.made.file, *words)

    def manage(self, *words, code=0):
        done = self.environment.run(*self.command(*words))
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def start(self):
        words = map(str, self.command('maintenance', 'run', 'acme_ledger'))
        process = subprocess.Popen(
            list(words), env=self.environment.variables(), stdout=subprocess.DEVNULL
        )
        self.processes.append(process)
        return process

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def lines(self):
        """(pid, what) of all lines of the ledger."""
        file = self.directory / 'ledger'
        text = file.read_text() if file.exists() else ''
        return [(int(pid), what) for pid, what in map(str.split, text.splitlines(keepends=False))]

    def pid(self):
        """Of the process whose turn it is."""
        engine = sa.create_engine(self.url, poolclass=sa.pool.NullPool)
        with engine.connect() as connection:
            (row,) = connection.execute(sa.select(tables.duties))
        return row.pid if row.holder else None

    def status(self):
        return json.loads(self.manage('maintenance', 'status', '--json'))['duties'][0]


@pytest.fixture(params=databases.ENGINES)
def url(request, tmp_path):
    databases.require(request.param)
    made = databases.create(request.param, tmp_path)
    yield made
    databases.drop(made)


@pytest.fixture
def make_scene(acme, environment, tmp_path):
    made = []

    def make(url=None, pause=0.3):
        url = url or f'sqlite:///{tmp_path}/glance.sqlite'
        made.append(Scene(environment, tmp_path, url, pause))
        layer = make_layer(url)
        for _ in range(IMAGES):
            fill(layer, create(layer))
        layer.stop()
        return made[-1]

    yield make
    for scene in made:
        scene.end()


def test_its_own_tests_pass_where_it_is_installed(acme, environment):
    command = ('python', '-m', 'pytest', '-q', '-p', 'no:cacheprovider')
    done = environment.run(*command, cwd=acme)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r'(\d+) passed', done.stdout)[1]) == 3


def overlapping(lines):
    """Lines that somebody wrote in the midst of another one's run, which then went on."""
    found = []
    for number, (pid, what) in enumerate(lines):
        if what == 'begin':
            rest = [other for other, _ in lines[number + 1 :]]
            own = [place for place, other in enumerate(rest) if other == pid]
            upto = next((at for at, line in enumerate(lines[number + 1 :]) if line == (pid, 'end')),
                        own[-1] if own else 0)  # fmt: skip
            found += [other for other in rest[:upto] if other != pid]
    return found


def test_two_processes_compete_and_the_holder_is_killed(make_scene, url):
    """Whoever has the turn is killed in the midst of a run; the other takes over at once."""
    scene = make_scene(url)
    one, two = scene.start(), scene.start()
    until(lambda: len(scene.lines()) > IMAGES // 2, 'somebody is at it')
    begun = scene.lines()[0][0]
    until(lambda: (begun, 'end') in scene.lines(), 'a run has ended')
    until(lambda: scene.lines()[-1][1] not in ('begin', 'end'), 'a run is under way')
    holder = scene.lines()[-1][0]
    loser = ({one.pid, two.pid} - {holder}).pop()
    assert scene.pid() in (holder, None)
    os.kill(holder, signal.SIGKILL)
    killed = len(scene.lines())
    until(lambda: (loser, 'end') in scene.lines()[killed:], 'the other does it')
    assert not overlapping(scene.lines())
    whole = [what for pid, what in scene.lines()[killed:] if pid == loser]
    assert len(whole[: whole.index('end')]) == IMAGES + 1
    found = scene.status()
    assert (found['result'], found['problem']) == ({'written': IMAGES}, None)


def test_who_was_stopped_for_too_long_has_lost_its_turn(make_scene):
    """SIGSTOP is what a host that hangs looks like. When it goes on it does not write a line."""
    scene = make_scene()
    one, two = scene.start(), scene.start()
    until(lambda: scene.lines() and scene.lines()[-1][1] not in ('begin', 'end'), 'a run')
    holder = scene.lines()[-1][0]
    other = ({one.pid, two.pid} - {holder}).pop()
    os.kill(holder, signal.SIGSTOP)
    stopped = len(scene.lines())
    until(lambda: (other, 'end') in scene.lines()[stopped:], 'the other does it')
    os.kill(other, signal.SIGSTOP)
    before = scene.lines()
    os.kill(holder, signal.SIGCONT)
    time.sleep(2)
    # It may begin a run of its own, and does not carry on with the old one.
    mine = [what for pid, what in scene.lines()[len(before) :] if pid == holder]
    assert mine[:1] in ([], ['begin'])


def test_a_command_does_it_once(make_scene):
    scene = make_scene(pause=0)
    said = scene.manage('maintenance', 'run', 'acme_ledger', '--once')
    assert said == f'acme_ledger: written {IMAGES}\n'
    found = json.loads(scene.manage('maintenance', 'run', 'acme_ledger', '--once', '--json'))
    assert found == {'runs': [{'duty': 'acme_ledger', 'result': {'written': IMAGES}}]}
    status = scene.status()
    assert (status['name'], status['on'], status['period']) == ('acme_ledger', True, 1.0)
    assert (status['holder'], status['result']) == (None, {'written': IMAGES})
    assert 'nobody is at it' in scene.manage('maintenance', 'status')


def test_while_one_is_at_it_a_command_is_refused(make_scene):
    scene = make_scene(pause=60)
    scene.start()
    until(lambda: scene.lines(), 'a run')
    done = scene.environment.run(*scene.command('maintenance', 'run', 'acme_ledger', '--once'))
    assert (done.returncode, done.stdout) == (1, '')
    assert 'Somebody else is at the duty acme_ledger' in done.stderr


def test_workers_of_the_api_do_it(make_scene, environment, tmp_path):
    scene = make_scene(pause=0)
    program = (environment.command('api'),)
    with processes.api(scene.made, program, **environment.variables()) as server:
        until(lambda: len(scene.lines()) >= 6, 'three runs')
        assert {pid for pid, _ in scene.lines()} <= set(server.workers())
    assert not overlapping(scene.lines())
    assert scene.status()['holder'] is None
    scene.made.edit('[maintenance]\n', '[maintenance]\nrun_duties = false\n')
    (tmp_path / 'ledger').unlink()
    with processes.api(scene.made, program, **environment.variables()):
        time.sleep(3)
        assert scene.lines() == []


# --- what can be wrong is one sentence at start

MODULE = """
from glance_lite.maintenance.duty import Duty

class Fine(Duty):
    def run(self, turn):
        return {}

class Twin(Fine):
    pass

class Newer(Fine):
    requires_api = 2

class Half(Duty):
    pass

class Fails(Fine):
    def __init__(self, parts):
        raise OSError('no licence')

class NoDuty:
    pass
"""


@pytest.fixture(scope='module')
def broken(tmp_path_factory):
    """A directory with distributions that nobody should install."""
    site = tmp_path_factory.mktemp('broken')
    (site / 'acme_broken_duty.py').write_text(MODULE)
    kinds = {'newer': 'Newer', 'half': 'Half', 'fails': 'Fails', 'none': 'NoDuty', 'twin': 'Twin',
             'fine': 'Fine'}  # fmt: skip
    points = [f'{name} = acme_broken_duty:{kind}' for name, kind in kinds.items()]
    points.append('unfinished = acme_not_there:Duty')
    distribution(site, 'acme_broken_duty', *points, group='glance_lite.duties')
    distribution(site, 'zenith', 'twin = acme_broken_duty:Fine', group='glance_lite.duties')
    return site


OPTION = '[maintenance] duties: '
#: What is configured -> what is said of it.
SAID = {
    'duties = nosuch': f'{OPTION}there is no plug-in nosuch in glance_lite.duties (known: ',
    'duties = unfinished': f'{OPTION}unfinished (acme_not_there:Duty) cannot be loaded: ',
    'duties = twin': f'{OPTION}twin is registered twice in glance_lite.duties, by ',
    'duties = newer': f'{OPTION}newer was written for version 2 of the contract of duties; this ',
    'duties = half': f'{OPTION}half cannot be made: TypeError: ',
    'duties = fails': f'{OPTION}fails cannot be made: OSError: no licence',
    'duties = none': f'{OPTION}none is not a duty',
    'duties = fine, fine': f'{OPTION}fine is in the list twice',
    'schedule = fine:soon': "[maintenance] schedule: 'soon' of fine is not a number of seconds",
    'schedule = fien:5m': '[maintenance] schedule: there is no duty fien',
    'window = fine:1-2': "[maintenance] window: '1-2' of fine is not of the form HH.MM-HH.MM",
}


@pytest.mark.parametrize(('text', 'said'), SAID.items(), ids=SAID)
def test_a_start_with_a_duty_that_is_wrong_is_refused(environment, broken, tmp_path, text, said):
    made = processes.settings(tmp_path, more=f'[maintenance]\n{text}\n', sync=False)
    command = (environment.command('api'), '--config-file', made.file)
    done = environment.run(*command, PYTHONPATH=str(broken))
    assert done.returncode == 1, done.stdout + done.stderr
    line = done.stderr.strip().splitlines()[-1].removeprefix('glance-lite-api: ')
    assert line.removeprefix(f'{made.file}: ').startswith(said)
    assert 'Traceback' not in done.stderr + done.stdout
