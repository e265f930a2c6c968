# SPDX-License-Identifier: Apache-2.0
"""A real Ceph with cephx: a monitor, a manager and an OSD, for a test run, or for a test alone.

The shared cluster is started by whoever asks first; each test has a pool and users of its own::

    cluster = ceph.cluster()
    with cluster.pool() as pool:
        client = cluster.client(directory, pool)

`Alone` is a cluster that a test may freeze, stop and start again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.backends import databases
from tests.sizes import full

#: in memory it is quicker, and has no room for the full sizes
OBJECTS = full('memstore', 'bluestore')
#: bytes that it has in memory
ROOM = 2 * 1024**3
#: seconds that a start may take: six when nothing else runs, and much more on a busy machine
STARTING = 300

SETTINGS = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{port}]
public addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = {own}/$name.keyring
run dir = {own}/run
admin socket = {own}/run/$name.$pid.asok
log file = {own}/log/$name.log
pid file = {own}/run/$name.pid
crash dir = {own}/log
osd crush chooseleaf type = 0
# One that has no peers, and was frozen for longer than some of this, would not serve again.
osd heartbeat grace = 600
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon allow pool delete = true
mon warn on pool no redundancy = false
mon data avail crit = 1
mon data avail warn = 2
rbd default features = 61
[mon]
mon data = {own}/mon
mon max pg per osd = 5000
# What is decided by one alone need not be waited for.
paxos propose interval = 0.05
paxos min wait = 0.02
# How full pools are is told every second. Its modules, of which that needs none, take a minute.
[mgr]
mgr data = {own}/mgr
mgr initial modules =
mgr module path = {own}/mgr
mgr tick period = 1
mgr stats period = 1
[osd]
osd data = {own}/osd
osd objectstore = {objects}
memstore device bytes = {room}
bluestore block size = 10737418240
bluestore fsck on mount = false
osd memory target = 1073741824
osd max object name len = 460
osd max object namespace len = 64
# What is in memory is written down when it is stopped, and not when it is stopped fast.
osd fast shutdown = false
osd mon shutdown timeout = 0.5
# How long a client that is gone keeps what it had opened.
osd client watch timeout = 3
osd mon report interval = 1
osd op num shards = 2
"""


def missing() -> str | None:
    """Why there can be no cluster, None when there can be one."""
    if not all(find(program) for program in ('ceph-mon', 'ceph-osd', 'ceph-mgr', 'ceph-authtool')):
        return 'Ceph is not installed (apt-get install ceph-mon ceph-osd ceph-mgr ceph-common)'
    if not all(importlib.util.find_spec(name) for name in ('rados', 'rbd')):
        return 'the bindings of Ceph are not those of this Python (apt-get install python3-rbd)'
    return None


def require() -> None:
    """Skip the test, or fail it where peers are demanded, without Ceph."""
    reason = missing()
    if reason and os.environ.get(databases.REQUIRE) == '1':
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def cluster(room: int = ROOM) -> Cluster:
    """That of this test run; `room` is what it holds in memory, for whoever asks first."""
    require()
    told = databases.shared('ceph', lambda base: _start(base, room).told())
    return Cluster(pathlib.Path(told['directory']), told['fsid'])


@dataclasses.dataclass(frozen=True)
class Client:
    """A user of a cluster, and the files by which it finds its way there."""

    user: str
    path: pathlib.Path
    keyring: pathlib.Path

    @property
    def conf(self) -> str:
        """Path of its ``ceph.conf``."""
        return str(self.path)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A cluster that runs."""

    #: with ``ceph.conf`` and the keyring of the administrator
    directory: pathlib.Path
    fsid: str

    def told(self) -> dict[str, str]:
        return {'directory': str(self.directory), 'fsid': self.fsid}

    @property
    def conf(self) -> pathlib.Path:
        """The administrator's ``ceph.conf``."""
        return self.directory / 'ceph.conf'

    @contextlib.contextmanager
    def connected(self) -> Iterator[Any]:
        """A connection of the administrator: a ``rados.Rados``."""
        import rados

        settings = {
            'client_mount_timeout': '60',
            'rados_mon_op_timeout': '60',
            'librados_thread_count': '1',  # see store_drivers/ceph.py
        }
        with rados.Rados(conffile=str(self.conf), rados_id='admin', conf=settings) as connection:
            yield connection

    def command(self, prefix: str, **arguments: Any) -> str:
        """What a monitor says to a command of ``ceph``."""
        with self.connected() as connection:
            return _command(connection, prefix, **arguments)

    @contextlib.contextmanager
    def pool(self) -> Iterator[str]:
        """The name of a new pool for block devices, which is removed in the end."""
        name = f'test_{uuid.uuid4().hex[:12]}'
        with self.connected() as connection:
            _command(connection, 'osd pool create', pool=name, pg_num=4, pgp_num=4)
            _command(connection, 'osd pool application enable', pool=name, app='rbd')
            with connection.open_ioctx(name) as pool:
                # It answers when its parts have been placed.
                pool.write_full('first', b'')
                pool.remove_object('first')
        yield name
        self.command('osd pool delete', pool=name, pool2=name, yes_i_really_really_mean_it=True)

    def client(self, directory: pathlib.Path, pool: str) -> Client:
        """A new user who may do in a pool what an image service does, and nothing elsewhere."""
        user = f'test{uuid.uuid4().hex[:12]}'
        directory.mkdir(parents=True, exist_ok=True)
        client = Client(user, directory / 'ceph.conf', directory / f'ceph.client.{user}.keyring')
        self.allow(client, pool)
        client.path.write_text(
            f'[global]\nfsid = {self.fsid}\n{self._monitors()}\n'
            f'keyring = {directory}/ceph.$name.keyring\nlog file = {directory}/client.log\n'
        )
        return client

    def allow(self, client: Client, *pools: str, profile: str = 'profile rbd') -> None:
        """Give a client these pools, and no others; a new key, if it had none."""
        osd = ', '.join(f'{profile} pool={pool}' for pool in pools)
        self.user(client.user, client.keyring, mon='profile rbd', osd=osd)

    def revoke(self, client: Client) -> None:
        """There is no such user any more."""
        self.command('auth del', entity=f'client.{client.user}')

    def user(self, user: str, keyring: pathlib.Path, **caps: str) -> None:
        """Give ``client.USER`` exactly these capabilities, and write its key."""
        entity = f'client.{user}'
        granted = [word for pair in caps.items() for word in pair]
        with self.connected() as connection:
            _command(connection, 'auth get-or-create', entity=entity)
            _command(connection, 'auth caps', entity=entity, caps=granted)
            keyring.write_text(_command(connection, 'auth get', entity=entity))

    def _monitors(self) -> str:
        (line,) = [x for x in self.conf.read_text().splitlines() if x.startswith('mon host')]
        return line


class Alone:
    """A cluster of a test's own, whose daemons ``mon`` and ``osd`` it may freeze and stop."""

    def __enter__(self) -> Alone:
        require()
        self._base = pathlib.Path(tempfile.mkdtemp(prefix='glance-lite-ceph-'))
        (self._base / 'owner').write_text(str(os.getpid()))
        self.cluster = _start(self._base)
        return self

    def __exit__(self, *error: object) -> None:
        for daemon in ('mgr', 'osd', 'mon'):
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                self.thaw(daemon)
            self.stop(daemon)
        shutil.rmtree(self._base, ignore_errors=True)

    def freeze(self, daemon: str) -> None:
        """It stops answering, and nobody is told: what a lost network looks like."""
        os.kill(self._pid(daemon), signal.SIGSTOP)

    def thaw(self, daemon: str) -> None:
        os.kill(self._pid(daemon), signal.SIGCONT)

    def stop(self, daemon: str) -> None:
        """It ends as it likes to; connections are closed and new ones refused."""
        (self._base / f'ceph-{daemon}.keep').unlink(missing_ok=True)
        with contextlib.suppress(ChildProcessError, FileNotFoundError):
            os.waitpid(int((self._base / f'ceph-{daemon}.pid').read_text()), 0)

    def start(self, daemon: str) -> None:
        """It is there again, with all that it had."""
        _DAEMONS[daemon](self._base, self.cluster)

    def _pid(self, daemon: str) -> int:
        return int((self.cluster.directory / 'run' / f'{_NAMES[daemon]}.pid').read_text())


# --- servers

#: names of daemons in files
_NAMES = {'mon': 'mon.a', 'osd': 'osd.0', 'mgr': 'mgr.x'}


def find(program: str) -> str | None:
    """The path of a program, None where it is not installed."""
    return shutil.which(program, path=os.environ.get('PATH', '') + ':/usr/sbin:/usr/bin')


def run(*command: str) -> str:
    """Run a program of Ceph; what it says."""
    line = [find(command[0]) or command[0], *command[1:]]
    done = subprocess.run(line, capture_output=True, text=True, cwd='/', timeout=STARTING)
    if done.returncode:
        raise RuntimeError(f'{" ".join(line)}: {done.stdout}{done.stderr}')
    return done.stdout


def _command(connection: Any, prefix: str, **arguments: Any) -> str:
    code, out, said = connection.mon_command(json.dumps({'prefix': prefix, **arguments}), b'')
    if code:
        raise RuntimeError(f'ceph {prefix}: {said} ({code})')
    return bytes(out).decode()


def _start(base: pathlib.Path, room: int = ROOM) -> Cluster:
    """Make a cluster below `base` and start it."""
    own = base / 'ceph'
    for part in ('mon', 'osd', 'mgr', 'run', 'log'):
        (own / part).mkdir(parents=True)
    made = Cluster(own, str(uuid.uuid4()))
    port = databases.free_port()
    values = {'own': own, 'fsid': made.fsid, 'port': port, 'objects': OBJECTS, 'room': room}
    made.conf.write_text(SETTINGS.format(**values))
    key, admin, monitors = own / 'mon.keyring', own / 'client.admin.keyring', own / 'monmap'
    run('ceph-authtool', '-C', str(key), '--gen-key', '-n', 'mon.', '--cap', 'mon', 'allow *')
    run(
        'ceph-authtool', '-C', str(admin), '--gen-key', '-n', 'client.admin',
        '--cap', 'mon', 'allow *', '--cap', 'osd', 'allow *', '--cap', 'mgr', 'allow *',
    )  # fmt: skip
    run('ceph-authtool', str(key), '--import-keyring', str(admin))
    run(
        'monmaptool', '--create', '--clobber', '--fsid', made.fsid,
        '--addv', 'a', f'[v2:127.0.0.1:{port}]', str(monitors),
    )  # fmt: skip
    run(
        'ceph-mon', '-c', str(made.conf), '--mkfs', '-i', 'a',
        '--monmap', str(monitors), '--keyring', str(key),
    )  # fmt: skip
    shutil.copy(key, own / 'mon' / 'keyring')
    _start_mon(base, made)
    own_id = str(uuid.uuid4())
    with made.connected() as connection:
        caps = ['mon', 'allow profile osd', 'osd', 'allow *']
        keyring = _command(connection, 'auth get-or-create', entity='osd.0', caps=caps)
        (own / 'osd.0.keyring').write_text(keyring)
        _command(connection, 'osd new', uuid=own_id, id=0)
    run('ceph-osd', '-c', str(made.conf), '-i', '0', '--mkfs', '--osd-uuid', own_id)
    _start_osd(base, made)
    _start_mgr(base, made)
    return made


def _start_mon(base: pathlib.Path, made: Cluster) -> None:
    command = [find('ceph-mon') or 'ceph-mon', '-c', str(made.conf), '-i', 'a', '-f']
    ready = functools.partial(_answers, made)
    databases.watch(base, 'ceph-mon', signal.SIGTERM, command, ready, None, STARTING)


def _answers(made: Cluster, _: dict[str, Any]) -> None:
    import rados

    hasty = {'client_mount_timeout': '2'}
    rados.Rados(conffile=str(made.conf), rados_id='admin', conf=hasty).connect()


def _start_osd(base: pathlib.Path, made: Cluster) -> None:
    command = [find('ceph-osd') or 'ceph-osd', '-c', str(made.conf), '-i', '0', '-f']
    began = json.loads(made.command('osd dump', format='json'))['osds'][0]['up_from']

    def ready(_: dict[str, Any]) -> None:
        told = json.loads(made.command('osd dump', format='json'))['osds'][0]
        # It is new, or it is one that was up before and has come back.
        assert told['up'] and told['up_from'] > began

    databases.watch(base, 'ceph-osd', signal.SIGTERM, command, ready, None, STARTING)


def _start_mgr(base: pathlib.Path, made: Cluster) -> None:
    caps = ['mon', 'allow profile mgr', 'osd', 'allow *']
    with made.connected() as connection:
        keyring = _command(connection, 'auth get-or-create', entity='mgr.x', caps=caps)
    (made.directory / 'mgr.x.keyring').write_text(keyring)
    command = [find('ceph-mgr') or 'ceph-mgr', '-c', str(made.conf), '-i', 'x', '-f']

    def ready(_: dict[str, Any]) -> None:
        assert json.loads(made.command('df', format='json'))['stats']['total_bytes']

    databases.watch(base, 'ceph-mgr', signal.SIGTERM, command, ready, None, STARTING)


#: what starts them
_DAEMONS = {'mon': _start_mon, 'osd': _start_osd}
