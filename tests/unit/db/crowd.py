# SPDX-License-Identifier: Apache-2.0
"""Very many images in PostgreSQL, of which one project has 25 and another one has half.

Values that are common, rare, only with others or only with the oldest images are what makes
a list expensive, so there are some of each. All is made by the server alone.
"""

from __future__ import annotations

import psycopg2

from benchmarks import fill

#: has 25 images; has half of them; has what is left of them
SMALL, HALF = 'small', 'half'
TABLES = ('images', 'image_properties', 'image_tags', 'image_locations', 'image_members')

# h is a number of 0 to 9999 that depends on nothing else; old are one hundredth of all.
_IMAGES = """
INSERT INTO images (id, name, status, visibility, owner, created_at, updated_at, deleted, size,
    virtual_size, disk_format, container_format, checksum, os_hash_algo, os_hash_value,
    min_disk, min_ram, protected, os_hidden)
SELECT md5('i' || n)::uuid::text,
    CASE WHEN h < 500 THEN 'common' WHEN h < 1000 AND others THEN 'of others'
         WHEN old AND h < 5000 THEN 'old' ELSE 'image-' || n END,
    CASE WHEN h < 200 AND others THEN 'queued' WHEN h >= 9990 THEN 'deactivated'
         WHEN n IN (1000, 2001) THEN 'saving' ELSE 'active' END,
    (CASE WHEN h % 10 < 6 THEN 'private' WHEN h % 10 < 8 THEN 'shared' WHEN h % 10 = 8 THEN 'public'
          ELSE 'community' END)::image_visibility,
    CASE WHEN n % 2 = 0 THEN 'half' WHEN n % ({count} / 25) = 1 THEN 'small'
         ELSE 'project-' || (n / 2) % 100 END,
    at, at + interval '1 hour', false, n * 1024, CASE WHEN h < 9000 THEN n * 2048 END,
    CASE WHEN h < 300 AND others THEN 'vhd' WHEN old THEN 'vdi' WHEN h < 7000 THEN 'qcow2'
         WHEN h < 9990 THEN 'raw' ELSE 'iso' END,
    CASE WHEN h < 150 AND others THEN 'ovf' WHEN h < 9990 THEN 'bare' ELSE 'docker' END,
    CASE WHEN h < 200 THEN md5('many') ELSE md5(n::text) END,
    CASE WHEN h < 100 THEN 'sha256' ELSE 'sha512' END,
    CASE WHEN h < 200 THEN repeat(md5('many'), 4) ELSE repeat(md5(n::text), 4) END,
    CASE WHEN h % 5 = 0 THEN 10 WHEN h = 1 THEN 77 ELSE 0 END,
    CASE WHEN h % 7 = 0 THEN 512 WHEN h = 2 THEN 77 ELSE 0 END,
    h >= 9950, h % 100 = 50
FROM generate_series(1, {count}) n, LATERAL (SELECT (hashtext(n::text) & 1073741823) % 10000,
    n % 2 = 1, n <= {count} / 100, timestamp '2023-01-01' + n * interval '1 minute')
    AS t(h, others, old, at)
"""
# k is the number of the image.
_PROPERTIES = """
INSERT INTO image_properties (image_id, name, value, created_at, updated_at, deleted)
SELECT id, p.name, p.value, created_at, created_at, false
FROM images CROSS JOIN LATERAL (SELECT size / 1024) AS number (k) CROSS JOIN LATERAL (VALUES
    ('same', 'for all'), ('common', (k % 5)::text), ('hundredth', (k % 101)::text), ('unique', id),
    ('whose', CASE WHEN owner = 'half' THEN 'half' WHEN k % 50 = 1 THEN 'few' ELSE 'others' END)
) AS p (name, value)
"""
_TAGS = """
INSERT INTO image_tags (image_id, value, created_at, updated_at, deleted)
SELECT id, v, created_at, created_at, false FROM images CROSS JOIN LATERAL
    (VALUES ('same'), ('tag-' || size / 1024 % 101),
     (CASE WHEN owner <> 'half' AND size / 1024 % 50 = 1 THEN 'few' ELSE id END)) AS t (v)
"""
_LOCATIONS = """
INSERT INTO image_locations (image_id, value, status, created_at, updated_at, deleted)
SELECT id, 'file:///data/' || id, 'active', created_at, created_at, false FROM images
"""
# Every third shared image of the others with the half, and some with the small one.
_MEMBERS = """
INSERT INTO image_members (image_id, member, can_share, status, created_at, updated_at, deleted)
SELECT id, CASE WHEN size / 1024 % 3 = 0 AND owner <> 'half' THEN 'half'
    WHEN size / 1024 % ({count} / 50) = 0 THEN 'small' ELSE 'project-' || size / 1024 % 100 END,
    false, CASE WHEN size / 1024 % 100 = 0 THEN 'pending' ELSE 'accepted' END,
    created_at, created_at, false
FROM images WHERE visibility = 'shared'
"""


def make(url: str, count: int) -> None:
    """Fill an empty database with `count` images, 5 properties, 3 tags and a location each."""
    connection = psycopg2.connect(url.replace('postgresql+psycopg2', 'postgresql'))
    connection.autocommit = True
    with connection, connection.cursor() as cursor, fill.without_indexes(cursor):
        for statement in (_IMAGES, _PROPERTIES, _TAGS, _LOCATIONS, _MEMBERS):
            cursor.execute(statement.format(count=count))
    with connection.cursor() as cursor:
        cursor.execute('VACUUM ANALYZE')
    connection.close()
