# SPDX-License-Identifier: Apache-2.0
"""Stores of somebody else's: a driver of our contract, and one written for glance_store."""

from __future__ import annotations

import pathlib
import re
import shutil

import pytest

from tests.plugins.environment import Environment
from tests.plugins.test_acme import distribution
from tests.servers import processes
from tests.servers.test_servers import MIB, Caller, noise

HERE = pathlib.Path(__file__).parent
ACME = HERE / 'acme-store'
VAULT = HERE / 'vault-store'

DATA = noise(3 * MIB + 5)

STORES = """
enabled_backends = attic:shelf,old:glance_store+vault
[glance_store]
default_backend = attic
[attic]
shelf_file = {directory}/shelf.sqlite
[old]
vault_directory = {directory}/cheap
vault_key = sesame
"""


@pytest.fixture(scope='module')
def installed(environment: Environment, tmp_path_factory) -> dict[str, pathlib.Path]:
    """The packages as their authors have them, installed."""
    found = {}
    for package in (ACME, VAULT):
        source = tmp_path_factory.mktemp('packages') / package.name
        shutil.copytree(package, source, ignore=shutil.ignore_patterns('build', '*.egg-info'))
        environment.install(source)
        found[package.name] = source
    return found


def served(installed, environment, directory):
    made = processes.settings(directory, stores=STORES, sync=False)
    done = environment.run(environment.command('manage'), '--config-file', made.file, 'db', 'sync')
    assert done.returncode == 0, done.stderr
    with processes.api(made, (environment.command('api'),), **environment.variables()) as server:
        yield server


@pytest.fixture(scope='module')
def server(installed, environment, tmp_path_factory):
    yield from served(installed, environment, tmp_path_factory.mktemp('service'))


@pytest.fixture
def new_server(installed, environment, tmp_path):
    """One that has stored nothing yet."""
    yield from served(installed, environment, tmp_path)


def put(server, image_id, store, data=DATA, status=204):
    alpha = Caller(server.url, 'alpha')
    headers = {'Content-Type': 'application/octet-stream', 'X-Image-Meta-Store': store}
    alpha('PUT', f'/images/{image_id}/file', status, data=data, headers=headers)


def test_its_own_tests_pass_where_it_is_installed(installed, environment):
    command = ('python', '-m', 'pytest', '-q', '-p', 'no:cacheprovider')
    done = environment.run(*command, cwd=installed['acme-store'])
    assert done.returncode == 0, done.stdout + done.stderr
    # The kit, and its own.
    assert int(re.search(r'(\d+) passed', done.stdout)[1]) > 30
    assert 'skipped' not in done.stdout


@pytest.mark.parametrize('store', ['attic', 'old'])
def test_images_are_kept_there(server, store):
    alpha = Caller(server.url, 'alpha')
    for data in (DATA, b'', iter([DATA[:MIB], DATA[MIB:]])):
        image_id = alpha.create()
        put(server, image_id, store, data)
        if data:
            alpha.check(image_id, DATA)
            headers = {'Range': f'bytes={MIB - 3}-{MIB + 3}'}
            part = alpha('GET', f'/images/{image_id}/file', 206, headers=headers)
            assert part.content == DATA[MIB - 3 : MIB + 4]
        assert alpha.show(image_id)['stores'] == store
        alpha('DELETE', f'/images/{image_id}', 204)
    assert server.files() == []


@pytest.mark.parametrize('store', ['attic', 'old'])
def test_nothing_stays_of_what_is_refused(new_server, store):
    """The driver that was written for glance_store does not clean up, and does not look first.

    Nor does it say what its urls look like before it has stored something: every worker has to
    know all the same.
    """
    alpha = Caller(new_server.url, 'alpha')
    for _ in range(4):
        image_id = alpha.create(disk_format='qcow2')
        put(new_server, image_id, store, status=415)
        assert alpha.show(image_id)['status'] == 'queued'
    assert new_server.files() == []


def test_the_vault_writes_over_nothing(new_server):
    alpha = Caller(new_server.url, 'alpha')
    for _ in range(4):
        image_id = alpha.create()
        left = new_server.settings.directory / 'cheap' / image_id
        left.write_bytes(b'of somebody')
        put(new_server, image_id, 'old')
        alpha.check(image_id, DATA)
        assert left.read_bytes() == b'of somebody'
        left.unlink()
        alpha('DELETE', f'/images/{image_id}', 204)
    assert new_server.files() == []


def test_they_are_checked(server, installed, environment):
    command = (environment.command('manage'), '--config-file', server.settings.file)
    done = environment.run(*command, 'store', 'check', '--write')
    assert done.returncode == 0, done.stdout
    assert 'Store old is well' in done.stdout and 'Store attic is well' in done.stdout


# --- what can be wrong is one sentence at start

MODULE = """
from glance_lite.store import StoreDriver
from store_drivers.memory import MemoryStore

class Newer(MemoryStore):
    requires_api = 2

class Lacking(MemoryStore):
    needs = 'pip install acme-tape[robot]'

    def start(self):
        import acme_robot_library

class Fails(MemoryStore):
    def start(self):
        raise RuntimeError('the key is sesame')

class Half(StoreDriver):
    schemes = ('half',)

class NoStore:
    pass
"""


@pytest.fixture(scope='module')
def broken(tmp_path_factory):
    """A directory with distributions that nobody should install."""
    site = tmp_path_factory.mktemp('broken')
    (site / 'acme_broken_store.py').write_text(MODULE)
    (site / 'acme_unfinished_store.py').write_text('import acme_library_that_is_not_there\n')
    classes = {'newer': 'Newer', 'lacking': 'Lacking', 'fails': 'Fails', 'none': 'NoStore',
               'twin': 'Fails', 'half': 'Half'}  # fmt: skip
    points = [f'{name} = acme_broken_store:{kind}' for name, kind in classes.items()]
    points.append('unfinished = acme_unfinished_store:Store')
    distribution(site, 'acme_broken_store', *points, group='glance_lite.stores')
    distribution(site, 'zenith', 'twin = acme_broken_store:Newer', group='glance_lite.stores')
    old = ('gone = acme_unfinished_store:Store', 'none = acme_broken_store:NoStore')
    distribution(site, 'ancient', *old, group='glance_store.drivers')
    return site


BACKENDS = '[DEFAULT] enabled_backends: '
#: Type of the store -> what is said of it.
SAID = {
    'nosuch': f'{BACKENDS}there is no plug-in nosuch in glance_lite.stores (known: ',
    'unfinished': f'{BACKENDS}unfinished (acme_unfinished_store:Store) cannot be loaded: '
    "ModuleNotFoundError: No module named 'acme_library_that_is_not_there'",
    'twin': f'{BACKENDS}twin is registered twice in glance_lite.stores, by ',
    'newer': f'{BACKENDS}newer was written for version 2 of the store contract; this is version 1',
    'none': f'{BACKENDS}none is not a store driver',
    'half': f'{BACKENDS}half cannot be made: TypeError: ',
    'lacking': '[one] the driver lacking lacks acme_robot_library; install it with: '
    'pip install acme-tape[robot]',
    'fails': '[one] the driver fails cannot be started: RuntimeError',
    'glance_store+nosuch': f'{BACKENDS}there is no driver nosuch in glance_store.drivers (known: ',
    'glance_store+gone': f'{BACKENDS}gone in glance_store.drivers (acme_unfinished_store:Store) '
    "cannot be loaded: ModuleNotFoundError: No module named 'acme_library_that_is_not_there'; "
    'install what it needs',
    'glance_store+none': f'{BACKENDS}none in glance_store.drivers does not say which urls are its '
    'own: AttributeError',
}


@pytest.mark.parametrize(('kind', 'said'), SAID.items(), ids=SAID)
def test_a_start_with_a_driver_that_is_wrong_is_refused(environment, broken, tmp_path, kind, said):
    stores = f'enabled_backends = one:{kind}\n[glance_store]\ndefault_backend = one\n[one]\n'
    assert refusal(environment, tmp_path, stores, PYTHONPATH=str(broken)).startswith(said)


def test_a_key_that_is_wrong_is_not_told(installed, environment, tmp_path):
    stores = STORES.replace('sesame', 'open-please').replace('attic:shelf,', '')
    stores = stores.replace('= attic', '= old').replace('[attic]', '').replace('shelf_file', '#')
    line = refusal(environment, tmp_path, stores)
    assert line.startswith('[old] vault: Store vault could not be configured correctly.')
    assert 'the key *** opens nothing' in line


def refusal(environment, directory, stores, **more):
    """What glance-lite-api says, and ends."""
    made = processes.settings(directory, stores=stores, sync=False)
    (directory / 'cheap').mkdir(exist_ok=True)
    done = environment.run(environment.command('api'), '--config-file', made.file, **more)
    assert done.returncode == 1, done.stdout + done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith('glance-lite-api: '), done.stderr
    assert 'Traceback' not in done.stderr + done.stdout
    return line.removeprefix('glance-lite-api: ').removeprefix(f'{made.file}: ')
