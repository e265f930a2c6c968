# SPDX-License-Identifier: Apache-2.0
"""Compressed files: good ones come out as they were, those made to hurt are refused."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import random
import struct
import subprocess
import sys
import textwrap
import zipfile

import pytest
from backports import zstd

from glance_lite.errors import Gone, LimitExceeded, UnsupportedMedia
from glance_lite.imports import archives
from glance_lite.imports.archives import Bounds, decompress, kind_of

DATA = random.Random(3).randbytes(1024 * 1024 + 5) + b'text ' * 20_000
ZEROS = 48 * 1024 * 1024


def zipped(data=DATA, method=zipfile.ZIP_DEFLATED, names=('disk.raw',)):
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', method) as archive:
        for name in names:
            archive.writestr(name, data)
    return out.getvalue()


WAYS = {
    'gzip': functools.partial(gzip.compress, compresslevel=1),
    'xz': functools.partial(lzma.compress, preset=0),
    'bzip2': functools.partial(bz2.compress, compresslevel=1),
    'zstd': zstd.compress,
    'zip': zipped,
}


@functools.cache
def packed(kind):
    return WAYS[kind](DATA)


@pytest.fixture
def run(tmp_path):
    def run(data, bounds=None, kind=None, told=lambda *at: None):
        source, target = tmp_path / 'source', tmp_path / 'target'
        source.write_bytes(data)
        found = kind or archives.kind_of_file(source)
        bounds = bounds or Bounds(size=1 << 30, ratio=200)
        size = decompress(found, source, target, bounds, told)
        made = target.read_bytes()
        assert size == len(made)
        return made

    return run


@pytest.mark.parametrize('kind', WAYS)
def test_round_trip(run, kind):
    compressed = packed(kind)
    assert kind_of(compressed[:16]) == kind
    told = []
    assert run(compressed, told=lambda *at: told.append(at)) == DATA
    assert told[-1][0] <= told[-1][1] == len(compressed)
    assert len(told) > 1


@pytest.mark.parametrize('size', [0, 1, 65536, archives.PIECE - 1, archives.PIECE, 1048577])
@pytest.mark.parametrize('kind', WAYS)
def test_sizes(run, kind, size):
    assert run(WAYS[kind](DATA[:size])) == DATA[:size]


@pytest.mark.parametrize('kind', ['gzip', 'xz', 'bzip2', 'zstd'])
def test_several_streams_in_a_row(run, kind):
    way = WAYS[kind]
    assert run(packed(kind) + way(b'more') + packed(kind)) == DATA + b'more' + DATA


def test_padding(run):
    assert run(packed('gzip') + bytes(511)) == DATA
    assert run(packed('xz') + bytes(512)) == DATA
    assert run(packed('xz') + bytes(8) + WAYS['xz'](b'x')) == DATA + b'x'
    skipped = b'\x50\x2a\x4d\x18\x04\x00\x00\x00abcd'
    assert run(skipped + packed('zstd')) == DATA
    with pytest.raises(UnsupportedMedia):
        run(packed('xz') + bytes(3))
    with pytest.raises(UnsupportedMedia):
        run(packed('bzip2') + bytes(4))


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_ways_of_zip(run, method):
    assert run(zipped(method=method)) == DATA


@pytest.mark.parametrize(
    'head',
    [b'', b'\x1f', b'\x1f\x8b', b'QFI\xfb\x00\x00\x00\x03', b'KDMV', b'BZhello there, people',
     b'PK\x01\x02', b'\x5d\x00\x00\x01\x02', b'\xeb\x63\x90', bytes(16), b'conectix'],
)  # fmt: skip
def test_what_is_not_compressed(head):
    assert kind_of(head) is None


# --- made to hurt


@pytest.mark.parametrize('kind', ['gzip', 'xz', 'zstd', 'zip', 'bzip2'])
def test_bombs_are_refused_early(run, kind, tmp_path):
    bomb = gzip.compress(bytes(ZEROS)) if kind == 'gzip' else WAYS[kind](bytes(ZEROS))
    with pytest.raises(LimitExceeded, match='more than 200 times'):
        run(bomb)
    # Not long after the first look.
    assert (tmp_path / 'target').stat().st_size <= archives.UNLOOKED + archives.PIECE
    assert len(run(bomb, Bounds())) == ZEROS


@pytest.mark.parametrize('kind', WAYS)
def test_size(run, kind, tmp_path):
    with pytest.raises(LimitExceeded, match='larger than 1000000 bytes'):
        run(packed(kind), Bounds(size=1_000_000))
    assert (tmp_path / 'target').stat().st_size <= 1_000_000


@pytest.mark.parametrize('kind', WAYS)
@pytest.mark.parametrize('cut', [1, 20, 500_000])
def test_truncated(run, kind, cut):
    with pytest.raises(UnsupportedMedia, match=f'{kind} data is damaged, or ends early'):
        run(packed(kind)[:-cut], kind=kind)


@pytest.mark.parametrize('kind', ['gzip', 'xz', 'bzip2', 'zip', 'zstd'])
def test_damaged(run, kind):
    if kind == 'zstd':
        options = {zstd.CompressionParameter.checksum_flag: 1}
        good = bytearray(zstd.compress(DATA, options=options))
    else:
        good = bytearray(packed(kind))
    good[len(good) // 2] ^= 0x55
    with pytest.raises(UnsupportedMedia, match='damaged'):
        run(bytes(good))


@pytest.mark.parametrize('kind', ['gzip', 'xz', 'bzip2', 'zstd'])
def test_something_behind_the_end(run, kind):
    with pytest.raises(UnsupportedMedia, match='damaged'):
        run(packed(kind) + b'and the rest of it')


@pytest.mark.parametrize('inner', WAYS)
@pytest.mark.parametrize('outer', WAYS)
def test_compressed_more_than_once(run, outer, inner, tmp_path):
    with pytest.raises(UnsupportedMedia, match=f'{inner} within {outer}'):
        run(WAYS[outer](packed(inner)))
    assert (tmp_path / 'target').stat().st_size == 0


@pytest.mark.parametrize(
    ('kind', 'head'),
    [('lha', b'\x20\x60-lh5-'), ('7z', b'7z\xbc\xaf\x27\x1c\x00\x04'), ('rar', b'Rar!\x1a\x07\x01'),
     ('lz4', b'\x04\x22\x4d\x18\x64'), ('compress', b'\x1f\x9d\x90\x00'),
     ('lzma', b'\x5d\x00\x00\x80\x00' + b'\xff' * 8)],
)  # fmt: skip
def test_what_cannot_be_opened_is_told(run, kind, head):
    with pytest.raises(UnsupportedMedia, match=f'with {kind} cannot be opened'):
        run(head + DATA)


def test_an_archive_of_several_files(run):
    for names in (('a', 'b'), ('directory/', 'directory/a'), ('directory/',), ()):
        with pytest.raises(UnsupportedMedia, match='one file in it'):
            run(zipped(b'x', names=names))


def test_a_name_that_climbs_is_nothing_to_us(run, tmp_path):
    assert run(zipped(b'x' * 100, names=('../../escaped',))) == b'x' * 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ['source', 'target']


def test_an_encrypted_archive(run):
    good = bytearray(zipped(b'x'))
    for signature, offset in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        good[good.index(signature) + offset] |= 1
    with pytest.raises(UnsupportedMedia, match='encrypted'):
        run(bytes(good))


def test_an_archive_that_decides_on_memory(run):
    with pytest.raises(UnsupportedMedia, match='cannot be opened'):
        run(zipped(method=zipfile.ZIP_LZMA))


@pytest.mark.parametrize('size', [1, 2_000_000, 0xFFFFFFFE])
def test_an_archive_that_lies_about_the_size(run, size):
    good = bytearray(zipped())
    for signature, offset in ((b'PK\x03\x04', 22), (b'PK\x01\x02', 24)):
        at = good.rindex(signature) if offset == 24 else 0
        good[at + offset : at + offset + 4] = struct.pack('<I', size)
    with pytest.raises(UnsupportedMedia, match='damaged'):
        run(bytes(good))


def test_a_directory_of_an_archive_that_would_fill_the_memory(run):
    """Four gigabytes of directory, it says, in a sparse file that has them."""
    end = struct.pack('<4s4H2IH', b'PK\x05\x06', 0, 0, 1, 1, 30_000_000, 0, 0)
    with pytest.raises(UnsupportedMedia, match='damaged'):
        run(b'PK\x03\x04' + bytes(29_999_996) + end)


def test_dictionaries_that_would_fill_the_memory(run):
    filters = [{'id': lzma.FILTER_LZMA2, 'dict_size': 256 * 1024 * 1024, 'mode': lzma.MODE_FAST,
                'nice_len': 8, 'mf': lzma.MF_HC3, 'depth': 1}]  # fmt: skip
    with pytest.raises(UnsupportedMedia, match='too much memory'):
        run(lzma.compress(b'x' * 100, filters=filters))
    # A frame header that asks for a window of 2 GiB.
    frame = b'\x28\xb5\x2f\xfd\x00' + bytes([(31 - 10) << 3]) + b'\x09\x00\x00x'
    with pytest.raises(UnsupportedMedia, match='too much memory'):
        run(frame)


def test_whoever_listens_can_end_it(run):
    def gone(done, total):
        raise Gone('The image was deleted')

    with pytest.raises(Gone):
        run(packed('gzip'), told=gone)


def test_a_full_disk_is_not_blamed_on_the_data(tmp_path):
    source = tmp_path / 'source'
    source.write_bytes(packed('gzip'))
    with pytest.raises(OSError) as found:
        import pathlib

        decompress('gzip', source, pathlib.Path('/dev/full'), Bounds(), lambda *at: None)
    assert found.value.errno


def test_random_damage_never_surprises(run):
    """Whatever is flipped or cut, it is data as it was, or one of the two refusals."""
    chance = random.Random(11)
    small = DATA[-130_000:]
    for kind, way in WAYS.items():
        good = way(small)
        for _ in range(60):
            bad = bytearray(good)
            for _ in range(chance.randint(1, 6)):
                bad[chance.randrange(len(bad))] = chance.randrange(256)
            if chance.random() < 0.3:
                del bad[chance.randrange(len(bad)) :]
            try:
                run(bytes(bad), kind=kind)
            except (UnsupportedMedia, LimitExceeded):
                continue


MEASURED = """
    import pathlib, re, sys
    from glance_lite.errors import LimitExceeded
    from glance_lite.imports.archives import Bounds, decompress, kind_of_file
    source, target = map(pathlib.Path, sys.argv[1:])
    try:
        decompress(kind_of_file(source), source, target, Bounds(ratio=0, size=1 << 27), max)
    except LimitExceeded:
        pass
    print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])
"""


@pytest.mark.parametrize('kind', WAYS)
def test_memory_is_bounded(tmp_path, kind):
    """What 128 MiB of nothing take, above what the interpreter takes."""
    bomb = WAYS[kind](bytes(160 * 1024 * 1024))
    (tmp_path / 'bomb').write_bytes(bomb)
    command = [sys.executable, '-c', textwrap.dedent(MEASURED), tmp_path / 'bomb', tmp_path / 'x']
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) < 120 * 1024, done.stdout[-200:]
