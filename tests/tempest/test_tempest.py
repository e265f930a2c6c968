# SPDX-License-Identifier: Apache-2.0
"""tempest's tests of the Image service, on glance-lite-api behind a real Keystone."""

from __future__ import annotations

import collections
import contextlib
import functools
import http.server
import json
import os
import pathlib
import random
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

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
http_image = {image}
[image-feature-enabled]
image_format_enforcement = false
manage_locations = true
http_store_enabled = true
do_secure_hash = {hashes}
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
def image_on_the_web(directory: pathlib.Path) -> Iterator[str]:
    """An image that a web server gives out; its url."""
    directory.mkdir()
    (directory / 'image').write_bytes(random.Random(5).randbytes(300_000))
    handler = functools.partial(Quiet, directory=str(directory))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{server.server_address[1]}/image'
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


SEVERAL_STORES = processes.TWO_STORES.replace('cheap:file', 'cheap:file,web:http')

ONE_STORE = """
[glance_store]
stores = file,http
default_store = file
filesystem_store_datadir = {directory}/images
"""


def on_a_service(
    directory: pathlib.Path,
    choice: dict[str, list[str]],
    hashes: bool = True,
    stores: str = SEVERAL_STORES,
) -> Results:
    """What comes of a run on a service of its own."""
    python()
    databases.require('postgresql')
    region = keystone.cloud().region()
    switches = (
        f'show_multiple_locations = true\nshow_image_direct_url = true\ndo_secure_hash = {hashes}\n'
    )
    authtoken = region.authtoken(memcached_servers=keystone.memcached())
    made = processes.settings(
        directory / 'glance',
        database=databases.create('postgresql'),
        flavor='keystone',
        default=switches,
        stores=stores,
        more=authtoken + FORMATS + FETCHING,
    )
    # Some tests use whatever resource type there is.
    made.manage('db', 'load_metadefs', '--path', str(processes.ROOT / 'etc' / 'metadefs'))
    with processes.api(made) as server, image_on_the_web(directory / 'web') as image:
        region.serves(server.url)
        settings = SETTINGS.format(
            directory=directory / 'tempest',
            password=keystone.PASSWORD,
            auth_url=region.cloud.url,
            region=region.name,
            image=image,
            hashes=hashes,
        )
        results = run(directory / 'tempest', settings, choice)
        assert 'Traceback' not in server.text()
    return results


def test_tempest(tmp_path, capsys):
    unwanted = [*left_out.LEFT_OUT, *left_out.WITHOUT_HASHES, *left_out.ONE_STORE]
    results = on_a_service(tmp_path, {'only': [], 'not': unwanted})
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
    passes(tmp_path, left_out.WITHOUT_HASHES, hashes=False)


def test_tempest_with_one_store(tmp_path):
    passes(tmp_path, left_out.ONE_STORE, stores=ONE_STORE)


def passes(directory: pathlib.Path, names: tuple[str, ...], **service: Any) -> None:
    """These tests, and no others."""
    results = on_a_service(directory, {'only': list(names), 'not': []}, **service)
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
