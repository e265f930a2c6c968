# SPDX-License-Identifier: Apache-2.0
"""Archives and images that are made to hurt whoever opens them, by what imports are to refuse.

Each row makes a file in a directory: (how, its disk_format, the reason of the refusal).
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pathlib
import random
import struct
import subprocess
import textwrap
import zipfile
from collections.abc import Callable

from backports import zstd

MIB = 1024 * 1024
DISK = b'\xeb\x63\x90' + random.Random(2).randbytes(MIB)


def qemu_img(*arguments: object) -> None:
    subprocess.run(['qemu-img', *map(str, arguments)], check=True, capture_output=True)


def _zip(*names: str, data: bytes = DISK, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', method) as archive:
        for name in names:
            archive.writestr(name, data)
    return out.getvalue()


def _lying_zip() -> bytes:
    good = bytearray(_zip('disk.raw'))
    good[22:26] = struct.pack('<I', 100)
    at = good.rindex(b'PK\x01\x02') + 24
    good[at : at + 4] = struct.pack('<I', 100)
    return bytes(good)


def _wide_xz() -> bytes:
    filters = [{'id': lzma.FILTER_LZMA2, 'dict_size': 256 * MIB, 'mode': lzma.MODE_FAST,
                'nice_len': 8, 'mf': lzma.MF_HC3, 'depth': 1}]  # fmt: skip
    return lzma.compress(DISK[:1000], filters=filters)


#: name -> (data, reason)
ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    'a bomb of gzip': (lambda: gzip.compress(bytes(64 * MIB)), 'more than 200 times'),
    'a bomb of xz': (lambda: lzma.compress(bytes(64 * MIB), preset=0), 'more than 200 times'),
    'a bomb of bzip2': (lambda: bz2.compress(bytes(64 * MIB)), 'more than 200 times'),
    'a bomb of zstd': (lambda: zstd.compress(bytes(64 * MIB)), 'more than 200 times'),
    'a bomb of zip': (lambda: _zip('x', data=bytes(64 * MIB)), 'more than 200 times'),
    'a bomb within a bomb': (
        lambda: gzip.compress(gzip.compress(bytes(64 * MIB))), 'gzip within gzip',
    ),
    'zip within xz': (lambda: lzma.compress(_zip('x'), preset=0), 'zip within xz'),
    'gzip that ends early': (lambda: gzip.compress(DISK)[:-500], 'ends early'),
    'xz that is damaged': (
        lambda: lzma.compress(DISK, preset=0).replace(DISK[1000:1004], b'\0' * 4), 'damaged',
    ),
    'something behind the end': (lambda: bz2.compress(DISK) + b'#!/bin/sh', 'damaged'),
    'a dictionary without measure': (_wide_xz, 'too much memory'),
    'a window without measure': (
        lambda: b'\x28\xb5\x2f\xfd\x00\xa8\x09\x00\x00x', 'too much memory',
    ),
    'an archive that climbs': (lambda: _zip('../../etc/passwd', 'x'), 'one file'),
    'an archive that lies': (_lying_zip, 'damaged'),
    'an archive in a way of its own': (
        lambda: _zip('x', method=zipfile.ZIP_LZMA), 'cannot be opened',
    ),
    'a kind that nobody opens': (lambda: b'7z\xbc\xaf\x27\x1c' + DISK, '7z cannot be opened'),
}  # fmt: skip


def backing_file(path: pathlib.Path, secret: pathlib.Path) -> None:
    qemu_img('create', '-f', 'qcow2', '-F', 'raw', '-b', secret, path, '1M')


def backing_file_in_json(path: pathlib.Path, secret: pathlib.Path) -> None:
    name = f'json:{{"driver":"raw","file":{{"driver":"file","filename":"{secret}"}}}}'
    qemu_img('create', '-u', '-f', 'qcow2', '-F', 'raw', '-b', name, path, '1M')


def backing_file_of_the_network(path: pathlib.Path, secret: pathlib.Path) -> None:
    name = 'nbd://127.0.0.1:10809/x'
    qemu_img('create', '-u', '-f', 'qcow2', '-F', 'raw', '-b', name, path, '1M')


def data_file(path: pathlib.Path, secret: pathlib.Path) -> None:
    options = f'data_file={secret},data_file_raw=on'
    qemu_img('create', '-f', 'qcow2', '-o', options, path, '1M')


def unknown_features(path: pathlib.Path, secret: pathlib.Path) -> None:
    qemu_img('create', '-f', 'qcow2', path, '1M')
    with open(path, 'r+b') as file:
        file.seek(72)
        file.write(struct.pack('>Q', 1 << 40))


def foreign_extents(path: pathlib.Path, secret: pathlib.Path) -> None:
    text = f"""\
        # Disk DescriptorFile
        version=1
        CID=fffffffe
        parentCID=ffffffff
        createType="monolithicFlat"

        RW 8 FLAT "{secret}" 0
        """
    path.write_text(textwrap.dedent(text).ljust(4096, '\n'))


def foreign_extents_in_a_sparse_one(path: pathlib.Path, secret: pathlib.Path) -> None:
    source = path.with_suffix('.disk')
    source.write_bytes(DISK)
    qemu_img('convert', '-f', 'raw', '-O', 'vmdk', source, path)
    data = path.read_bytes()
    at = data.index(b'RW ')
    end = data.index(b'\0', at)
    lines = f'RW 8 FLAT "{secret}" 0\n'.encode()
    path.write_bytes(
        data[:at] + lines.ljust(end - at, b'\n') + data[at + max(len(lines), end - at) :]
    )


def parent_of_a_vmdk(path: pathlib.Path, secret: pathlib.Path) -> None:
    parent = path.with_suffix('.parent')
    qemu_img('create', '-f', 'vmdk', parent, '1M')
    qemu_img('create', '-f', 'vmdk', '-F', 'vmdk', '-b', parent, path, '1M')
    data = path.read_bytes()
    assert b'parentFileNameHint' in data


def tables_behind_the_end(path: pathlib.Path, secret: pathlib.Path) -> None:
    source = path.with_suffix('.disk')
    source.write_bytes(DISK)
    qemu_img('convert', '-f', 'raw', '-O', 'qcow2', source, path)
    os.truncate(path, 400_000)


def cut_off_in_the_header(path: pathlib.Path, secret: pathlib.Path) -> None:
    qemu_img('create', '-f', 'qcow2', path, '1M')
    os.truncate(path, 60)


def a_disk_without_measure(path: pathlib.Path, secret: pathlib.Path) -> None:
    qemu_img('create', '-f', 'qcow2', path, '60T')


def a_disk_of_nothing(path: pathlib.Path, secret: pathlib.Path) -> None:
    qemu_img('create', '-f', 'qcow2', path, '900G')


def an_image_in_a_disk(path: pathlib.Path, secret: pathlib.Path) -> None:
    inner = path.with_suffix('.inner')
    backing_file(inner, secret)
    qemu_img('convert', '-f', 'raw', '-O', 'qcow2', inner, path)


def another_format(path: pathlib.Path, secret: pathlib.Path) -> None:
    source = path.with_suffix('.disk')
    source.write_bytes(DISK)
    qemu_img('convert', '-f', 'raw', '-O', 'vdi', source, path)


def two_formats(path: pathlib.Path, secret: pathlib.Path) -> None:
    source = path.with_suffix('.disk')
    source.write_bytes(DISK)
    qemu_img('convert', '-f', 'raw', '-O', 'qcow2', source, path)
    with open(path, 'r+b') as file:
        file.seek(32768)
        file.write(b'\x01CD001\x01')


def encrypted(path: pathlib.Path, secret: pathlib.Path) -> None:
    options = 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10'
    qemu_img('create', '--object', 'secret,id=s,data=x', '-f', 'qcow2', '-o', options, path, '1M')


#: what -> (how, disk_format, reason)
IMAGES: dict[str, tuple[Callable[[pathlib.Path, pathlib.Path], None], str, str]] = {
    'a backing file': (backing_file, 'qcow2', 'backing_file'),
    'a backing file in JSON': (backing_file_in_json, 'qcow2', 'backing_file'),
    'a backing file of the network': (backing_file_of_the_network, 'qcow2', 'backing_file'),
    'a data file': (data_file, 'qcow2', 'data_file'),
    'features nobody knows': (unknown_features, 'qcow2', 'unknown_features'),
    'extents that are other files': (foreign_extents, 'vmdk', 'vmdk|VMDK'),
    'extents that are other files, in a sparse one': (
        foreign_extents_in_a_sparse_one,
        'vmdk',
        'not safe|VMDK|vmdk',
    ),
    'a parent': (parent_of_a_vmdk, 'vmdk', 'backing file|not safe|VMDK|sense'),
    'tables that lead behind the end': (tables_behind_the_end, 'qcow2', 'incomplete or damaged'),
    'a header that ends early': (cut_off_in_the_header, 'qcow2', 'but it is raw|damaged'),
    'a disk of 60 TiB': (a_disk_without_measure, 'qcow2', 'larger than 1099511627776'),
    'a disk of nothing': (a_disk_of_nothing, 'qcow2', '1000 times'),
    'an image in a disk': (an_image_in_a_disk, 'qcow2', 'should be raw, but it is qcow2'),
    'another format than it says': (another_format, 'qcow2', 'should be qcow2, but it is vdi'),
    'two formats at once': (two_formats, 'qcow2', 'cannot be told'),
    'a secret': (encrypted, 'qcow2', 'encrypted|sense|safe'),
}
