# SPDX-License-Identifier: Apache-2.0
"""A layer of somebody else's: installed, switched on by configuration alone, and at work."""

from __future__ import annotations

import pathlib
import re
import shutil

import pytest
import requests

from tests.servers import processes

ACME = pathlib.Path(__file__).parent / 'acme-layer'

MODULE = """
from glance_lite.layer import Layer

class Fine(Layer):
    def delete_image(self, ctx, image_id):
        self.next.delete_image(ctx, image_id)

class Twin(Fine):
    pass

class Newer(Fine):
    requires_api = 2

class Wrong(Layer):
    def delete_image(self, ctx, image_id, force):
        self.next.delete_image(ctx, image_id)

class Function(Layer):
    def __init__(self, parts):
        self.limit = parts.conf.acme.limit

class Fails(Fine):
    def start(self):
        raise OSError('no licence server')

class NoLayer:
    pass
"""


@pytest.fixture(scope='module')
def acme(environment, tmp_path_factory):
    """The package as its author has it, installed."""
    source = tmp_path_factory.mktemp('acme') / 'acme-layer'
    shutil.copytree(ACME, source, ignore=shutil.ignore_patterns('build', '*.egg-info'))
    environment.install(source)
    return source


def settings(directory, layers, more='', sync=True):
    controller = f'[controller]\nlayers = {layers}\n{more}'
    return processes.settings(directory, more=controller, sync=sync)


@pytest.fixture(scope='module')
def made(acme, tmp_path_factory):
    layers = 'auth, property_protection, notifier, policy, acme_release, quota, location, db'
    exempt = '[acme_release]\nexempt_role = release_manager\n'
    return settings(tmp_path_factory.mktemp('service'), layers, exempt)


@pytest.fixture(scope='module')
def server(made, environment):
    program = (environment.command('api'),)
    with processes.api(made, program, **environment.variables()) as server:
        yield server


def as_admin(*roles):
    words = ','.join(('admin', 'member', 'reader', *roles))
    return {**processes.identity('operators'), 'X-Roles': words}


def ask(server, method, path, body=None, kind='application/json', roles=()):
    headers = {**as_admin(*roles), 'Content-Type': kind}
    return requests.request(method, server.url + path, json=body, headers=headers, timeout=60)


def patch(server, image_id, *steps, roles=()):
    kind = 'application/openstack-images-v2.1-json-patch'
    return ask(server, 'PATCH', f'/v2/images/{image_id}', list(steps), kind, roles)


PUBLISH = {'op': 'replace', 'path': '/visibility', 'value': 'public'}


def test_its_own_tests_pass_where_it_is_installed(acme, environment):
    done = environment.run('python', '-m', 'pytest', '-q', '-p', 'no:cacheprovider', cwd=acme)
    assert done.returncode == 0, done.stdout + done.stderr
    # Twice the kit, and its own.
    assert int(re.search(r'(\d+) passed', done.stdout)[1]) > 30
    assert 'skipped' not in done.stdout


def test_an_image_becomes_public_with_both_tags(server):
    answer = ask(server, 'POST', '/v2/images', {'visibility': 'public', 'tags': ['tested']})
    assert answer.status_code == 403
    assert 'A public image needs the tags licensed' in answer.text
    image_id = ask(server, 'POST', '/v2/images', {'tags': ['tested']}).json()['id']
    path = f'/v2/images/{image_id}'
    assert patch(server, image_id, PUBLISH).status_code == 403
    assert ask(server, 'GET', path).json()['visibility'] == 'shared'
    assert ask(server, 'PUT', f'{path}/tags/licensed').status_code == 204
    assert patch(server, image_id, PUBLISH).status_code == 200
    # And it stays what it has become.
    assert ask(server, 'DELETE', f'{path}/tags/tested').status_code == 403
    replaced = {'op': 'replace', 'path': '/tags', 'value': ['tested']}
    assert patch(server, image_id, replaced).status_code == 403
    assert sorted(ask(server, 'GET', path).json()['tags']) == ['licensed', 'tested']
    assert ask(server, 'DELETE', path).status_code == 204


def test_its_options_are_read_from_the_same_file(server):
    image_id = ask(server, 'POST', '/v2/images', {}).json()['id']
    assert patch(server, image_id, PUBLISH).status_code == 403
    assert patch(server, image_id, PUBLISH, roles=('release_manager',)).status_code == 200


def test_what_it_does_not_touch_goes_past_it(server):
    body = {'name': 'x', 'disk_format': 'raw', 'container_format': 'bare'}
    image_id = ask(server, 'POST', '/v2/images', body).json()['id']
    octets = {**as_admin(), 'Content-Type': 'application/octet-stream'}
    url = f'{server.url}/v2/images/{image_id}/file'
    assert requests.put(url, data=b'bytes', headers=octets, timeout=60).status_code == 204
    assert requests.get(url, headers=as_admin(), timeout=60).content == b'bytes'


def test_policy_decides_before_it(server):
    """A member may not publish at all, and is not told which tags would be needed."""
    body = {'visibility': 'public'}
    headers = processes.identity('alpha')
    answer = requests.post(f'{server.url}/v2/images', json=body, headers=headers, timeout=60)
    assert answer.status_code == 403 and 'tags' not in answer.text


def test_pipeline_show_has_it(made, environment):
    command = environment.command('manage')
    done = environment.run(command, '--config-file', made.file, 'pipeline', 'show')
    assert done.returncode == 0, done.stderr
    assert re.search(
        r'^  create_image +auth > policy > acme_release > quota > db$', done.stdout, re.M
    )
    assert re.search(r'^  delete_image +auth > policy > location$', done.stdout, re.M)


def test_the_sample_of_the_configuration_has_its_options(acme, environment, tmp_path):
    code = 'from oslo_config.generator import main; main()'
    out = tmp_path / 'sample'
    arguments = ('--namespace', 'glance_lite', '--namespace', 'acme_layer', '--output-file', out)
    done = environment.run('python', '-c', code, *arguments)
    assert done.returncode == 0, done.stderr
    sample = out.read_text()
    assert '\n[acme_release]\n' in sample and '#required_tags = tested,licensed\n' in sample


# --- what can be wrong is one sentence at start


@pytest.fixture(scope='module')
def broken(environment, tmp_path_factory):
    """A directory with distributions that nobody should install."""
    site = tmp_path_factory.mktemp('broken')
    (site / 'acme_broken.py').write_text(MODULE)
    (site / 'acme_unfinished.py').write_text('import acme_library_that_is_not_there\n')
    classes = {'newer': 'Newer', 'wrong': 'Wrong', 'function': 'Function', 'fails': 'Fails',
               'twin': 'Fine', 'none': 'NoLayer'}  # fmt: skip
    points = [f'{name} = acme_broken:{kind}' for name, kind in classes.items()]
    distribution(site, 'acme_broken', *points, 'unfinished = acme_unfinished:Layer')
    distribution(site, 'zenith', 'twin = acme_broken:Twin')
    return site


def distribution(site, name, *points, group='glance_lite.layers'):
    """What makes a directory on the path an installed package."""
    info = site / f'{name}-1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n')
    (info / 'entry_points.txt').write_text('\n'.join([f'[{group}]', *points]) + '\n')


#: Layer -> what is said of it.
SAID = {
    'acme_nothing': 'there is no plug-in acme_nothing in glance_lite.layers (known: ',
    'unfinished': 'unfinished (acme_unfinished:Layer) cannot be loaded: ModuleNotFoundError: '
    "No module named 'acme_library_that_is_not_there'",
    'twin': 'twin is registered twice in glance_lite.layers, by acme_broken:Fine and '
    'acme_broken:Twin',
    'newer': 'newer was written for version 2 of the layer contract; this is version 1',
    'wrong': 'wrong overrides delete_image(ctx, image_id, force), but the operation is '
    'delete_image(ctx, image_id)',
    'function': 'function cannot be made: NoSuchOptError: no such option acme in group ',
    'fails': 'fails cannot be started: OSError: no licence server',
    'none': 'none is not a layer',
}


@pytest.mark.parametrize(('layer', 'said'), SAID.items(), ids=SAID)
def test_a_start_with_a_layer_that_is_wrong_is_refused(environment, broken, tmp_path, layer, said):
    line = refusal(environment, broken, tmp_path, f'auth, policy, {layer}, quota, location, db')
    assert line.startswith(said)


def test_nobody_can_pass_for_a_layer_of_ours(environment, broken, tmp_path):
    distribution(tmp_path, 'acme_policy', 'policy = acme_broken:Fine')
    line = refusal(environment, tmp_path, tmp_path, 'auth, policy, quota, location, db')
    assert 'policy is registered twice in glance_lite.layers, by acme_broken:Fine and ' in line


def refusal(environment, site, directory, layers):
    """What glance-lite-api says, and ends, where `site` is on its path."""
    made = settings(directory, layers, sync=False)
    command = environment.command('api')
    done = environment.run(command, '--config-file', made.file, PYTHONPATH=str(site))
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    place = f'glance-lite-api: {made.file}: [controller] layers: '
    assert line.startswith(place), line
    return line.removeprefix(place)
