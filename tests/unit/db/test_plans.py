# SPDX-License-Identifier: Apache-2.0
"""How PostgreSQL finds what is asked for: by an index, in its order, whatever the number of images.

The plans are those of the statements as they are sent, told by PostgreSQL's auto_explain.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from glance_lite.db import lists, rows
from glance_lite.db.statements import Direct
from glance_lite.model import Query
from tests.backends import databases
from tests.backends.fixtures import context, make_layer

IMAGES = 4000

FILL = f"""
INSERT INTO images (id, name, status, visibility, owner, created_at, updated_at, deleted,
                    min_disk, min_ram, protected, os_hidden)
SELECT md5('i' || n)::uuid::text, 'image-' || n, 'active',
       (ARRAY['private', 'shared', 'public', 'community'])[1 + mod(n, 4)]::image_visibility,
       'project-' || mod(n / 4, 10), t, t, false, 0, 0, false, false
FROM (SELECT n, timestamp '2026-01-01' + n * interval '1 minute' AS t
      FROM generate_series(1, {IMAGES}) AS n) AS numbers;
INSERT INTO image_properties (image_id, name, value, created_at, updated_at, deleted)
SELECT id, p.name, p.value, created_at, created_at, false FROM images CROSS JOIN LATERAL (VALUES
    ('rare', (hashtext(id) & 1023)::text), ('common', (hashtext(id) & 1)::text),
    ('long', repeat('x', 64) || (hashtext(id) & 1023)), ('same', 'for all')) AS p (name, value);
INSERT INTO image_tags (image_id, value, created_at, updated_at, deleted)
SELECT id, v, created_at, created_at, false FROM images CROSS JOIN LATERAL
    (VALUES ('all'), ('tag-' || (hashtext(id) & 1023))) AS t (v);
INSERT INTO image_locations (image_id, value, status, created_at, updated_at, deleted)
SELECT id, 'file:///data/' || id, 'active', created_at, created_at, false FROM images;
INSERT INTO image_members (image_id, member, can_share, status, created_at, updated_at, deleted)
SELECT id, 'project-' || (hashtext(id) & 7), false, 'accepted', created_at, created_at, false
FROM images WHERE visibility = 'shared';
"""


@pytest.fixture(scope='module')
def db(tmp_path_factory):
    databases.require('postgresql')
    from glance_lite.db import admin
    from tests.backends.fixtures import make_conf

    url = databases.create('postgresql')
    admin.sync(make_conf(url))
    engine = sa.create_engine(url, isolation_level='AUTOCOMMIT')
    with engine.connect() as connection:
        for statement in FILL.split(';\n'):
            if statement.strip():
                connection.exec_driver_sql(statement)
        connection.exec_driver_sql('VACUUM ANALYZE')
    engine.dispose()
    layer = make_layer(url)
    yield layer
    layer.stop()
    databases.drop(url)


def plans(db, function):
    """The plans of all that `function` sends, and what it gives."""
    with Direct(db.database.engine) as connection:
        with connection.raw.cursor() as cursor:
            cursor.execute("LOAD 'auto_explain'")
            cursor.execute('SET auto_explain.log_min_duration = 0')
            cursor.execute("SET auto_explain.log_level = 'notice'")
        connection.raw.notices.clear()
        found = function(connection)
        return ''.join(connection.raw.notices), found


def listed(db, ctx, **query):
    query = Query(limit=25, **query)
    plan, page = plans(db, lambda connection: lists.list_images(connection, ctx, query))
    assert page.images
    return plan


def middle(db, ctx):
    """An image that is in the middle of what the caller sees."""
    page = db.list_images(ctx, Query(limit=1000))
    return page.images[len(page.images) // 2].id


PROJECT, ADMIN = context('project-3'), context('project-3', admin=True)


def test_an_image_is_read_by_its_keys(db):
    image = middle(db, PROJECT)
    plan, _ = plans(db, lambda connection: rows.load(connection, image, 'project-3'))
    assert 'image_properties' in plan
    assert 'Seq Scan' not in plan


@pytest.mark.parametrize('marker', [False, True])
@pytest.mark.parametrize('ctx', [PROJECT, ADMIN])
def test_the_default_list_follows_indexes(db, ctx, marker):
    more = {'marker': middle(db, ctx)} if marker else {}
    plan = listed(db, ctx, **more)
    for table in ('images', 'image_properties', 'image_tags', 'image_locations'):
        assert f'Seq Scan on {table}' not in plan
    images = plan[: plan.index('image_properties')]
    assert 'using gl_images_' in images


@pytest.mark.parametrize('ctx', [PROJECT, ADMIN])
def test_a_rare_property_is_found_by_its_value(db, ctx):
    image = db.get_image(ADMIN, middle(db, ctx))
    for name in ('rare', 'long'):
        plan = listed(db, ctx, properties={name: image.properties[name]})
        assert 'gl_image_properties_value' in plan
        assert 'Seq Scan on image_properties' not in plan


@pytest.mark.parametrize('ctx', [PROJECT, ADMIN])
def test_of_a_common_property_no_more_is_read_than_a_page(db, ctx):
    for properties in ({'common': '1'}, {'same': 'for all'}):
        plan = listed(db, ctx, properties=properties)
        assert 'Seq Scan on image_properties' not in plan
        assert 'gl_image_properties_value' not in plan
        assert 'using gl_images_' in plan


def test_a_value_longer_than_the_index_knows_is_compared_whole(db):
    image = db.get_image(ADMIN, middle(db, ADMIN))
    value = image.properties['long']
    page = db.list_images(ADMIN, Query(limit=1000, properties={'long': value}))
    assert {one.properties['long'] for one in page.images} == {value}
    assert not db.list_images(ADMIN, Query(limit=5, properties={'long': 'x' * 64})).images


def test_a_rare_tag_is_found_by_its_value(db):
    image = db.get_image(ADMIN, middle(db, PROJECT))
    tag = next(tag for tag in image.tags if tag != 'all')
    plan = listed(db, PROJECT, tags=(tag,))
    assert 'gl_image_tags_value' in plan
    assert 'Seq Scan on image_tags' not in plan
