# SPDX-License-Identifier: Apache-2.0
"""The auditor on a directory and a store in memory: what it finds, and what it leaves alone."""

from __future__ import annotations

import os
import time
import uuid

import pytest
import sqlalchemy as sa

from glance_lite.audit import auditor as auditing
from glance_lite.audit.auditor import Auditor, Plan
from glance_lite.audit.duty import Audit
from glance_lite.audit.pace import Pace
from glance_lite.db import tables
from glance_lite.errors import Forbidden, StoreUnavailable
from glance_lite.maintenance.duty import DutyParts, Turn, TurnOver
from glance_lite.model import Changes
from tests.unit.db.helpers import execute, rows, set_row
from tests.unit.layers.conftest import admin, owner
from tests.unit.layers.test_location import copied, upload

PLAN = Plan('test')
DATA = b'some data'


@pytest.fixture
def made(make):
    return make('location, db')


def audit(made, **plan):
    """(faults by image, counts)."""
    auditor = Auditor(made.chain.inner, Plan('test', **plan))
    found = [(one.finding.image_id, one.finding.fault, one.done) for one in auditor.run()]
    return found, {name: count for name, count in auditor.counts.items() if count}


def path(made, image):
    return made.directory / 'fast' / image.id


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def orphan(made, name, age=90000):
    file = made.directory / 'fast' / name
    file.write_bytes(b'of nobody')
    os.utime(file, (time.time() - age,) * 2)


def states(made):
    return [row['status'] for row in rows(made.db, 'image_locations')]


def test_nothing_is_found_where_nothing_is_wrong(made):
    made.active(), copied(made), made.active(b'')
    made.create()
    before = {table: rows(made.db, table) for table in ('images', 'image_locations')}
    files = made.files()
    found, counts = audit(made)
    assert (found, counts) == ([], {'copies': 4, 'bytes': 3 * len(DATA)})
    assert {table: rows(made.db, table) for table in before} == before
    assert made.files() == files
    assert rows(made.db, 'gl_quarantine') == rows(made.db, 'gl_positions') == []


def lengthen(file):
    file.write_bytes(file.read_bytes() + b'!')


FAULTS = {
    'missing': os.unlink,
    'truncated': lambda file: os.truncate(file, 3),
    'wrong size': lengthen,
    'damaged': flip,
}
LAST = 'it stays, because the image has no other copy'
SERVED = 'in quarantine, another copy is served'


@pytest.mark.parametrize('fault', FAULTS)
def test_the_last_copy_stays(made, fault):
    image, good = made.active(), made.active()
    FAULTS[fault](path(made, image))
    found, counts = audit(made)
    assert found == [(image.id, fault, LAST)]
    assert counts[fault.replace(' ', '_')] == 1 and 'quarantined' not in counts
    assert states(made) == ['active', 'active']
    (row,) = rows(made.db, 'gl_quarantine')
    assert (row['image_id'], row['store'], row['fault']) == (image.id, 'fast', fault)
    assert made.now(image).status == 'active' and made.read(good) == DATA
    # It is noted once.
    assert audit(made)[0] == found
    assert rows(made.db, 'gl_quarantine') == [row]


@pytest.mark.parametrize('fault', FAULTS)
def test_another_copy_is_served_instead(made, fault):
    image, other = copied(made), made.active()
    FAULTS[fault](path(made, image))
    found, counts = audit(made)
    assert found == [(image.id, fault, SERVED)] and counts['quarantined'] == 1
    assert states(made) == ['quarantined', 'active', 'active']
    now = made.now(image)
    assert made.read(now) == DATA
    (shown,) = made.outer.get_locations(owner(), image.id)
    assert shown.store == 'ram'
    assert made.read(other) == DATA
    (one,) = made.chain.inner.list_quarantine(admin(), 0, 10)
    assert (one.image_id, one.fault, one.served) == (image.id, fault, False)
    assert one.shown == f'file://{path(made, image)}'


@pytest.mark.parametrize('fault', FAULTS)
def test_a_bad_copy_is_replaced_if_asked(made, fault):
    image, other = copied(made), made.active()
    FAULTS[fault](path(made, image))
    found, counts = audit(made, repair=True)
    assert found == [(image.id, fault, 'repaired from another copy')]
    assert counts['repaired'] == 1
    now = made.now(image)
    assert sorted(location.store for location in now.locations) == ['fast', 'ram']
    assert all(location.good for location in now.locations)
    (location,) = (location for location in now.locations if location.store == 'fast')
    file = made.directory / 'fast' / location.url.rpartition('/')[2]
    assert file.read_bytes() == DATA
    assert made.files() == sorted([file.name, other.id])
    assert rows(made.db, 'gl_operations') == rows(made.db, 'gl_quarantine') == []
    assert audit(made)[0] == []


def test_all_copies_are_bad(made):
    image = copied(made)
    flip(path(made, image))
    driver = made.parts.gateway.stores['ram'].driver
    (name,) = driver._held
    driver._held[name] = (b'some dota', driver._held[name][1])
    found, _ = audit(made, repair=True)
    assert [fault for _, fault, _ in found] == ['damaged'] * 2
    assert found[1][2] == LAST and 'not repaired' in found[0][2]
    # The second one is served: that is as good as either.
    assert states(made) == ['quarantined', 'active']
    assert made.read(made.now(image)) == b'some dota'


def test_a_copy_that_is_good_again_is_served_again(made):
    image, whole = copied(made), made.active()
    data = path(made, image).read_bytes()
    flip(path(made, image))
    audit(made)
    path(made, image).write_bytes(data)
    # Its size alone says nothing.
    assert audit(made, depth='size')[1] == {'copies': 3}
    assert states(made)[0] == 'quarantined'
    found, counts = audit(made)
    assert (found, counts['released']) == ([], 1)
    assert states(made)[0] == 'active' and rows(made.db, 'gl_quarantine') == []
    assert made.read(whole) == DATA


def test_the_size_alone(made):
    short, flipped = made.active(), made.active()
    os.truncate(path(made, short), 2)
    flip(path(made, flipped))
    found, counts = audit(made, depth='size')
    assert [fault for _, fault, _ in found] == ['truncated'] and 'bytes' not in counts


@pytest.mark.parametrize(
    ('fields', 'fault'),
    [
        ({'os_hash_value': None, 'os_hash_algo': None}, 'damaged'),
        ({'os_hash_algo': 'unheard-of'}, 'damaged'),
        ({'os_hash_value': None, 'checksum': None}, None),
        ({'size': None}, 'damaged'),
    ],
    ids=['checksum', 'algorithm', 'nothing', 'size'],
)
def test_what_is_known_is_compared(made, fields, fault):
    image = made.active()
    set_row(made.db, image.id, **fields)
    flip(path(made, image))
    assert [fault for _, fault, _ in audit(made)[0]] == ([fault] if fault else [])


def test_an_image_without_locations(made):
    image, empty = made.active(), made.active(b'')
    execute(made.db, sa.delete(tables.image_locations))
    found, _ = audit(made)
    assert (image.id, 'no data', 'it stays') in found
    assert empty.id not in [image_id for image_id, _, _ in found if _ == 'no data']
    assert made.now(image).status == 'active'


def test_orphans_and_what_are_none(made):
    used, queued, saving = made.active(), made.create(), made.create()
    set_row(made.db, saving.id, status='saving')  # by a Glance: there is no operation row
    gone = made.active()
    made.outer.delete_image(owner(), gone.id)
    unknown, young = str(uuid.uuid4()), str(uuid.uuid4())
    for name in (unknown, gone.id, queued.id, saving.id, f'{used.id}-7', 'README'):
        orphan(made, name)
    orphan(made, young, 60)
    files = made.files()
    found, counts = audit(made, min_age=86400)
    assert {image_id for image_id, fault, _ in found if fault == 'orphan'} == {
        unknown, gone.id, queued.id, used.id,
    }  # fmt: skip
    assert counts['orphan'] == 4 and counts['foreign'] == 1
    assert made.files() == files  # reported, and touched by nobody


def test_what_another_image_refers_to_is_no_orphan(made):
    """Somebody who may has registered data that has the id of an image that is gone."""
    name = str(uuid.uuid4())
    orphan(made, name)
    image = made.active(b'of nobody')
    url = f'file://{made.directory}/fast/{name}'
    execute(made.db, sa.update(tables.image_locations).values(value=url))
    os.unlink(path(made, image))
    assert audit(made) == ([], {'copies': 1, 'bytes': 9})


def test_a_store_that_is_away_is_not_judged(made, monkeypatch):
    image = made.active()

    def size(key):
        raise StoreUnavailable('away')

    monkeypatch.setattr(made.parts.gateway.stores['fast'].driver, 'size', size)
    assert audit(made) == ([], {'unread': 1})
    assert rows(made.db, 'gl_quarantine') == []
    assert made.now(image).locations[0].good


def test_a_store_in_which_nothing_is_found_is_not_believed(made):
    """A directory that is not mounted is an empty one."""
    image = copied(made)
    os.unlink(path(made, image))
    found, _ = audit(made)
    assert found == [(image.id, 'missing', 'nothing is done about it')]
    assert states(made) == ['active', 'active'] and rows(made.db, 'gl_quarantine') == []


def test_a_fault_of_the_way_is_looked_at_again(made, monkeypatch):
    made.active()
    driver = made.parts.gateway.stores['fast'].driver
    size, asked = driver.size, []

    def wrong(key):
        asked.append(key)
        return 1 if len(asked) == 1 else size(key)

    monkeypatch.setattr(driver, 'size', wrong)
    assert audit(made)[0] == []
    assert len(asked) == 2


def test_an_image_that_changes_meanwhile_is_not_judged(made, monkeypatch):
    """Deleted between the look at its data and the note."""
    image = made.active()
    path(made, image).write_bytes(b'other')
    made.active()
    layer = made.layer('location')
    look = layer._audits.look

    def late(looking):
        looked = look(looking)
        if looked.finding is not None and made.db.database:
            execute(made.db, sa.update(tables.images).where(
                tables.images.c.id == image.id).values(size=5))  # fmt: skip
        return looked

    monkeypatch.setattr(layer._audits, 'look', late)
    assert audit(made)[0] == []
    assert rows(made.db, 'gl_quarantine') == []


def test_stores_that_are_meant(made):
    one, two = made.active(), upload(made, made.create(), DATA, 'ram')
    flip(path(made, one))
    assert audit(made, stores=('ram',)) == ([], {'copies': 1, 'bytes': len(DATA)})
    assert [image for image, _, _ in audit(made, stores=('fast',))[0]] == [one.id]
    assert made.read(two) == DATA


# --- with copies in quarantine an image is used as ever


@pytest.fixture
def bad(made):
    """An image whose copy in ``fast`` is in quarantine."""
    image = copied(made)
    made.active()  # so that the store is not empty
    flip(path(made, image))
    assert audit(made)[1]['quarantined'] == 1
    return image


def test_it_is_deleted_with_all_copies(made, bad):
    made.outer.delete_image(owner(), bad.id)
    assert bad.id not in made.files()
    assert made.parts.gateway.stores['ram'].driver._held == {}
    assert made.chain.inner.collect_quarantine(admin()) == 1
    assert rows(made.db, 'gl_quarantine') == rows(made.db, 'gl_operations') == []


def test_its_last_good_copy_cannot_be_removed(made, bad):
    with pytest.raises(Forbidden, match='last copy'):
        made.outer.delete_from_store(owner(), bad.id, 'ram')
    made.outer.delete_from_store(owner(), bad.id, 'fast')
    assert [location.store for location in made.now(bad).locations] == ['ram']
    assert bad.id not in made.files()


def test_its_locations_are_changed(made, bad):
    steps = Changes(fields={'name': 'new'})
    assert made.outer.update_image(owner(), bad.id, steps).name == 'new'
    assert made.read(made.now(bad)) == DATA


def test_it_is_released_by_hand(made, bad):
    (row,) = rows(made.db, 'gl_quarantine')
    assert made.chain.inner.release_copy(admin(), row['location_id'])
    assert not made.chain.inner.release_copy(admin(), row['location_id'])
    assert states(made)[0] == 'active'


# --- how far it is


def test_it_carries_on_where_it_was(made, monkeypatch):
    monkeypatch.setattr(auditing, 'NOTE', 0.0)
    monkeypatch.setattr(auditing, 'PAGE', 2)
    images = [made.active() for _ in range(7)]
    for image in (images[1], images[5]):
        flip(path(made, image))
    seen = []

    class Enough(Exception):
        pass

    def go_on(count):
        seen.append(count)
        if seen.count(0) > 4:
            raise Enough

    first = Auditor(made.chain.inner, PLAN, go_on)
    with pytest.raises(Enough):
        for found in first.run():
            assert found.finding.image_id == images[1].id
    assert first.counts['copies'] == 4
    second = Auditor(made.chain.inner, PLAN)
    assert [found.finding.image_id for found in second.run()] == [images[5].id]
    # The sums are those of both.
    assert (second.counts['copies'], second.counts['damaged']) == (7, 2)
    assert rows(made.db, 'gl_positions') == []
    assert len(audit(made)[0]) == 2


def test_a_turn_that_is_over_ends_it_in_the_midst_of_an_image(made):
    made.active(b'x' * (3 << 20))
    conf = made.parts.conf
    conf.set_override('audit_rate', 1 << 20, group='maintenance')
    conf.set_override('orphan_min_age', 0, group='maintenance')
    turn = Turn('audit', 'me', 1.0)
    begun = time.monotonic()
    with pytest.raises(TurnOver):
        Audit(DutyParts(conf, made.chain.inner, {})).run(turn)
    assert time.monotonic() - begun < 10


def test_statements(make, monkeypatch):
    """A pass over 25 images in pages of 10."""
    made = make('location, db')
    for _ in range(25):
        made.active()
    monkeypatch.setattr(auditing, 'PAGE', 10)
    seen = []
    engine = made.db.database.engine

    def on_execute(connection, cursor, statement, *rest):
        seen.append(statement)

    sa.event.listen(engine, 'before_cursor_execute', on_execute)
    try:
        assert audit(made)[1]['copies'] == 25
    finally:
        sa.event.remove(engine, 'before_cursor_execute', on_execute)
    about = [text for text in seen if 'gl_positions' not in text and 'gl_quarantine' not in text]
    # One for images without data, one for those of which the one store that has any holds data.
    assert len(about) == 2
    pages = [text for text in seen if 'gl_quarantine' in text and text.startswith('SELECT')]
    assert len(pages) == 4


@pytest.mark.parametrize(('rate', 'least'), [(0, 0), (1 << 20, 1.0)])
def test_the_pace(rate, least):
    waited = []
    pace = Pace(rate, waited.append)
    for _ in range(16):
        pace.spend(1 << 17)
    assert sum(waited) >= least


def test_the_rate_is_kept(made):
    made.active(b'x' * (2 << 20))
    begun = time.monotonic()
    audit(made, rate=1 << 20)
    assert time.monotonic() - begun > 1.0
