# SPDX-License-Identifier: Apache-2.0
"""Alembic migrations of our own tables; version table ``gl_alembic_version``.

Two branches: ``gl_expand`` only adds, so that the previous version keeps working, and
``gl_contract`` removes what no version needs any more. Each step may be run again after it was
interrupted. Glance's tables are not touched but for additional indexes.
"""
