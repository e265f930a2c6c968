# SPDX-License-Identifier: Apache-2.0
"""Indexes on ``images`` for each filter and order of a list, built while the service runs.

Two take the place of others: with the visibility at their end, images that are not to be seen are
passed over within the index.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = 'gl_expand_004'
down_revision = 'gl_expand_003'
branch_labels = None
depends_on = None

_BEHIND = ['os_hidden', 'created_at', 'id', 'owner', 'visibility']
_REPLACED = {
    'gl_images_time': ['deleted', 'os_hidden', 'created_at', 'id', 'visibility'],
    'gl_images_project': ['deleted', 'owner', 'os_hidden', 'created_at', 'id', 'visibility'],
}
_OLD = ('gl_images_all', 'gl_images_owner')
#: column -> whether it may be NULL
_SORTED = {
    'name': True,
    'status': False,
    'disk_format': True,
    'container_format': True,
    'size': True,
    'updated_at': True,
}
_UNUSUAL = {
    'protected': 'protected',
    'os_hash_algo': "os_hash_algo <> 'sha512'",
    'min_disk': 'min_disk <> 0',
    'min_ram': 'min_ram <> 0',
    'virtual_size': 'virtual_size IS NOT NULL',
}


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    for name, columns in _REPLACED.items():
        _create(name, columns)
    if dialect != 'sqlite':
        for column, nullable in _SORTED.items():
            # NULL is the smallest, as MySQL has it.
            first = dialect == 'postgresql' and nullable
            key: Any = sa.text(f'{column} NULLS FIRST') if first else column
            _create(f'gl_images_{column}', ['deleted', key, *_BEHIND])
    if dialect == 'postgresql':
        for column, unusual in _UNUSUAL.items():
            columns = ['deleted', column, *_BEHIND]
            _create(f'gl_images_{column}', columns, postgresql_where=sa.text(unusual))
        with op.get_context().autocommit_block():
            for name in _OLD:
                op.drop_index(name, 'images', postgresql_concurrently=True, if_exists=True)
            op.execute('ANALYZE images')
    else:
        for name in _OLD:
            if name in _there():
                op.drop_index(name, 'images')


def _create(name: str, columns: list[Any], **more: Any) -> None:
    if op.get_bind().dialect.name == 'postgresql':
        # Does not keep writers out. An interrupted one leaves an invalid index: remove it.
        with op.get_context().autocommit_block():
            if _invalid(name):
                op.drop_index(name, 'images', postgresql_concurrently=True)
            more |= {'postgresql_concurrently': True, 'if_not_exists': True}
            op.create_index(name, 'images', columns, **more)
    elif name not in _there():
        op.create_index(name, 'images', columns)


def _there() -> set[str | None]:
    return {index['name'] for index in sa.inspect(op.get_bind()).get_indexes('images')}


def _invalid(name: str) -> bool:
    found = op.get_bind().execute(
        sa.text('SELECT 1 FROM pg_index WHERE NOT indisvalid AND indexrelid = to_regclass(:name)'),
        {'name': name},
    )
    return found.first() is not None
