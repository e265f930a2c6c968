# SPDX-License-Identifier: Apache-2.0
"""What MariaDB reads for one page of a list, by its own count of reads (``Handler_read_*``)."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from glance_lite.db import admin, lists
from glance_lite.model import Condition, Query
from tests.backends import databases
from tests.backends.fixtures import context, make_conf, make_layer

IMAGES = 20_000
#: reads of rows and of entries of indexes, a tenth of what there is
READS = 2_000

FILL = f"""
INSERT INTO images (id, name, status, visibility, owner, created_at, updated_at, deleted, size,
    disk_format, container_format, checksum, min_disk, min_ram, protected, os_hidden)
SELECT md5(seq), concat('image-', seq), if(seq % 997 = 0, 'queued', 'active'),
    elt(1 + seq div 2 % 10 div 3, 'private', 'shared', 'public', 'community'),
    if(seq % 2 = 0, 'half', if(seq % ({IMAGES} div 25) = 1, 'small', 'others')),
    '2026-01-01' + INTERVAL seq MINUTE, '2026-01-01' + INTERVAL seq MINUTE, 0, seq * 1024,
    if(seq % 1000 = 1, 'iso', 'qcow2'), 'bare', md5(seq), 0, 0, 0, 0
FROM seq_1_to_{IMAGES};
INSERT INTO image_properties (image_id, name, value, created_at, updated_at, deleted)
SELECT md5(seq), n, if(n = 'same', 'for all', seq), '2026-01-01', '2026-01-01', 0
FROM seq_1_to_{IMAGES} JOIN (SELECT 'same' AS n UNION SELECT 'unique' UNION SELECT 'third'
    UNION SELECT 'fourth' UNION SELECT 'fifth') AS names;
INSERT INTO image_tags (image_id, value, created_at, updated_at, deleted)
SELECT md5(seq), if(n = 1, 'same', concat('tag-', seq)), '2026-01-01', '2026-01-01', 0
FROM seq_1_to_{IMAGES} JOIN (SELECT 1 AS n UNION SELECT 2) AS numbers;
ANALYZE TABLE images, image_properties, image_tags, image_members
"""

QUERIES = {
    'none': Query(limit=25),
    'a name': Query(limit=25, conditions=(Condition('name', 'eq', 'image-777'),)),
    'a status': Query(limit=25, conditions=(Condition('status', 'eq', 'queued'),)),
    'a rare format': Query(limit=25, conditions=(Condition('disk_format', 'eq', 'iso'),)),
    'a common format': Query(limit=25, conditions=(Condition('disk_format', 'eq', 'qcow2'),)),
    'a size': Query(limit=25, conditions=(Condition('size', 'eq', 777 * 1024),)),
    'a common tag': Query(limit=25, tags=('same',)),
    'a rare tag': Query(limit=25, tags=('tag-777',)),
    'a common property': Query(limit=25, properties={'same': 'for all'}),
    'a rare property': Query(limit=25, properties={'unique': '777'}),
    'by size': Query(limit=25, sort=(('size', 'desc'),)),
}
VIEWERS = {'small': context('small'), 'half': context('half'), 'admin': context('x', admin=True)}


@pytest.fixture(scope='module')
def db():
    databases.require('mysql')
    url = databases.create('mysql')
    admin.sync(make_conf(url))
    engine = sa.create_engine(url, isolation_level='AUTOCOMMIT')
    with engine.connect() as connection:
        for statement in FILL.split(';\n'):
            connection.execute(sa.text(statement))
    engine.dispose()
    layer = make_layer(url, list_timeout=0)
    yield layer
    layer.stop()
    databases.drop(url)


@pytest.mark.parametrize('name', QUERIES)
@pytest.mark.parametrize('viewer', VIEWERS)
def test_a_page_reads_a_bounded_number_of_rows(db, viewer, name):
    def ask(connection):
        connection.exec_driver_sql('FLUSH STATUS')
        lists.list_images(connection, VIEWERS[viewer], QUERIES[name])
        found = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'")
        return sum(int(value) for _, value in found)

    assert db.database.read(ask) <= READS
