# SPDX-License-Identifier: Apache-2.0
"""Urls, settings and parts of the s3 driver: all that needs no server."""

from __future__ import annotations

import os
import socket

import pytest

from glance_lite.store import BadStoreConfiguration, BadStoreUri, StoreError, StoreUnavailable
from glance_lite.testing.faults import Source
from glance_lite.testing.stores import make_driver, pattern
from store_drivers.s3 import Object, S3Store
from store_drivers.s3_parts import MIB, MOST_PARTS, Part, Parts

SECRET = 'abc/def+ghi=='


def store(**settings):
    values = {
        's3_store_host': 'http://images.example:8080',
        's3_store_access_key': 'ACCESS',
        's3_store_secret_key': SECRET,
        's3_store_bucket': 'images',
        **settings,
    }
    return make_driver(S3Store, 'deep', **values)


# --- urls


@pytest.mark.parametrize(
    'url',
    [
        's3://images.example:8080/images/key',
        's3+http://images.example:8080/images/key',
        's3+https://images.example:8080/images/key',
        's3://IMAGES.example:8080/images/key',
        # Glance wrote such ones once.
        's3://ACCESS:secret@images.example:8080/images/key',
        f's3+https://ACCESS:{SECRET}@images.example:8080/images/key',
        's3://old:gone@x@images.example:8080/images/key',
    ],
)
def test_urls_that_glance_has_written_are_read(url):
    assert store().parse(url) == Object('images', 'key')
    assert store().owns(url)


@pytest.mark.parametrize(
    'url',
    [
        's3://images.example:8080/key',
        's3://images.example:8080/../key',
        's3://images.example:8080/images/a/key',
        's3://images.example:8080/images/',
        's3://images.example:8080/images/key?versionId=1',
        's3://images.example:8080/images/key#part',
        's3://images.example:8080/images/k ey',
        's3://images.example:8080/images/k\ney',
        's3://images.example:8080/images/k\u00e9y',
        f's3://images.example:8080/images/{"k" * 1025}',
        's3://http://images.example:8080/images/key',
        'http://images.example:8080/images/key',
        's3:/images.example:8080/images/key',
        'S3://images.example:8080/images/key',
    ],
)
def test_other_urls_are_refused(url):
    with pytest.raises(BadStoreUri) as error:
        store().parse(url)
    assert 'secret' not in str(error.value)
    assert not store().owns(url)


@pytest.mark.parametrize(
    ('url', 'bucket'),
    [
        ('s3://elsewhere.example/images/key', 'images'),
        ('s3://images.example/images/key', 'images'),
        ('s3://images.example:8080/others/key', 'others'),
        ('s3://ACCESS:secret@images.example:8080/others/key', 'others'),
    ],
)
def test_what_lies_elsewhere_is_read_and_not_registered(url, bucket):
    """Whoever registers a url would read with our keys; what is stored has been ours once."""
    assert store().parse(url) == Object(bucket, 'key')
    assert not store().owns(url)


def test_the_scheme_says_whether_the_server_is_spoken_to_in_private():
    assert store().locate('key') == ('s3://images.example:8080/images/key',)
    assert store(s3_store_host='images.example').locate('key') == (
        's3://images.example/images/key',
    )
    private = store(s3_store_host='https://images.example/')
    assert private.locate('key') == ('s3+https://images.example/images/key',)
    assert private.schemes[0] == 's3+https'
    below = store(s3_store_host='https://images.example/object/store')
    assert below.owns(*below.locate('key'))


def test_credentials_of_old_urls_are_not_shown():
    redact = store().redact
    for key in ('ACCESS', f'ACCESS:{SECRET}', f'ACCESS:{SECRET}@x'):
        assert redact(f's3://{key}@host/images/key') == 's3://***@host/images/key'
    assert redact('s3://host/images/key') == 's3://host/images/key'
    assert redact('nothing') == 'nothing'


# --- settings


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        ({'s3_store_host': None}, 's3_store_host: must be set'),
        ({'s3_store_access_key': ''}, 's3_store_access_key: must be set'),
        ({'s3_store_secret_key': None}, 's3_store_secret_key: must be set'),
        ({'s3_store_bucket': None}, 's3_store_bucket: must be set'),
        ({'s3_store_bucket': 'a/b'}, 's3_store_bucket: .* is not the name of a bucket'),
        ({'s3_store_host': 'https://'}, 's3_store_host: must be http'),
        ({'s3_store_host': 'http://a:b'}, 's3_store_host: must be http'),
        ({'s3_store_host': 'http://user:pass@host'}, 's3_store_host: must be http'),
        ({'s3_store_host': 'http://host/?x'}, 's3_store_host: must be http'),
        ({'s3_store_host': 'http://ho st'}, 's3_store_host: contains a character'),
        ({'s3_store_bucket_url_format': 'other'}, 's3_store_bucket_url_format: other is not'),
        (
            {'s3_store_bucket_url_format': 'virtual', 's3_store_bucket': 'My_Images'},
            's3_store_bucket_url_format: My_Images cannot be part of a host name; use path',
        ),
        ({'s3_store_large_object_chunk_size': 4}, 's3_store_large_object_chunk_size: must be at'),
        ({'s3_store_thread_pools': 0}, 's3_store_thread_pools: must be at least 1'),
    ],
)
def test_settings_that_cannot_be_right(settings, sentence):
    with pytest.raises(BadStoreConfiguration, match=rf'\[deep\] {sentence}') as error:
        store(**settings)
    assert SECRET not in str(error.value) and 'pass' not in str(error.value).partition('@')[0]


@pytest.mark.parametrize(
    ('host', 'bucket', 'style', 'region'),
    [
        ('https://s3.amazonaws.com', 'images', 'virtual', 'us-east-1'),
        ('https://s3.eu-west-2.amazonaws.com', 'images', 'virtual', 'eu-west-2'),
        ('https://s3-ap-south-1.amazonaws.com', 'images', 'virtual', 'ap-south-1'),
        ('https://s3.cn-north-1.amazonaws.com.cn', 'images', 'virtual', 'cn-north-1'),
        # Its certificate would not match.
        ('https://s3.eu-west-2.amazonaws.com', 'my.images', 'path', 'eu-west-2'),
        ('https://images.example', 'images', 'path', 'us-east-1'),
    ],
)
def test_style_and_region_of_a_host(host, bucket, style, region):
    driver = store(s3_store_host=host, s3_store_bucket=bucket)
    driver._bucket.connect(driver.needs)
    config = driver._bucket._client.meta.config
    assert (config.s3['addressing_style'], config.region_name) == (style, region)


def test_a_region_that_is_said_counts():
    driver = store(s3_store_region_name='north')
    driver._bucket.connect(driver.needs)
    assert driver._bucket._client.meta.region_name == 'north'


def test_nobody_listens():
    """The service comes up without it."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
    driver = store(s3_store_host=f'127.0.0.1:{port}')
    with pytest.raises(StoreUnavailable, match='Store deep failed') as error:
        driver.start()
    assert 'ACCESS' not in str(error.value) and 'secret' not in str(error.value)


# --- parts


def cut(size, known, least=5 * MIB):
    parts = Parts(Source(pattern(size), sized=known), size if known else None, least)
    return [bytes(part.read()) for part in parts]


@pytest.mark.parametrize('known', [True, False])
@pytest.mark.parametrize(
    ('size', 'sizes'),
    [(0, [0]), (1, [1]), (5, [5]), (6, [5, 1]), (10, [5, 5]), (11, [5, 5, 1])],
)
def test_parts_are_of_the_least_size(known, size, sizes):
    found = cut(size, known, least=5)
    assert [len(part) for part in found] == sizes
    assert b''.join(found) == pattern(size)


def test_very_large_ones_have_no_more_parts_than_there_may_be():
    class Zeros:
        def read(self, size):
            return bytes(size)

    known = Parts(Zeros(), 10 * MOST_PARTS * 100 + 1, 100)
    assert known._least * MOST_PARTS >= 10 * MOST_PARTS * 100 + 1
    unknown = Parts(Zeros(), None, 100)
    sizes = [next(unknown).size for _ in range(MOST_PARTS)]
    # 10,000 parts of 10 MiB and more hold 1 TiB.
    assert sum(sizes) * MIB // 10 > 1024**4 and sizes == sorted(sizes)
    assert max(sizes) < 100 * 60


def test_a_source_that_ends_too_early():
    with pytest.raises(StoreError, match='10 bytes were promised and 9 came'):
        list(Parts(Source(pattern(9), sized=False), 10, 5))


def test_a_part_gives_more_than_it_is_asked_for():
    data, part = pattern(2 * MIB + 7), Part()
    for start, end in ((0, 10), (10, MIB - 1), (MIB - 1, len(data))):
        part.add(data[start:end])
    assert part.size == part.seek(0, os.SEEK_END) == len(data)
    for start in (0, 5, MIB, MIB + 1):
        assert part.seek(start) == part.tell() == start
        found = list(iter(lambda: part.read(16384), b''))
        assert b''.join(found) == data[start:] and len(found) == 3 - start // MIB
        part.seek(start)
        assert part.read() == data[start:]
        assert (part.read(16384), part.read()) == (b'', b'')
