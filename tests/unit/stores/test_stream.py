# SPDX-License-Identifier: Apache-2.0
"""Uploads: what is counted, hashed and refused, and that the last chunk waits for it."""

from __future__ import annotations

import hashlib
import io
import os

import pytest

from glance_lite import stream
from glance_lite.errors import Gone, Invalid, LimitExceeded
from glance_lite.stream import CHUNK, Upload

DATA = bytes(range(256)) * 10_000  # two and a half chunks


def armed(data=DATA, size=None, **kwargs):
    upload = Upload(io.BytesIO(data).read, size)
    upload.arm('sha512', **kwargs)
    return upload


def drain(upload, step=100_000):
    """What a driver gets before the end or the refusal."""
    got = bytearray()
    try:
        while chunk := upload.read(step):
            got += chunk
    except Exception as ex:
        return bytes(got), ex
    return bytes(got), None


@pytest.mark.parametrize('size', [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
@pytest.mark.parametrize('known', [True, False])
def test_all_bytes_pass_and_are_hashed(size, known):
    data = (DATA * 2)[:size]
    upload = armed(data, size if known else None)
    assert drain(upload) == (data, None)
    assert upload.count == size
    assert upload.checksum == hashlib.md5(data).hexdigest()
    assert upload.os_hash_value == hashlib.sha512(data).hexdigest()
    assert upload.settled


def test_a_driver_that_knows_the_size_gets_all_without_asking_for_the_end():
    upload = armed(size=len(DATA))
    got = b''
    while len(got) < len(DATA):
        got += upload.read(len(DATA) - len(got))
    assert got == DATA
    assert upload.settled


@pytest.mark.parametrize(
    ('size', 'error'), [(len(DATA) + 1, Invalid), (len(DATA) - 1, Invalid), (1, Invalid)]
)
def test_a_body_of_another_size_is_refused_before_the_last_chunk(size, error):
    got, ex = drain(armed(size=size))
    assert isinstance(ex, error)
    assert len(got) < len(DATA)


def test_the_smallest_limit_counts():
    upload = armed()
    upload.limit_to(len(DATA) * 2, 'far')
    upload.limit_to(len(DATA) - 1, 'near')
    upload.limit_to(len(DATA) * 3, 'farther')
    got, ex = drain(upload)
    assert isinstance(ex, LimitExceeded) and str(ex) == 'near'
    assert len(got) < len(DATA)


def test_what_is_declared_too_large_is_refused_before_a_byte_is_read():
    upload = Upload(lambda size: pytest.fail('read'), 100)
    upload.arm('sha512')
    upload.limit_to(99, 'too large')
    with pytest.raises(LimitExceeded):
        upload.read(10)


def test_the_last_chunk_is_withheld_when_the_claim_is_lost():
    def lost():
        raise Gone('deleted')

    got, ex = drain(armed(confirm=lost))
    assert isinstance(ex, Gone)
    assert len(DATA) - len(got) >= len(DATA) % CHUNK


def test_the_claim_is_confirmed_once_with_all_bytes_counted():
    seen = []
    upload = Upload(io.BytesIO(DATA).read, None)
    upload.arm('sha512', confirm=lambda: seen.append((upload.count, bool(upload.os_hash_value))))
    drain(upload)
    assert seen == [(len(DATA), True)]


class Refusing:
    """Sees all, and takes it for wrong."""

    def __init__(self):
        self.seen = bytearray()

    def update(self, chunk):
        self.seen += chunk

    def verify(self):
        raise Invalid('not signed')


@pytest.mark.parametrize('size', [1, stream.SMALL, len(DATA)])
def test_the_last_chunk_is_withheld_when_the_signature_is_wrong(size):
    verifier, confirmed = Refusing(), []
    upload = armed(DATA[:size], verifier=verifier, confirm=lambda: confirmed.append(1))
    got, ex = drain(upload)
    assert isinstance(ex, Invalid) and not upload.settled and not confirmed
    assert verifier.seen == DATA[:size]
    assert size - len(got) >= size % CHUNK
    assert upload.os_hash_value == hashlib.sha512(DATA[:size]).hexdigest()


def test_an_empty_body_gets_its_verdict_from_settle():
    seen = []
    upload = armed(b'', 0, confirm=lambda: seen.append(1))
    upload.settle()
    assert seen == [1] and upload.settled
    assert bytes(upload.read(10)) == b''


def test_starting_is_told_once_and_before_the_first_byte():
    events = []
    body = io.BytesIO(DATA)
    upload = Upload(lambda size: events.append('read') or body.read(size), None)
    upload.arm('sha512')
    upload.on_start(lambda: events.append('start'))
    drain(upload)
    assert events[:2] == ['start', 'read']
    assert events.count('start') == 1


def test_without_a_checksum_there_is_none():
    upload = armed(checksum=False)
    drain(upload)
    assert upload.checksum is None and upload.os_hash_value


class Image:
    os_hash_value = None
    checksum = None


def test_entity_tags_are_quoted_hashes():
    image = Image()
    assert stream.etag(image) is None
    image.checksum = 'abc'
    assert stream.etag(image) == '"abc"'
    image.os_hash_value = 'def'
    assert stream.etag(image) == '"def"'


class Filled(io.BytesIO):
    """A body that is read into memory that is there, some of it each time."""

    def readinto(self, view):
        return super().readinto(view[:700_000])


def test_memory_is_used_again_and_what_somebody_holds_stays_as_it_is():
    data = bytes(os.urandom(1000)) * 20_000
    body = Filled(data)
    upload = Upload(body.read, len(data), body.readinto)
    upload.arm('sha512')
    kept = [upload.read(CHUNK) for _ in range(8)]
    while chunk := upload.read(CHUNK):
        kept.append(bytes(chunk))
    assert b''.join(kept) == data
    assert upload.os_hash_value == hashlib.sha512(data).hexdigest()
    assert upload.checksum == hashlib.md5(data).hexdigest()


def test_a_driver_that_holds_nothing_costs_a_few_buffers(monkeypatch):
    made = []

    class Counted(bytearray):
        def __init__(self, size):
            super().__init__(size)
            made.append(size)

    monkeypatch.setattr(stream, 'bytearray', Counted, raising=False)
    data = bytes(40 * CHUNK)
    body = io.BytesIO(data)
    upload = Upload(body.read, len(data), body.readinto)
    upload.arm('sha512')
    while upload.read(CHUNK):
        pass
    assert upload.settled and 2 <= len(made) <= stream.Buffers.KEPT


def test_digests_are_the_same_however_chunks_come():
    digest = stream.Digest('sha512')
    sizes = [1, stream.SMALL, 5, 3 * CHUNK, stream.SMALL - 1, CHUNK, 0, 7] * 20
    data = os.urandom(sum(sizes))
    view, at = memoryview(data), 0
    for size in sizes:
        digest.update(view[at : at + size])
        at += size
    assert digest.hexdigest() == hashlib.sha512(data).hexdigest()
