# SPDX-License-Identifier: Apache-2.0
"""Alembic's entry: runs on the connection that `glance_lite.db.admin` hands over."""

from __future__ import annotations

from alembic import context

from glance_lite.db import tables

context.configure(
    connection=context.config.attributes['connection'],
    target_metadata=tables.own,
    version_table='gl_alembic_version',
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
