# SPDX-License-Identifier: Apache-2.0
"""Counters of what projects use, and an index to see what somebody else has changed.

What they count is not known yet: ``counted_at`` is NULL, and whoever needs them counts first.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = 'gl_expand_006'
down_revision = 'gl_expand_005'
branch_labels = None
depends_on = None

_INDEX = ('gl_images_changed', 'images', ['owner', 'updated_at'])


def _columns() -> list[tuple[str, sa.Column[Any]]]:
    counters = (
        'size', 'images', 'uploading', 'staged', 'reserved_size', 'reserved_staged',
        'known_changes',
    )  # fmt: skip
    columns: list[tuple[str, sa.Column[Any]]] = [
        ('gl_usage', sa.Column(name, sa.BigInteger, nullable=False, server_default='0'))
        for name in counters
    ]
    return [
        *columns,
        ('gl_usage', sa.Column('counted_at', sa.DateTime)),
        ('gl_usage', sa.Column('watermark', sa.DateTime)),
        ('gl_usage', sa.Column('recent', sa.String(64))),
        (
            'gl_reservations',
            sa.Column('counter', sa.String(20), nullable=False, server_default='size'),
        ),
    ]


def upgrade() -> None:
    inspector = sa.inspect(op.get_bind())
    for table, column in _columns():
        if column.name not in {found['name'] for found in inspector.get_columns(table)}:
            op.add_column(table, column)
    name, table, columns = _INDEX
    if op.get_bind().dialect.name == 'postgresql':
        # Does not keep writers out. An interrupted one leaves an invalid index: remove it.
        with op.get_context().autocommit_block():
            if _invalid(name):
                op.drop_index(name, table, postgresql_concurrently=True)
            op.create_index(name, table, columns, postgresql_concurrently=True, if_not_exists=True)
    elif name not in {index['name'] for index in inspector.get_indexes(table)}:
        op.create_index(name, table, columns)


def _invalid(name: str) -> bool:
    found = op.get_bind().execute(
        sa.text('SELECT 1 FROM pg_index WHERE NOT indisvalid AND indexrelid = to_regclass(:name)'),
        {'name': name},
    )
    return found.first() is not None
