# SPDX-License-Identifier: Apache-2.0
"""Orders and what comes behind a place in them, the same on every engine.

NULL is the smallest value everywhere, as SQLite and MariaDB have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa


def key(column: Any, ascending: bool, backend: str, nullable: bool) -> Any:
    """One key of an ``ORDER BY``."""
    result = column.asc() if ascending else column.desc()
    if backend == 'postgresql' and nullable:
        return result.nulls_first() if ascending else result.nulls_last()
    return result


def behind(order: Sequence[Any], place: Sequence[Any], ascending: bool) -> Any:
    """(a > x) or (a = x and (b > y or ...)): whose `order` is behind the values of `place`."""
    rest: Any = sa.false()
    for column, value in reversed(list(zip(order, place, strict=True))):
        wanted = sa.literal(value, column.type)
        beyond: Any
        if value is None:
            beyond = column.is_not(None) if ascending else sa.false()
            same = column.is_(None)
        else:
            beyond = column > wanted if ascending else column < wanted
            if column.nullable and not ascending:
                beyond = sa.or_(beyond, column.is_(None))
            same = column == wanted
        rest = sa.or_(beyond, sa.and_(same, rest))
    return rest
