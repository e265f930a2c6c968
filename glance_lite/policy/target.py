# SPDX-License-Identifier: Apache-2.0
"""An image as policy rules see it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from glance_lite.model import Image

if TYPE_CHECKING:
    from glance_lite.context import RequestContext

#: Where an image is, is nothing that rules may ask for, and that may hold a credential.
_ATTRIBUTES = frozenset(field.name for field in dataclasses.fields(Image)) - {
    'locations',
    'properties',
}


class Target(dict[str, Any]):
    """What most rules ask for is there, the rest is looked up in the image."""

    image: Image

    def __missing__(self, key: str) -> Any:
        image = self.image
        if key == 'image_id':
            return image.id
        if key in _ATTRIBUTES:
            return getattr(image, key)
        return image.properties[key]

    def whole(self) -> dict[str, Any]:
        """Everything that rules may ask for, for checks that look at all of it."""
        image = self.image
        attributes = {name: getattr(image, name) for name in sorted(_ATTRIBUTES)}
        return {**image.properties, **attributes, 'image_id': image.id, **self}


def target_of(ctx: RequestContext, image: Image) -> Target:
    """What rules may ask of an image. A shared image of others is seen by members only."""
    owner = image.owner
    member = ctx.project_id if image.visibility == 'shared' and owner != ctx.project_id else None
    target = Target(
        project_id=owner, owner=owner, visibility=image.visibility, member_id=member, member=member
    )
    target.image = image
    return target
