# SPDX-License-Identifier: Apache-2.0
"""Images need tags before they may be public."""

from __future__ import annotations

from acme_layer import options
from glance_lite import conf as configuration
from glance_lite.context import RequestContext
from glance_lite.errors import Forbidden
from glance_lite.layer import Layer, Parts
from glance_lite.model import Changes, Image


class Release(Layer):
    """Refuses to show everybody an image that lacks one of the required tags."""

    # Behind policy, or it would tell of images that policy hides.
    outside_of = ('quota', 'location', 'db')

    def __init__(self, parts: Parts) -> None:
        settings = configuration.read(parts.conf, options.GROUP, options.OPTIONS)
        self._required = frozenset(settings['required_tags'])
        self._exempt: str | None = settings['exempt_role']

    def acts(self) -> bool:
        return bool(self._required)

    def create_image(self, ctx: RequestContext, changes: Changes) -> Image:
        if changes.fields.get('visibility') == 'public':
            self._check(ctx, tags_after(frozenset(), changes))
        return self.next.create_image(ctx, changes)

    def update_image(self, ctx: RequestContext, image_id: str, changes: Changes) -> Image:
        publishes = changes.fields.get('visibility') == 'public'
        if publishes or changes.tags is not None or changes.remove_tags:
            image = self.next.peek(ctx, image_id)
            if changes.fields.get('visibility', image.visibility) == 'public':
                self._check(ctx, tags_after(frozenset(image.tags), changes))
        return self.next.update_image(ctx, image_id, changes)

    def _check(self, ctx: RequestContext, tags: frozenset[str]) -> None:
        missing = self._required - tags
        if missing and self._exempt not in ctx.roles:
            raise Forbidden(f'A public image needs the tags {", ".join(sorted(missing))}')


def tags_after(before: frozenset[str], changes: Changes) -> frozenset[str]:
    """The tags of an image once it is changed."""
    tags = before if changes.tags is None else changes.tags
    return (tags | changes.add_tags) - changes.remove_tags
