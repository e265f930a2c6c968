# SPDX-License-Identifier: Apache-2.0
"""Every file of `tests.hostile.files` is refused when it is imported, and nothing is kept."""

from __future__ import annotations

import os
import re
import shutil

import pytest

from tests.api.harness import OCTETS, App
from tests.backends import databases
from tests.hostile.files import ARCHIVES, DISK, IMAGES, qemu_img

STORES = """
enabled_backends = fast:file
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {directory}/fast
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
"""
MORE = '[image_import_opts]\nimage_import_plugins = [image_decompression, image_conversion]\n'
SECRET = b'the secret of this host' * 100


@pytest.fixture(scope='module')
def app(tmp_path_factory):
    if shutil.which('qemu-img') is None:
        reason = 'qemu-img is not installed (apt-get install qemu-utils)'
        if os.environ.get(databases.REQUIRE) == '1':
            pytest.fail(reason)
        pytest.skip(reason)
    app = App(tmp_path_factory.mktemp('service'), stores=STORES, more=MORE)
    yield app
    app.close()


def imported(app, data, disk_format):
    """The image, when its import is over."""
    fields = {'disk_format': disk_format, 'container_format': 'bare'}
    image_id = app.request('POST', '/v2/images', fields).json['id']
    path = f'/v2/images/{image_id}'
    assert app.request('PUT', f'{path}/stage', data, kind=OCTETS).status == 204
    body = {'method': {'name': 'glance-direct'}}
    assert app.request('POST', f'{path}/import', body).status == 202
    app.service.jobs.run()
    return app.get(path).json


def check_refused(app, image, reason):
    told = image.get('os_glance_failed_upload', '')
    assert re.search(reason, told), (image['status'], told)
    assert image['status'] == 'queued'
    assert [image[name] for name in ('size', 'virtual_size', 'checksum')] == [None] * 3
    # Nothing of this host is told, and nothing is left.
    assert str(app.directory) not in told
    for name in ('fast', 'staging'):
        assert list((app.directory / name).iterdir()) == []
    (task,) = app.request('GET', f'/v2/images/{image["id"]}/tasks').json['tasks']
    assert task['status'] == 'failure' and re.search(reason, task['message'])
    assert app.request('DELETE', f'/v2/images/{image["id"]}').status == 204


def test_there_are_enough():
    assert len(ARCHIVES) >= 12 and len(IMAGES) >= 12


@pytest.mark.parametrize('what', ARCHIVES)
def test_an_archive_made_to_hurt(app, what):
    make, reason = ARCHIVES[what]
    check_refused(app, imported(app, make(), 'raw'), reason)


@pytest.mark.parametrize('what', IMAGES)
def test_an_image_made_to_hurt(app, tmp_path, what):
    make, disk_format, reason = IMAGES[what]
    secret = tmp_path / 'secret'
    secret.write_bytes(SECRET)
    path = tmp_path / 'image'
    make(path, secret)
    image = imported(app, path.read_bytes(), disk_format)
    check_refused(app, image, reason)


def test_what_is_not_made_to_hurt_is_imported(app, tmp_path):
    """The tables would prove nothing if everything were refused."""
    (tmp_path / 'disk').write_bytes(DISK)
    qemu_img('convert', '-f', 'raw', '-O', 'qcow2', tmp_path / 'disk', tmp_path / 'image')
    image = imported(app, (tmp_path / 'image').read_bytes(), 'qcow2')
    assert (image['status'], image['disk_format']) == ('active', 'raw')
    stored = app.get(f'/v2/images/{image["id"]}/file').body
    assert stored.startswith(DISK) and not stored[len(DISK) :].strip(b'\0')
    assert image['size'] == image['virtual_size'] == len(stored)
