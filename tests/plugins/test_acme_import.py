# SPDX-License-Identifier: Apache-2.0
"""An import plug-in of somebody else's: installed, switched on by configuration, and at work."""

from __future__ import annotations

import pathlib
import re
import shutil

import pytest
import requests

from tests.plugins.test_acme import distribution
from tests.servers import processes

ACME = pathlib.Path(__file__).parent / 'acme-import'
FIELDS = {'disk_format': 'raw', 'container_format': 'bare'}

MODULE = """
from glance_lite.imports.plugin import ImportPlugin

class Fine(ImportPlugin):
    def apply(self, job, work):
        return None

class Twin(Fine):
    pass

class Newer(Fine):
    requires_api = 2

class NoPlugin:
    pass
"""


@pytest.fixture(scope='module')
def acme(environment, tmp_path_factory):
    """The package as its author has it, installed."""
    source = tmp_path_factory.mktemp('acme') / 'acme-import'
    shutil.copytree(ACME, source, ignore=shutil.ignore_patterns('build', '*.egg-info'))
    environment.install(source)
    return source


def settings(directory, plugins, more='', sync=True):
    text = (
        f'[os_glance_staging_store]\nfilesystem_store_datadir = {directory}/staging\n'
        f'[image_import_opts]\nimage_import_plugins = {plugins}\n{more}'
    )
    return processes.settings(directory, more=text, sync=sync)


@pytest.fixture(scope='module')
def server(acme, environment, tmp_path_factory):
    directory = tmp_path_factory.mktemp('service')
    (directory / 'signatures').write_text(f'evil {b"an evil sequence".hex()}\n')
    more = f'[acme_scan]\nsignatures = {directory}/signatures\n'
    made = settings(directory, '[acme_scan]', more)
    with processes.api(made, (environment.command('api'),), **environment.variables()) as server:
        yield server


def imported(server, data):
    """An image with this data, when its import is over."""
    who = processes.identity('alpha')
    image = requests.post(f'{server.url}/v2/images', json=FIELDS, headers=who, timeout=60).json()
    path = f'{server.url}/v2/images/{image["id"]}'
    octets = {**who, 'Content-Type': 'application/octet-stream'}
    assert requests.put(f'{path}/stage', data=data, headers=octets, timeout=60).status_code == 204
    body = {'method': {'name': 'glance-direct'}}
    answer = requests.post(f'{path}/import', json=body, headers=who, timeout=60)
    assert answer.status_code == 202, answer.text

    def over():
        return requests.get(path, headers=who, timeout=60).json()['status'] in ('active', 'queued')

    processes.until(over, 'the end of the import')
    return requests.get(path, headers=who, timeout=60).json()


def test_its_own_tests_pass_where_it_is_installed(acme, environment):
    done = environment.run('python', '-m', 'pytest', '-q', '-p', 'no:cacheprovider', cwd=acme)
    assert done.returncode == 0, done.stdout + done.stderr
    # Twice the kit, and its own.
    assert int(re.search(r'(\d+) passed', done.stdout)[1]) > 25
    assert 'skipped' not in done.stdout


def test_what_is_clean_is_imported(server):
    image = imported(server, b'an honest sequence' * 1000)
    assert (image['status'], image['acme_scanned']) == ('active', 'clean')


def test_what_is_found_is_refused(server):
    image = imported(server, b'an honest sequence' * 1000 + b'an evil sequence')
    assert image['status'] == 'queued' and 'acme_scanned' not in image
    assert 'The data has evil in it' in image['os_glance_failed_upload']


def test_the_sample_of_the_configuration_has_its_options(acme, environment, tmp_path):
    code = 'from oslo_config.generator import main; main()'
    out = tmp_path / 'sample'
    done = environment.run('python', '-c', code, '--namespace', 'acme_import', '--output-file', out)
    assert done.returncode == 0, done.stderr
    assert '\n[acme_scan]\n' in out.read_text() and '#signatures = <None>\n' in out.read_text()


#: Plug-in -> what is said of it.
SAID = {
    'acme_nothing': 'there is no plug-in acme_nothing in glance_lite.import_plugins (known: ',
    'unfinished': 'unfinished (acme_unfinished:Plugin) cannot be loaded: ModuleNotFoundError: '
    "No module named 'acme_library_that_is_not_there'",
    'twin': 'twin is registered twice in glance_lite.import_plugins, by acme_broken:Fine and '
    'acme_broken:Twin',
    'newer': 'newer was written for version 2 of the import contract; this is version 1',
    'none': 'none is not an import plug-in',
}


@pytest.mark.parametrize(('name', 'said'), SAID.items(), ids=SAID)
def test_a_start_with_a_plug_in_that_is_wrong_is_refused(environment, tmp_path, name, said):
    (tmp_path / 'acme_broken.py').write_text(MODULE)
    (tmp_path / 'acme_unfinished.py').write_text('import acme_library_that_is_not_there\n')
    classes = {'newer': 'Newer', 'twin': 'Fine', 'none': 'NoPlugin'}
    points = [f'{known} = acme_broken:{kind}' for known, kind in classes.items()]
    points.append('unfinished = acme_unfinished:Plugin')
    group = 'glance_lite.import_plugins'
    distribution(tmp_path, 'acme_broken', *points, group=group)
    distribution(tmp_path, 'zenith', 'twin = acme_broken:Twin', group=group)
    made = settings(tmp_path, f'[{name}]', sync=False)
    command = environment.command('api')
    done = environment.run(command, '--config-file', made.file, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    place = f'glance-lite-api: {made.file}: [image_import_opts] image_import_plugins: '
    assert line.startswith(place), line
    assert line.removeprefix(place).startswith(said), line
