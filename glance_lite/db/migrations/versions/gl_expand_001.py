# SPDX-License-Identifier: Apache-2.0
"""Our tables: operations, reservations, usage, failures."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = 'gl_expand_001'
down_revision = None
branch_labels = ('gl_expand',)
depends_on = None

_MYSQL: Any = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb3'}
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    there = set(sa.inspect(op.get_bind()).get_table_names())
    for table in _tables():
        if table.name not in there:
            table.create(op.get_bind())


def _tables() -> list[sa.Table]:
    metadata = sa.MetaData()
    sa.Table(
        'gl_operations',
        metadata,
        sa.Column('serial', _SERIAL, primary_key=True),
        sa.Column('image_id', sa.String(36), nullable=False),
        sa.Column('kind', sa.String(20), nullable=False),
        sa.Column('store', sa.String(255)),
        sa.Column('name', sa.String(255), nullable=False),
        sa.Column('kept', sa.Text),
        sa.Column('project', sa.String(255)),
        sa.Column('user_id', sa.String(255)),
        sa.Column('host', sa.String(255), nullable=False),
        sa.Column('boot_id', sa.String(36), nullable=False),
        sa.Column('pid', sa.Integer, nullable=False),
        sa.Column('started', sa.DateTime, nullable=False),
        sa.Column('heartbeat', sa.DateTime, nullable=False),
        sa.Column('state', sa.String(20), nullable=False),
        sa.Index('gl_operations_image', 'image_id'),
        sa.Index('gl_operations_heartbeat', 'heartbeat'),
        sqlite_autoincrement=True,
        **_MYSQL,
    )
    sa.Table(
        'gl_reservations',
        metadata,
        sa.Column('id', _SERIAL, primary_key=True),
        sa.Column('serial', _SERIAL, nullable=False),
        sa.Column('project', sa.String(255), nullable=False),
        sa.Column('amount', sa.BigInteger, nullable=False),
        sa.Index('gl_reservations_serial', 'serial'),
        sa.Index('gl_reservations_project', 'project'),
        **_MYSQL,
    )
    sa.Table(
        'gl_usage',
        metadata,
        sa.Column('project', sa.String(255), primary_key=True),
        sa.Column('changes', sa.BigInteger, nullable=False),
        **_MYSQL,
    )
    sa.Table(
        'gl_failures',
        metadata,
        sa.Column('image_id', sa.String(36), primary_key=True),
        sa.Column('reason', sa.Text, nullable=False),
        sa.Column('at', sa.DateTime, nullable=False),
        sa.Column('fenced', sa.Boolean, nullable=False),
        **_MYSQL,
    )
    return metadata.sorted_tables
