# SPDX-License-Identifier: Apache-2.0
"""Indexes on Glance's tables that lists follow, built while the service runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = 'gl_expand_002'
down_revision = 'gl_expand_001'
branch_labels = None
depends_on = None

_INDEXES = {
    'gl_images_all': ('images', ['deleted', 'os_hidden', 'created_at', 'id']),
    'gl_images_visibility': (
        'images',
        ['deleted', 'visibility', 'os_hidden', 'created_at', 'id'],
    ),
    'gl_images_owner': ('images', ['deleted', 'owner', 'os_hidden', 'created_at', 'id']),
    'gl_image_members_member': ('image_members', ['member', 'deleted', 'status', 'image_id']),
}


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == 'postgresql'
    for name, (table, columns) in _INDEXES.items():
        if postgresql:
            # Does not keep writers out. An interrupted one leaves an invalid index: remove it.
            with op.get_context().autocommit_block():
                if _invalid(name):
                    op.drop_index(name, table, postgresql_concurrently=True)
                op.create_index(
                    name, table, columns, postgresql_concurrently=True, if_not_exists=True
                )
        elif name not in _there(table):
            op.create_index(name, table, columns)


def _there(table: str) -> set[str | None]:
    return {index['name'] for index in sa.inspect(op.get_bind()).get_indexes(table)}


def _invalid(name: str) -> bool:
    found = op.get_bind().execute(
        sa.text('SELECT 1 FROM pg_index WHERE NOT indisvalid AND indexrelid = to_regclass(:name)'),
        {'name': name},
    )
    return found.first() is not None
