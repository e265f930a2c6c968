# SPDX-License-Identifier: Apache-2.0
"""A real S3: Ceph's object gateway, on the shared cluster of `tests.backends.ceph`.

HTTP, and HTTPS with an authority of its own. Each test has users of its own::

    gateway = radosgw.gateway()
    with gateway.user() as user:
        s3 = boto3.client('s3', endpoint_url=gateway.http, region_name='us-east-1',
                          aws_access_key_id=user.access, aws_secret_access_key=user.secret)

`Alone` is a second gateway to the same data, which a test may freeze, stop and start again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
import secrets
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.backends import ceph, databases, web

SETTINGS = {
    'rgw enable usage log': 'false',
    'rgw enable ops log': 'false',
    'rgw thread pool size': '32',
    'rgw s3 auth use sts': 'false',
    'rgw dns name': 'localhost',
    'rgw rados pool pg num min': '1',
    'rgw data log num shards': '4',
    'rgw md log max shards': '4',
    'rgw usage max shards': '4',
    # A quota is looked at as it is, and a user that is gone is gone at once.
    'rgw bucket quota ttl': '0',
    'rgw cache expiry interval': '1',
}


def require() -> None:
    """Skip the test, or fail it where peers are demanded, without a gateway."""
    ceph.require()
    if ceph.find('radosgw') and shutil.which('openssl'):
        return
    reason = 'radosgw or openssl is not installed (apt-get install radosgw openssl)'
    if os.environ.get(databases.REQUIRE) == '1':
        pytest.fail(reason)
    pytest.skip(reason)


def gateway() -> Gateway:
    """That of this test run."""
    require()
    cluster = ceph.cluster()
    return _gateway(cluster, databases.shared('radosgw', functools.partial(_start, cluster)))


@dataclasses.dataclass(frozen=True)
class User:
    """Somebody with keys."""

    name: str
    access: str
    secret: str


@dataclasses.dataclass(frozen=True)
class Gateway:
    """A gateway that runs."""

    cluster: ceph.Cluster
    #: ``http://127.0.0.1:PORT`` and ``https://localhost:PORT``
    http: str
    https: str
    #: path of the certificate of the authority for `https`
    ca: str

    def admin(self, *arguments: str) -> str:
        """What ``radosgw-admin`` says."""
        return ceph.run('radosgw-admin', '-c', str(self.cluster.conf), *arguments)

    @contextlib.contextmanager
    def user(self) -> Iterator[User]:
        """A new user, who is removed in the end with all buckets and what is in them."""
        name = f'test{uuid.uuid4().hex[:12]}'
        user = User(name, secrets.token_hex(10).upper(), secrets.token_hex(20))
        uid = f'--uid={user.name}'
        self.admin(
            'user', 'create', uid, f'--display-name={user.name}',
            f'--access-key={user.access}', f'--secret-key={user.secret}',
        )  # fmt: skip
        yield user
        self.admin('user', 'rm', uid, '--purge-data')

    def revoke(self, user: User) -> None:
        """The keys of a user are good for nothing any more."""
        self.admin('key', 'rm', f'--uid={user.name}', f'--access-key={user.access}')

    def limit(self, user: User, size: int) -> None:
        """A user may store so many bytes."""
        scope = ('--quota-scope=user', f'--uid={user.name}')
        self.admin('quota', 'set', *scope, f'--max-size={size}')
        self.admin('quota', 'enable', *scope)


class Alone:
    """A gateway of a test's own to the data of the shared one."""

    def __enter__(self) -> Alone:
        require()
        self._base = pathlib.Path(tempfile.mkdtemp(prefix='glance-lite-rgw-'))
        (self._base / 'owner').write_text(str(os.getpid()))
        # The first gateway of all lays out the pools.
        self._cluster = gateway().cluster
        self._server: dict[str, Any] = {}
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.thaw()
        self.stop()
        shutil.rmtree(self._base, ignore_errors=True)

    @property
    def gateway(self) -> Gateway:
        return _gateway(self._cluster, self._server)

    def freeze(self) -> None:
        """It stops answering, and nobody is told: what a lost network looks like."""
        os.kill(self._server['server_pid'], signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._server['server_pid'], signal.SIGCONT)

    def stop(self) -> None:
        """It is gone in the middle of whatever it does; new connections are refused."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._server['server_pid'], signal.SIGKILL)
        (self._base / 'radosgw.keep').unlink(missing_ok=True)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(int((self._base / 'radosgw.pid').read_text()), 0)

    def start(self) -> None:
        """It is there again, on the same ports."""
        self._server = _start(self._cluster, self._base, self._server)


def _gateway(cluster: ceph.Cluster, server: dict[str, Any]) -> Gateway:
    http, https = (f'127.0.0.1:{server["port"]}', f'localhost:{server["secure"]}')
    return Gateway(cluster, f'http://{http}', f'https://{https}', server['ca'])


def _start(
    cluster: ceph.Cluster, base: pathlib.Path, before: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Start a gateway with its files in `base`; on the ports of `before`, if there was one."""
    own = base / 'radosgw'
    name = f'rgw.{base.name}'
    before = before or {'port': None, 'secure': databases.free_port()}
    if not own.exists():
        own.mkdir()
        web.make_certificates(own)
        cluster.user(name, own / 'keyring', mon='allow rw', osd='allow rwx')
    listen = (
        f'beast endpoint=127.0.0.1:@PORT@ ssl_endpoint=127.0.0.1:{before["secure"]} '
        f'ssl_certificate={own}/server.pem ssl_private_key={own}/server.key'
    )
    settings = {**SETTINGS, 'keyring': f'{own}/keyring', 'rgw data': f'{own}'}
    options = [f'--{key.replace(" ", "-")}={value}' for key, value in settings.items()]
    command = [
        ceph.find('radosgw') or 'radosgw', '-c', str(cluster.conf), '-n', f'client.{name}', '-f',
        f'--rgw-frontends={listen}', *options,
    ]  # fmt: skip
    started = databases.watch(
        base, 'radosgw', signal.SIGTERM, command, _ready, before['port'], ceph.STARTING
    )
    return {**started, 'secure': before['secure'], 'ca': f'{own}/ca.pem'}


def _ready(server: dict[str, Any]) -> None:
    requests.get(f'http://127.0.0.1:{server["port"]}/', timeout=5).raise_for_status()
