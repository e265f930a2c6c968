# SPDX-License-Identifier: Apache-2.0
"""What there is and what each caller may see and do of it: the Image API in plain sets.

The functions give the status an operation must have; they know nothing of the service's own code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

PROJECTS = ('alpha', 'beta', 'gamma')
OPERATORS = 'operators'
VISIBILITIES = ('private', 'shared', 'community', 'public')


@dataclasses.dataclass(frozen=True)
class Who:
    """A caller. Nobody has no project."""

    project: str | None
    roles: str = 'member,reader'

    @property
    def admin(self) -> bool:
        return 'admin' in self.roles.split(',')

    @property
    def member(self) -> bool:
        return 'member' in self.roles.split(',')

    @property
    def reads(self) -> bool:
        return 'reader' in self.roles.split(',')


ADMIN = Who(OPERATORS, 'admin,member,reader')
EVERYBODY = (
    *(Who(project) for project in PROJECTS),
    *(Who(project, 'reader') for project in PROJECTS[:2]),
    ADMIN,
    Who('services', 'service'),
    Who(None, ''),
)


@dataclasses.dataclass
class Image:
    """One image. `mark` is in every text of it, and in nothing else."""

    id: str
    mark: str
    owner: str | None
    visibility: str = 'shared'
    protected: bool = False
    hidden: bool = False
    status: str = 'queued'
    name: str | None = None
    properties: dict[str, str] = dataclasses.field(default_factory=dict)
    tags: set[str] = dataclasses.field(default_factory=set)
    #: project -> what it said
    members: dict[str, str] = dataclasses.field(default_factory=dict)
    data: bytes | None = None
    deleted: bool = False

    def owned(self, who: Who) -> bool:
        return who.project is not None and self.owner == who.project


def sees(who: Who, image: Image | None) -> bool:
    """Whether the image is there for a caller who knows its id."""
    if image is None or image.deleted:
        return False
    if who.admin:
        return True
    if not who.reads:
        return False
    return (
        image.owned(who)
        or image.visibility in ('public', 'community')
        or (image.visibility == 'shared' and (image.owner is None or who.project in image.members))
    )


def listed(
    who: Who, images: Iterable[Image], visibility: str | None, status: str, hidden: bool
) -> set[str]:
    """The ids that a list must have, by ``visibility``, ``member_status`` and ``os_hidden``."""
    found = set()
    for image in images:
        if image.deleted or image.hidden != hidden:
            continue
        kinds = {image.visibility, 'all'}
        if who.admin:
            if image.visibility != 'community' or image.owned(who):
                kinds.add('default')
            seen = True
        else:
            accepted = status in ('all', image.members.get(who.project or ''))
            seen = (
                image.owned(who)
                or image.visibility in ('public', 'community')
                or (image.visibility == 'shared' and who.project in image.members and accepted)
            )
            if image.visibility != 'community' or image.owned(who):
                kinds.add('default')
        if seen and (visibility or 'default') in kinds:
            found.add(image.id)
    return found


# --- the status of each operation


def _if_own(who: Who, image: Image | None, allowed: int) -> int:
    """What owners with the role member and administrators may do."""
    if not sees(who, image):
        return 404
    assert image is not None
    return allowed if who.admin or (who.member and image.owned(who)) else 403


def create(who: Who, visibility: str, owner: str | None, taken: bool) -> int:
    if not who.member or not (who.admin or owner == who.project):
        return 403
    if visibility == 'public' and not who.admin:
        return 403
    return 409 if taken else 201


def update(
    who: Who, image: Image | None, fields: Mapping[str, Any], new: set[str], gone: set[str]
) -> int:
    if who.project is None:
        return 403
    if not sees(who, image):
        return 404
    assert image is not None
    if not who.admin and ('owner' in fields or fields.get('visibility') == 'public'):
        return 403
    missing = bool(gone - image.properties.keys() - new)
    return _if_own(who, image, 409 if missing else 200)


def delete(who: Who, image: Image | None) -> int:
    if who.project is None:
        return 403
    return _if_own(who, image, 403 if image and image.protected else 204)


def upload(who: Who, image: Image | None) -> int:
    if who.project is None:
        return 403
    return _if_own(who, image, 204 if image and image.status == 'queued' else 409)


def download(who: Who, image: Image | None) -> int:
    if not sees(who, image):
        return 404
    assert image is not None
    if image.status == 'deactivated' and not who.admin:
        return 403
    if not who.member:
        return 403
    return 204 if image.data is None else 200


def set_active(who: Who, image: Image | None) -> int:
    if who.project is None:
        return 403
    return _if_own(who, image, 403 if image and image.status == 'queued' else 204)


def delete_from_store(who: Who, image: Image | None) -> int:
    if who.project is None:
        return 403
    if not sees(who, image):
        return 404
    if not who.admin:
        return 403
    assert image is not None
    return 403 if image.status == 'active' else 409


def remove_tag(who: Who, image: Image | None, tag: str) -> int:
    if who.project is None:
        return 403
    return _if_own(who, image, 204 if image and tag in image.tags else 404)


def members_of(who: Who, image: Image) -> set[str]:
    """The members that a caller who sees a shared image may see."""
    if who.admin or image.owned(who):
        return set(image.members)
    return set(image.members) & {who.project or ''}


def list_members(who: Who, image: Image | None) -> int:
    if not sees(who, image):
        return 404
    assert image is not None
    return 200 if image.visibility == 'shared' else 403


def get_member(who: Who, image: Image | None, member: str) -> int:
    if not sees(who, image):
        return 404
    assert image is not None
    there = image.visibility == 'shared' and member in members_of(who, image)
    return 200 if there else 404


def _not_for_members(who: Who, image: Image | None) -> int | None:
    """What refuses any change of members before it is known who they are."""
    if who.project is None:
        return 403
    if not sees(who, image):
        return 404
    assert image is not None
    return None if image.visibility == 'shared' else 403


def add_member(who: Who, image: Image | None, member: str) -> int:
    refused = _not_for_members(who, image)
    if refused:
        return refused
    assert image is not None
    return _if_own(who, image, 409 if member in image.members else 200)


def set_member(who: Who, image: Image | None, member: str) -> int:
    refused = _not_for_members(who, image)
    if refused:
        return refused
    assert image is not None
    if member not in members_of(who, image):
        return 404
    if who.admin:
        return 200
    return 200 if who.member and not image.owned(who) else 403


def remove_member(who: Who, image: Image | None, member: str) -> int:
    refused = _not_for_members(who, image)
    if refused:
        return refused
    assert image is not None
    if member not in members_of(who, image):
        return 404
    return _if_own(who, image, 204)
