# SPDX-License-Identifier: Apache-2.0
"""The database's own clock."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction


class db_now(GenericFunction[Any]):
    """The database's own clock, naive UTC: processes on several hosts must agree."""

    type = sa.DateTime()
    inherit_cache = True
    name = 'gl_now'


@compiles(db_now, 'sqlite')
def _now_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


@compiles(db_now, 'postgresql')
def _now_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    return "timezone('utc', clock_timestamp())"


@compiles(db_now, 'mysql')
def _now_mysql(element: Any, compiler: Any, **kw: Any) -> str:
    return 'UTC_TIMESTAMP()'
