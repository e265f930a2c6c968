# SPDX-License-Identifier: Apache-2.0
"""The gateway on real stores: two directories and a memory.

Every case runs twice: as under a threaded server, where a driver simply blocks, and as under the
green one, where it runs in the store's own threads and the request waits on a descriptor.
"""

from __future__ import annotations

import hashlib
import io
import os
import select
import socket
import threading

import pytest

from glance_lite.concurrency import Hub, green
from glance_lite.errors import (
    BadStoreUri,
    Gone,
    Invalid,
    LeftBehind,
    LimitExceeded,
    ObjectExists,
    ObjectNotFound,
    RangeNotSatisfiable,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from glance_lite.model import Location, Span, Wanted
from glance_lite.stream import Upload, etag
from glance_lite.testing.layers import make_image, make_parts

STORES = """
[DEFAULT]
enabled_backends = first:file,second:file,ram:memory,os_glance_staging_store:memory
[glance_store]
default_backend = first
[first]
filesystem_store_datadir = {directory}/first
weight = 20
[second]
filesystem_store_datadir = {directory}/second
weight = 10
[ram]
store_description = fast and forgetful
memory_store_size = 9000000
"""
#: Three chunks of a driver, no two of them alike.
DATA = b''.join(number.to_bytes(4, 'big') for number in range(700_000))
OTHER = bytes(reversed(DATA))


@pytest.fixture(params=['threaded', 'green'], autouse=True)
def server(request, monkeypatch):
    if request.param == 'green':
        # What a hub does for a green thread, for this one alone: wait until it can be read.
        wait = staticmethod(lambda fd, *seconds: bool(select.select([fd], [], [], *seconds)[0]))
        monkeypatch.setattr(Hub, 'wait_readable', wait)


@pytest.fixture
def gateway(tmp_path):
    return make_parts(tmp_path, STORES.format(directory=tmp_path)).gateway


def driver(gateway, store):
    return gateway.stores[store].driver


def stored(gateway, *stores, data=DATA, **fields):
    """An image whose data really is in these stores; a pair is a store and what it holds."""
    image_id, locations = fields.pop('id', 'an-image'), []
    for number, store in enumerate(stores):
        store, held = store if isinstance(store, tuple) else (store, data)
        url = driver(gateway, store).add(image_id, io.BytesIO(held), len(held))
        locations.append(Location(number + 1, url, {'store': store}))
    values = {
        'size': len(data),
        'os_hash_algo': 'sha256',
        'os_hash_value': hashlib.sha256(data).hexdigest(),
        **fields,
    }
    return make_image(image_id, locations=tuple(locations), **values)


def path(image, number=0):
    return image.locations[number].url.removeprefix('file://')


def read(gateway, image, **wanted):
    """All that a client gets, and how it ended."""
    download = gateway.open(image, Wanted(**wanted))
    got = bytearray()
    try:
        for chunk in download:
            got += chunk
    except Exception as ex:
        return bytes(got), ex
    finally:
        download.close()
    assert len(got) == download.length
    return bytes(got), None


def upload(data=DATA, sized=True, **arm):
    made = Upload(io.BytesIO(data).read, len(data) if sized else None)
    made.arm('sha256', **arm)
    return made


def everything(gateway):
    """Store -> names and sizes of what it holds."""
    return {
        name: {url.rpartition('/')[2]: size for url, size, _ in store.driver.list()}
        for name, store in gateway.stores.items()
    }


each_store = pytest.mark.parametrize('store', ['first', 'ram'])


# --- ranges


@each_store
@pytest.mark.parametrize(
    ('first', 'last', 'wanted'),
    [
        (0, None, DATA),
        (0, 0, DATA[:1]),
        (5, 9, DATA[5:10]),
        (1 << 20, 1 << 20, DATA[1 << 20 : (1 << 20) + 1]),
        ((1 << 20) - 1, 2 << 20, DATA[(1 << 20) - 1 : (2 << 20) + 1]),
        (len(DATA) - 1, None, DATA[-1:]),
        (len(DATA) - 1, 10**30, DATA[-1:]),
        (7, len(DATA) - 1, DATA[7:]),
        (None, 1, DATA[-1:]),
        (None, 100_000, DATA[-100_000:]),
        (None, len(DATA), DATA),
        (None, 10**30, DATA),
    ],
)
def test_a_range_is_what_was_asked_for(gateway, store, first, last, wanted):
    image = stored(gateway, store)
    download = gateway.open(image, Wanted(span=Span(first, last)))
    assert (download.partial, download.total, download.length) == (True, len(DATA), len(wanted))
    assert DATA[download.offset :][: download.length] == wanted
    assert b''.join(download) == wanted
    download.close()
    assert download.sent == len(wanted)


@pytest.mark.parametrize(
    ('data', 'span'),
    [
        (DATA, Span(len(DATA), None)),
        (DATA, Span(len(DATA), len(DATA))),
        (DATA, Span(10**30, None)),
        (DATA, Span(None, 0)),
        (b'', Span(0, None)),
        (b'', Span(None, 5)),
    ],
)
def test_a_range_outside_of_the_image_is_refused_with_its_size(gateway, data, span):
    image = stored(gateway, 'first', data=data)
    with pytest.raises(RangeNotSatisfiable) as caught:
        gateway.open(image, Wanted(span=span))
    assert caught.value.size == len(data)


def test_a_range_of_what_has_changed_is_the_whole(gateway):
    image = stored(gateway, 'first')
    span = Span(5, 9)
    same = gateway.open(image, Wanted(span=span, validator=etag(image)))
    other = gateway.open(image, Wanted(span=span, validator='"something else"'))
    assert (same.partial, b''.join(same)) == (True, DATA[5:10])
    assert (other.partial, b''.join(other)) == (False, DATA)
    # Of the whole no range can lie outside.
    late = gateway.open(image, Wanted(span=Span(10**9, None), validator='"x"'))
    assert (late.partial, late.length) == (False, len(DATA))
    for download in (same, other, late):
        download.close()


def test_an_image_without_an_entity_tag_never_has_the_same(gateway):
    image = stored(gateway, 'first', os_hash_value=None, checksum=None)
    download = gateway.open(image, Wanted(span=Span(5, 9), validator=''))
    assert not download.partial
    download.close()


def test_a_size_the_database_does_not_know_is_asked_of_the_store(gateway):
    image = stored(gateway, 'first', size=None)
    assert read(gateway, image) == (DATA, None)
    assert read(gateway, image, span=Span(None, 3)) == (DATA[-3:], None)


def test_of_a_head_nothing_is_opened(gateway):
    image = stored(gateway, 'first')
    os.unlink(path(image))
    download = gateway.open(image, Wanted(body=False, span=Span(5, 9)))
    assert (download.total, download.offset, download.length) == (len(DATA), 5, 5)
    assert list(download) == [] and download.sendfile is None


def test_an_image_without_locations_has_no_data(gateway):
    download = gateway.open(make_image('x', locations=()), Wanted())
    assert (download.total, download.length, list(download)) == (None, 0, [])


def test_a_plain_file_is_for_the_green_server_to_send(gateway):
    """A threaded server has its own way with iterators."""
    download = gateway.open(stored(gateway, 'first'), Wanted(span=Span(5, 2_000_004)))
    plain = download.sendfile
    if not green():
        assert plain is None
    else:
        got = plain.read(10)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            while plain.left:
                sent = plain.send(ours.fileno())
                got += theirs.recv(sent, socket.MSG_WAITALL)
        assert got == DATA[5:2_000_005]
    download.close()


def test_a_client_that_does_not_read_is_told_from_a_file_that_ends(gateway):
    if not green():
        return
    image = stored(gateway, 'first')
    download = gateway.open(image, Wanted())
    plain = download.sendfile
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        sent = plain.send(ours.fileno())
        assert 0 < sent < len(DATA) and plain.left == len(DATA) - sent
        with pytest.raises(BlockingIOError):
            plain.send(ours.fileno())
        assert theirs.recv(sent, socket.MSG_WAITALL) == DATA[:sent]
        os.truncate(path(image), sent)
        with pytest.raises(StoreUnavailable, match='shorter'):
            plain.send(ours.fileno())
        theirs.close()
        with pytest.raises((BrokenPipeError, StoreUnavailable)):
            plain.send(ours.fileno())
    download.close()


def test_a_plain_file_that_was_cut_off_does_not_end_well(gateway):
    image = stored(gateway, 'first')
    download = gateway.open(image, Wanted())
    os.truncate(path(image), 1000)
    if green():
        assert len(download.sendfile.read(1 << 20)) == 1000
        with pytest.raises(StoreUnavailable):
            download.sendfile.read(1 << 20)
    download.close()


def test_what_is_in_memory_is_no_plain_file(gateway):
    assert gateway.open(stored(gateway, 'ram'), Wanted()).sendfile is None


def test_an_abandoned_download_keeps_nothing_open(gateway):
    image = stored(gateway, 'first')
    read(gateway, image)  # threads and what they hold are there from here on
    before = len(os.listdir('/proc/self/fd'))
    for _ in range(20):
        download = gateway.open(image, Wanted())
        next(download)
        download.close()
    # A thread may hold on to its last task until the next one comes.
    assert len(os.listdir('/proc/self/fd')) < before + 5


# --- which location


def stores(gateway, image, *prefer):
    return [location.store for location in gateway.order(image.locations, prefer)]


def test_heavier_stores_are_tried_first(gateway):
    image = stored(gateway, 'ram', 'second', 'first')
    assert stores(gateway, image) == ['first', 'second', 'ram']


def test_what_is_preferred_comes_before_what_is_heavy(gateway):
    image = stored(gateway, 'first', 'second', 'ram')
    assert stores(gateway, image, 'ram') == ['ram', 'first', 'second']
    assert stores(gateway, image, 'ram', 'second') == ['ram', 'second', 'first']
    # A store without a copy is no obstacle.
    image = stored(gateway, 'first', 'second', id='other')
    assert stores(gateway, image, 'ram', 'second') == ['second', 'first']


def test_of_equal_weights_the_older_location_is_first(gateway):
    old = Location(1, 'http://somewhere/x', {})
    new = Location(2, 'memory://ram/x', {'store': 'ram'})
    assert gateway.order((old, new)) == [old, new]
    assert gateway.order((new, old)) == [new, old]


@pytest.mark.parametrize('name', ['nowhere', 'os_glance_staging_store', ''])
def test_only_stores_that_clients_know_can_be_preferred(gateway, name):
    image = stored(gateway, 'first')
    with pytest.raises(Invalid):
        gateway.open(image, Wanted(prefer=(name,)))


def test_the_preferred_copy_is_the_one_that_is_read(gateway):
    image = stored(gateway, 'first', ('second', OTHER))
    assert read(gateway, image)[0] == DATA
    assert read(gateway, image, prefer=('second',))[0] == OTHER


def test_a_location_of_before_there_were_stores_is_found_by_its_url(gateway):
    image = stored(gateway, 'second')
    image = image.replace(locations=(Location(1, image.locations[0].url),))
    assert gateway.find(image.locations[0]).id == 'second'
    assert read(gateway, image) == (DATA, None)
    moved = Location(1, image.locations[0].url, {'store': 'renamed'})
    assert gateway.find(moved).id == 'second'


def test_what_a_store_reads_and_would_not_write_is_not_claimed(gateway, monkeypatch):
    """One whose configuration has changed reads what it has stored before, and only that."""
    image = stored(gateway, 'second')
    url = image.locations[0].url
    assert gateway.claiming(url).id == 'second'
    for name in ('first', 'second'):
        monkeypatch.setattr(driver(gateway, name), 'parse', lambda url: url[7:])
        monkeypatch.setattr(driver(gateway, name), 'owns', lambda url: False)
    assert gateway.claiming(url) is None
    assert gateway.find(Location(1, url)).id == 'first'
    assert gateway.find(Location(1, url, {'store': 'second'})).id == 'second'
    monkeypatch.setattr(driver(gateway, 'second'), 'owns', lambda url: True)
    assert gateway.find(Location(1, url)).id == 'second'


@pytest.mark.parametrize('url', ['http://host/x', 'file:///etc/passwd', 'nothing', ''])
def test_a_location_of_no_store_is_not_read(gateway, url):
    image = stored(gateway, 'first').replace(locations=(Location(1, url),))
    with pytest.raises(StoreUnavailable):
        gateway.open(image, Wanted())


# --- when a location fails at once


def test_the_next_location_is_read_when_the_first_cannot_be_opened(gateway):
    image = stored(gateway, 'first', 'second', 'ram')
    os.unlink(path(image))
    assert read(gateway, image) == (DATA, None)
    os.unlink(path(image, 1))
    assert read(gateway, image) == (DATA, None)
    assert read(gateway, image, span=Span(7, 20)) == (DATA[7:21], None)


def test_what_is_in_no_store_any_more_is_not_found(gateway):
    image = stored(gateway, 'first', 'second')
    os.unlink(path(image))
    os.unlink(path(image, 1))
    with pytest.raises(ObjectNotFound, match='any of its stores') as caught:
        gateway.open(image, Wanted())
    assert str(path(image)) not in caught.value.message


def test_a_location_of_no_store_is_passed_over(gateway):
    image = stored(gateway, 'second')
    lost = Location(9, 'swift+https://user:password@host/x', {'store': 'swift'})
    image = image.replace(locations=(lost, *image.locations))
    assert read(gateway, image, prefer=()) == (DATA, None)


# --- when a location fails in the middle


def truncate(image, size, number=0):
    os.truncate(path(image, number), size)


@pytest.mark.parametrize('at', [0, 1, 1 << 20, (1 << 20) + 7, len(DATA) - 1])
@pytest.mark.parametrize('second', ['second', 'ram'])
def test_another_location_carries_on_where_the_first_broke_off(gateway, at, second):
    image = stored(gateway, 'first', second)
    truncate(image, at)
    assert read(gateway, image) == (DATA, None)
    for first, last in ((0, 5), (at, None), (max(0, at - 3), at + 3), (at + 1, None)):
        if first < len(DATA):
            wanted = DATA[first:] if last is None else DATA[first : last + 1]
            assert read(gateway, image, span=Span(first, last)) == (wanted, None)


def test_a_file_that_is_cut_off_while_it_is_read(gateway):
    image = stored(gateway, 'first', 'second')
    download = gateway.open(image, Wanted())
    got = bytes(next(download))
    truncate(image, len(got))
    assert got + b''.join(download) == DATA
    download.close()


def test_it_breaks_off_when_there_is_no_other_location(gateway):
    image = stored(gateway, 'first')
    truncate(image, 1 << 20)
    if green():
        # The server would send the file by itself, so this is seen before the first byte.
        with pytest.raises(StoreUnavailable, match='less than the image'):
            gateway.open(image, Wanted())
    else:
        got, error = read(gateway, image)
        assert got == DATA[: 1 << 20] and isinstance(error, StoreUnavailable)


def test_it_goes_from_one_to_the_next_as_long_as_there_are_any(gateway):
    image = stored(gateway, 'first', 'second', 'ram')
    truncate(image, 1000)
    truncate(image, 2_000_000, 1)
    # Cut off as well, and so of another size: passed over.
    assert read(gateway, image) == (DATA, None)


@pytest.mark.parametrize('other', [DATA[:-1], DATA + b'x', b''])
def test_a_location_of_another_size_does_not_carry_on(gateway, other):
    image = stored(gateway, 'first', ('second', other))
    truncate(image, 1 << 20)
    got, error = read(gateway, image)
    assert got == DATA[: 1 << 20] and isinstance(error, StoreUnavailable)


def test_a_location_that_is_not_ours_does_not_carry_on(gateway):
    """Whoever registered its url may have put anything there since."""
    image = stored(gateway, 'first', 'second')
    ours, foreign = image.locations
    image = image.replace(locations=(ours, Location(foreign.id, foreign.url)))
    truncate(image, 1 << 20)
    got, error = read(gateway, image)
    assert got == DATA[: 1 << 20] and isinstance(error, StoreUnavailable)


@pytest.mark.parametrize('second', ['second', 'ram'])
def test_what_was_put_together_wrongly_breaks_instead_of_ending(gateway, second):
    """Same size, other bytes: the client must not take it for the image."""
    image = stored(gateway, 'first', (second, OTHER))
    truncate(image, 1 << 20)
    got, error = read(gateway, image)
    assert isinstance(error, StoreUnavailable) and 'damaged' in error.message
    assert len(got) < len(DATA)


def test_an_algorithm_nobody_knows_does_not_stop_the_download(gateway):
    image = stored(gateway, 'first', 'second', os_hash_algo=None, os_hash_value=None)
    truncate(image, 1 << 20)
    assert read(gateway, image) == (DATA, None)


# --- in


@each_store
@pytest.mark.parametrize('sized', [True, False])
@pytest.mark.parametrize('data', [b'', b'x', DATA], ids=len)
def test_what_is_put_is_there(gateway, store, sized, data):
    confirmed = []
    source = upload(data, sized, confirm=lambda: confirmed.append(source.count))
    found = gateway.put(store, 'name', 'spare', source)
    assert (found.store, found.size) == (store, len(data))
    assert found.checksum == hashlib.md5(data).hexdigest()
    assert (found.os_hash_algo, found.os_hash_value) == (
        'sha256', hashlib.sha256(data).hexdigest(),
    )  # fmt: skip
    assert confirmed == [len(data)]
    image = make_image('x', size=len(data), locations=(Location(1, found.url, {'store': store}),))
    assert read(gateway, image) == (data, None)


@each_store
@pytest.mark.parametrize('sized', [True, False])
@pytest.mark.parametrize('data', [b'', b'x', DATA], ids=len)
def test_what_is_refused_at_the_end_is_nowhere(gateway, store, sized, data):
    def refuse():
        raise Gone('the image was deleted')

    with pytest.raises(Gone):
        gateway.put(store, 'name', 'spare', upload(data, sized, confirm=refuse))
    assert not any(everything(gateway).values())
    gateway.put(store, 'name', 'spare', upload())


def held(gateway, store, name):
    """The bytes under a name."""
    kept = driver(gateway, store)
    url = next(url for url, _, _ in kept.list() if url.endswith(f'/{name}'))
    return b''.join(bytes(chunk) for chunk in kept.get(kept.parse(url)))


@each_store
@pytest.mark.parametrize('sized', [True, False])
def test_a_name_that_is_taken_keeps_what_it_had(gateway, store, sized):
    """Somebody's remains are in nobody's way, and nobody's to remove."""
    gateway.put(store, 'name', 'spare', upload(b'remains'))
    gateway.put(store, 'neighbour', 'spare', upload(b'not involved'))
    found = gateway.put(store, 'name', 'spare', upload(DATA, sized))
    assert found.url.endswith('/spare') and found.size == len(DATA)
    assert held(gateway, store, 'spare') == DATA
    assert held(gateway, store, 'name') == b'remains'
    assert everything(gateway)[store] == {'name': 7, 'neighbour': 12, 'spare': len(DATA)}


@each_store
@pytest.mark.parametrize('sized', [True, False])
@pytest.mark.parametrize('spare', ['spare', 'name'])
def test_when_the_spare_name_is_taken_as_well_nothing_is_written(gateway, store, sized, spare):
    gateway.put(store, 'name', 'name', upload(b'remains'))
    gateway.put(store, 'spare', 'spare', upload(b'not involved'))
    before = everything(gateway)
    with pytest.raises(ObjectExists):
        gateway.put(store, 'name', spare, upload(DATA, sized))
    assert everything(gateway) == before
    assert held(gateway, store, 'name') == b'remains'


@each_store
def test_a_body_that_breaks_leaves_only_what_was_there(gateway, store):
    gateway.put(store, 'neighbour', 'spare', upload(b'not involved'))
    before = everything(gateway)
    chunks = [bytes(100_000)] * 3

    def broken(size):
        if not chunks:
            raise ConnectionResetError('the client is gone')
        return chunks.pop()

    source = Upload(broken, None)
    source.arm('sha256')
    with pytest.raises((ConnectionResetError, StoreUnavailable)):
        gateway.put(store, 'name', 'spare', source)
    assert everything(gateway) == before


def test_a_store_that_is_full_takes_nothing(gateway):
    for sized in (True, False):
        with pytest.raises(StoreFull):
            gateway.put('ram', 'name', 'spare', upload(bytes(9_000_001), sized))
    assert not any(everything(gateway).values())


def test_a_driver_that_does_not_read_all_is_not_believed(gateway, monkeypatch):
    kept = driver(gateway, 'ram')
    add = type(kept).add

    def half(name, source, size):
        return add(kept, name, io.BytesIO(bytes(source.read(1000))), None)

    monkeypatch.setattr(kept, 'add', half)
    with pytest.raises(StoreError, match='did not read all'):
        gateway.put('ram', 'name', 'spare', upload(DATA))
    assert not any(everything(gateway).values())


def test_a_single_store_is_not_named_in_locations(tmp_path):
    text = (
        '[DEFAULT]\nenabled_backends =\n[glance_store]\nstores = memory\ndefault_store = memory\n'
    )
    alone = make_parts(tmp_path, text).gateway
    assert not alone.multi
    assert alone.put('memory', 'name', 'spare', upload(b'x')).store is None


# --- away


@each_store
def test_what_is_removed_is_gone_and_the_rest_stays(gateway, store):
    image, other = stored(gateway, store), stored(gateway, store, id='other')
    gateway.remove(image.locations[0])
    assert list(everything(gateway)[store]) == ['other']
    with pytest.raises(ObjectNotFound):
        gateway.remove(image.locations[0])
    assert read(gateway, other) == (DATA, None)


@pytest.mark.parametrize(
    ('url', 'store', 'error'),
    [
        ('file:///etc/hostname', 'first', BadStoreUri),
        ('memory://ram/x', 'first', BadStoreUri),
        ('file:///etc/hostname', None, StoreUnavailable),
        ('rbd://pool/x', 'ceph', StoreUnavailable),
    ],
)
def test_what_is_not_ours_is_not_removed(gateway, url, store, error):
    with pytest.raises(error):
        gateway.remove(Location(1, url, {'store': store} if store else {}))
    assert os.path.exists('/etc/hostname')


# --- for people


def test_a_store_that_is_not_well_says_so_without_a_path(gateway, tmp_path):
    assert set(gateway.check().values()) == {None}
    (tmp_path / 'second').rmdir()
    found = gateway.check()
    assert found['first'] is None and found['ram'] is None
    assert 'second' in found['second'] and str(tmp_path) not in found['second']


def test_what_the_service_keeps_for_itself_is_not_shown(gateway):
    assert gateway.known_ids() == ('first', 'second', 'ram')
    assert [info.id for info in gateway.info(True)] == ['first', 'second', 'ram']
    assert [info.default for info in gateway.info(False)] == [True, False, False]
    assert gateway.info(False)[2].description == 'fast and forgetful'
    with pytest.raises(Invalid):
        gateway.named('os_glance_staging_store')
    assert gateway.named(None).id == 'first'


def test_downloads_of_copied_images_keep_nothing_open(gateway):
    """The digest of an image with several copies kept the descriptor of its last chunk."""
    image = stored(gateway, 'first', 'second')
    read(gateway, image)
    before = len(os.listdir('/proc/self/fd'))
    for _ in range(20):
        download = gateway.open(image, Wanted())
        list(download)
        download.close()
    assert len(os.listdir('/proc/self/fd')) < before + 5


def test_uploads_that_break_keep_nothing_open(gateway):
    def go():
        chunks = [bytes(100_000)] * 3

        def broken(size):
            if not chunks:
                raise ConnectionResetError
            return chunks.pop()

        source = Upload(broken, None)
        source.arm('sha256')
        with pytest.raises((ConnectionResetError, StoreUnavailable)):
            gateway.put('first', 'name', 'spare', source)

    go()
    before = len(os.listdir('/proc/self/fd'))
    for _ in range(20):
        go()
    assert len(os.listdir('/proc/self/fd')) < before + 5


@each_store
def test_a_driver_that_does_not_read_all_is_never_believed(gateway, store, monkeypatch):
    """The channel to a native driver had all of it, and the driver half."""
    kept = driver(gateway, store)
    add = type(kept).add

    def half(name, source, size):
        return add(kept, name, io.BytesIO(bytes(source.read(1000))), None)

    monkeypatch.setattr(kept, 'add', half)
    with pytest.raises(StoreError, match='did not read all'):
        gateway.put(store, 'name', 'spare', upload(DATA))
    assert not any(everything(gateway).values())


@each_store
def test_an_empty_image_takes_the_spare_name(gateway, store):
    gateway.put(store, 'name', 'spare', upload(b'remains'))
    assert gateway.put(store, 'name', 'spare', upload(b'')).url.endswith('/spare')


@each_store
def test_what_a_driver_makes_of_a_refusal_changes_nothing(gateway, store, monkeypatch):
    """Read again, a refused upload gave what had been withheld; and a 413 became a 503."""
    kept = driver(gateway, store)
    add = type(kept).add

    def stubborn(name, source, size):
        class Again:
            def read(self, size):
                try:
                    return source.read(size)
                except Exception:
                    return source.read(size)

        try:
            return add(kept, name, Again(), size)
        except Exception as ex:
            raise OSError('something went wrong') from ex

    monkeypatch.setattr(kept, 'add', stubborn)
    source = upload(DATA, sized=False)
    source.limit_to(len(DATA) - 1, 'too much')
    with pytest.raises(LimitExceeded, match='too much'):
        gateway.put(store, 'name', 'spare', source)
    assert not any(everything(gateway).values())


@each_store
def test_an_error_of_a_driver_is_the_stores(gateway, store, monkeypatch, caplog):
    def broken(*args):
        raise ValueError('password=secret')

    image = stored(gateway, store)
    for verb in ('get', 'sendfile', 'delete', 'size', 'check'):
        monkeypatch.setattr(driver(gateway, store), verb, broken)
    for act in (
        lambda: gateway.open(image, Wanted()),
        lambda: gateway.remove(image.locations[0]),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            act()
        assert 'secret' not in str(caught.value)
    assert gateway.check()[store] == f'Store {store} failed'


def test_an_answer_that_nobody_iterates_is_closed(gateway, monkeypatch):
    """A generator that was never started does not run its end."""

    class Chunks:
        closed = False

        def __iter__(self):
            return self

        def __next__(self):
            return b'x'

        def close(self):
            self.closed = True

    chunks = Chunks()
    image = stored(gateway, 'ram')
    monkeypatch.setattr(driver(gateway, 'ram'), 'get', lambda *args: chunks)
    monkeypatch.setattr(type(driver(gateway, 'ram')), 'io', 'native')
    gateway.open(image, Wanted()).close()
    assert chunks.closed


def test_an_upload_killed_at_the_very_end_leaves_nothing(gateway, monkeypatch):
    """While the driver finished, nobody deleted what it had made of it."""
    if not green():
        pytest.skip('a thread is not killed')

    class Killed(BaseException):
        pass

    kept, ended = driver(gateway, 'first'), threading.Event()
    add = type(kept).add

    def slow(name, source, size):
        url = add(kept, name, source, size)
        assert ended.wait(30)
        return url

    source, real = upload(DATA), Hub.wait_readable

    def wait(descriptor, seconds=None):
        if source.settled and everything(gateway)['first'] and not ended.is_set():
            ended.set()
            raise Killed
        return bool(select.select([descriptor], [], [], 0.01)[0])

    monkeypatch.setattr(kept, 'add', slow)
    monkeypatch.setattr(Hub, 'wait_readable', staticmethod(wait))
    with pytest.raises(Killed):
        gateway.put('first', 'name', 'spare', source)
    monkeypatch.setattr(Hub, 'wait_readable', staticmethod(real))
    assert not any(everything(gateway).values())


# --- a watcher


class Noted:
    """Notes what it is told."""

    def __init__(self):
        self.told = []

    def stored(self, store_id, count):
        self.told.append(('stored', store_id, count))

    def given(self, store_id, count):
        self.told.append(('given', store_id, count))

    def failed(self, store_id):
        self.told.append(('failed', store_id))

    def left_alone(self, store_id, begins):
        self.told.append(('left alone', store_id, begins))


@pytest.fixture
def noted(gateway):
    gateway.watch.by = Noted()
    return gateway.watch.by.told


def test_a_watcher_is_told_what_stores_take_and_give(gateway, noted):
    gateway.put('second', 'a-name', 'a-spare', upload())
    image = stored(gateway, 'first')
    read(gateway, image)
    read(gateway, image, span=Span(7, 20))
    assert noted == [
        ('stored', 'second', len(DATA)),
        ('given', 'first', len(DATA)),
        ('given', 'first', 14),
    ]


def test_a_watcher_is_told_who_failed_and_who_gave_the_rest(gateway, noted):
    image = stored(gateway, 'first', 'second')
    at = (1 << 20) + 7
    truncate(image, at)
    assert read(gateway, image) == (DATA, None)
    assert noted == [
        ('failed', 'first'),
        ('given', 'first', at),
        ('given', 'second', len(DATA) - at),
    ]


def test_a_watcher_is_not_told_of_bytes_that_nobody_took(gateway, noted):
    image = stored(gateway, 'first', 'second')
    download = gateway.open(image, Wanted())
    length = len(next(download))
    download.close()
    assert noted == [('given', 'first', length)]


@pytest.mark.parametrize(
    ('error', 'blamed'),
    [
        (StoreUnavailable('away'), True),
        (StoreFull('full'), True),
        (ZeroDivisionError(), True),
        (ObjectNotFound('nothing there'), False),
        (BadStoreUri('no url'), False),
    ],
)
def test_a_store_is_blamed_for_what_it_is_to_blame_for(gateway, noted, error, blamed):
    def fail():
        raise error

    with pytest.raises(StoreError):
        gateway.stores['first'].run(fail)
    assert noted == [('failed', 'first')] * blamed


def test_an_upload_that_breaks_off_is_not_the_fault_of_the_store(gateway, noted):
    def breaks_off(size):
        raise Gone('the client has gone')

    made = Upload(breaks_off, 100)
    made.arm('sha256')
    with pytest.raises(Gone):
        gateway.put('first', 'a-name', 'a-spare', made)
    assert noted == []


@pytest.mark.parametrize('store', ['first', 'ram'])
@pytest.mark.parametrize('breaks', [False, True])
def test_a_store_says_that_it_keeps_something_of_a_failed_upload(
    gateway, monkeypatch, store, breaks
):
    """Whatever the upload failed with: a sweeper must know."""

    def add(name, source, size):
        try:
            source.read(size)
        except Gone:
            pass
        raise LeftBehind('the server is gone')

    data = io.BytesIO(bytes(100))

    def read(size):
        if breaks:
            raise Gone('the client has gone')
        return data.read(size)

    monkeypatch.setattr(driver(gateway, store), 'add', add)
    made = Upload(read, 100)
    made.arm('sha256')
    with pytest.raises(Gone if breaks else LeftBehind):
        gateway.put(store, 'a-name', 'a-spare', made)
    assert made.left_behind
