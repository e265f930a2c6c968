# SPDX-License-Identifier: Apache-2.0
"""A real Keystone 30 under uWSGI, and memcached: one of each per test run.

They are shared by the workers of pytest-xdist and ended by a watchdog, as the servers of
`tests.backends.databases` are. `cloud` gives the Keystone; each service that a test runs gets a
region of its own in it, so that discovery leads to this service and nowhere else::

    region = keystone.cloud().region()
    ...region.authtoken() goes into the configuration of the Image service...
    region.serves(image_url)
    alice = region.user('alice', roles=('member', 'reader'))
    alice.connect().image.images()
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import openstack
import pytest
import requests

from tests.backends import databases

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: the virtual environment that has Keystone
HOME = 'GLANCE_LITE_KEYSTONE'
PASSWORD = 'secret-of-a-test'

#: Written by Keystone's own libraries: the same token with another time of its end. Arguments: the
#: directory of keys; on standard input the token and the time, in seconds of the epoch.
MOVE_THE_END = """
import base64, pathlib, sys, msgpack
from cryptography.fernet import Fernet, MultiFernet
token, end = sys.stdin.read().split()
paths = sorted(pathlib.Path(sys.argv[1]).iterdir(), key=lambda path: -int(path.name))
keys = MultiFernet([Fernet(path.read_bytes()) for path in paths])
token += '=' * (-len(token) % 4)
payload = msgpack.unpackb(keys.decrypt(token.encode()), strict_map_key=False)
ends = [number for number, part in enumerate(payload) if isinstance(part, float)]
assert len(ends) == 1, payload
payload[ends[0]] = float(end)
issued = keys.extract_timestamp(token.encode())
packed = msgpack.packb(payload)
print(Fernet(paths[0].read_bytes()).encrypt_at_time(packed, issued).decode().rstrip('='))
"""


def require(reason: str | None) -> None:
    """Skip the test, or fail it where peers are demanded."""
    if reason and os.environ.get(databases.REQUIRE) == '1':
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def home() -> pathlib.Path:
    """The virtual environment of Keystone; skips, or fails where peers are demanded."""
    path = pathlib.Path(os.environ.get(HOME) or ROOT / '.cache' / 'keystone')
    there = (path / 'bin' / 'keystone-manage').exists()
    require(None if there else f'Keystone is not installed in {HOME} or .cache/keystone')
    return path


def memcached() -> str:
    """``host:port`` of a running memcached."""
    _memcached_program()
    return f'127.0.0.1:{databases.shared("memcached", start_memcached)["port"]}'


def _memcached_program() -> str:
    program = shutil.which('memcached', path=os.environ.get('PATH', '') + ':/usr/bin')
    require(None if program else 'memcached is not installed (apt-get install memcached)')
    return str(program)


def start_memcached(base: pathlib.Path) -> dict[str, Any]:
    """One more, under the watch of `base`."""
    own = ['-u', 'nobody'] if os.getuid() == 0 else []
    command = [_memcached_program(), *own, '-l', '127.0.0.1', '-p', '@PORT@', '-U', '0', '-m', '16']

    def ready(server: dict[str, Any]) -> None:
        socket.create_connection(('127.0.0.1', server['port']), 5).close()

    return databases.watch(base, 'memcached', signal.SIGTERM, command, ready, None)


# --- Keystone

CONFIGURATION = """
[DEFAULT]
use_stderr = true
public_endpoint = http://127.0.0.1:{port}/
[database]
connection = {database}
[token]
expiration = 3600
[fernet_tokens]
key_repository = {directory}/keys
[fernet_receipts]
key_repository = {directory}/keys
[credential]
key_repository = {directory}/keys
[cache]
enabled = true
backend = dogpile.cache.memory
[identity]
password_hash_rounds = 4
"""


def _start(base: pathlib.Path) -> dict[str, Any]:
    directory = base / 'keystone'
    keys = directory / 'keys'
    keys.mkdir(parents=True, mode=0o700)
    for number in ('0', '1'):
        (keys / number).write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
        (keys / number).chmod(0o600)
    port = databases.free_port()
    # With SQLite it answers 500 as soon as two write at once.
    database = databases.create('postgresql')
    (directory / 'keystone.conf').write_text(
        CONFIGURATION.format(port=port, directory=directory, database=database)
    )
    url = f'http://127.0.0.1:{port}/v3'
    _manage(directory, 'db_sync')
    _manage(
        directory, 'bootstrap',
        '--bootstrap-username', 'admin', '--bootstrap-password', PASSWORD,
        '--bootstrap-project-name', 'admin', '--bootstrap-role-name', 'admin',
        '--bootstrap-service-name', 'keystone', '--bootstrap-region-id', 'RegionOne',
        '--bootstrap-public-url', url,
    )  # fmt: skip
    command = [
        str(home() / 'bin' / 'uwsgi'),
        '--http-socket', '127.0.0.1:@PORT@',
        '--module', 'keystone.wsgi.api:application',
        '--env', f'OS_KEYSTONE_CONFIG_FILES={directory}/keystone.conf',
        '--env', f'OS_KEYSTONE_CONFIG_DIR={directory}',
        '--virtualenv', str(home()),
        '--py-sys-executable', str(home() / 'bin' / 'python'),
        # One process: without its cache a request takes half a second, and each has its own.
        '--processes', '1', '--threads', '4', '--enable-threads', '--master', '--die-on-term',
        '--lazy-apps', '--need-app', '--buffer-size', '65535', '--disable-logging',
        # It closes every connection, and does not say so by itself.
        '--add-header', 'Connection: close',
        # A client that a busy machine has stopped for 4 seconds would be sent away.
        '--socket-timeout', '60',
    ]  # fmt: skip

    def ready(server: dict[str, Any]) -> None:
        requests.get(f'http://127.0.0.1:{server["port"]}/v3', timeout=30).raise_for_status()

    server = databases.watch(base, 'keystone', signal.SIGTERM, command, ready, port)
    return {**server, 'keys': str(keys), **_lay_out(url)}


def _manage(directory: pathlib.Path, *arguments: str) -> None:
    command = [home() / 'bin' / 'keystone-manage', '--config-file', directory / 'keystone.conf']
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, cwd='/')
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def _lay_out(url: str) -> dict[str, Any]:
    """What the tests share: the services, the role ``service`` and the user of Image services."""
    cloud = Cloud(url, '', {}, '', '')
    identity = cloud.admin.identity
    project = identity.create_project(name='service', domain_id='default')
    user = identity.create_user(name='glance', password=PASSWORD, domain_id='default')
    roles = {role.name: role.id for role in identity.roles()}
    for name in ('service', 'operator'):
        if name not in roles:
            roles[name] = identity.create_role(name=name).id
    # What the documentation says is enough: for tokens, and for limits.
    identity.assign_project_role_to_user(project.id, user.id, roles['service'])
    path = f'{url}/system/users/{user.id}/roles/{roles["reader"]}'
    cloud.admin.session.put(path).raise_for_status()
    services = {service.type: service.id for service in identity.services()}
    image = identity.create_service(name='glance', type='image')
    return {
        'roles': roles,
        'identity_service': services['identity'],
        'image_service': image.id,
    }


def cloud() -> Cloud:
    """The running Keystone."""
    home()
    databases.require('postgresql')
    server = databases.shared('keystone', _start)
    url = f'http://127.0.0.1:{server["port"]}/v3'
    return Cloud(
        url, server['keys'], server['roles'], server['identity_service'], server['image_service']
    )


@dataclasses.dataclass(frozen=True)
class Account:
    """A user with a password in one project and one region."""

    auth_url: str
    region: str
    name: str
    user_id: str
    project: str
    project_id: str

    @property
    def settings(self) -> dict[str, str]:
        """As openstacksdk takes them."""
        return {
            'auth_url': self.auth_url,
            'username': self.name,
            'password': PASSWORD,
            'project_name': self.project,
            'user_domain_id': 'default',
            'project_domain_id': 'default',
            'region_name': self.region,
        }

    @property
    def environment(self) -> dict[str, str]:
        """As the command line clients take them."""
        variables = {f'OS_{name.upper()}': value for name, value in self.settings.items()}
        return {**variables, 'OS_IDENTITY_API_VERSION': '3'}

    def connect(self, **more: Any) -> openstack.connection.Connection:
        return openstack.connect(
            load_yaml_config=False, load_envvars=False, **self.settings, **more
        )

    def token(self) -> str:
        """A new token."""
        body = {
            'auth': {
                'identity': {
                    'methods': ['password'],
                    'password': {'user': {'id': self.user_id, 'password': PASSWORD}},
                },
                'scope': {'project': {'id': self.project_id}},
            }
        }
        answer = requests.post(f'{self.auth_url}/auth/tokens', json=body, timeout=60)
        answer.raise_for_status()
        return answer.headers['X-Subject-Token']


@dataclasses.dataclass(frozen=True)
class Cloud:
    """A Keystone, and how to make things in it."""

    url: str
    keys: str
    #: name -> id
    roles: dict[str, str]
    identity_service: str
    image_service: str

    @functools.cached_property
    def admin(self) -> openstack.connection.Connection:
        account = Account(self.url, 'RegionOne', 'admin', '', 'admin', '')
        return account.connect(identity_connect_retries=3)

    def region(self, identity_url: str | None = None) -> Region:
        """A new region, whose catalog leads to Keystone in the way that is given."""
        made = Region(self, 'region-' + uuid.uuid4().hex[:8])
        self.admin.identity.create_region(id=made.name)
        made.add(self.identity_service, identity_url or self.url)
        return made

    def service(self, kind: str) -> str:
        """Id of the service of this type, which is made if there is none."""
        for found in self.admin.identity.services(type=kind):
            return str(found.id)
        return str(self.admin.identity.create_service(name=kind, type=kind).id)

    def revoke(self, token: str) -> None:
        answer = self.admin.session.delete(
            f'{self.url}/auth/tokens', headers={'X-Subject-Token': token}
        )
        assert answer.status_code == 204

    def ending(self, token: str, end: float) -> str:
        """The token as it would be had it been issued to end at `end` (seconds of the epoch)."""
        made = subprocess.run(
            [home() / 'bin' / 'python', '-c', MOVE_THE_END, self.keys],
            input=f'{token} {end}', capture_output=True, text=True, check=True,
        )  # fmt: skip
        return made.stdout.strip()


@dataclasses.dataclass(frozen=True)
class Region:
    """The part of the catalog that one Image service is in."""

    cloud: Cloud
    name: str

    def add(self, service: str, url: str) -> str:
        """Id of the public one of the endpoints."""
        ids = [
            self.cloud.admin.identity.create_endpoint(
                service_id=service, interface=interface, region_id=self.name, url=url
            ).id
            for interface in ('public', 'internal', 'admin')
        ]
        return str(ids[0])

    def serves(self, url: str) -> str:
        """The Image service of this region is at `url`; id of its public endpoint."""
        return self.add(self.cloud.image_service, url)

    def register(self, **limits: int) -> None:
        """What each project may use in this region, unless it has limits of its own."""
        for name, limit in limits.items():
            self.cloud.admin.identity.create_registered_limit(
                service_id=self.cloud.image_service,
                region_id=self.name,
                resource_name=name,
                default_limit=limit,
            )

    def limit(self, project_id: str, **limits: int) -> None:
        """Limits of one project; those must be registered."""
        for name, limit in limits.items():
            self.cloud.admin.identity.create_limit(
                service_id=self.cloud.image_service,
                region_id=self.name,
                project_id=project_id,
                resource_name=name,
                resource_limit=limit,
            )

    def oslo_limit(self, endpoint_id: str, auth_url: str | None = None, **more: object) -> str:
        """``[oslo_limit]`` of the Image service."""
        options: dict[str, object] = {
            'auth_url': auth_url or self.cloud.url,
            'auth_type': 'password',
            'username': 'glance',
            'password': PASSWORD,
            'system_scope': 'all',
            'user_domain_id': 'default',
            'endpoint_id': endpoint_id,
            'region_name': self.name,
            **more,
        }
        lines = [f'{name} = {value}' for name, value in options.items()]
        return '\n'.join(['[oslo_limit]', *lines, ''])

    def project(self, name: str) -> tuple[str, str]:
        """A new project; its name, which `name` is the beginning of, and its id."""
        unique = f'{name}-{uuid.uuid4().hex[:8]}'
        made = self.cloud.admin.identity.create_project(name=unique, domain_id='default')
        return unique, made.id

    def user(
        self,
        name: str,
        roles: tuple[str, ...] = ('member', 'reader'),
        project: tuple[str, str] | None = None,
    ) -> Account:
        """A new user with roles in a project, which is made where none is given."""
        identity = self.cloud.admin.identity
        project_name, project_id = project or self.project('of-' + name)
        unique = f'{name}-{uuid.uuid4().hex[:8]}'
        made = identity.create_user(name=unique, password=PASSWORD, domain_id='default')
        for role in roles:
            identity.assign_project_role_to_user(project_id, made.id, self.cloud.roles[role])
        return Account(self.cloud.url, self.name, unique, made.id, project_name, project_id)

    def authtoken(self, auth_url: str | None = None, **more: object) -> str:
        """``[keystone_authtoken]`` of the Image service."""
        options: dict[str, object] = {
            'www_authenticate_uri': self.cloud.url,
            'auth_url': auth_url or self.cloud.url,
            'auth_type': 'password',
            'username': 'glance',
            'password': PASSWORD,
            'project_name': 'service',
            'user_domain_id': 'default',
            'project_domain_id': 'default',
            'region_name': self.name,
            **more,
        }
        lines = [f'{name} = {value}' for name, value in options.items()]
        return '\n'.join(['[keystone_authtoken]', *lines, ''])


# --- between


class Relay:
    """Stands between a service and Keystone: counts requests, and can be down or silent.

    The address stays the same whatever it does.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.split('//')[1].split('/')[0].partition(':')
        self._target = (host, int(port))
        self._mode = 'up'
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        #: first lines of requests
        self.requests: list[str] = []
        self._listen(0)

    @property
    def address(self) -> str:
        return f'http://127.0.0.1:{self._port}'

    @property
    def url(self) -> str:
        return f'{self.address}/v3'

    def validations(self) -> int:
        """How often Keystone was asked about a token."""
        return sum(line.startswith('GET /v3/auth/tokens') for line in self.requests)

    def up(self) -> None:
        if self._mode == 'down':
            self._listen(self._port)
        self._mode = 'up'

    def down(self) -> None:
        """Connections are refused."""
        self._mode = 'down'
        self._stop()

    def silent(self) -> None:
        """Connections are taken, and nothing is ever answered."""
        self.up()
        self._mode = 'silent'

    def broken(self) -> None:
        """Every answer is 500."""
        self.up()
        self._mode = 'broken'

    def close(self) -> None:
        self._stop()

    def _listen(self, port: int) -> None:
        self._listener = socket.create_server(('127.0.0.1', port), backlog=64)
        self._port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            while self._open:
                self._open.pop().close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            first = connection.recv(65536)
            self.requests.append(first.split(b'\r\n')[0].decode())
            if self._mode == 'silent':
                with self._lock:
                    self._open.append(connection)
                return
            if self._mode == 'broken':
                connection.sendall(
                    b'HTTP/1.1 500 Oops\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
                )
                connection.close()
                return
            target = socket.create_connection(self._target)
            target.sendall(first)
            back = threading.Thread(target=_copy, args=(target, connection), daemon=True)
            back.start()
            _copy(connection, target)
            back.join()
        connection.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Until the end of either."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            sink.sendall(chunk)
    for side in (source, sink):
        with contextlib.suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def relay(target: str) -> Iterator[Relay]:
    """A `Relay` in front of the Keystone at `target`."""
    made = Relay(target)
    try:
        yield made
    finally:
        made.close()


if __name__ == '__main__':
    # For a look at it by hand: starts a Keystone and says how to reach it, until it is interrupted.
    with databases.session():
        print(cloud().url, 'admin', PASSWORD, flush=True)
        sys.stdin.read()
