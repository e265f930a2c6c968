# SPDX-License-Identifier: Apache-2.0
"""What hosts have in their caches, in Glance's tables, on every engine."""

from __future__ import annotations

import uuid

from glance_lite.cache.directory import Entry
from glance_lite.cache.key import Key
from glance_lite.context import service_context
from tests.backends.fixtures import context
from tests.unit.db.helpers import create, fill, rows

ONE, OTHER = 'http://image-1.example:9292', 'http://image-2.example:9292'


def entry(image_id, hits=0, size=5, accessed=1.7e9):
    return Entry(Key(image_id, size, 'sha512', 'a' * 128), hits, accessed, 1.6e9)


def nodes(db, image_id):
    return db.find_cache_nodes(service_context(), image_id)


def test_each_host_says_what_it_has(db):
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    db.report_cache(service_context(), ONE, [entry(first), entry(second)])
    db.report_cache(service_context(), OTHER, [entry(first)])
    assert nodes(db, first) == (ONE, OTHER)
    assert nodes(db, second) == (ONE,)
    db.report_cache(service_context(), ONE, [entry(second, hits=3)])
    assert nodes(db, first) == (OTHER,)
    db.report_cache(service_context(), ONE, [])
    assert nodes(db, second) == ()
    assert {row['node_reference_url'] for row in rows(db, 'node_reference')} == {ONE, OTHER}


def test_rows_are_those_of_glance(db):
    image_id = str(uuid.uuid4())
    db.report_cache(service_context(), ONE, [entry(image_id, hits=2**40, accessed=1.7e9 + 0.7)])
    (row,) = rows(db, 'cached_images')
    assert (row['image_id'], row['size'], row['hits']) == (image_id, 5, 2**31 - 1)
    assert str(row['last_accessed']).startswith('2023-11-14 22:13:20')
    assert str(row['last_modified']).startswith('2020-09-13 12:26:40')


def test_what_was_said_already_is_not_written_again(db, monkeypatch):
    said = [entry(str(uuid.uuid4()))]
    db.report_cache(service_context(), ONE, said)
    monkeypatch.setattr(db.database, 'write', lambda function: 1 / 0)
    db.report_cache(service_context(), ONE, said)


def test_an_image_has_one_row_whatever_there_is(db):
    image_id = str(uuid.uuid4())
    db.report_cache(service_context(), ONE, [entry(image_id), entry(image_id, size=6)])
    assert len(rows(db, 'cached_images')) == 1


def test_only_active_images_may_be_cached(db):
    active, gone, inactive = (fill_new(db) for _ in range(3))
    queued = create(db)
    db.commit_delete(context(), db.claim_delete(context(), gone.id))
    db.set_active(context(), inactive.id, False)
    ids = [image.id for image in (active, gone, inactive, queued)] + [str(uuid.uuid4())] * 600
    assert db.find_cacheable(service_context(), ids) == {Key.of(active)}


def fill_new(db):
    return fill(db, create(db))
