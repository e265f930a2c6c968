# SPDX-License-Identifier: Apache-2.0
"""The real servers behind the stores that are measured, and what both services are told of them.

Each store is set up as an operator would, with the defaults that the service has of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
import pathlib
from collections.abc import Callable, Iterable

from benchmarks import servers
from tests.backends import ceph, databases, keystone, radosgw, swift

MIB = 1024 * 1024
#: bytes that Ceph keeps in memory: a sample of each of three stores, and four uploads
ROOM = 8

Settings = dict[str, str]

REFERENCE = """
[ref1]
auth_address = {address}
user = {user}
key = {key}
user_domain_id = default
project_domain_id = default
"""


@dataclasses.dataclass(frozen=True)
class Backends:
    """What runs, by the id of the store that is in it."""

    #: type and options of each store
    stores: dict[str, tuple[str, Settings]]
    #: removes what objects that are gone have left behind
    sweep: Callable[[], object] = lambda: None

    def settings(self) -> str:
        """Configuration of these stores, of either service."""
        names = list(self.stores)
        kinds = ', '.join(f'{name}:{self.stores[name][0]}' for name in names)
        lines = [f'enabled_backends = {kinds}', '[glance_store]', f'default_backend = {names[0]}']
        for name, (_, options) in self.stores.items():
            lines += [f'[{name}]', *(f'{option} = {value}' for option, value in options.items())]
        return '\n'.join(lines) + '\n'

    def pids(self) -> list[int]:
        """Of all their processes."""
        base = os.environ[databases.DIRECTORY]
        found = []
        for path in glob.glob(f'{base}/*.pid'):
            if not path.endswith('/postgresql.pid'):
                found += servers.tree(int(pathlib.Path(path).read_text()))
        return found


def missing(store: str) -> str | None:
    """Why a store cannot be measured here, None when it can."""
    if store == 'file':
        return None
    if store == 'swift':
        home = os.environ.get(swift.HOME) or swift.ROOT / '.cache' / 'swift'
        there = (pathlib.Path(home) / 'bin' / 'swift-proxy-server').exists()
        return None if there else f'Swift is not installed in {swift.HOME} or .cache/swift'
    reason = ceph.missing()
    if reason is None and store in ('s3', 's3-http') and not ceph.find('radosgw'):
        return 'radosgw is not installed (apt-get install radosgw)'
    return reason


def start(
    names: Iterable[str], directory: pathlib.Path, size: int, stack: contextlib.ExitStack
) -> Backends:
    """Start what is behind these stores, with room for transfers of `size` bytes.

    All of it ends with the `stack`, and with `databases.session`.
    """
    wanted = set(names)
    stores: dict[str, tuple[str, Settings]] = {
        'file': ('file', {'filesystem_store_datadir': f'{directory}/images'})
    }
    sweep: Callable[[], object] = Backends({}).sweep
    if wanted & {'rbd', 's3', 's3-http'}:
        cluster = ceph.cluster(ROOM * size + 2048 * MIB)
        pool = stack.enter_context(cluster.pool())
        client = cluster.client(directory / 'ceph', pool)
        stores['rbd'] = ('rbd', {
            'rbd_store_pool': pool,
            'rbd_store_user': client.user,
            'rbd_store_ceph_conf': client.conf,
        })  # fmt: skip
    if wanted & {'s3', 's3-http'}:
        gateway = radosgw.gateway()
        user = stack.enter_context(gateway.user())
        for name, host, ca in (('s3', gateway.https, gateway.ca), ('s3-http', gateway.http, '')):
            stores[name] = ('s3', {
                's3_store_host': host,
                's3_store_access_key': user.access,
                's3_store_secret_key': user.secret,
                's3_store_bucket': f'images-{name}',
                's3_store_create_bucket_on_put': 'true',
                's3_store_cacert': ca,
            })  # fmt: skip

        def sweep() -> object:
            # It would remove them two hours later.
            return gateway.admin('gc', 'process', '--include-all')

    if 'swift' in wanted:
        stores['swift'] = ('swift', _swift(directory))
    return Backends({name: stores[name] for name in stores if name in {'file', *wanted}}, sweep)


def _swift(directory: pathlib.Path) -> Settings:
    """Behind a Keystone: the published driver knows no other tokens."""
    region = keystone.cloud().region()
    swift.serve(swift.swift('keystone'), region)
    account = region.user('images', roles=(swift.OPERATOR,))
    references = directory / 'swift.conf'
    references.write_text(
        REFERENCE.format(
            address=region.cloud.url,
            user=f'{account.project}:{account.name}',
            key=keystone.PASSWORD,
        )
    )
    return {
        'swift_store_config_file': str(references),
        'default_swift_reference': 'ref1',
        'swift_store_region': region.name,
        'swift_store_container': 'benchmark',
        'swift_store_create_container_on_put': 'true',
    }


def lacking(names: Iterable[str], size: int) -> str | None:
    """Why there is no room for these stores."""
    if not {'rbd', 's3', 's3-http'} & set(names):
        return None
    for line in pathlib.Path('/proc/meminfo').read_text().splitlines():
        if line.startswith('MemAvailable:') and int(line.split()[1]) * 1024 < ROOM * size:
            return f'there is less memory than Ceph needs for {ROOM} images'
    return None
