# SPDX-License-Identifier: Apache-2.0
"""``image_conversion`` with the real qemu-img: good images, those made to hurt, and its limits."""

from __future__ import annotations

import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import textwrap
import time

import pytest

from glance_lite import conf as configuration
from glance_lite.errors import ConfigurationError, Gone, LimitExceeded, UnsupportedMedia
from glance_lite.imports import conversion, sandbox
from glance_lite.imports.conversion import ImageConversion
from glance_lite.imports.values import Job
from glance_lite.testing.layers import make_image
from tests.backends import databases
from tests.unit.imports.work import FileWork

MIB = 1024 * 1024
PATTERN = random.Random(5).randbytes(2 * MIB)


@pytest.fixture(autouse=True)
def qemu():
    if shutil.which('qemu-img') is None:
        reason = 'qemu-img is not installed (apt-get install qemu-utils)'
        if os.environ.get(databases.REQUIRE) == '1':
            pytest.fail(reason)
        pytest.skip(reason)


def configured(tmp_path, text=''):
    file = tmp_path / 'glance-api.conf'
    file.write_text(text)
    return configuration.parse(configuration.new(), ['--config-file', str(file)])


def qemu_img(*arguments):
    subprocess.run(['qemu-img', *map(str, arguments)], check=True, capture_output=True)


def information(path):
    command = ['qemu-img', 'info', '--output=json', str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / 'disk.raw'
    path.write_bytes(bytes(512) + PATTERN + bytes(6 * MIB))
    return path


@pytest.fixture
def made(tmp_path, raw):
    """An image of that disk in some format; its path."""

    def make(kind, *options):
        path = tmp_path / f'source-{kind}'
        name = conversion.NAMES[kind]
        qemu_img('convert', '-f', 'raw', '-O', name, *options, raw, path)
        return path

    return make


def job(disk_format, container_format='bare'):
    image = make_image('an-id').replace(disk_format=disk_format, container_format=container_format)
    return Job(serial=1, task_id='t', image=image, method='web-download')


def convert(tmp_path, path, disk_format, text='', work=None):
    work = work or FileWork(path)
    made = ImageConversion('image_conversion', configured(tmp_path, text))
    return made.apply(job(disk_format), work), work


def leftovers(work):
    return sorted(path.name for path in work.path.parent.glob(work.path.name + '.*'))


@pytest.mark.parametrize('target', ['raw', 'qcow2', 'vmdk'])
@pytest.mark.parametrize('source', ['raw', 'qcow2', 'vmdk', 'vdi', 'vhdx'])
def test_conversions(tmp_path, made, raw, source, target):
    path = raw if source == 'raw' else made(source)
    text = f'[image_conversion]\noutput_format = {target}\n'
    outcome, work = convert(tmp_path, path, source, text)
    virtual = outcome.fields['virtual_size']
    assert virtual >= raw.stat().st_size
    if source == target:
        assert outcome.file is None and 'disk_format' not in outcome.fields
        assert leftovers(work) == []
        return
    assert outcome.fields == {
        'disk_format': target, 'container_format': 'bare', 'virtual_size': virtual,
    }  # fmt: skip
    assert outcome.file == work.new()
    assert information(outcome.file)['format'] == target
    qemu_img('compare', '-f', target, '-F', conversion.NAMES[source], outcome.file, path)
    # Nothing else is left, and the source is as it was.
    assert leftovers(work) == [work.new().name]
    assert work.seen and work.seen[-1][0] <= path.stat().st_size


def test_iso_is_left_alone(tmp_path):
    path = tmp_path / 'iso'
    path.write_bytes(bytes(32768) + b'\x01CD001\x01' + bytes(4000))
    outcome, _ = convert(tmp_path, path, 'iso')
    assert outcome.file is None and not outcome.fields
    with pytest.raises(UnsupportedMedia, match='should be raw, but it is iso'):
        convert(tmp_path, path, 'raw')


def test_stream_optimized_where_nothing_else_is_allowed(tmp_path, raw):
    text = '[image_conversion]\noutput_format = vmdk\n[image_format]\nvmdk_allowed_types = {}\n'
    outcome, _ = convert(tmp_path, raw, 'raw', text.format('streamOptimized'))
    created = information(outcome.file)['format-specific']['data']['create-type']
    assert created == 'streamOptimized'
    with pytest.raises(ConfigurationError, match='vmdk_allowed_types'):
        convert(tmp_path, raw, 'raw', text.format('monolithicFlat'))


def test_a_second_time_writes_over_the_first(tmp_path, made):
    path = made('qcow2')
    work = FileWork(path)
    work.new().write_bytes(b'x' * (20 * MIB))
    work.new().with_name(work.new().name + '.output').write_bytes(b'x')
    outcome, _ = convert(tmp_path, path, 'qcow2', work=work)
    assert outcome.file.stat().st_size == 8 * MIB + 512
    assert leftovers(work) == [work.new().name]


# --- made to hurt


def with_backing(tmp_path, raw):
    path = tmp_path / 'hurts'
    qemu_img('create', '-f', 'qcow2', '-F', 'raw', '-b', '/etc/passwd', path, '1M')
    return path, 'qcow2', 'backing_file'


def with_data_file(tmp_path, raw):
    path = tmp_path / 'hurts'
    options = f'data_file={tmp_path / "data"},data_file_raw=on'
    qemu_img('create', '-f', 'qcow2', '-o', options, path, '1M')
    return path, 'qcow2', 'data_file'


def with_unknown_features(tmp_path, raw):
    path = tmp_path / 'hurts'
    qemu_img('create', '-f', 'qcow2', path, '1M')
    with open(path, 'r+b') as file:
        file.seek(72)
        file.write(struct.pack('>Q', 1 << 40))
    return path, 'qcow2', 'unknown_features'


def with_foreign_extents(tmp_path, raw):
    path = tmp_path / 'hurts'
    text = textwrap.dedent(
        """\
        # Disk DescriptorFile
        version=1
        CID=fffffffe
        parentCID=ffffffff
        createType="monolithicFlat"

        RW 2048 FLAT "/etc/passwd" 0
        """
    )
    path.write_text(text.ljust(4096, '\n'))
    return path, 'vmdk', 'vmdk|VMDK'


def with_a_descriptor_that_lies(tmp_path, raw):
    path = tmp_path / 'hurts'
    qemu_img('convert', '-f', 'raw', '-O', 'vmdk', raw, path)
    data = path.read_bytes()
    at = data.index(b'RW ')
    end = data.index(b'\n', at)
    foreign = b'RW 1 FLAT "/etc/passwd" 0'
    path.write_bytes(data[:at] + foreign.ljust(end - at)[: end - at] + data[end:])
    return path, 'vmdk', 'not safe'


def cut_off(tmp_path, raw):
    path = tmp_path / 'hurts'
    qemu_img('create', '-f', 'qcow2', path, '1M')
    os.truncate(path, 60)
    return path, 'qcow2', 'raw|damaged|sense'


def without_its_tables(tmp_path, raw):
    path = tmp_path / 'hurts'
    qemu_img('convert', '-f', 'raw', '-O', 'qcow2', raw, path)
    os.truncate(path, 200_000)
    return path, 'qcow2', 'incomplete or damaged'


def within_raw(tmp_path, raw):
    """A disk that holds an image with a backing file, for whoever looks at it a second time."""
    inner = tmp_path / 'inner'
    qemu_img('create', '-f', 'qcow2', '-F', 'raw', '-b', '/etc/passwd', inner, '1M')
    path = tmp_path / 'hurts'
    qemu_img('convert', '-f', 'raw', '-O', 'qcow2', inner, path)
    return path, 'qcow2', 'should be raw, but it is qcow2'


def enormous(tmp_path, raw):
    path = tmp_path / 'hurts'
    qemu_img('create', '-f', 'qcow2', path, '60T')
    return path, 'qcow2', 'larger than 1099511627776'


def empty(tmp_path, raw):
    path = tmp_path / 'hurts'
    qemu_img('create', '-f', 'qcow2', path, '900G')
    return path, 'qcow2', '1000 times'


def encrypted(tmp_path, raw):
    path = tmp_path / 'hurts'
    options = [
        '--object',
        'secret,id=s,data=secret',
        '-o',
        'encrypt.format=luks,encrypt.key-secret=s',
    ]
    qemu_img('create', '-f', 'qcow2', *options, path, '1M')
    return path, 'qcow2', 'encrypted|sense|safe'


def qed(tmp_path, raw):
    path = tmp_path / 'hurts'
    qemu_img('create', '-f', 'qed', path, '1M')
    return path, 'raw', 'qed'


def lying_format(tmp_path, raw):
    path = tmp_path / 'hurts'
    qemu_img('convert', '-f', 'raw', '-O', 'vdi', raw, path)
    return path, 'qcow2', 'should be qcow2, but it is vdi'


def image_in_raw(tmp_path, raw):
    path = tmp_path / 'hurts'
    qemu_img('convert', '-f', 'raw', '-O', 'vmdk', raw, path)
    return path, 'raw', 'should be raw, but it is vmdk'


def two_formats_at_once(tmp_path, raw):
    path = tmp_path / 'hurts'
    qemu_img('convert', '-f', 'raw', '-O', 'qcow2', raw, path)
    with open(path, 'r+b') as file:
        file.seek(32768)
        file.write(b'\x01CD001\x01')
    return path, 'qcow2', 'cannot be told'


HURTING = [
    with_backing, with_data_file, with_unknown_features, with_foreign_extents,
    with_a_descriptor_that_lies, cut_off, without_its_tables, within_raw, enormous, empty,
    encrypted, qed, lying_format, image_in_raw, two_formats_at_once,
]  # fmt: skip


@pytest.mark.parametrize('make', HURTING, ids=lambda make: make.__name__)
def test_made_to_hurt(tmp_path, raw, make):
    path, disk_format, reason = make(tmp_path, raw)
    work = FileWork(path)
    with pytest.raises((UnsupportedMedia, LimitExceeded), match=reason) as found:
        convert(tmp_path, path, disk_format, work=work)
    # It names nothing of this host.
    assert str(tmp_path) not in str(found.value) and 'passwd' not in str(found.value)
    left = set(leftovers(work)) - {work.new().name}
    assert not left and str(path.parent) != '/'


def test_formats_that_qemu_img_does_not_know(tmp_path, raw):
    for kind in ('aki', 'ploop', None):
        with pytest.raises(UnsupportedMedia, match='but it is raw'):
            convert(tmp_path, raw, kind)


# --- limits


def test_what_is_made_raw_may_not_be_larger_than_an_image(tmp_path, made):
    path = made('qcow2')
    with pytest.raises(LimitExceeded, match='larger than'):
        convert(tmp_path, path, 'qcow2', work=FileWork(path, most=7 * MIB))


def test_the_size_of_the_file_is_limited(tmp_path, made):
    path = made('qcow2')
    text = '[image_conversion]\noutput_format = vmdk\n'
    work = FileWork(path, most=MIB)
    work.told = lambda *at: None
    with pytest.raises(LimitExceeded, match='larger'):
        convert(tmp_path, path, 'qcow2', text, work)
    assert work.new().stat().st_size <= MIB


def run(box, code, tmp_path, looked=lambda tail: None, **more):
    limits = {'memory': 512 * MIB, 'cpu': 20, 'seconds': 60, 'file': MIB, **more}
    command = [sys.executable, '-I', '-c', textwrap.dedent(code)]
    return box.run(command, sandbox.Limits(**limits), tmp_path / 'output', looked)


@pytest.fixture(scope='module')
def box():
    return sandbox.Sandbox('test', False)


def test_memory(box, tmp_path):
    ended = run(box, 'x = bytearray(600 * 1024 * 1024)', tmp_path)
    assert ended.code == 1 and 'MemoryError' in ended.errors
    assert list(tmp_path.iterdir()) == []


def test_processor_time(box, tmp_path):
    with pytest.raises(LimitExceeded, match='1 seconds of processor'):
        run(box, 'while True: pass', tmp_path, cpu=1)


def test_somebody_else_kills_it(box, tmp_path):
    with pytest.raises(LimitExceeded, match='more memory or processor time than there is'):
        run(box, 'import os; os.kill(os.getpid(), 9)', tmp_path)
    with pytest.raises(UnsupportedMedia, match='broke the program'):
        run(box, 'import os; os.abort()', tmp_path)


def test_time(box, tmp_path):
    began = time.monotonic()
    with pytest.raises(LimitExceeded, match=r'0\.5 seconds'):
        run(box, 'import time; time.sleep(60)', tmp_path, seconds=0.5)
    assert time.monotonic() - began < 20
    assert list(tmp_path.iterdir()) == []


def test_size_of_files(box, tmp_path):
    code = f"open({str(tmp_path / 'large')!r}, 'wb').write(bytes(2 * 1024 * 1024))"
    assert 'too large' in run(box, code, tmp_path).errors
    assert (tmp_path / 'large').stat().st_size == MIB


def test_no_network(box, tmp_path):
    if not box.isolated:
        pytest.skip('this host allows no namespaces')
    code = """
        import socket
        print(socket.if_nameindex())
        socket.create_connection(('127.0.0.1', 22), 5)
    """
    ended = run(box, code, tmp_path)
    assert ended.output.strip() == b"[(1, 'lo')]" and 'Network is unreachable' in ended.errors


def test_nothing_of_ours_is_inherited(box, tmp_path, monkeypatch):
    monkeypatch.setenv('OS_PASSWORD', 'secret')
    code = 'import os; print(sorted(os.environ)); print(len(os.listdir("/proc/self/fd")))'
    lines = run(box, code, tmp_path).output.decode().splitlines()
    assert 'OS_PASSWORD' not in lines[0] and int(lines[1]) == 4


def test_whoever_listens_can_end_it(box, tmp_path):
    pids = []

    def looked(tail):
        if tail.strip():
            pids.append(int(tail))
            raise Gone

    code = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'
    with pytest.raises(Gone):
        run(box, code, tmp_path, looked)
    assert not pathlib.Path(f'/proc/{pids[0]}').exists()


PARENT = """
    import pathlib, sys
    from glance_lite.imports import sandbox
    box = sandbox.Sandbox('test', False)
    code = 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'
    limits = sandbox.Limits(512 << 20, 60, 600, 1 << 20)
    box.run([sys.executable, '-I', '-c', code], limits, pathlib.Path(sys.argv[1]))
"""


def test_it_is_killed_with_its_parent(tmp_path):
    output = tmp_path / 'output'
    command = [sys.executable, '-c', textwrap.dedent(PARENT), str(output)]
    with subprocess.Popen(command) as parent:
        deadline = time.monotonic() + 60
        while not (output.exists() and output.read_text().strip()):
            assert time.monotonic() < deadline and parent.poll() is None
            time.sleep(0.05)
        child = pathlib.Path('/proc', output.read_text().strip())
        assert child.exists()
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while child.exists() and 'State:\tZ' not in (child / 'status').read_text():
        assert time.monotonic() < deadline, 'it lives on'
        time.sleep(0.05)


def test_a_start_without_qemu_img_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, 'PATH', str(tmp_path))
    with pytest.raises(ConfigurationError, match='needs qemu-img'):
        ImageConversion('image_conversion', configured(tmp_path))


def test_a_host_without_namespaces(monkeypatch):
    monkeypatch.setattr(sandbox, 'ALONE', (('false',),))
    assert not sandbox.Sandbox('test', False).isolated
    with pytest.raises(ConfigurationError, match='cut off from the network'):
        sandbox.Sandbox('[image_conversion] require_no_network', True)
