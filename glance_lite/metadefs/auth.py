# SPDX-License-Identifier: Apache-2.0
"""Metadata definitions as the layer ``auth`` sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glance_lite.errors import Forbidden
from glance_lite.layer import Layer

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.metadefs.model import Definition, Namespace, Tag


def may_write(ctx: RequestContext) -> None:
    if ctx.read_only:
        raise Forbidden('Anonymous callers may only read')


class MetadefAuth(Layer):
    """Anonymous callers change nothing, and only an administrator gives a namespace away."""

    def create_namespace(self, ctx: RequestContext, new: Namespace) -> Namespace:
        may_write(ctx)
        if new.owner not in (None, ctx.project_id) and not ctx.is_admin:
            raise Forbidden(f'You may not create namespaces owned by {new.owner}')
        return self.next.create_namespace(ctx, new)

    def update_namespace(self, ctx: RequestContext, namespace: str, new: Namespace) -> Namespace:
        may_write(ctx)
        gives = new.owner not in (None, ctx.project_id) and not ctx.is_admin
        # Not peek: whoever may not see it must not learn that it is there.
        if gives and self.next.get_namespace(ctx, namespace).owner != new.owner:
            raise Forbidden('Only an administrator changes the owner of a namespace')
        return self.next.update_namespace(ctx, namespace, new)

    def delete_namespace(self, ctx: RequestContext, namespace: str) -> Namespace:
        may_write(ctx)
        return self.next.delete_namespace(ctx, namespace)

    def clear_namespace(self, ctx: RequestContext, namespace: str, kind: str) -> Namespace:
        may_write(ctx)
        return self.next.clear_namespace(ctx, namespace, kind)

    def add_definition(self, ctx: RequestContext, namespace: str, new: Definition) -> Definition:
        may_write(ctx)
        return self.next.add_definition(ctx, namespace, new)

    def update_definition(
        self, ctx: RequestContext, namespace: str, item: str, new: Definition
    ) -> Definition:
        may_write(ctx)
        return self.next.update_definition(ctx, namespace, item, new)

    def delete_definition(
        self, ctx: RequestContext, namespace: str, kind: str, item: str
    ) -> Definition:
        may_write(ctx)
        return self.next.delete_definition(ctx, namespace, kind, item)

    def set_tags(
        self, ctx: RequestContext, namespace: str, tags: tuple[Tag, ...], append: bool
    ) -> tuple[Definition, ...]:
        may_write(ctx)
        return self.next.set_tags(ctx, namespace, tags, append)
