# SPDX-License-Identifier: Apache-2.0
"""The contract branch begins: there is nothing to remove yet."""

from __future__ import annotations

revision = 'gl_contract_001'
down_revision = None
branch_labels = ('gl_contract',)
depends_on = 'gl_expand_002'


def upgrade() -> None:
    pass
