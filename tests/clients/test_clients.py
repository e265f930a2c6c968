# SPDX-License-Identifier: Apache-2.0
"""Real images through the real clients: ``openstack``, ``glance`` and openstacksdk."""

from __future__ import annotations

import hashlib
import json
import pathlib
import random
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import openstack
import pytest

from tests.servers import processes
from tests.servers.processes import BIN, required

ISO = '/usr/lib/ipxe/ipxe.iso'

#: name -> (qemu-img's format and options, disk_format)
FORMATS: dict[str, tuple[list[str], str]] = {
    'raw': (['raw'], 'raw'),
    'qcow2': (['qcow2'], 'qcow2'),
    'vmdk-stream': (['vmdk', '-o', 'subformat=streamOptimized'], 'vmdk'),
    'vmdk-sparse': (['vmdk', '-o', 'subformat=monolithicSparse'], 'vmdk'),
    'vhd': (['vpc'], 'vhd'),
    'vhdx': (['vhdx'], 'vhdx'),
    'vdi': (['vdi'], 'vdi'),
}
NAMES = [*FORMATS, 'iso']

#: A client takes a second of processor time to start.
AT_ONCE = 4


@pytest.fixture(scope='module')
def server(tmp_path_factory) -> Iterator[processes.Server]:
    # Both kinds of VMDK that qemu-img makes are allowed here.
    more = '[image_format]\nvmdk_allowed_types = streamOptimized, monolithicSparse\n'
    made = processes.settings(tmp_path_factory.mktemp('clients'), flavor='local', more=more)
    with processes.api(made) as running:
        yield running
        assert 'Traceback' not in running.text()


@pytest.fixture(scope='module')
def images(tmp_path_factory) -> dict[str, pathlib.Path]:
    """Name -> a real image: one disk in all of qemu-img's formats, and a bootable ISO."""
    tool = required(shutil.which('qemu-img'), 'qemu-img (qemu-utils)')
    iso = pathlib.Path(required(ISO, 'ipxe'))
    directory = tmp_path_factory.mktemp('images')
    source = directory / 'source'
    with open(source, 'wb') as disk:
        disk.write(random.Random(3).randbytes(2 << 20))
        disk.truncate(5 << 20)
    found = {'iso': iso}
    for name, (kind, _) in FORMATS.items():
        found[name] = directory / name
        subprocess.run([tool, 'convert', '-f', 'raw', '-O', *kind, source, found[name]], check=True)
    return found


def disk_format(name: str) -> str:
    return FORMATS[name][1] if name in FORMATS else name


def check(image: dict, file: pathlib.Path, copy: pathlib.Path) -> None:
    """What is told of an image, and what came back, is what went in."""
    data = file.read_bytes()
    assert image['status'] == 'active'
    assert image['size'] == len(data)
    assert image['checksum'] == hashlib.md5(data).hexdigest()
    assert image['os_hash_algo'] == 'sha512'
    assert image['os_hash_value'] == hashlib.sha512(data).hexdigest()
    assert copy.read_bytes() == data


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        env=processes.environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )


def succeed(*command: object) -> str:
    """Run a client; what it prints."""
    done = run(*command)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def test_openstack_client(server, images, tmp_path):
    client = (BIN / 'openstack', '--os-auth-type', 'none', '--os-endpoint', server.url, 'image')

    def round_trip(name: str) -> None:
        title, copy = f'osc-{name}', tmp_path / name
        succeed(
            *client, 'create', '--disk-format', disk_format(name), '--container-format', 'bare',
            '--file', images[name], '--property', f'kind={name}', '--tag', 'real', title,
        )  # fmt: skip
        succeed(*client, 'save', '--file', copy, title)
        succeed(*client, 'set', '--property', 'os_distro=debian', '--min-disk', 1, title)
        shown = json.loads(succeed(*client, 'show', '-f', 'json', title))
        properties = shown['properties']
        check({**shown, **properties}, images[name], copy)
        assert shown['disk_format'] == disk_format(name)
        assert shown['min_disk'] == 1
        assert shown['tags'] == ['real']
        assert (properties['kind'], properties['os_distro']) == (name, 'debian')

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(round_trip, NAMES))
    titles = sorted(f'osc-{name}' for name in NAMES)
    assert listed(client, '--tag', 'real') == titles
    assert listed(client, '--property', 'kind=qcow2') == ['osc-qcow2']
    succeed(*client, 'delete', *titles)
    assert listed(client, '--tag', 'real') == []


def listed(client: tuple[object, ...], *filters: str) -> list[str]:
    found = json.loads(succeed(*client, 'list', '-f', 'json', *filters))
    return sorted(image['Name'] for image in found)


def test_glance_client(server, images, tmp_path):
    client = (BIN / 'glance', '--os-image-url', server.url, '--os-auth-token', 'of-no-use')

    def round_trip(name: str) -> str:
        title, copy = f'glance-{name}', tmp_path / name
        made = table(succeed(
            *client, 'image-create', '--name', title, '--disk-format', disk_format(name),
            '--container-format', 'bare', '--file', images[name],
        ))  # fmt: skip
        image_id = made['id']
        succeed(*client, 'image-download', '--file', copy, image_id)
        succeed(*client, 'image-update', '--property', 'os_distro=debian', image_id)
        shown = table(succeed(*client, 'image-show', '--max-column-width', 200, image_id))
        check({**shown, 'size': int(shown['size'])}, images[name], copy)
        assert (shown['name'], shown['os_distro']) == (title, 'debian')
        return image_id

    with ThreadPoolExecutor(AT_ONCE) as pool:
        ids = list(pool.map(round_trip, NAMES))
    names = succeed(*client, 'image-list')
    assert all(f'glance-{name} ' in names for name in NAMES)
    succeed(*client, 'image-delete', *ids)
    assert 'glance-' not in succeed(*client, 'image-list')


def table(text: str) -> dict[str, str]:
    """Rows of a table of two columns."""
    rows = [line.split('|') for line in text.splitlines() if line.startswith('|')]
    return {row[1].strip(): row[2].strip() for row in rows}


def test_openstacksdk(server, images, tmp_path):
    cloud = openstack.connect(auth_type='none', endpoint=server.url)
    made = []
    for name in NAMES:
        copy = tmp_path / name
        image = cloud.image.create_image(
            f'sdk-{name}',
            filename=str(images[name]),
            disk_format=disk_format(name),
            container_format='bare',
            wait=True,
        )
        made.append(image)
        with open(copy, 'wb') as out:
            cloud.image.download_image(image, output=out, stream=True)
        changed = cloud.image.update_image(image, os_distro='debian', min_ram=64)
        assert (changed.os_distro, changed.min_ram) == ('debian', 64)
        shown = cloud.image.get_image(image.id)
        told = {
            'status': shown.status,
            'size': shown.size,
            'checksum': shown.checksum,
            'os_hash_algo': shown.hash_algo,
            'os_hash_value': shown.hash_value,
        }
        check(told, images[name], copy)
    names = {image.name for image in cloud.image.images()}
    assert {f'sdk-{name}' for name in NAMES} <= names
    for image in made:
        cloud.image.delete_image(image.id)
        assert cloud.image.find_image(image.id) is None


@pytest.mark.parametrize('claimed, name', [('qcow2', 'vmdk-stream'), ('iso', 'vdi')])
def test_an_image_that_lies_is_refused(server, images, claimed, name):
    before = server.files()
    done = run(
        BIN / 'openstack', '--os-auth-type', 'none', '--os-endpoint', server.url,
        'image', 'create', '--disk-format', claimed,
        '--container-format', 'bare', '--file', images[name], f'liar-{claimed}',
    )  # fmt: skip
    assert done.returncode != 0
    assert '415' in done.stderr
    assert server.files() == before
    cloud = openstack.connect(auth_type='none', endpoint=server.url)
    for image in cloud.image.images(name=f'liar-{claimed}'):
        assert (image.status, image.checksum) == ('queued', None)
        cloud.image.delete_image(image)
