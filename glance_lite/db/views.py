# SPDX-License-Identifier: Apache-2.0
"""Who sees which images: a view is a tuple of cases, and what each says in SQL.

No image comes twice. A case of others' images leaves out one's own only behind its limit, see
`of_others`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from glance_lite.context import RequestContext
from glance_lite.db import tables

images = tables.images.c


def view(ctx: RequestContext, visibility: str | None, owner: str | None) -> tuple[str, ...]:
    """Glance's views. Without a filter others' community images are left out, also for admins.

    `owner` is whose images are asked for, None for everybody's.
    """
    if ctx.is_admin:
        if visibility is None:
            return ('any_but_community', 'own_community') if ctx.owner else ('any_but_community',)
        return ('any',) if visibility == 'all' else ('any_' + visibility,)
    mine = {
        None: ('own', 'others_public', 'shared_with_me'),
        'all': ('own', 'others_public', 'others_community', 'shared_with_me'),
        'public': ('any_public',),
        'community': ('any_community',),
        'private': ('own_private',),
        'shared': ('own_shared', 'shared_with_me'),
    }[visibility]
    if ctx.owner is None:
        # Without a project nothing is one's own, so others' images are simply all images.
        seen = (case.partition('_') for case in mine)
        return tuple(f'any_{kind}' for whose, _, kind in seen if whose in ('others', 'any'))
    if owner == ctx.owner and len(mine) > 1:
        return tuple(case for case in mine if case.startswith('own'))
    return mine


def visibility_in(*values: str) -> Any:
    # Expressions, so that the text is the same whatever their number (no expanding parameter).
    return images.visibility.in_([sa.literal(value, tables.VISIBILITY) for value in values])


def conditions(case: str, member_status: bool, backend: str) -> list[Any]:
    me: sa.BindParameter[str] = sa.bindparam('me', type_=sa.String)
    scope, _, visibility = case.partition('_')
    if case == 'any_but_community':
        last = sa.literal('community', tables.VISIBILITY)
        # PERF: it is the last of PostgreSQL's values, and an index is searched for less, not for
        # unequal.
        postgresql = backend == 'postgresql'
        return [images.visibility < last if postgresql else images.visibility != last]
    if case == 'shared_with_me':
        m = tables.image_members.c
        shared = [m.image_id == images.id, m.member == me, m.deleted == sa.false()]
        if member_status:
            shared.append(m.status == sa.bindparam('member_status', type_=sa.String))
        visibility = 'shared'
        where: list[Any] = [sa.exists(sa.select(sa.literal_column('1')).where(*shared))]
    else:
        where = []
    if scope == 'own':
        where.append(images.owner == me)
    if visibility:
        where.append(images.visibility == visibility)
    return where


def of_others(case: str, branch: Any) -> Any:
    """A branch without one's own images, which another branch has.

    They are left out behind the limit: one that belongs on the page is among the first of its own
    branch, too. Before the limit, a project that owns all public images would read all of them.
    """
    found = branch.subquery()
    wanted = sa.select(found)
    if case.startswith('others') or case == 'shared_with_me':
        me: sa.BindParameter[str] = sa.bindparam('me', type_=sa.String)
        wanted = wanted.where(sa.or_(found.c.owner.is_(None), found.c.owner != me))
    return wanted
