# SPDX-License-Identifier: Apache-2.0
"""The s3 driver and glance_store's on the same bucket: what one has stored the other reads."""

from __future__ import annotations

import uuid

import pytest

from glance_lite.store import BadStoreUri, ObjectExists, ObjectNotFound
from glance_lite.testing.faults import Source
from glance_lite.testing.stores import pattern
from store_drivers.s3 import S3Store
from tests.backends import radosgw
from tests.conformance.test_s3 import make_store
from tests.peers.published import Published, Refused

pytestmark = pytest.mark.peer

MIB = 1024 * 1024


@pytest.fixture(scope='module', params=['http', 'https'])
def both(request):
    """Our driver, theirs, and the user's keys."""
    gateway = radosgw.gateway()
    with gateway.user() as user:
        secure = request.param == 'https'
        ours = make_store(
            gateway,
            user,
            s3_store_host=gateway.https if secure else gateway.http,
            s3_store_cacert=gateway.ca if secure else '',
            s3_store_large_object_size=6,
        )
        # Theirs does without the options that have no value.
        options = {name: value for name, value in ours.settings.items() if value is not None}
        with Published('s3', options) as theirs:
            yield ours, theirs, user


def read(driver, url):
    return b''.join(driver.get(driver.parse(url)))


@pytest.mark.parametrize('size', [0, 1, 11 * MIB])
def test_what_they_store_we_read_size_and_delete(both, size):
    ours, theirs, _ = both
    name = str(uuid.uuid4())
    data = pattern(size)
    url = theirs.add(name, data)
    assert (url,) == ours.locate(name)
    assert read(ours, url) == data and ours.size(ours.parse(url)) == size
    with pytest.raises(ObjectExists):
        ours.add(name, Source(b'other'), 5)
    ours.delete(ours.parse(url))
    with pytest.raises(Refused, match='NotFound'):
        theirs.size(url)


@pytest.mark.parametrize('sized', [True, False])
@pytest.mark.parametrize('size', [0, 1, 11 * MIB])
def test_what_we_store_they_read_size_and_delete(both, size, sized):
    ours, theirs, _ = both
    name = str(uuid.uuid4())
    data = pattern(size)
    url = ours.add(name, Source(data, sized=sized), size if sized else None)
    assert theirs.get(url) == data and theirs.size(url) == size
    with pytest.raises(Refused, match='Duplicate'):
        theirs.add(name, b'other')
    theirs.delete(url)
    with pytest.raises(ObjectNotFound):
        ours.size(ours.parse(url))


def test_urls_with_credentials_are_read(both):
    """Glance wrote such ones once; what is in them is not used, and not shown."""
    ours, theirs, user = both
    url = theirs.add(str(uuid.uuid4()), b'data')
    scheme, _, rest = url.partition('://')
    old = f'{scheme}://{user.access}:a/secret+of@long/ago@{rest}'
    assert read(ours, old) == theirs.get(old) == b'data'
    assert ours.redact(old) == f'{scheme}://***@{rest}'
    ours.delete(ours.parse(old))
    with pytest.raises(Refused, match='NotFound'):
        theirs.size(url)


def test_what_was_stored_before_bucket_and_host_were_changed(both):
    """A download was refused, and a delete left the data and said nothing."""
    ours, theirs, _ = both
    url = theirs.add(str(uuid.uuid4()), b'data')
    host, bucket = url.split('/')[2:4]
    settings = {**ours.settings, 's3_store_bucket': f'images{uuid.uuid4().hex[:12]}'}
    now = S3Store('s3', settings)
    now.start()
    for old in (url, url.replace(host, 'images.example')):
        assert read(now, old) == b'data' and now.size(now.parse(old)) == 4
        assert not now.owns(old)
    now.delete(now.parse(url))
    with pytest.raises(Refused, match='NotFound'):
        theirs.size(url)
    with pytest.raises(ObjectNotFound):
        now.delete(now.parse(url))
    with pytest.raises(BadStoreUri, match='there is no bucket gone-'):
        now.get(now.parse(url.replace(bucket, f'gone-{bucket}')))


def test_neither_writes_over_an_upload_of_the_other(both):
    """While we upload the name is taken."""
    ours, theirs, _ = both
    name = str(uuid.uuid4())

    def attempt():
        with pytest.raises(Refused, match='Duplicate'):
            theirs.add(name, b'other')

    data = pattern(11 * MIB)
    url = ours.add(name, Source(data, stall_at=7 * MIB, stall=attempt), len(data))
    assert read(ours, url) == data
    ours.delete(ours.parse(url))
