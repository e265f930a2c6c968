# SPDX-License-Identifier: Apache-2.0
"""What the first page of a list reads of very many images, as PostgreSQL itself counts it.

Nothing here is about time: rows and buffers (pages of 8 KiB) are the same on a busy machine.
50,000 images show it, ``tools/test --all`` takes a million.
"""

from __future__ import annotations

import hashlib
import json

import pytest
import sqlalchemy as sa

from glance_lite.db import lists
from glance_lite.db.statements import Direct
from glance_lite.errors import LimitExceeded
from glance_lite.model import Condition, Query
from tests.backends import databases
from tests.backends.fixtures import context, make_conf, make_layer
from tests.sizes import full
from tests.unit.db import crowd

IMAGES = full(50_000, 1_000_000)
#: Rows of ``images`` that one page may read, whatever their number.
ROWS = 3_000
#: Buffers: those of the rows and of walking down, and a part of one index that is passed over.
BUFFERS = 2_000 + IMAGES // 100
#: Rows where it depends on how often a value comes up. One image in a hundred has such a value;
#: the planner may well begin with all of those, in each of three branches, in index and table.
MORE_ROWS = max(25_000, 6 * IMAGES // 100)
#: Who is a member of very many images may have all read that are shared with anybody.
SHARED = IMAGES // 5

VIEWERS = {
    'small': context(crowd.SMALL),
    'half': context(crowd.HALF),
    'admin': context('administrators', admin=True),
}
MANY = hashlib.md5(b'many').hexdigest()


def _equal(field, *values):
    return {
        f'{field}={value}': {'conditions': (Condition(field, 'eq', value),)} for value in values
    }


#: What is common, rare, only with others, only with the oldest images, and nowhere.
FILTERS = {
    'none': {},
    **_equal('name', 'common', 'of others', 'old', 'image-777', 'nothing'),
    **_equal('status', 'active', 'queued', 'deactivated', 'saving', 'killed'),
    **_equal('container_format', 'bare', 'ovf', 'docker', 'nothing'),
    **_equal('disk_format', 'qcow2', 'raw', 'vhd', 'vdi', 'iso', 'nothing'),
    **_equal('owner', crowd.SMALL, crowd.HALF, 'project-7', 'nobody'),
    **_equal('checksum', hashlib.md5(b'777').hexdigest(), 'nothing'),
    **_equal('os_hash_value', hashlib.md5(b'777').hexdigest() * 4, 'nothing'),
    **_equal('os_hash_algo', 'sha512', 'sha256', 'md5'),
    **_equal('protected', True, False),
    **_equal('size', 777 * 1024, 1),
    **_equal('virtual_size', 777 * 2048, 1),
    **_equal('min_disk', 0, 10, 77, 5),
    **_equal('min_ram', 0, 512, 77, 5),
    **_equal('id', 'nothing'),
    **{f'visibility={one}': {'visibility': one} for one in ('public', 'private', 'shared', 'all')},
    'visibility=community': {'visibility': 'community'},
    **{f'member_status={one}': {'member_status': one} for one in ('pending', 'rejected', 'all')},
    'tag=same': {'tags': ('same',)},
    'tag=nothing': {'tags': ('nothing',)},
    'same=for all': {'properties': {'same': 'for all'}},
    'same=nothing': {'properties': {'same': 'nothing'}},
    'nothing=nothing': {'properties': {'nothing': 'nothing'}},
}
#: Those where nothing but the number of images with the value, and how evenly they are spread
#: over time and projects, says how many rows are read.
SPREAD = {
    'hidden': {'hidden': True},
    'checksum=many': {'conditions': (Condition('checksum', 'eq', MANY),)},
    'os_hash_value=many': {'conditions': (Condition('os_hash_value', 'eq', MANY * 4),)},
    'tag=tag-7': {'tags': ('tag-7',)},
    'common=3': {'properties': {'common': '3'}},
    'hundredth=7': {'properties': {'hundredth': '7'}},
}
KEYS = (
    'name', 'status', 'container_format', 'disk_format', 'size', 'created_at', 'updated_at',
)  # fmt: skip


@pytest.fixture(scope='module')
def db():
    databases.require('postgresql')
    from glance_lite.db import admin

    url = databases.create('postgresql')
    admin.sync(make_conf(url))
    crowd.make(url, IMAGES)
    layer = make_layer(url)
    yield layer
    layer.stop()
    databases.drop(url)


def _scans(node):
    """The places of a plan where rows come from."""
    if 'Scan' in node['Node Type'] and node['Node Type'] != 'Subquery Scan':
        yield node
    for below in node.get('Plans', ()):
        yield from _scans(below)


def _read(node):
    passed_over = ('Rows Removed by Filter', 'Rows Removed by Index Recheck')
    rows = node['Actual Rows'] + sum(node.get(name, 0) for name in passed_over)
    return rows * node['Actual Loops']


def page(db, ctx, **query):
    """(rows of ``images``, buffers, ids) of one page, by the statement as it is sent."""
    with Direct(db.database.engine) as connection:
        with connection.raw.cursor() as cursor:
            cursor.execute("LOAD 'auto_explain'")
            for setting in (
                "log_min_duration = 0", "log_level = 'notice'", 'log_analyze = on',
                'log_buffers = on', 'log_timing = off', "log_format = 'json'",
            ):  # fmt: skip
                cursor.execute(f'SET auto_explain.{setting}')
        connection.raw.notices.clear()
        found = lists.list_images(connection, ctx, Query(limit=25, **query), seconds=120)
        notices = list(connection.raw.notices)
        with connection.raw.cursor() as cursor:
            cursor.execute('SET auto_explain.log_min_duration = -1')
    plans = [json.loads(text[text.index('{') :])['Plan'] for text in notices]
    plan = plans[1 if 'marker' in query else 0]
    rows = sum(
        _read(node)
        for node in _scans(plan)
        if node.get('Relation Name') == 'images' or node['Node Type'] == 'Bitmap Heap Scan'
    )
    buffers = plan['Shared Hit Blocks'] + plan['Shared Read Blocks']
    return rows, buffers, [image.id for image in found.images]


@pytest.mark.parametrize('name', FILTERS)
@pytest.mark.parametrize('viewer', VIEWERS)
def test_one_filter_reads_a_bounded_number_of_rows(db, viewer, name):
    rows, buffers, _ = page(db, VIEWERS[viewer], **FILTERS[name])
    assert rows <= ROWS
    assert buffers <= BUFFERS


@pytest.mark.parametrize('name', SPREAD)
@pytest.mark.parametrize('viewer', VIEWERS)
def test_a_filter_on_what_is_spread_evenly_reads_some_thousands(db, viewer, name):
    rows, _, _ = page(db, VIEWERS[viewer], **SPREAD[name])
    assert rows <= MORE_ROWS + (SHARED if viewer == 'half' else 0)


@pytest.mark.parametrize('direction', ['asc', 'desc'])
@pytest.mark.parametrize('key', KEYS)
@pytest.mark.parametrize('viewer', VIEWERS)
def test_each_order_reads_a_bounded_number_of_rows(db, viewer, key, direction):
    ctx, sort = VIEWERS[viewer], ((key, direction),)
    rows, buffers, _ = page(db, ctx, sort=sort)
    assert rows <= ROWS
    assert buffers <= BUFFERS
    middle = page(db, ctx)[2][10]
    rows, buffers, _ = page(db, ctx, sort=sort, marker=middle)
    assert rows <= ROWS
    assert buffers <= BUFFERS


@pytest.mark.parametrize('viewer', VIEWERS)
def test_a_page_in_the_middle_reads_no_more_than_the_first(db, viewer):
    ctx = VIEWERS[viewer]
    public = sa.text(
        "SELECT id FROM images WHERE visibility = 'public' AND NOT os_hidden "
        'ORDER BY created_at OFFSET :half LIMIT 1'
    )
    with db.database.engine.connect() as connection:
        marker = connection.execute(public, {'half': IMAGES // 20}).scalar()
    first, _, _ = page(db, ctx)
    middle, _, ids = page(db, ctx, marker=marker)
    assert len(ids) == 25
    assert middle <= 2 * first + 100


def test_what_has_the_database_read_all_is_given_up(db):
    """Every image of the half must be looked at to find that none has the property."""
    query = Query(limit=25, properties={'whose': 'others'}, visibility='private')
    ctx = VIEWERS['half']
    db.database.list_timeout = 0.005
    try:
        with pytest.raises(LimitExceeded, match=r'0\.005 seconds'):
            db.list_images(ctx, query)
    finally:
        db.database.list_timeout = 120
    assert db.list_images(ctx, query).images == ()
