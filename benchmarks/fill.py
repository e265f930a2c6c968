# SPDX-License-Identifier: Apache-2.0
"""Fills Glance's tables with images, by statements that the server runs alone.

A million images with their properties, tags, locations and members take about a minute, 20,000
one or two seconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import select
from collections.abc import Iterator
from typing import Any

import psycopg2
from psycopg2 import extensions

#: the images are theirs
PROJECTS = 10
#: who reads in the measurements, and who writes; nobody else sees what the writer makes
READER, WRITER = 'project-0', 'writer'
#: have 25 images, and half of all, where numbers of images are compared
FEW, HALF = 'few-0', 'half-0'
#: name of what is made in a measurement
MADE = 'made-by-a-measurement'

PROPERTIES = {
    'os_distro': ('debian', 'ubuntu', 'fedora', 'rocky', 'alpine'),
    'architecture': ('x86_64', 'aarch64'),
    'hw_disk_bus': ('virtio', 'scsi'),
    'hw_firmware_type': ('uefi', 'bios'),
    'build_number': tuple(str(number) for number in range(500)),
}
TAGS = ('stable', 'nightly', 'lts', 'gpu', 'base', 'team-a', 'team-b', 'cloud')
VISIBILITIES = ('private',) * 5 + ('shared',) * 3 + ('public', 'community')

#: number -> image; the same ones in each run
_IMAGES = """
INSERT INTO images
    (id, name, size, status, created_at, updated_at, deleted, disk_format, container_format,
     checksum, owner, min_disk, min_ram, protected, visibility, os_hidden, os_hash_algo,
     os_hash_value)
SELECT md5('image ' || n)::uuid::text, 'image-' || n, (random() * 1e10)::bigint, 'active',
    at, at, false, (ARRAY['qcow2', 'raw'])[1 + (random() * 2)::int % 2], 'bare',
    md5(n::text), {owner}, 0, 0, false, ({visibility})::image_visibility, false, 'sha512',
    repeat(md5(n::text), 4)
FROM generate_series({first}, {last}) n,
    LATERAL (SELECT timestamp '2023-01-01' + n * interval '1 minute') AS t(at)
"""
_OWNER = f"'project-' || floor(random() * {PROJECTS})::int"
_UNEVEN = (
    f"CASE WHEN n % 2 = 0 THEN '{HALF}' WHEN n % ({{count}} / 25) = 1 THEN '{FEW}' "
    f'ELSE {_OWNER} END'
)
_PROPERTIES = """
INSERT INTO image_properties (image_id, name, value, created_at, updated_at, deleted)
SELECT i.id, p.name, (p.choices)[1 + floor(random() * cardinality(p.choices))::int],
    i.created_at, i.updated_at, false
FROM images i CROSS JOIN (VALUES {choices}) AS p(name, choices)
"""
_TAGS = """
INSERT INTO image_tags (image_id, value, created_at, updated_at, deleted)
SELECT i.id, (%s)[1 + (ascii(i.id) + ascii(right(i.id, 1)) + k) %% %s],
    i.created_at, i.updated_at, false
FROM images i CROSS JOIN generate_series(0, 2) k
"""
_LOCATIONS = """
INSERT INTO image_locations
    (image_id, value, meta_data, status, created_at, updated_at, deleted)
SELECT id, 'file://' || %s || '/' || id, '{"store": "file"}', 'active',
    created_at, updated_at, false
FROM images
"""
# Each with one project that is not its owner, which has accepted.
_MEMBERS = """
INSERT INTO image_members
    (image_id, member, can_share, status, created_at, updated_at, deleted)
SELECT id, 'project-' || (right(owner, 1)::int + 1 + floor(random() * %s)::int) %% %s,
    false, 'accepted', created_at, updated_at, false
FROM images WHERE visibility = 'shared'
"""
# What is faster made at the end than kept: unique constraints and indexes but primary keys.
# (how to drop, how to make)
_LATER = """
SELECT format('ALTER TABLE %%I DROP CONSTRAINT %%I', c.conrelid::regclass, c.conname),
    format('ALTER TABLE %%I ADD CONSTRAINT %%I %%s', c.conrelid::regclass, c.conname,
        pg_get_constraintdef(c.oid))
FROM pg_constraint c WHERE c.contype = 'u' AND c.conrelid::regclass::text = ANY(%(tables)s)
UNION ALL
SELECT format('DROP INDEX %%I', indexname), indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename = ANY(%(tables)s)
    AND indexname NOT IN (SELECT conname FROM pg_constraint)
"""
_VISIBLE = """
SELECT id FROM images i WHERE status = 'active' AND (owner = %(reader)s OR visibility = 'public'
    OR visibility = 'shared' AND EXISTS (
        SELECT FROM image_members m
        WHERE m.image_id = i.id AND m.member = %(reader)s AND m.status = 'accepted'))
ORDER BY created_at DESC
"""
_TABLES = ('image_properties', 'image_tags', 'image_locations', 'image_members', 'images')


@dataclasses.dataclass(frozen=True)
class Filled:
    """What there is now for the measurements."""

    #: images the reader sees, in any order
    visible: list[str]
    #: images of the writer, to be changed
    writable: list[str]
    #: image in the middle of the reader's list, and of all
    middle: dict[str, str]


def _wait(connection: Any) -> None:
    """For a statement, in Python: a signal is noticed in the middle of a long one."""
    while (state := connection.poll()) != extensions.POLL_OK:
        waiting = [connection.fileno()]
        reading = state == extensions.POLL_READ
        select.select(waiting if reading else [], [] if reading else waiting, [])


@contextlib.contextmanager
def without_indexes(cursor: Any) -> Iterator[None]:
    """Inside, the tables have no indexes but their primary keys; they are made at the end."""
    cursor.execute(_LATER, {'tables': list(_TABLES)})
    later = cursor.fetchall()
    for drop, _ in later:
        cursor.execute(drop)
    # No triggers, so no look at the image for each row of it; room to sort.
    cursor.execute("SET session_replication_role = replica; SET maintenance_work_mem = '256MB'")
    yield
    for _, make in later:
        cursor.execute(make)
    cursor.execute('RESET session_replication_role')


class Filler:
    """The database of one world."""

    def __init__(self, url: str, directory: str) -> None:
        extensions.set_wait_callback(_wait)
        self._connection = psycopg2.connect(url.replace('postgresql+psycopg2', 'postgresql'))
        self._connection.autocommit = True
        self._directory = directory
        self._queued = 0

    def close(self) -> None:
        self._connection.close()

    @property
    def server_pid(self) -> int:
        """Of the process whose children are all of PostgreSQL."""
        with open(f'/proc/{self._connection.info.backend_pid}/stat') as file:
            return int(file.read().rpartition(')')[2].split()[1])

    def _do(self, statement: str, *values: Any) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values or None)

    def _ids(self, statement: str, values: Any = None) -> list[str]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return [row[0] for row in cursor.fetchall()]

    def fill(self, count: int, writable: int = 0, uneven: bool = False) -> Filled:
        """`count` images of all projects, and some of the writer.

        `uneven`: one project has half of them, and one has 25.
        """
        with self._connection.cursor() as cursor, without_indexes(cursor):
            self._rows(count, writable, _UNEVEN.format(count=count) if uneven else _OWNER)
        self._settle()
        visible = self._ids(_VISIBLE, {'reader': READER})
        middle = {
            'project': visible[len(visible) // 2],
            'admin': self._ids(
                'SELECT id FROM images ORDER BY created_at OFFSET %s LIMIT 1', [count // 2]
            )[0],
        }
        random.Random(2).shuffle(visible)
        mine = self._ids('SELECT id FROM images WHERE owner = %s', [WRITER])
        return Filled(visible[:2000], mine, middle)

    def _rows(self, count: int, writable: int, owner: str) -> None:
        self._do('SELECT setseed(0.2)')
        choices = ', '.join(f"'{visibility}'" for visibility in VISIBILITIES)
        self._images(
            1,
            count,
            owner,
            f'(ARRAY[{choices}])[1 + floor(random() * {len(VISIBILITIES)})::int]',
        )
        self._images(count + 1, count + writable, f"'{WRITER}'", "'private'")
        values = ', '.join('(%s, %s)' for _ in PROPERTIES)
        given = [part for name, some in PROPERTIES.items() for part in (name, list(some))]
        self._do(_PROPERTIES.format(choices=values), *given)
        self._do(_TAGS, list(TAGS), len(TAGS))
        self._do(_LOCATIONS, self._directory)
        self._do(_MEMBERS, PROJECTS - 1, PROJECTS)

    def _images(self, first: int, last: int, owner: str, visibility: str) -> None:
        self._do(_IMAGES.format(first=first, last=last, owner=owner, visibility=visibility))

    def _settle(self) -> None:
        # Now, so that PostgreSQL does not decide to do it in the middle of a measurement.
        self._do('VACUUM ANALYZE')

    def queued(self, count: int) -> list[str]:
        """Images of the writer that have no data yet."""
        begun, self._queued = self._queued, self._queued + count
        return self._ids(
            'INSERT INTO images (id, name, status, created_at, updated_at, deleted, disk_format,'
            ' container_format, owner, min_disk, min_ram, protected, visibility, os_hidden)'
            " SELECT md5('queued ' || n)::uuid::text, %s, 'queued', now() AT TIME ZONE 'UTC',"
            " now() AT TIME ZONE 'UTC', false, 'raw', 'bare', %s, 0, 0, false, 'private', false"
            ' FROM generate_series(%s, %s) n RETURNING id',
            [MADE, WRITER, begun + 1, begun + count],
        )

    def made(self) -> list[str]:
        """What measurements have made."""
        return self._ids('SELECT id FROM images WHERE name = %s AND NOT deleted', [MADE])

    def forget(self, keep: set[str]) -> None:
        """Remove what measurements have made."""
        made = self._ids('SELECT id FROM images WHERE name = %s', [MADE])
        gone = [image_id for image_id in made if image_id not in keep]
        if not gone:
            return
        for table in _TABLES:
            column = 'id' if table == 'images' else 'image_id'
            self._do(f'DELETE FROM {table} WHERE {column} = ANY(%s)', gone)
        if len(gone) > 100:
            self._settle()


def copy_of(template: str, name: str) -> str:
    """A database with the tables of another one, to which nobody is connected; its url."""
    server, _, source = template.rpartition('/')
    url = server.replace('postgresql+psycopg2', 'postgresql')
    connection = psycopg2.connect(f'{url}/postgres')
    try:
        connection.autocommit = True
        connection.cursor().execute(f'CREATE DATABASE {name} TEMPLATE {source}')
    finally:
        connection.close()
    return f'{server}/{name}'
