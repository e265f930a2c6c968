# SPDX-License-Identifier: Apache-2.0
"""What the rbd driver does without a cluster: urls, settings, zeros."""

from __future__ import annotations

import sys

import pytest

from glance_lite.store import BadStoreConfiguration, BadStoreUri
from glance_lite.testing.stores import make_driver
from store_drivers.rbd import BLOCK, RbdStore
from store_drivers.rbd_names import Key

FSID = '10375df0-2fcd-4613-9e4f-1a9868036feb'
OTHER = '00000000-2fcd-4613-9e4f-1a9868036feb'


def make(**settings):
    driver = make_driver(RbdStore, 'deep', **settings)
    driver._cluster.fsid = FSID
    return driver


@pytest.mark.parametrize(
    ('url', 'key'),
    [
        (f'rbd://{FSID}/images/an-id/snap', ('images', 'an-id', 'snap')),
        (f'rbd://{FSID.upper()}/images/an-id/snap', ('images', 'an-id', 'snap')),
        (f'rbd://{FSID}/images/an%20id/other%2Bsnap', ('images', 'an id', 'other+snap')),
        ('rbd://an-id', ('images', 'an-id', None)),
        ('rbd://an%2Did', ('images', 'an%2Did', None)),
    ],
)
def test_urls_of_glance_are_read(url, key):
    assert make().parse(url) == Key(*key)


def test_what_we_write_we_read():
    driver = make(rbd_store_pool='pool of images, 50 %')
    (url,) = driver.locate('an-id')
    assert url == f'rbd://{FSID}/pool%20of%20images%2C%2050%20%25/an-id/snap'
    assert driver.parse(url) == Key('pool of images, 50 %', 'an-id', 'snap')


def test_an_old_and_a_new_url_of_a_device_are_alike():
    """So that a device which is wanted by the old one is no orphan by the new."""
    driver = make()
    (url,) = driver.locate('an-id')
    assert repr(driver.parse(url)) == repr(driver.parse('rbd://an-id'))


@pytest.mark.parametrize(
    'url',
    [
        f'rbd://{FSID}/images%2F/an-id/snap',
        f'rbd://{FSID}/images/an-id@other/snap',
        f'rbd://{FSID}/images/an%2Fid/snap',
        f'rbd://{FSID}/images/an%0Aid/snap',
        f'rbd://{FSID}/images/an-id/',
        f'rbd://{FSID}/images/{"x" * 300}/snap',
        f'rbd://{FSID}/images/an-id',
        f'rbd://{FSID}/images/an-id/snap/more',
        f'RBD://{FSID}/images/an-id/snap',
        f'rbd:/{FSID}/images/an-id/snap',
        'rbd://not-an-id/images/an-id/snap',
        'rbd://../images/an-id/snap',
        'rbd://an@id',
        'rbd://',
        'file:///etc/passwd',
    ],
)
def test_other_urls_are_refused(url):
    with pytest.raises(BadStoreUri):
        make().parse(url)
    assert not make().owns(url)


@pytest.mark.parametrize(
    ('url', 'pool'),
    [
        (f'rbd://{OTHER}/images/an-id/snap', 'images'),
        (f'rbd://{FSID}/volumes/an-id/snap', 'volumes'),
    ],
)
def test_what_lies_elsewhere_is_read_and_not_registered(url, pool):
    """Whoever registers a url would read with our user; what is stored has been ours once."""
    assert make().parse(url) == Key(pool, 'an-id', 'snap')
    assert not make().owns(url)


def test_before_the_cluster_is_known_no_url_of_one_is_its_own():
    driver = make()
    assert driver.owns(f'rbd://{FSID}/images/an-id/snap') and driver.owns('rbd://an-id')
    driver._cluster.fsid = None
    assert not driver.owns(f'rbd://{FSID}/images/an-id/snap')


@pytest.mark.parametrize('library', ['rados', 'rbd'])
def test_a_missing_library_is_told_with_the_cure(monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(BadStoreConfiguration, match=r'^\[deep\] .*apt-get install python3-rbd'):
        make().start()


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        ({'rbd_store_chunk_size': 64}, r'\[deep\] rbd_store_chunk_size: .*32'),
        ({'rbd_store_pool': 'a/b'}, r'\[deep\] rbd_store_pool: '),
    ],
)
def test_settings_that_cannot_be_are_told(settings, sentence):
    with pytest.raises(BadStoreConfiguration, match=sentence):
        make(**settings).start()


def test_objects_are_of_the_next_smaller_power_of_two():
    """As in Glance."""
    assert make(rbd_store_chunk_size=33)._order == 25
    assert make(rbd_store_chunk_size=7)._order == 22


ZEROS, ONES = bytes(BLOCK), b'1' * BLOCK


@pytest.mark.parametrize(
    ('piece', 'runs'),
    [
        (b'', []),
        (b'\0', []),
        (b'1', [(0, 1)]),
        (ZEROS * 3, []),
        (ONES + ZEROS + ONES, [(0, BLOCK), (2 * BLOCK, BLOCK)]),
        (ZEROS + ONES + ONES + ZEROS, [(BLOCK, 2 * BLOCK)]),
        (ZEROS + ONES + b'\0\0', [(BLOCK, BLOCK)]),
        (ZEROS + b'\0' * 5 + b'1', [(BLOCK, 6)]),
    ],
)
def test_zeros_are_not_written(piece, runs):
    thin = [(start, len(run)) for start, run in make(rbd_thin_provisioning=True)._runs(piece)]
    assert thin == runs
    thick = [run for _, run in make()._runs(piece)]
    assert b''.join(thick) == piece
