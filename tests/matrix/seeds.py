# SPDX-License-Identifier: Apache-2.0
"""The one image that all operations are asked about, put into a database as Glance would.

Its id is also that of the one task, and the name of the one namespace of metadata definitions.
"""

from __future__ import annotations

import contextlib
import hashlib
import pathlib
import sqlite3
from typing import Any

from tests.matrix.people import ANOTHER, PROJECTS

IMAGE_ID = '11111111-2222-4333-8444-555555555555'
DATA = b'data'
NOW = '2020-01-01 10:00:00.000000'

#: Where files of images are: two stores, the staging area, the cache and its queue.
STORES = ('fast', 'cheap', 'staging', 'cache', 'cache/queue')

TASK, NAMESPACE = 'task', 'namespace'
#: name -> (status, stores that hold the data, further columns)
STATES: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    'queued': ('queued', (), {}),
    'active': ('active', ('fast',), {}),
    'two copies': ('active', ('fast', 'cheap'), {}),
    'deactivated': ('deactivated', ('fast',), {}),
    'protected': ('active', ('fast',), {'protected': 1}),
    'hidden': ('active', ('fast',), {'os_hidden': 1}),
    'of nobody': ('active', ('fast',), {'owner': None}),
    'of nobody, queued': ('queued', (), {'owner': None}),
    # and beside the image
    TASK: ('active', ('fast',), {}),
    NAMESPACE: ('queued', (), {}),
}
MEMBERS = {
    PROJECTS['accepted']: 'accepted',
    PROJECTS['pending']: 'pending',
    PROJECTS['rejected']: 'rejected',
    ANOTHER: 'pending',
}
TABLES = (
    'cached_images', 'image_properties', 'image_tags', 'image_members', 'image_locations', 'images',
    'task_info', 'tasks', 'metadef_namespace_resource_types', 'metadef_resource_types',
    'metadef_objects', 'metadef_properties', 'metadef_tags', 'metadef_namespaces',
)  # fmt: skip


class Seeds:
    """Resets one service's database and stores to the one image."""

    def __init__(self, database: pathlib.Path, stores: pathlib.Path) -> None:
        self._stores = stores
        self._connection = sqlite3.connect(database, timeout=60, isolation_level=None)
        self._connection.execute('PRAGMA synchronous = OFF')
        every = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        names = {row[0] for row in every}
        self._own = sorted(
            name for name in names if name.startswith('gl_') and 'version' not in name
        )

    def close(self) -> None:
        self._connection.close()

    def reset(self, state: str, visibility: str) -> None:
        """Nothing but the image, in that state, its bytes, and what the state has beside it."""
        status, stores, more = STATES[state]
        self.clear()
        with contextlib.closing(self._connection.cursor()) as cursor:
            cursor.execute('BEGIN IMMEDIATE')
            self._insert(cursor, status, visibility, bool(stores), more)
            for store in stores:
                self._locate(cursor, store)
            if state == TASK:
                _insert_task(cursor)
            if state == NAMESPACE:
                _insert_namespace(cursor, visibility)
            cursor.execute('COMMIT')
        for store in stores:
            (self._stores / store / IMAGE_ID).write_bytes(DATA)

    def clear(self) -> None:
        """No image, no bytes of one, and nothing else."""
        with contextlib.closing(self._connection.cursor()) as cursor:
            cursor.execute('BEGIN IMMEDIATE')
            for table in (*TABLES, *self._own):
                cursor.execute(f'DELETE FROM {table}')
            cursor.execute('COMMIT')
        for store in STORES:
            for file in self._files(store):
                file.unlink(missing_ok=True)

    def _insert(
        self, cursor: sqlite3.Cursor, status: str, visibility: str, data: bool, more: dict[str, Any]
    ) -> None:
        times = {'created_at': NOW, 'updated_at': NOW, 'deleted': 0}
        columns: dict[str, Any] = {
            'id': IMAGE_ID, 'name': 'matrix', 'status': status, 'owner': PROJECTS['owner'],
            'visibility': visibility if visibility != '-' else 'shared',
            'disk_format': 'raw', 'container_format': 'bare', 'min_disk': 0, 'min_ram': 0,
            'protected': 0, 'os_hidden': 0, **times,
        }  # fmt: skip
        if data:
            columns |= {
                'size': len(DATA),
                'checksum': hashlib.md5(DATA, usedforsecurity=False).hexdigest(),
                'os_hash_algo': 'sha512',
                'os_hash_value': hashlib.sha512(DATA).hexdigest(),
            }
        _row(cursor, 'images', {**columns, **more})
        of = {'image_id': IMAGE_ID, **times}
        _row(cursor, 'image_properties', {'name': 'color', 'value': 'red', **of})
        _row(cursor, 'image_tags', {'value': 'tagged', **of})
        for member, said in MEMBERS.items():
            _row(cursor, 'image_members', {'member': member, 'status': said, 'can_share': 0, **of})

    def _locate(self, cursor: sqlite3.Cursor, store: str) -> None:
        _row(cursor, 'image_locations', {
            'image_id': IMAGE_ID, 'value': f'file://{self._stores}/{store}/{IMAGE_ID}',
            'meta_data': f'{{"store": "{store}"}}', 'status': 'active',
            'created_at': NOW, 'updated_at': NOW, 'deleted': 0,
        })  # fmt: skip

    def state(self) -> list[Any]:
        """Every row there is, and every file: to see whether something has changed."""
        found: list[Any] = [
            self._connection.execute(f'SELECT * FROM {table} ORDER BY 1').fetchall()
            for table in (*TABLES, *self._own)
        ]
        for store in STORES:
            found.append(sorted(file.name for file in self._files(store)))
        return found

    def _files(self, store: str) -> list[pathlib.Path]:
        found = (self._stores / store).glob('*')
        return [path for path in found if path.is_file() and not path.name.endswith('.db')]


def _insert_task(cursor: sqlite3.Cursor) -> None:
    _row(cursor, 'tasks', {
        'id': IMAGE_ID, 'type': 'api_image_import', 'status': 'processing', 'image_id': IMAGE_ID,
        'owner': PROJECTS['owner'], 'request_id': 'req-1', 'user_id': 'somebody',
        'created_at': NOW, 'updated_at': NOW, 'deleted': 0,
    })  # fmt: skip
    _row(cursor, 'task_info', {'task_id': IMAGE_ID, 'input': '{}', 'message': ''})


def _insert_namespace(cursor: sqlite3.Cursor, visibility: str) -> None:
    """With one of everything inside."""
    times = {'created_at': NOW, 'updated_at': NOW}
    _row(cursor, 'metadef_namespaces', {
        'id': 1, 'namespace': IMAGE_ID, 'visibility': 'public' if visibility == '-' else visibility,
        'protected': 0, 'owner': PROJECTS['owner'], **times,
    })  # fmt: skip
    of = {'id': 1, 'namespace_id': 1, **times}
    _row(cursor, 'metadef_objects', {'name': 'thing', 'json_schema': '{}', **of})
    schema = '{"title": "Trait", "type": "string"}'
    _row(cursor, 'metadef_properties', {'name': 'trait', 'json_schema': schema, **of})
    _row(cursor, 'metadef_tags', {'name': 'label', **of})
    _row(cursor, 'metadef_resource_types', {'id': 1, 'name': 'Kind', 'protected': 0, **times})
    _row(cursor, 'metadef_namespace_resource_types',
         {'resource_type_id': 1, 'namespace_id': 1, **times})  # fmt: skip


def _row(cursor: sqlite3.Cursor, table: str, values: dict[str, Any]) -> None:
    names, marks = ', '.join(values), ', '.join('?' * len(values))
    cursor.execute(f'INSERT INTO {table} ({names}) VALUES ({marks})', tuple(values.values()))
