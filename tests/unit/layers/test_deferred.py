# SPDX-License-Identifier: Apache-2.0
"""The data of a deleted image stays for scrub_time seconds and goes then, whatever happens."""

from __future__ import annotations

import datetime
import threading

import pytest

from glance_lite.errors import ImageNotFound, InUse, StoreUnavailable
from glance_lite.maintenance.keeper import Keeper
from glance_lite.maintenance.sweeper import Sweeper
from tests.unit.db.helpers import age, rows, set_row
from tests.unit.layers.conftest import admin, owner
from tests.unit.layers.test_location import copied

DELAYED = '[DEFAULT]\ndelayed_delete = true\nscrub_time = 1000\n'


@pytest.fixture
def made(make):
    return make('location, db', DELAYED)


def scrub(made):
    return Keeper(made.parts.conf, made.chain.inner).run('scrub')['scrubbed']


def deleted(made, seconds=0, data=b'some data'):
    """An image that was deleted some seconds ago."""
    image = made.active(data)
    made.outer.delete_image(owner(), image.id)
    (row,) = rows(made.db, 'images', id=image.id)
    then = row['deleted_at'] - datetime.timedelta(seconds=seconds)
    set_row(made.db, image.id, deleted_at=then, updated_at=then)
    return image


def status(made, image):
    (row,) = rows(made.db, 'images', id=image.id)
    return row['status']


def test_data_stays_until_its_time_has_come(made):
    young, old = deleted(made, 900), deleted(made, 1100)
    for image in (young, old):
        with pytest.raises(ImageNotFound):
            made.outer.get_image(admin(), image.id)
    assert made.files() == sorted([young.id, old.id])
    assert scrub(made) == 1
    assert made.files() == [young.id]
    assert (status(made, young), status(made, old)) == ('pending_delete', 'deleted')
    assert rows(made.db, 'gl_operations') == []
    assert scrub(made) == 0


def test_without_the_option_data_goes_at_once_and_nobody_searches(make):
    made = make('location, db')
    image = made.active()
    made.outer.delete_image(owner(), image.id)
    assert made.files() == []
    jobs = Keeper(made.parts.conf, made.chain.inner).jobs
    assert 'duty scrub' not in [job.name for job in jobs]


@pytest.mark.parametrize('count', [1, 3])
def test_as_many_at_a_time_as_the_pool_has(make, count, monkeypatch):
    made = make('location, db', f'{DELAYED}scrub_pool_size = {count}\n')
    (job,) = (
        job for job in Keeper(made.parts.conf, made.chain.inner).jobs if job.name == 'duty scrub'
    )
    assert job.at_once
    images = [deleted(made, 1100) for _ in range(6)]
    together, driver = threading.Barrier(count), made.parts.gateway.stores['fast'].driver
    remove = driver.delete

    def delete(key):
        together.wait(timeout=30)  # each waits for all the others
        remove(key)

    monkeypatch.setattr(driver, 'delete', delete)
    assert job.run() == {'scrubbed': len(images)}
    assert made.files() == []


def test_a_copy_in_one_store_goes_at_once(made):
    """Glance puts that off as well, and forgets it until the image is deleted."""
    image = copied(made)
    made.outer.delete_from_store(owner(), image.id, 'fast')
    assert made.files() == []
    assert [row['status'] for row in rows(made.db, 'image_locations')] == ['deleted', 'active']


def failing(made, monkeypatch, error):
    driver = made.parts.gateway.stores['fast'].driver

    def delete(key):
        raise error

    monkeypatch.setattr(driver, 'delete', delete)


def test_data_in_use_is_tried_again_later(made, monkeypatch, caplog):
    image = deleted(made, 1100)
    with monkeypatch.context() as patch:
        failing(made, patch, InUse('a clone needs it'))
        assert scrub(made) == 1  # and it ends
    assert 'is removed later: a clone needs it' in caplog.text
    assert status(made, image) == 'pending_delete'
    with pytest.raises(ImageNotFound):
        made.outer.get_image(admin(), image.id)
    assert scrub(made) == 0
    set_row(made.db, image.id, updated_at=datetime.datetime(2026, 1, 1))
    assert scrub(made) == 1
    assert made.files() == []


def test_a_store_that_is_away_is_left_to_the_sweeper(made, monkeypatch):
    image = deleted(made, 1100)
    with monkeypatch.context() as patch:
        failing(made, patch, StoreUnavailable('away'))
        assert scrub(made) == 1
    (row,) = rows(made.db, 'gl_operations')
    assert status(made, image) == 'deleted'
    age(made.db, row['serial'], 3600)
    assert Sweeper(made.parts.conf, made.chain.inner).sweep() == 1
    assert made.files() == rows(made.db, 'gl_operations') == []


def test_what_is_in_use_when_a_sweeper_comes_waits_again(made, monkeypatch):
    image = deleted(made, 1100)
    claim = made.db.take_deferred(admin(), 1000)
    age(made.db, claim.serial, 3600)
    with monkeypatch.context() as patch:
        failing(made, patch, InUse('a clone needs it'))
        Sweeper(made.parts.conf, made.chain.inner).sweep()
    assert status(made, image) == 'pending_delete'
    assert made.files() == [image.id]
    assert rows(made.db, 'gl_operations') == []


def test_data_that_a_scrubber_of_glance_was_quicker_to_remove(made):
    image = deleted(made, 1100)
    (made.directory / 'fast' / image.id).unlink()
    assert scrub(made) == 1
    assert status(made, image) == 'deleted'
    assert rows(made.db, 'gl_operations') == []


def test_what_waits_is_no_orphan(made):
    image = deleted(made)
    assert list(made.chain.inner.find_orphans(admin(), 'fast', -1)) == []
    assert made.files() == [image.id]


def test_it_counts_for_no_quota(make):
    quota = 'user_storage_quota = 15\n'
    made = make('quota, location, db', DELAYED + quota)
    deleted(made, data=b'0123456789')
    made.active(b'0123456789')
