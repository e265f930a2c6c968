# SPDX-License-Identifier: Apache-2.0
"""A database's schema as plain data, to compare two of them or one with a recorded one."""

from __future__ import annotations

import sqlalchemy as sa


def describe(url: str, prefix: str | None = None) -> dict:
    """Tables with columns, keys, indexes, checks: Glance's, or ours with `prefix` ``gl_``."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    inspector = sa.inspect(engine)
    result = {}
    for table in sorted(inspector.get_table_names()):
        if table.startswith('gl_') != (prefix is not None):
            continue
        result[table] = {
            'columns': {
                column['name']: [
                    str(column['type']) + ' ' + ','.join(getattr(column['type'], 'enums', ())),
                    column['nullable'],
                    column['default'],
                    bool(column.get('autoincrement')),
                ]
                for column in inspector.get_columns(table)
            },
            'primary key': inspector.get_pk_constraint(table)['constrained_columns'],
            'indexes': sorted(
                [index['name'], index['column_names'], bool(index['unique'])]
                for index in inspector.get_indexes(table)
                if prefix or not index['name'].startswith('gl_')
            ),
            'unique': sorted(
                [key['name'], key['column_names']]
                for key in inspector.get_unique_constraints(table)
            ),
            'foreign keys': sorted(
                [
                    str(key['name']),
                    key['constrained_columns'],
                    key['referred_table'],
                    key['referred_columns'],
                    sorted(key['options'].items()),
                ]
                for key in inspector.get_foreign_keys(table)
            ),
            'checks': sorted(
                str(check['sqltext']) for check in inspector.get_check_constraints(table)
            ),
            'options': dict(sorted(inspector.get_table_options(table).items())),
        }
    engine.dispose()
    return result
