# SPDX-License-Identifier: Apache-2.0
"""tempest's tests of the Image service, on glance-lite-api behind a real Keystone, on two nodes."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import http.server
import json
import os
import pathlib
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator

from tests.backends import databases, keystone
from tests.servers import processes
from tests.tempest import left_out

#: the virtual environment that has tempest
HOME = 'GLANCE_LITE_TEMPEST'
RUN = pathlib.Path(__file__).with_name('run.py')

SETTINGS = """
[DEFAULT]
log_dir = {directory}
[auth]
use_dynamic_credentials = true
create_isolated_networks = false
tempest_roles = member
admin_username = admin
admin_password = {password}
admin_project_name = admin
admin_domain_name = Default
default_credentials_domain_name = Default
[identity]
auth_version = v3
uri_v3 = {auth_url}
region = {region}
[service_available]
glance = true
cinder = false
neutron = false
nova = false
swift = false
[image]
http_image = {web}/image
http_qcow2_image = {web}/qcow2
{image}
[image-feature-enabled]
image_format_enforcement = false
manage_locations = true
http_store_enabled = true
do_secure_hash = {hashes}
{features}
[oslo_concurrency]
lock_path = {directory}/locks
"""

#: id, outcome and reason of each test
Results = list[tuple[str, str, str]]

#: The web servers of the tests are on this machine, on ports that nobody chooses.
FETCHING = """
[fetching]
allowed_networks = 0.0.0.0/0
[import_filtering_opts]
allowed_ports = []
"""

#: What tempest says of the service in its own settings must be so.
FORMATS = """
[image_format]
require_image_format_match = false
"""


def python() -> pathlib.Path:
    """tempest's Python; skips, or fails where peers are demanded."""
    home = pathlib.Path(os.environ.get(HOME) or processes.ROOT / '.cache' / 'tempest')
    program = home / 'bin' / 'python'
    processes.required(str(home / 'bin' / 'tempest'), f'tempest ({HOME} or .cache/tempest)')
    return program


@contextlib.contextmanager
def images_on_the_web(directory: pathlib.Path) -> Iterator[str]:
    """Images that a web server gives out, ``image`` and ``qcow2``; its url."""
    directory.mkdir()
    (directory / 'image').write_bytes(random.Random(5).randbytes(300_000))
    qemu = processes.required(shutil.which('qemu-img'), 'qemu-img')
    command = [qemu, 'convert', '-O', 'qcow2', directory / 'image', directory / 'qcow2']
    subprocess.run(command, check=True)
    handler = functools.partial(Quiet, directory=str(directory))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{server.server_address[1]}'
    finally:
        server.shutdown()
        server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


def run(directory: pathlib.Path, settings: str, choice: dict[str, list[str]]) -> Results:
    """Run tempest.api.image; of `choice`, see run.py."""
    directory.mkdir()
    (directory / 'tempest.conf').write_text(settings)
    (directory / 'choice').write_text(json.dumps(choice))
    results = directory / 'results'
    done = subprocess.run(
        [python(), RUN, directory / 'choice', results],
        env=processes.environment(TEMPEST_CONFIG_DIR=str(directory)),
        cwd=directory,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [tuple(json.loads(line)) for line in results.read_text().splitlines()]


ONE_STORE = """
[glance_store]
stores = file,http
default_store = file
filesystem_store_datadir = {directory}/images
"""

SEVERAL_STORES = processes.TWO_STORES.replace('cheap:file', 'cheap:file,web:http')

#: Of two nodes that share their stores. tempest takes stores for sorted by their names, and by
#: their weights: here these are the same.
SHARED_STORES = """
enabled_backends = fast:file,large:file,slow:file,web:http
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {shared}/fast
weight = 300
[large]
filesystem_store_datadir = {shared}/large
weight = 200
[slow]
filesystem_store_datadir = {shared}/slow
weight = 100
[web]
store_description = web servers
[os_glance_staging_store]
filesystem_store_datadir = {{directory}}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {{directory}}/tasks
"""

SWITCHES = """
show_multiple_locations = true
show_image_direct_url = true
do_secure_hash = {hashes}
"""

#: What a node has of its own.
NODE = """
worker_self_reference_url = {url}
image_cache_dir = {directory}/cache
enabled_import_methods = [{methods}]
"""

#: What a region calls the Image service of the other node.
OTHER_NODE = 'image-remote'


@dataclasses.dataclass
class Service:
    """A running Image service in a region of its own."""

    region: keystone.Region
    servers: list[processes.Server]


def _needs() -> keystone.Region:
    python()
    databases.require('postgresql')
    return keystone.cloud().region()


@contextlib.contextmanager
def one_node(
    directory: pathlib.Path, hashes: bool = True, stores: str = SEVERAL_STORES
) -> Iterator[Service]:
    """A service on one host, without import."""
    region = _needs()
    made = processes.settings(
        directory / 'glance',
        database=databases.create('postgresql'),
        flavor='keystone',
        default=SWITCHES.format(hashes=hashes),
        stores=stores,
        more=_behind(region),
    )
    with processes.api(made) as server:
        region.serves(server.url)
        yield Service(region, [server])


def _behind(region: keystone.Region) -> str:
    return region.authtoken(memcached_servers=keystone.memcached()) + FORMATS + FETCHING


@contextlib.contextmanager
def two_nodes(directory: pathlib.Path) -> Iterator[Service]:
    """A service on two hosts, as it were: with one database and one set of stores.

    Each has a staging directory and a cache of its own, and a url at which the other one finds it.
    """
    region = _needs()
    database = databases.create('postgresql')
    servers = []
    with contextlib.ExitStack() as stack:
        for name in ('first', 'second'):
            port = processes.free_port()
            node = NODE.format(
                url=f'http://127.0.0.1:{port}',
                directory=directory / name,
                methods=','.join(left_out.METHODS),
            )
            made = processes.settings(
                directory / name,
                database=database,
                flavor='keystone+cachemanagement',
                default=SWITCHES.format(hashes=True) + node,
                stores=SHARED_STORES.format(shared=directory / 'shared'),
                more=_behind(region),
                sync=not servers,
            )
            if not servers:
                # Some tests use whatever resource type there is.
                metadefs = processes.ROOT / 'etc' / 'metadefs'
                made.manage('db', 'load_metadefs', '--path', str(metadefs))
            servers.append(stack.enter_context(processes.api(made, port=port)))
        region.serves(servers[0].url)
        region.add(region.cloud.service(OTHER_NODE), servers[1].url)
        yield Service(region, servers)


def on_a_service(
    directory: pathlib.Path,
    service: contextlib.AbstractContextManager[Service],
    choice: dict[str, list[str]],
    hashes: bool = True,
    image: str = '',
    features: str = '',
) -> Results:
    """What comes of a run on a service."""
    with service as running, images_on_the_web(directory / 'web') as web:
        settings = SETTINGS.format(
            directory=directory / 'tempest',
            password=keystone.PASSWORD,
            auth_url=running.region.cloud.url,
            region=running.region.name,
            web=web,
            hashes=hashes,
            image=image,
            features=features,
        )
        results = run(directory / 'tempest', settings, choice)
        for server in running.servers:
            assert 'Traceback' not in server.text()
    return results


def test_tempest(tmp_path, capsys):
    """All but what `left_out` names, on two nodes."""
    unwanted = [*left_out.LEFT_OUT, *left_out.WITHOUT_HASHES, *left_out.ONE_STORE]
    results = on_a_service(
        tmp_path,
        two_nodes(tmp_path),
        {'only': [], 'not': unwanted},
        image=f'alternate_image_endpoint = {OTHER_NODE}\nimage_caching_enabled = true\n',
        features='store_weight_enabled = true\n',
    )
    with capsys.disabled():
        print(report(results))
    wrong = [
        f'{test_id}: {outcome}\n{reason}'
        for test_id, outcome, reason in results
        if outcome not in ('ok', 'left out')
    ]
    assert not wrong, '\n\n'.join(wrong)
    ids = {test_id for test_id, _, _ in results}
    there = ids | {test_id.rpartition('.')[0] for test_id in ids}
    assert set(unwanted) <= there
    assert len(ids) > 100


def test_tempest_without_hashes(tmp_path):
    service = one_node(tmp_path, hashes=False)
    passes(tmp_path, left_out.WITHOUT_HASHES, service, hashes=False)


def test_tempest_with_one_store(tmp_path):
    passes(tmp_path, left_out.ONE_STORE, one_node(tmp_path, stores=ONE_STORE))


def passes(
    directory: pathlib.Path,
    names: tuple[str, ...],
    service: contextlib.AbstractContextManager[Service],
    hashes: bool = True,
) -> None:
    """These tests, and no others."""
    results = on_a_service(directory, service, {'only': list(names), 'not': []}, hashes)
    found = {test_id: (outcome, reason) for test_id, outcome, reason in results}
    for name in names:
        assert found[name][0] == 'ok', found[name][1]


def report(results: Results) -> str:
    """How many passed, and which were left out, with reasons."""
    count = collections.Counter(outcome for _, outcome, _ in results)
    lines = ['', f'tempest.api.image: {count["ok"]} passed of {len(results)}']
    for test_id, _, _ in sorted(results):
        reason = left_out.reason(test_id)
        if reason:
            lines.append(f'  left out: {test_id.removeprefix(left_out.V2)}: {reason}')
    return '\n'.join(lines)
