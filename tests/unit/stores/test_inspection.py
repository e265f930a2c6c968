# SPDX-License-Identifier: Apache-2.0
"""Real images of every format, and images that would do harm, through the inspector."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import pytest

from glance_lite import conf as configuration
from glance_lite.errors import UnsupportedMedia
from glance_lite.inspection import Inspector
from tests.backends import databases

MIB = 1024 * 1024
ISO = pathlib.Path('/usr/lib/ipxe/ipxe.iso')

#: disk_format -> arguments of qemu-img
FORMATS = {
    'raw': ('raw',),
    'qcow2': ('qcow2',),
    'vhd': ('vpc',),
    'vhdx': ('vhdx',),
    'vdi': ('vdi',),
    'vmdk': ('vmdk', '-o', 'subformat=monolithicSparse'),
}


def need(present, what):
    if present:
        return
    if os.environ.get(databases.REQUIRE) == '1':
        pytest.fail(f'{what} is not installed')
    pytest.skip(f'{what} is not installed')


def qemu_img(*arguments):
    need(shutil.which('qemu-img'), 'qemu-img (package qemu-utils)')
    subprocess.run(['qemu-img', *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """disk_format -> path of an image that holds 3 MiB."""
    directory = tmp_path_factory.mktemp('images')
    source = directory / 'source.raw'
    source.write_bytes(os.urandom(3 * MIB))
    found = {}
    for name, arguments in FORMATS.items():
        found[name] = directory / f'image.{name}'
        qemu_img('convert', '-f', 'raw', '-O', *arguments, source, found[name])
    found['streamOptimized'] = directory / 'stream.vmdk'
    qemu_img(
        'convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', source,
        found['streamOptimized'],
    )  # fmt: skip
    return found


def settings(**options):
    conf = configuration.new()
    conf([], default_config_files=[], default_config_dirs=[])
    for name, value in options.items():
        conf.set_override(name, value, group='image_format')
    return conf.image_format


def inspect(path, disk_format, chunk=65536, **options):
    inspector = Inspector(settings(**options), disk_format)
    data = path.read_bytes() if isinstance(path, pathlib.Path) else path
    for start in range(0, len(data), chunk):
        inspector.eat(data[start : start + chunk])
    return inspector.verdict()


@pytest.mark.parametrize('chunk', [1000, 65536, MIB])
@pytest.mark.parametrize('name', FORMATS)
def test_every_format_is_known(images, name, chunk):
    size = inspect(images[name], name, chunk)
    # vhd rounds up to its geometry.
    assert 3 * MIB <= size < 3.2 * MIB if name == 'vhd' else size == 3 * MIB


@pytest.mark.parametrize('said', FORMATS)
@pytest.mark.parametrize('name', FORMATS)
def test_no_format_passes_for_another(images, name, said):
    if said in (name, 'raw'):
        return
    with pytest.raises(UnsupportedMedia):
        inspect(images[name], said)


def test_a_stream_optimized_vmdk(images):
    """The inspector has the kind in lower case; the option was compared with it as it is."""
    assert inspect(images['streamOptimized'], 'vmdk') == 3 * MIB
    with pytest.raises(UnsupportedMedia, match='streamoptimized'):
        inspect(images['streamOptimized'], 'vmdk', vmdk_allowed_types=['monolithicSparse'])


def test_a_bootable_iso():
    need(ISO.exists(), 'ipxe.iso (package ipxe)')
    assert inspect(ISO, 'iso')
    with pytest.raises(UnsupportedMedia):
        inspect(ISO, 'qcow2')


def test_a_backing_file_is_refused(tmp_path, images):
    """Whoever opens the image would read a file of its own host."""
    path = tmp_path / 'backed.qcow2'
    qemu_img('create', '-f', 'qcow2', '-F', 'raw', '-b', '/etc/passwd', '-u', path, '1M')
    with pytest.raises(UnsupportedMedia):
        inspect(path, 'qcow2')


def test_a_data_file_is_refused(tmp_path):
    path = tmp_path / 'external.qcow2'
    data = tmp_path / 'data.raw'
    qemu_img('create', '-f', 'qcow2', '-o', f'data_file={data}', path, '1M')
    with pytest.raises(UnsupportedMedia):
        inspect(path, 'qcow2')


def test_a_vmdk_of_several_files_is_refused(tmp_path):
    path = tmp_path / 'flat.vmdk'
    qemu_img('create', '-f', 'vmdk', '-o', 'subformat=monolithicFlat', path, '1M')
    with pytest.raises(UnsupportedMedia):
        inspect(path, 'vmdk')


@pytest.mark.parametrize('disk_format', [*FORMATS, 'iso'])
@pytest.mark.parametrize('data', [b'', b'x', b'\0' * 100, os.urandom(1 << 17)], ids=len)
def test_what_is_no_image_is_raw(disk_format, data):
    if disk_format == 'raw':
        assert inspect(data, 'raw') == (len(data) or None)
    else:
        with pytest.raises(UnsupportedMedia):
            inspect(data, disk_format)


@pytest.mark.parametrize('name', FORMATS)
def test_cut_off_images(images, name):
    """Never anything but an answer or UnsupportedMedia, wherever it is cut."""
    data = images[name].read_bytes()
    for length in (1, 4, 511, 512, 513, 4096, 65535, 65536, 70000, len(data) // 2):
        try:
            inspect(data[:length], name)
        except UnsupportedMedia:
            pass


def test_without_the_check_anything_goes_that_is_safe(images, tmp_path):
    assert inspect(images['qcow2'], 'vdi', require_image_format_match=False) is None
    path = tmp_path / 'backed.qcow2'
    qemu_img('create', '-f', 'qcow2', '-F', 'raw', '-b', '/etc/passwd', '-u', path, '1M')
    with pytest.raises(UnsupportedMedia):
        inspect(path, 'qcow2', require_image_format_match=False)
