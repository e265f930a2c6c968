# SPDX-License-Identifier: Apache-2.0
"""The outbox of events, and who sends what is in it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = 'gl_expand_005'
down_revision = 'gl_expand_004'
branch_labels = None
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
        'gl_outbox',
        metadata,
        sa.Column('serial', _SERIAL, primary_key=True),
        sa.Column('message', sa.Text().with_variant(mysql.LONGTEXT(), 'mysql'), nullable=False),
        sa.Column('at', sa.DateTime, nullable=False),
        sqlite_autoincrement=True,
        **_MYSQL,
    )
    sa.Table(
        'gl_outbox_sender',
        metadata,
        sa.Column('id', sa.Integer, primary_key=True, autoincrement=False),
        sa.Column('sender', sa.String(64)),
        sa.Column('host', sa.String(255)),
        sa.Column('boot_id', sa.String(36)),
        sa.Column('pid', sa.Integer),
        sa.Column('since', sa.DateTime, nullable=False),
        sa.Column('heartbeat', sa.DateTime, nullable=False),
        sa.Column('failing_since', sa.DateTime),
        sa.Column('dropped', sa.BigInteger, nullable=False),
        **_MYSQL,
    )
    return metadata.sorted_tables
