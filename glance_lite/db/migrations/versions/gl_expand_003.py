# SPDX-License-Identifier: Apache-2.0
"""Indexes on Glance's tables for filters on a property or a tag, built while the service runs.

Not in SQLite, which looks at each image of the page in any case.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = 'gl_expand_003'
down_revision = 'gl_expand_002'
branch_labels = None
depends_on = None

# A value is a text of any length, too long for an index: its beginning will do.
_PREFIX = 64


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    if dialect == 'sqlite':
        return
    beginning: Any = sa.text(f'left(value, {_PREFIX})') if dialect == 'postgresql' else 'value'
    for name, table, columns in (
        ('gl_image_properties_value', 'image_properties', ['name', beginning]),
        ('gl_image_tags_value', 'image_tags', ['value', 'image_id']),
    ):
        if dialect == 'postgresql':
            # Does not keep writers out. An interrupted one leaves an invalid index: remove it.
            with op.get_context().autocommit_block():
                if _invalid(name):
                    op.drop_index(name, table, postgresql_concurrently=True)
                op.create_index(
                    name, table, columns, postgresql_concurrently=True, if_not_exists=True
                )
                if table == 'image_properties' and _version() >= 14:
                    # Names and values depend on each other: without this the planner takes a
                    # value that a fifth of all images have for a rare one.
                    op.execute(
                        'CREATE STATISTICS IF NOT EXISTS gl_image_properties_value (mcv) '
                        f'ON name, (left(value, {_PREFIX})) FROM image_properties'
                    )
                # So that its statistics are there at once.
                op.execute(f'ANALYZE {table}')
        elif name not in _there(table):
            long = {'value': _PREFIX} if table == 'image_properties' else {}
            op.create_index(name, table, columns, mysql_length=long)


def _version() -> int:
    found: Any = op.get_bind().dialect.server_version_info
    return int(found[0])


def _there(table: str) -> set[str | None]:
    return {index['name'] for index in sa.inspect(op.get_bind()).get_indexes(table)}


def _invalid(name: str) -> bool:
    found = op.get_bind().execute(
        sa.text('SELECT 1 FROM pg_index WHERE NOT indisvalid AND indexrelid = to_regclass(:name)'),
        {'name': name},
    )
    return found.first() is not None
