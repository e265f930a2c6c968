# SPDX-License-Identifier: Apache-2.0
"""Moving bytes: the commit protocol of uploads, and what deletes leave."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os

import pytest
import sqlalchemy as sa

from glance_lite.context import service_context
from glance_lite.db import tables
from glance_lite.db.rows import utcnow
from glance_lite.db.sweeps import GIVEN_UP
from glance_lite.errors import (
    BadStoreUri,
    ClientGone,
    Conflict,
    Forbidden,
    Gone,
    ImageNotFound,
    InUse,
    Invalid,
    NotFound,
    ObjectNotFound,
    StillNeeded,
    StoreError,
    StoreFull,
    StoreUnavailable,
    Unavailable,
    UnsupportedMedia,
)
from glance_lite.layer import Layer, link
from glance_lite.maintenance.sweeper import Sweeper
from glance_lite.model import FAILED_UPLOAD, Changes, LocationStep, NewLocation, Wanted
from glance_lite.stream import Upload
from glance_lite.testing.layers import make_upload
from tests.unit.db.helpers import age, execute, rows, set_row
from tests.unit.layers.conftest import Made, admin, owner

#: Magic, version 3, no backing file, clusters of 64 KiB, 64 MiB of disk.
QCOW2 = b'QFI\xfb' + bytes([0, 0, 0, 3]) + bytes(12) + bytes([0, 0, 0, 16])
QCOW2 += (64 << 20).to_bytes(8, 'big') + bytes(1000)


@pytest.fixture
def made(make):
    return make('location, db')


def upload(made, image, data=b'some data', store=None, sized=True):
    return made.outer.upload(owner(), image.id, make_upload(data, sized), store)


def assert_queued_and_empty(made, image):
    """As if nothing had ever been sent."""
    now = made.now(image)
    nothing = (now.size, now.virtual_size, now.checksum, now.os_hash_algo, now.os_hash_value)
    assert (now.status, now.locations, nothing) == ('queued', (), (None,) * 5)
    assert made.files() == []
    assert list(made.parts.gateway.stores['ram'].driver.list()) == []
    assert rows(made.db, 'gl_operations') == []


@contextlib.contextmanager
def layer_between(made, **members):
    """The same chain with something between ``location`` and ``db`` that goes wrong."""
    between = type('Between', (Layer,), members)(None)
    between.name = 'between'
    location, db = made.chain.layers
    yield Made(link([location, between, db]), made.parts, made.directory)
    link([location, db])


# --- in


@pytest.mark.parametrize('store', [None, 'fast', 'ram'])
@pytest.mark.parametrize('sized', [True, False])
@pytest.mark.parametrize('data', [b'', b'x', bytes(2_500_000)], ids=len)
def test_what_goes_in_comes_out(made, data, sized, store):
    image = upload(made, made.create(), data, store, sized)
    assert (image.status, image.size) == ('active', len(data))
    assert image.checksum == hashlib.md5(data).hexdigest()
    assert image.os_hash_algo == 'sha512'
    assert image.os_hash_value == hashlib.sha512(data).hexdigest()
    assert [location.store for location in image.locations] == [store or 'fast']
    assert made.now(image) == image
    assert made.read(image) == data
    assert rows(made.db, 'gl_operations') == []


def test_the_hash_is_the_configured_one(make):
    made = make('location, db', '[DEFAULT]\nhashing_algorithm = sha256\n')
    image = upload(made, made.create())
    assert image.os_hash_algo == 'sha256'
    assert image.os_hash_value == hashlib.sha256(b'some data').hexdigest()


def test_a_virtual_size_is_found_out(made):
    image = upload(made, made.create(disk_format='qcow2'), QCOW2)
    assert (image.size, image.virtual_size) == (len(QCOW2), 64 << 20)


@pytest.mark.parametrize('store', ['fast', 'ram'])
@pytest.mark.parametrize('sized', [True, False])
@pytest.mark.parametrize(
    ('disk_format', 'wrong', 'right'),
    [
        ('qcow2', b'no qcow2 at all' * 100_000, QCOW2),
        ('qcow2', b'short', QCOW2),
        ('vmdk', QCOW2, None),
        ('iso', QCOW2, None),
    ],
    ids=['raw-as-qcow2', 'short-as-qcow2', 'qcow2-as-vmdk', 'qcow2-as-iso'],
)
def test_mismatch_leaves_nothing(made, disk_format, wrong, right, sized, store):
    image = made.create(disk_format=disk_format)
    with pytest.raises(UnsupportedMedia):
        upload(made, image, wrong, store, sized)
    assert_queued_and_empty(made, image)
    assert made.read(image) == b''
    if right is not None:
        assert upload(made, image, right, store, sized).status == 'active'
        assert made.read(image) == right


def test_what_is_in_a_container_is_not_looked_into(made):
    image = made.create(disk_format='qcow2', container_format='ovf')
    assert upload(made, image, b'anything').status == 'active'


def test_a_backing_file_in_a_raw_image_is_refused(made):
    """A raw disk may hold an image file; what it holds must be safe all the same."""
    name = b'/etc/passwd'
    header = QCOW2[:8] + (200).to_bytes(8, 'big') + len(name).to_bytes(4, 'big') + QCOW2[20:200]
    image = made.create(disk_format='raw')
    with pytest.raises(UnsupportedMedia):
        upload(made, image, header + name + bytes(2000))
    assert_queued_and_empty(made, image)


def test_without_the_check_a_mismatch_is_kept(make):
    made = make('location, db', '[image_format]\nrequire_image_format_match = false\n')
    assert upload(made, made.create(disk_format='qcow2'), b'anything').status == 'active'


# --- in, and it goes wrong


@pytest.mark.parametrize('store', ['fast', 'ram'])
@pytest.mark.parametrize(
    ('body', 'size', 'error'),
    [(b'12345', 6, Invalid), (b'12345', 4, Invalid), (b'', 1, Invalid), (b'1', 0, Invalid)],
)
def test_a_body_of_another_size_leaves_nothing(made, body, size, error, store):
    image = made.create()
    with pytest.raises(error):
        made.outer.upload(owner(), image.id, Upload(io.BytesIO(body).read, size), store)
    assert_queued_and_empty(made, image)
    assert upload(made, image).status == 'active'


@pytest.mark.parametrize('error', [ClientGone(), SystemExit(), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize('after', [0, 1, 3])
def test_a_source_that_breaks_leaves_nothing(made, error, after):
    """Also when the thread is killed."""
    image, chunks = made.create(), [bytes(100_000)] * after

    def read(size):
        if not chunks:
            raise error
        return chunks.pop()

    with pytest.raises(type(error)):
        made.outer.upload(owner(), image.id, Upload(read, None), None)
    assert_queued_and_empty(made, image)
    assert upload(made, image).status == 'active'


def test_the_owner_can_read_why_it_failed(made):
    image = made.create(disk_format='qcow2')
    with pytest.raises(UnsupportedMedia) as caught:
        upload(made, image, b'anything')
    assert made.now(image).properties == {FAILED_UPLOAD: caught.value.message}
    assert upload(made, image, QCOW2).properties == {}


def test_an_unexpected_error_is_not_shown_to_the_owner(made):
    image = made.create()

    def read(size):
        raise RuntimeError('password=secret')

    with pytest.raises(RuntimeError):
        made.outer.upload(owner(), image.id, Upload(read, None), None)
    reason = made.now(image).properties[FAILED_UPLOAD]
    assert 'secret' not in reason and reason


@pytest.mark.parametrize('store', ['fast', 'ram'])
def test_an_image_deleted_meanwhile_is_gone_and_leaves_nothing(made, store):
    image = made.create()
    body = io.BytesIO(b'some data')

    def read(size):
        chunk = body.read(size)
        if not chunk:
            made.outer.delete_image(owner(), image.id)
        return chunk

    with pytest.raises(Gone):
        made.outer.upload(owner(), image.id, Upload(read, 9), store)
    with pytest.raises(ImageNotFound):
        made.now(image)
    assert made.files() == []
    assert list(made.parts.gateway.stores['ram'].driver.list()) == []
    assert rows(made.db, 'gl_operations') == []


@pytest.mark.parametrize('store', ['fast', 'ram'])
@pytest.mark.parametrize('error', [Gone('swept'), Unavailable('away'), SystemExit()], ids=repr)
def test_bytes_whose_commit_fails_are_taken_back(made, store, error):
    def commit_upload(self, ctx, claim, source, stored):
        raise error

    image = made.create()
    with layer_between(made, commit_upload=commit_upload) as broken:
        with pytest.raises(type(error)):
            upload(broken, image, store=store)
    assert_queued_and_empty(made, image)
    assert upload(made, image).status == 'active'


def test_bytes_stay_when_only_the_answer_to_the_commit_is_lost(made):
    """They were deleted, and an active image had no data."""

    def commit_upload(self, ctx, claim, source, stored):
        self.next.commit_upload(ctx, claim, source, stored)
        raise Unavailable('the connection broke')

    image = made.create()
    with layer_between(made, commit_upload=commit_upload) as broken:
        with pytest.raises(Unavailable):
            upload(broken, image, b'some data')
    assert made.now(image).status == 'active'
    assert made.read(image) == b'some data'
    assert rows(made.db, 'gl_operations') == []


def test_when_the_database_stays_away_the_first_error_is_told(made):
    """The operation row keeps what is to be done, and the bytes: they may belong to the image."""

    def commit_upload(self, ctx, claim, source, stored):
        raise Unavailable('the first error')

    def abort_upload(self, ctx, claim, source, reason):
        raise Unavailable('the second error')

    image = made.create()
    away = {'commit_upload': commit_upload, 'abort_upload': abort_upload}
    with layer_between(made, **away) as broken:
        with pytest.raises(Unavailable, match='the first error'):
            upload(broken, image)
    assert made.files() == [image.id]
    (operation,) = rows(made.db, 'gl_operations', image_id=image.id)
    assert operation['kind'] == 'upload'


def test_a_second_upload_is_a_conflict_and_harms_nothing(made):
    image, told = made.create(), []
    body = io.BytesIO(b'the first')

    def read(size):
        if not told:
            with pytest.raises(Conflict) as caught:
                upload(made, image, b'the second')
            told.append(caught)
        return body.read(size)

    made.outer.upload(owner(), image.id, Upload(read, 9), None)
    with pytest.raises(Conflict):
        upload(made, image, b'the third')
    assert told and made.read(image) == b'the first'
    assert made.files() == [image.id]


@pytest.mark.parametrize('fields', [{'disk_format': None}, {'container_format': None}])
def test_without_formats_nothing_is_read(made, fields):
    image, source = made.create(**fields), make_upload()
    with pytest.raises(Invalid):
        made.outer.upload(owner(), image.id, source, None)
    assert source.count == 0
    assert_queued_and_empty(made, image)


def test_an_unknown_store_is_said_before_anything_is_claimed(made):
    image, source = made.create(), make_upload()
    with pytest.raises(Invalid, match='nowhere'):
        made.outer.upload(owner(), image.id, source, 'nowhere')
    assert source.count == 0 and made.now(image) == image


def test_a_store_that_is_full_leaves_nothing(make):
    made = make('location, db', '[ram]\nmemory_store_size = 10\n')
    image = made.create()
    with pytest.raises(StoreFull):
        upload(made, image, bytes(11), 'ram')
    assert_queued_and_empty(made, image)
    assert upload(made, image, bytes(10), 'ram').status == 'active'


# --- out


def test_an_image_without_data_gives_none(made):
    download = made.outer.download(owner(), made.create().id, Wanted())
    assert download.total is None and list(download) == []


def test_data_that_is_lost_is_said(made):
    image = made.active()
    os.unlink(made.directory / 'fast' / image.id)
    with pytest.raises(ObjectNotFound):
        made.outer.download(owner(), image.id, Wanted())


# --- away


@pytest.mark.parametrize('store', ['fast', 'ram'])
def test_what_is_deleted_is_gone(made, store):
    image = made.create()
    upload(made, image, store=store)
    made.outer.delete_image(owner(), image.id)
    assert made.files() == []
    assert list(made.parts.gateway.stores['ram'].driver.list()) == []
    assert rows(made.db, 'gl_operations') == []
    with pytest.raises(ImageNotFound):
        made.now(image)


def test_deleting_takes_nothing_of_others(made):
    kept, gone = made.active(b'kept'), made.active(b'gone')
    made.outer.delete_image(owner(), gone.id)
    assert made.files() == [kept.id] and made.read(kept) == b'kept'


def test_a_protected_image_keeps_its_data(made):
    image = made.active(protected=True)
    with pytest.raises(Forbidden):
        made.outer.delete_image(owner(), image.id)
    assert made.read(image) == b'some data'


def test_data_that_is_gone_already_does_not_hold_up_the_delete(made, caplog):
    image = made.active()
    os.unlink(made.directory / 'fast' / image.id)
    with caplog.at_level(logging.WARNING):
        made.outer.delete_image(owner(), image.id)
    assert 'gone already' in caplog.text
    assert rows(made.db, 'gl_operations') == []


def failing_delete(made, monkeypatch, error, store='fast'):
    """The driver of a store refuses to delete, as one of a real medium may."""

    def delete(key):
        raise error

    monkeypatch.setattr(made.parts.gateway.stores[store].driver, 'delete', delete)


def test_data_in_use_keeps_the_image(made, monkeypatch):
    image = made.active()
    with monkeypatch.context() as patch:
        failing_delete(made, patch, InUse('a volume is cloned from it'))
        with pytest.raises(InUse):
            made.outer.delete_image(owner(), image.id)
    now = made.now(image)
    assert (now.status, now.locations) == ('active', image.locations)
    assert made.read(image) == b'some data'
    assert rows(made.db, 'gl_operations') == []
    made.outer.delete_image(owner(), image.id)
    assert made.files() == []


def test_a_store_that_is_away_hides_the_image_and_notes_the_rest(made, monkeypatch):
    image = made.active()
    failing_delete(made, monkeypatch, StoreUnavailable('away'))
    made.outer.delete_image(owner(), image.id)
    with pytest.raises(ImageNotFound):
        made.now(image)
    (operation,) = rows(made.db, 'gl_operations', image_id=image.id)
    assert operation['kind'] == 'delete' and image.locations[0].url in operation['kept']


def test_what_lies_where_nobody_registers_any_more_keeps_its_store(made, monkeypatch):
    """After its pool was changed, other metadata for a location took its store away."""
    image = made.active()
    driver = made.parts.gateway.stores['fast'].driver
    monkeypatch.setattr(driver, 'owns', lambda url: False)
    new = NewLocation(image.locations[0].url, {'note': 'old'})
    step = LocationStep('replace', '', (new,))
    made.outer.update_image(admin(), image.id, Changes(locations=(step,)))
    (now,) = made.now(image).locations
    assert now.metadata == {'note': 'old', 'store': 'fast'}


# --- one of several copies


def copied(made, first='fast', second='ram'):
    """An active image with data in two stores."""
    data = b'some data'
    image = upload(made, made.create(), data, first)
    driver = made.parts.gateway.stores[second].driver
    url = driver.add(image.id, io.BytesIO(data), len(data))
    now = utcnow()
    values = {'meta_data': json.dumps({'store': second}), 'status': 'active', 'deleted': False}
    insert = sa.insert(tables.image_locations).values(
        image_id=image.id, value=url, created_at=now, updated_at=now, **values
    )
    execute(made.db, insert)
    return made.now(image)


def test_one_copy_goes_and_the_other_stays(made):
    image = copied(made)
    made.outer.delete_from_store(owner(), image.id, 'fast')
    now = made.now(image)
    assert [location.store for location in now.locations] == ['ram']
    assert made.files() == [] and made.read(image) == b'some data'
    assert rows(made.db, 'gl_operations') == []


def test_the_last_copy_stays(made):
    image = made.active()
    with pytest.raises(Forbidden):
        made.outer.delete_from_store(owner(), image.id, 'fast')
    assert made.read(image) == b'some data' and made.now(image) == image


def test_a_copy_in_use_comes_back(made, monkeypatch):
    image = copied(made)
    with monkeypatch.context() as patch:
        failing_delete(made, patch, InUse('cloned'))
        with pytest.raises(InUse):
            made.outer.delete_from_store(owner(), image.id, 'fast')
    stores = {location.store for location in made.now(image).locations}
    assert stores == {'fast', 'ram'} and made.files() == [image.id]


@pytest.mark.parametrize(
    ('status', 'store', 'error'),
    [
        ('active', 'nowhere', Conflict),
        ('active', 'ram', Forbidden),  # the last copy, wherever it is: as Glance decides
        ('queued', 'fast', Conflict),
        ('deactivated', 'fast', Conflict),
    ],
)
def test_a_copy_that_cannot_go(made, status, store, error):
    image = made.create() if status == 'queued' else made.active()
    if status == 'deactivated':
        made.db.set_active(admin(), image.id, False)
    files, before = made.files(), made.now(image)
    with pytest.raises(error):
        made.outer.delete_from_store(owner(), image.id, store)
    assert made.now(image) == before and made.files() == files


def test_a_single_store_has_no_copies_and_no_list(make):
    made = make('location, db', '[DEFAULT]\nenabled_backends =\n[glance_store]\nstores = memory\n'
                'default_store = memory\n')  # fmt: skip
    image = made.active()
    with pytest.raises(NotFound):
        made.outer.delete_from_store(owner(), image.id, 'memory')
    with pytest.raises(NotFound):
        made.outer.list_stores(owner(), False)
    assert made.read(image) == b'some data'


def test_stores_are_listed_with_what_clients_may_know(make):
    made = make(
        'location, db',
        '[fast]\nstore_description = the fast one\nweight = 7\n',
    )
    fast, ram = made.outer.list_stores(owner(), False)
    assert (fast.id, fast.description, fast.default, fast.read_only) == (
        'fast', 'the fast one', True, False,
    )  # fmt: skip
    assert (fast.type, dict(fast.properties)) == (None, {})
    assert (ram.id, ram.default) == ('ram', False)
    detail, _ = made.outer.list_stores(admin(), True)
    assert (detail.type, detail.weight) == ('file', 7)
    assert detail.properties['data_dir'] == str(made.directory / 'fast')


def test_data_that_a_clone_needs_goes_when_it_does(made, monkeypatch, caplog):
    """The image is gone at once. What is left is asked for rarely, and nobody is alarmed."""
    image = made.active()
    with monkeypatch.context() as patch:
        failing_delete(made, patch, StillNeeded('in the trash'))
        made.outer.delete_image(owner(), image.id)
        with pytest.raises(ImageNotFound):
            made.now(image)
        (operation,) = rows(made.db, 'gl_operations', image_id=image.id)
        assert not sweep(made)
        age(made.db, operation['serial'], 1000)
        with caplog.at_level(logging.WARNING):
            assert sweep(made) == 1  # and it is left again
            caplog.clear()
            age(made.db, operation['serial'], 1000)
            assert sweep(made) == 1
        assert caplog.text == ''
    assert made.files() == [image.id]
    age(made.db, operation['serial'], 1000)
    assert sweep(made) == 1
    assert made.files() == rows(made.db, 'gl_operations') == []


def test_data_in_a_directory_that_is_not_configured_goes_when_it_is_again(made, monkeypatch):
    """The delete was done, and the data stayed for ever."""
    image = made.active()
    with monkeypatch.context() as patch:
        failing_delete(made, patch, BadStoreUri('Not a file of store fast'))
        made.outer.delete_image(owner(), image.id)
        with pytest.raises(ImageNotFound):
            made.now(image)
    assert made.files() == [image.id] and not sweep(made)
    (operation,) = rows(made.db, 'gl_operations', image_id=image.id)
    age(made.db, operation['serial'], 1000)
    assert sweep(made) == 1
    assert made.files() == rows(made.db, 'gl_operations') == []


def test_a_copy_in_use_beside_one_that_has_gone_is_removed_later(made, monkeypatch):
    image = copied(made)
    with monkeypatch.context() as patch:
        failing_delete(made, patch, StillNeeded('in the trash'), 'fast')
        failing_delete(made, patch, InUse('cloned'), 'ram')
        made.outer.delete_image(owner(), image.id)
    (operation,) = rows(made.db, 'gl_operations', image_id=image.id)
    age(made.db, operation['serial'], 1000)
    assert sweep(made) == 1
    assert made.files() == rows(made.db, 'gl_operations') == []


def test_a_second_copy_in_use_keeps_the_image(made, monkeypatch):
    """The first copy was gone and the image with it, though the delete had been refused."""
    image = copied(made)
    failing_delete(made, monkeypatch, InUse('cloned'), 'ram')
    with pytest.raises(InUse):
        made.outer.delete_image(owner(), image.id)
    now = made.now(image)
    assert now.status == 'active'
    assert [location.store for location in now.locations] == ['ram']


# --- what others have left


def killed(made, image, data=b'some data', store='fast'):
    """An upload whose process is killed when the bytes are stored, and before it says so."""
    left = {}

    def commit_upload(self, ctx, claim, source, stored):
        left['claim'] = claim
        raise SystemExit

    def abort_upload(self, ctx, claim, source, reason):
        raise Unavailable('a dead process aborts nothing')

    away = {'commit_upload': commit_upload, 'abort_upload': abort_upload}
    with layer_between(made, **away) as broken:
        with pytest.raises(SystemExit):
            upload(broken, image, data, store)
    age(made.db, left['claim'].serial, 1000)


def sweep(made):
    return Sweeper(made.parts.conf, made.chain.inner).sweep()


@pytest.mark.parametrize('store', ['fast', 'ram'])
def test_bytes_of_a_killed_upload_are_removed(made, store):
    kept = made.active(b'kept')
    image = made.create()
    killed(made, image, store=store)
    assert sweep(made) == 1
    now = made.now(image)
    assert (now.status, now.properties) == ('queued', {FAILED_UPLOAD: GIVEN_UP})
    assert made.files() == [kept.id]
    assert list(made.parts.gateway.stores['ram'].driver.list()) == []
    assert rows(made.db, 'gl_operations') == []
    assert sweep(made) == 0
    assert upload(made, image, b'again', store).status == 'active'
    assert made.read(image) == b'again'


def test_bytes_under_the_spare_name_are_removed(made):
    """And with them what lay under the first one: the image refers to neither."""
    image = made.create()
    (made.directory / 'fast' / image.id).write_bytes(b'left over')
    killed(made, image)
    assert len(made.files()) == 2
    sweep(made)
    assert made.files() == []


def test_what_a_glance_has_stored_meanwhile_stays(made):
    """It takes the image's id as the name, as our upload did."""
    image = made.create()
    killed(made, image)
    with pytest.MonkeyPatch.context() as patch:
        failing_delete(made, patch, StoreUnavailable('away'))
        sweep(made)
    url = made.parts.gateway.stores['fast'].driver.locate(image.id)[0]
    now = utcnow()
    values = {'meta_data': '{"store": "fast"}', 'status': 'active', 'deleted': False}
    execute(
        made.db,
        sa.insert(tables.image_locations).values(
            image_id=image.id, value=url, created_at=now, updated_at=now, **values
        ),
    )
    set_row(made.db, image.id, status='active')
    (operation,) = rows(made.db, 'gl_operations')
    age(made.db, operation['serial'], 1000)
    assert sweep(made) == 1
    assert made.read(image) == b'some data'
    assert rows(made.db, 'gl_operations') == []


def test_while_a_store_is_away_the_row_stays_and_the_image_can_be_filled(made, monkeypatch):
    image = made.create()
    killed(made, image)
    with monkeypatch.context() as patch:
        failing_delete(made, patch, StoreUnavailable('away'))
        assert sweep(made) == 1
        assert made.now(image).status == 'queued'
        assert sweep(made) == 0  # not before it has expired again
    assert upload(made, image, b'the second').status == 'active'
    (operation,) = rows(made.db, 'gl_operations')
    age(made.db, operation['serial'], 1000)
    assert sweep(made) == 1
    assert made.read(image) == b'the second'
    assert made.files() == [f'{image.id}-{operation["serial"] + 1}']
    assert rows(made.db, 'gl_operations') == []


def test_a_directory_that_is_not_mounted_is_not_taken_for_clean(made):
    image = made.create()
    killed(made, image)
    os.rename(made.directory / 'fast', made.directory / 'away')
    sweep(made)
    os.rename(made.directory / 'away', made.directory / 'fast')
    (operation,) = rows(made.db, 'gl_operations')
    age(made.db, operation['serial'], 1000)
    sweep(made)
    assert made.files() == [] and rows(made.db, 'gl_operations') == []


def test_one_image_that_cannot_be_cleaned_up_holds_up_no_other(made):
    first, second = made.create(), made.create()
    killed(made, first)
    killed(made, second)

    def take_over(self, ctx, found):
        if found.image_id == first.id:
            raise Unavailable('the database is busy')
        return self.next.take_over(ctx, found)

    with layer_between(made, take_over=take_over) as broken:
        assert sweep(broken) == 1
    assert made.files() == [first.id]
    assert made.now(second).status == 'queued'


def test_deleted_data_that_a_store_kept_is_removed_later(made, monkeypatch):
    image = made.active()
    with monkeypatch.context() as patch:
        failing_delete(made, patch, StoreUnavailable('away'))
        made.outer.delete_image(owner(), image.id)
    (operation,) = rows(made.db, 'gl_operations')
    assert sweep(made) == 0
    age(made.db, operation['serial'], 1000)
    assert sweep(made) == 1
    assert made.files() == [] and rows(made.db, 'gl_operations') == []


def test_a_delete_that_turns_out_to_be_impossible_brings_the_image_back(made, monkeypatch):
    image = made.active(properties={'a': '1'})
    with monkeypatch.context() as patch:
        failing_delete(made, patch, StoreUnavailable('away'))
        made.outer.delete_image(owner(), image.id)
    (operation,) = rows(made.db, 'gl_operations')
    age(made.db, operation['serial'], 1000)
    with monkeypatch.context() as patch:
        failing_delete(made, patch, InUse('cloned'))
        assert sweep(made) == 1
    assert made.now(image).locations == image.locations
    assert made.read(image) == b'some data' and rows(made.db, 'gl_operations') == []


def test_what_is_under_way_gives_signs_of_life_and_is_not_swept(made):
    image, seen = made.create(), []
    body = io.BytesIO(b'some data')

    def read(size):
        if not seen:
            (operation,) = rows(made.db, 'gl_operations')
            age(made.db, operation['serial'], 1000)
            seen.append(sweep(made))  # ours: the sign of life has only not got through
            made.chain.inner.keep_alive(service_context())
            (refreshed,) = rows(made.db, 'gl_operations')
            seen.append(refreshed['heartbeat'] >= operation['heartbeat'])
        return body.read(size)

    assert made.outer.upload(owner(), image.id, Upload(read, 9), None).status == 'active'
    assert seen == [0, True]


def test_without_anything_under_way_nothing_is_said(made):
    image = made.active()
    sent = []
    engine = made.db.database.engine
    sa.event.listen(engine, 'before_cursor_execute', lambda *arguments: sent.append(arguments))
    made.chain.inner.keep_alive(service_context())
    assert sent == []
    assert sweep(made) == 0
    assert len(sent) == 1
    assert made.read(image) == b'some data'


@pytest.mark.parametrize('where', ['abort', 'bytes', 'row'])
def test_an_abort_that_is_killed_is_finished_by_the_next_sweep(made, where, monkeypatch):
    """The row went before the bytes did, and a kill in between left them for ever."""

    def commit_upload(self, ctx, claim, source, stored):
        raise Gone('no')

    def abort_upload(self, ctx, claim, source, reason):
        left = self.next.abort_upload(ctx, claim, source, reason)
        if where == 'abort':
            raise SystemExit
        return left

    def end_operation(self, ctx, claim):
        raise SystemExit

    members = {'commit_upload': commit_upload, 'abort_upload': abort_upload}
    if where == 'row':
        members['end_operation'] = end_operation
    image = made.create()
    with monkeypatch.context() as patch:
        if where == 'bytes':
            failing_delete(made, patch, SystemExit())
        with layer_between(made, **members) as broken:
            with pytest.raises(SystemExit):
                upload(broken, image)
    assert made.files() == ([] if where == 'row' else [image.id])
    assert made.now(image).status == 'queued'
    (operation,) = rows(made.db, 'gl_operations')
    age(made.db, operation['serial'], 1000)
    assert sweep(made) == 1
    assert made.files() == [] and rows(made.db, 'gl_operations') == []
    assert made.now(image).properties == {FAILED_UPLOAD: 'no'}
    assert upload(made, image).status == 'active'
    assert made.files() == [image.id]


def test_bytes_that_cannot_be_taken_back_are_removed_by_a_sweep(made, monkeypatch):
    def commit_upload(self, ctx, claim, source, stored):
        raise Gone('no')

    image = made.create()
    with monkeypatch.context() as patch:
        failing_delete(made, patch, StoreUnavailable('away'))
        with layer_between(made, commit_upload=commit_upload) as broken:
            with pytest.raises(Gone):
                upload(broken, image)
    assert made.now(image).status == 'queued' and made.files() == [image.id]
    (operation,) = rows(made.db, 'gl_operations')
    age(made.db, operation['serial'], 1000)
    sweep(made)
    assert made.files() == [] and rows(made.db, 'gl_operations') == []


def test_a_driver_that_does_not_read_all_and_cannot_delete_is_cleaned_up_after(made, monkeypatch):
    image = made.create()
    driver = made.parts.gateway.stores['fast'].driver
    add = driver.add
    with monkeypatch.context() as patch:
        patch.setattr(driver, 'add', lambda name, source, size: add(name, io.BytesIO(b'abc'), 3))
        failing_delete(made, patch, StoreUnavailable('away'))
        with pytest.raises(StoreError):
            upload(made, image)
    assert made.files() == [image.id] and made.now(image).status == 'queued'
    (operation,) = rows(made.db, 'gl_operations')
    age(made.db, operation['serial'], 1000)
    sweep(made)
    assert made.files() == [] and rows(made.db, 'gl_operations') == []
