# SPDX-License-Identifier: Apache-2.0
"""Copies in quarantine, how far long work has come, and in which stores images are to be."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = 'gl_expand_009'
down_revision = 'gl_expand_008'
branch_labels = None
depends_on = None

_MYSQL: Any = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb3'}


def upgrade() -> None:
    there = set(sa.inspect(op.get_bind()).get_table_names())
    for table in _tables():
        if table.name not in there:
            table.create(op.get_bind())


def _tables() -> list[sa.Table]:
    metadata = sa.MetaData()
    sa.Table(
        'gl_quarantine',
        metadata,
        sa.Column('location_id', sa.Integer, primary_key=True, autoincrement=False),
        sa.Column('image_id', sa.String(36), nullable=False),
        sa.Column('store', sa.String(255)),
        sa.Column('shown', sa.Text, nullable=False),
        sa.Column('fault', sa.String(20), nullable=False),
        sa.Column('text', sa.Text, nullable=False),
        sa.Column('since', sa.DateTime, nullable=False),
        sa.Index('gl_quarantine_image', 'image_id'),
        **_MYSQL,
    )
    sa.Table(
        'gl_positions',
        metadata,
        sa.Column('name', sa.String(255), primary_key=True),
        sa.Column('position', sa.Text, nullable=False),
        sa.Column('at', sa.DateTime, nullable=False),
        **_MYSQL,
    )
    sa.Table(
        'gl_placements',
        metadata,
        sa.Column('image_id', sa.String(36), primary_key=True),
        sa.Column('store', sa.String(255), primary_key=True),
        sa.Column('wanted', sa.Boolean(create_constraint=False), nullable=False),
        sa.Column('since', sa.DateTime, nullable=False),
        sa.Column('due', sa.DateTime, nullable=False),
        sa.Column('attempts', sa.Integer, nullable=False),
        sa.Column('problem', sa.Text),
        sa.Index('gl_placements_due', 'due'),
        **_MYSQL,
    )
    return metadata.sorted_tables
