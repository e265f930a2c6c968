# SPDX-License-Identifier: Apache-2.0
"""A real Swift: account, container and object servers, and proxies to them, one set for a test run.

The proxy `swift('tempauth')` knows the users of `TEMPAUTH` (auth v1), `swift('keystone')` those of
`tests.backends.keystone`. Tests share the accounts of tempauth, and have containers of their own::

    server = swift.swift('tempauth')
    requests.get(server.auth_url, headers={'X-Auth-User': 'test:tester', 'X-Auth-Key': ...})

`Alone` is a proxy to the same storage which a test may freeze, stop and start again.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import getpass
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
from typing import Any

import requests

from tests.backends import databases, keystone, web

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: the virtual environment that has Swift
HOME = 'GLANCE_LITE_SWIFT'
#: name -> key of the users of tempauth, who may do everything in their account
TEMPAUTH = {'test:tester': 'testing@with:signs', 'other:tester': 'testing2'}
ADMIN, ADMIN_KEY = 'admin:admin', 'admin-of-all'
#: seconds until a server must be there
STARTING = 60
#: the user of Keystone with whom the proxy asks about tokens
SERVICE_USER = 'swift'
#: roles of Keystone: may do everything in the account of the project, and in all accounts
OPERATOR, RESELLER = 'operator', 'reseller'

HASHING = """
[swift-hash]
swift_hash_path_prefix = before
swift_hash_path_suffix = after
[storage-policy:0]
name = gold
default = yes
"""

STORAGE = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {own}
devices = {own}/devices
mount_check = false
disable_fallocate = true
log_address = /dev/null
log_level = WARNING
[pipeline:main]
pipeline = healthcheck {kind}-server
[filter:healthcheck]
use = egg:swift#healthcheck
[app:{kind}-server]
use = egg:swift#{kind}
"""

PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
{tls}
workers = 0
user = {user}
swift_dir = {storage}
log_address = /dev/null
log_level = WARNING
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk {auth} copy
    container-quotas account-quotas slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = {memcached}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:copy]
use = egg:swift#copy
[filter:container-quotas]
use = egg:swift#container_quotas
[filter:account-quotas]
use = egg:swift#account_quotas
[filter:slo]
use = egg:swift#slo
min_segment_size = 1
[filter:dlo]
use = egg:swift#dlo
# By default one segment a second after the tenth, and those of the tests are small.
rate_limit_after_segment = 100000
[filter:tempauth]
use = egg:swift#tempauth
token_life = {token_life}
user_admin_admin = {admin_key} .admin .reseller_admin
{users}
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
project_domain_id = default
user_domain_id = default
project_name = service
username = {service_user}
password = {password}
# The other regions are those of tests, whose Keystone may be away.
region_name = RegionOne
interface = public
delay_auth_decision = true
token_cache_time = -1
include_service_catalog = False
service_token_roles_required = true
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = {operator}
reseller_admin_role = {reseller}
"""

#: Run by Swift's own Python. Arguments: a directory and the ports of the three storage servers.
RINGS = """
import sys
from swift.common.ring import RingBuilder
own, *ports = sys.argv[1:]
for kind, port in zip(('account', 'container', 'object'), ports):
    builder = RingBuilder(4, 1, 0)
    builder.add_dev({'id': 0, 'region': 1, 'zone': 1, 'ip': '127.0.0.1', 'port': int(port),
                     'device': 'd1', 'weight': 1, 'replication_ip': '127.0.0.1',
                     'replication_port': int(port)})
    builder.rebalance()
    builder.get_ring().save(f'{own}/{kind}.ring.gz')
"""


def home() -> pathlib.Path:
    """The virtual environment of Swift; skips, or fails where peers are demanded."""
    path = pathlib.Path(os.environ.get(HOME) or ROOT / '.cache' / 'swift')
    there = (path / 'bin' / 'swift-proxy-server').exists()
    keystone.require(None if there else f'Swift is not installed in {HOME} or .cache/swift')
    return path


def swift(mode: str) -> Swift:
    """The proxy of this test run for 'tempauth' or 'keystone'."""
    start = functools.partial(_start_proxy, mode=mode, **_needed(mode))
    return Swift(mode, **databases.shared(f'swift-{mode}', start))


def _needed(mode: str) -> dict[str, Any]:
    """What the proxies of a mode need; started when nobody did yet."""
    home()
    memcached = keystone.memcached()
    cloud = keystone.cloud() if mode == 'keystone' else None
    if cloud is not None:
        databases.shared('swift-users', lambda base: _lay_out(cloud))
    storage = databases.shared('swift-storage', _start_storage)
    return {'storage': storage['own'], 'memcached': memcached, 'keystone_url': cloud and cloud.url}


@dataclasses.dataclass(frozen=True)
class Swift:
    """A proxy that runs."""

    mode: str
    port: int
    server_pid: int
    #: ``host:port`` of its memcached, which holds the tokens of tempauth
    memcached: str
    #: directory of its files; the authority of its certificate is there, if it has one
    own: str
    scheme: str

    @property
    def url(self) -> str:
        host = 'localhost' if self.scheme == 'https' else '127.0.0.1'
        return f'{self.scheme}://{host}:{self.port}'

    @property
    def auth_url(self) -> str:
        """Where tempauth gives tokens."""
        return f'{self.url}/auth/v1.0'

    @property
    def ca(self) -> str:
        return f'{self.own}/ca.pem'

    def forget_tokens(self) -> None:
        """No token of tempauth that was given so far is good for anything any more."""
        host, _, port = self.memcached.partition(':')
        with socket.create_connection((host, int(port)), 10) as connection:
            connection.sendall(b'flush_all\r\n')
            assert connection.recv(10) == b'OK\r\n'

    def admin(self, method: str, path: str, **headers: str) -> requests.Response:
        """What an administrator of all accounts of tempauth asks, for example about quotas."""
        known = {'X-Auth-User': ADMIN, 'X-Auth-Key': ADMIN_KEY}
        token = requests.get(self.auth_url, headers=known, timeout=30).headers['X-Auth-Token']
        named = {name.replace('_', '-'): value for name, value in headers.items()}
        answer = requests.request(
            method, f'{self.url}/v1/{path}', headers={'X-Auth-Token': token, **named}, timeout=60
        )
        answer.raise_for_status()
        return answer


class Alone:
    """A proxy of a test's own to the shared storage, with users of tempauth and its own memory."""

    def __init__(self, tls: bool = False, token_life: int = 86400) -> None:
        """`token_life` in seconds."""
        self._options: dict[str, Any] = {'tls': tls, 'token_life': token_life}

    def __enter__(self) -> Alone:
        self._needed = _needed('tempauth')
        self._base = pathlib.Path(tempfile.mkdtemp(prefix='glance-lite-swift-'))
        self._base.chmod(0o755)
        (self._base / 'owner').write_text(str(os.getpid()))
        memory = keystone.start_memcached(self._base)
        self._needed['memcached'] = f'127.0.0.1:{memory["port"]}'
        self.server = Swift('tempauth', 0, 0, '', '', 'http')
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.thaw()
        self.stop()
        _end(self._base, 'memcached')
        shutil.rmtree(self._base, ignore_errors=True)

    def freeze(self) -> None:
        """It stops answering, and nobody is told: what a lost network looks like."""
        os.kill(self.server.server_pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.server.server_pid, signal.SIGCONT)

    def stop(self) -> None:
        """It is gone in the middle of whatever it does; new connections are refused."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.server.server_pid, signal.SIGKILL)
        _end(self._base, 'swift-tempauth')

    def start(self) -> None:
        """It is there again, on the same port."""
        port = self.server.port or None
        found = _start_proxy(self._base, 'tempauth', **self._needed, **self._options, port=port)
        self.server = Swift('tempauth', **found)


def _end(base: pathlib.Path, name: str) -> None:
    (base / f'{name}.keep').unlink(missing_ok=True)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(int((base / f'{name}.pid').read_text()), 0)


# --- servers


def _start_storage(base: pathlib.Path) -> dict[str, Any]:
    own = base / 'swift'
    (own / 'devices' / 'd1').mkdir(parents=True)
    (own / 'swift.conf').write_text(HASHING)
    kinds = ('account', 'container', 'object')

    def start(kind: str) -> int:
        # The ports go into the rings, so they are chosen first.
        values = {'port': ports[kind], 'user': getpass.getuser(), 'own': own, 'kind': kind}
        return _serve(base, own, f'swift-{kind}', kind, STORAGE.format(**values), ports[kind])

    for attempt in range(3):
        ports = {kind: databases.free_port() for kind in kinds}
        rings = [home() / 'bin' / 'python', '-c', RINGS, own, *map(str, ports.values())]
        subprocess.run(rings, check=True, capture_output=True)
        try:
            with concurrent.futures.ThreadPoolExecutor() as pool:
                list(pool.map(start, kinds))
        except RuntimeError:
            if attempt == 2:
                raise
            continue
        break
    return {'own': str(own)}


def _start_proxy(
    base: pathlib.Path,
    mode: str,
    storage: str,
    memcached: str,
    keystone_url: str | None,
    tls: bool = False,
    token_life: int = 86400,
    port: int | None = None,
) -> dict[str, Any]:
    own = base / f'proxy-{mode}'
    if not own.exists():
        own.mkdir()
        web.make_certificates(own)
    users = [f'user_{name.replace(":", "_")} = {key} .admin' for name, key in TEMPAUTH.items()]
    port = port or databases.free_port()
    settings = PROXY.format(
        port=port,
        tls=f'cert_file = {own}/server.pem\nkey_file = {own}/server.key' if tls else '',
        user=getpass.getuser(),
        storage=storage,
        auth='tempauth' if mode == 'tempauth' else 'authtoken keystoneauth',
        memcached=memcached,
        token_life=token_life,
        admin_key=ADMIN_KEY,
        users='\n'.join(users),
        keystone=keystone_url,
        service_user=SERVICE_USER,
        password=keystone.PASSWORD,
        operator=OPERATOR,
        reseller=RESELLER,
    )
    started = _serve(base, own, f'swift-{mode}', 'proxy', settings, port)
    scheme = 'https' if tls else 'http'
    return {**started, 'memcached': memcached, 'own': str(own), 'scheme': scheme}


def _serve(
    base: pathlib.Path, own: pathlib.Path, name: str, kind: str, settings: str, port: int
) -> dict[str, Any]:
    """Run one server; `name` is that of its log and what stops it."""
    file = own / f'{kind}.conf'
    file.write_text(settings)
    command = [str(home() / 'bin' / f'swift-{kind}-server'), str(file)]

    def ready(server: dict[str, Any]) -> None:
        scheme = 'https' if 'cert_file' in settings else 'http'
        url = f'{scheme}://localhost:{port}/healthcheck'
        requests.get(url, timeout=5, verify=str(own / 'ca.pem')).raise_for_status()

    return databases.watch(base, name, signal.SIGTERM, command, ready, port, STARTING)


def _lay_out(cloud: keystone.Cloud) -> dict[str, Any]:
    """The service of the catalog, the user of the proxy and the roles that it looks at."""
    identity = cloud.admin.identity
    service = identity.find_project('service')
    user = identity.create_user(name=SERVICE_USER, password=keystone.PASSWORD, domain_id='default')
    identity.assign_project_role_to_user(service.id, user.id, cloud.roles['service'])
    role = identity.create_role(name=RESELLER)
    made = identity.create_service(name='swift', type='object-store')
    return {'service': made.id, 'reseller': role.id}


def serve(server: Swift, region: keystone.Region) -> None:
    """Put a proxy of the mode keystone into the catalog of a region."""
    cloud = region.cloud
    service = databases.shared('swift-users', lambda base: _lay_out(cloud))['service']
    region.add(service, f'{server.url}/v1/AUTH_$(project_id)s')


def reseller(cloud: keystone.Cloud, account: keystone.Account) -> None:
    """Let a user do everything in the accounts of all projects."""
    role = databases.shared('swift-users', lambda base: _lay_out(cloud))['reseller']
    cloud.admin.identity.assign_project_role_to_user(account.project_id, account.user_id, role)
