# SPDX-License-Identifier: Apache-2.0
"""Duties: who does what for all nodes, and what came of it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = 'gl_expand_008'
down_revision = 'gl_expand_007'
branch_labels = None
depends_on = None

_MYSQL: Any = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb3'}


def upgrade() -> None:
    if 'gl_duties' in sa.inspect(op.get_bind()).get_table_names():
        return
    op.create_table(
        'gl_duties',
        sa.Column('name', sa.String(64), primary_key=True),
        sa.Column('holder', sa.String(64)),
        sa.Column('host', sa.String(255)),
        sa.Column('boot_id', sa.String(36)),
        sa.Column('pid', sa.Integer),
        sa.Column('began', sa.DateTime, nullable=False),
        sa.Column('heartbeat', sa.DateTime, nullable=False),
        sa.Column('ended', sa.DateTime),
        sa.Column('result', sa.Text),
        sa.Column('problem', sa.Text),
        **_MYSQL,
    )
