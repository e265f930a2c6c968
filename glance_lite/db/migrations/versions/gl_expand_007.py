# SPDX-License-Identifier: Apache-2.0
"""Imports: what is to be done and how far it is, and a row for each copy in a store."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = 'gl_expand_007'
down_revision = 'gl_expand_006'
branch_labels = None
depends_on = None

_MYSQL: Any = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb3'}
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
_LONG = sa.Text().with_variant(mysql.LONGTEXT(), 'mysql')


def upgrade() -> None:
    there = set(sa.inspect(op.get_bind()).get_table_names())
    for table in _tables():
        if table.name not in there:
            table.create(op.get_bind())


def _tables() -> list[sa.Table]:
    metadata = sa.MetaData()
    sa.Table(
        'gl_jobs',
        metadata,
        sa.Column('serial', _SERIAL, primary_key=True, autoincrement=False),
        sa.Column('task_id', sa.String(36), nullable=False),
        sa.Column('image_id', sa.String(36), nullable=False),
        sa.Column('method', sa.String(255), nullable=False),
        sa.Column('wanted', _LONG, nullable=False),
        sa.Column('steps', _LONG, nullable=False),
        sa.Column('percent', sa.Integer, nullable=False),
        sa.Column('created', sa.DateTime, nullable=False),
        sa.Index('gl_jobs_image', 'image_id'),
        **_MYSQL,
    )
    sa.Table(
        'gl_copies',
        metadata,
        sa.Column('id', _SERIAL, primary_key=True),
        sa.Column('job', _SERIAL, nullable=False),
        sa.Column('image_id', sa.String(36), nullable=False),
        sa.Column('store', sa.String(255), nullable=False),
        sa.Column('state', sa.String(20), nullable=False),
        sa.Column('location', _SERIAL),
        sa.Column('reason', sa.Text),
        sa.Index('gl_copies_job', 'job'),
        **_MYSQL,
    )
    return list(metadata.tables.values())
