# SPDX-License-Identifier: Apache-2.0
"""The small import plug-ins by themselves."""

from __future__ import annotations

import gzip
import threading
import time

import pytest

from glance_lite import conf as configuration
from glance_lite.errors import Gone, LimitExceeded, UnsupportedMedia
from glance_lite.imports import native
from glance_lite.imports.plugins import ImageDecompression, InjectImageMetadata, NoOp
from glance_lite.imports.values import Job, Outcome
from glance_lite.testing.layers import make_image
from tests.unit.imports.work import FileWork


@pytest.fixture
def conf(tmp_path):
    def conf(text=''):
        file = tmp_path / 'glance-api.conf'
        file.write_text(text)
        return configuration.parse(configuration.new(), ['--config-file', str(file)])

    return conf


def job(*roles, container_format='bare'):
    image = make_image('an-id').replace(disk_format='raw', container_format=container_format)
    return Job(serial=1, task_id='t', image=image, method='web-download', roles=roles)


@pytest.fixture
def work(tmp_path):
    def work(data=b'data', **more):
        path = tmp_path / 'staged'
        path.write_bytes(data)
        return FileWork(path, **more)

    return work


def test_no_op(conf, work):
    assert NoOp('no_op', conf()).apply(job(), work()) == Outcome()


@pytest.mark.parametrize(
    ('ignored', 'roles', 'injected'),
    [
        (None, ('member', 'reader'), True),
        (None, ('admin', 'member'), False),
        (None, (), True),
        ('[admin, builder]', ('builder',), False),
        ('admin,Builder', ('builder',), False),
        ('', ('admin',), True),
        ('[]', ('admin',), True),
    ],
)
def test_injection(conf, work, ignored, roles, injected):
    text = '[inject_metadata_properties]\ninject = os_distro:debian,owner_note:ours\n'
    if ignored is not None:
        text += f'ignore_user_roles = {ignored}\n'
    found = InjectImageMetadata('inject_image_metadata', conf(text)).apply(job(*roles), work())
    wanted = {'os_distro': 'debian', 'owner_note': 'ours'} if injected else {}
    assert found.properties == wanted and found.file is None and not found.fields


def test_nothing_to_inject(conf, work):
    assert InjectImageMetadata('x', conf()).apply(job('member'), work()) == Outcome()


DATA = b'\xeb\x63' + b'disk' * 10_000


def decompress(conf, work, text='', **more):
    return ImageDecompression('image_decompression', conf(text)).apply(job(**more), work)


def test_decompression(conf, work):
    step = work(gzip.compress(DATA))
    outcome = decompress(conf, step)
    assert outcome == Outcome(file=step.new())
    assert step.new().read_bytes() == DATA
    # The input is as it was, and a second time gives the same.
    assert step.path.read_bytes() == gzip.compress(DATA)
    step.new().write_bytes(b'x' * 10**6)
    assert decompress(conf, step) == outcome and step.new().read_bytes() == DATA
    assert step.seen[-1] == (step.path.stat().st_size,) * 2


def test_what_is_not_compressed_stays(conf, work):
    step = work(DATA)
    assert decompress(conf, step) == Outcome() and not step.new().exists()
    assert decompress(conf, work(b'')) == Outcome()


def test_what_is_meant_to_be_compressed_stays(conf, work):
    step = work(gzip.compress(DATA))
    assert decompress(conf, step, container_format='compressed') == Outcome()


def test_limits_of_decompression(conf, work):
    with pytest.raises(LimitExceeded, match='larger than 30000'):
        decompress(conf, work(gzip.compress(DATA), most=30_000))
    with pytest.raises(LimitExceeded, match='larger than 20000'):
        text = '[image_decompression]\nmax_size = 20000\n'
        decompress(conf, work(gzip.compress(DATA), most=30_000), text)
    bomb = gzip.compress(bytes(20 << 20))
    with pytest.raises(LimitExceeded, match='200 times'):
        decompress(conf, work(bomb))
    free = '[image_decompression]\nmax_ratio = 0\n'
    assert decompress(conf, work(bomb), free).file is not None
    with pytest.raises(UnsupportedMedia):
        decompress(conf, work(b'Rar!\x1a\x07' + bytes(20)))


def test_whoever_listens_ends_native_work(monkeypatch):
    """It has ended before the step has: nobody writes to its files any more."""
    monkeypatch.setattr(native, 'REPORT', 0.05)
    over = threading.Event()

    def work(meter):
        try:
            for count in range(10_000):
                meter(count, 10_000)
                time.sleep(0.01)
        finally:
            over.set()

    def told(done, total):
        if done > 5:
            raise Gone

    with pytest.raises(Gone):
        native.run(told, work)
    assert over.is_set()


def test_what_native_work_raises_is_raised():
    def fails(meter):
        raise UnsupportedMedia('no')

    with pytest.raises(UnsupportedMedia, match='no'):
        native.run(lambda *at: None, fails)
