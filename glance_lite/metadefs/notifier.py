# SPDX-License-Identifier: Apache-2.0
"""Metadata definitions as the layer ``notifier`` sees them: Glance's events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glance_lite.layer import Layer
from glance_lite.metadefs.model import KINDS, Definition, Namespace

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.metadefs.model import Tag
    from glance_lite.notify.events import Event

#: Kind -> how the event calls all of them.
_PLURALS = {'object': 'objects', 'property': 'properties', 'tag': 'tags'}


class MetadefNotifier(Layer):
    """Announces what has changed in the metadata definitions."""

    def events(self, *names: str, **kwargs: Any) -> tuple[Event, ...]:
        """Riders for those of the events that are not disabled."""
        raise AssertionError('the layer itself knows the bus')

    def told(self) -> None:
        """There may be something in the outbox."""
        raise AssertionError('the layer itself knows the bus')

    def create_namespace(self, ctx: RequestContext, new: Namespace) -> Namespace:
        kinds = [kind for kind in KINDS if new.contents.get(kind)]
        names = ('metadef_namespace.create', *(f'metadef_{kind}.create' for kind in kinds))
        with ctx.riding(*self.events(*names)):
            made = self.next.create_namespace(ctx, new)
        self.told()
        return made

    def update_namespace(self, ctx: RequestContext, namespace: str, new: Namespace) -> Namespace:
        more = {'namespace_old': namespace}
        with ctx.riding(*self.events('metadef_namespace.update', more=more)):
            changed = self.next.update_namespace(ctx, namespace, new)
        self.told()
        return changed

    def delete_namespace(self, ctx: RequestContext, namespace: str) -> Namespace:
        with ctx.riding(*self.events('metadef_namespace.delete')):
            gone = self.next.delete_namespace(ctx, namespace)
        self.told()
        return gone

    def clear_namespace(self, ctx: RequestContext, namespace: str, kind: str) -> Namespace:
        names = [f'metadef_namespace.delete_{_PLURALS[kind]}'] if kind in _PLURALS else []
        with ctx.riding(*self.events(*names)):
            cleared = self.next.clear_namespace(ctx, namespace, kind)
        self.told()
        return cleared

    def add_definition(self, ctx: RequestContext, namespace: str, new: Definition) -> Definition:
        with ctx.riding(*self.events(f'metadef_{new.kind}.create')):
            made = self.next.add_definition(ctx, namespace, new)
        self.told()
        return made

    def update_definition(
        self, ctx: RequestContext, namespace: str, item: str, new: Definition
    ) -> Definition:
        with ctx.riding(*self.events(f'metadef_{new.kind}.update', more={'name_old': item})):
            changed = self.next.update_definition(ctx, namespace, item, new)
        self.told()
        return changed

    def delete_definition(
        self, ctx: RequestContext, namespace: str, kind: str, item: str
    ) -> Definition:
        with ctx.riding(*self.events(f'metadef_{kind}.delete')):
            gone = self.next.delete_definition(ctx, namespace, kind, item)
        self.told()
        return gone

    def set_tags(
        self, ctx: RequestContext, namespace: str, tags: tuple[Tag, ...], append: bool
    ) -> tuple[Definition, ...]:
        with ctx.riding(*self.events('metadef_tag.create')):
            made = self.next.set_tags(ctx, namespace, tags, append)
        self.told()
        return made
