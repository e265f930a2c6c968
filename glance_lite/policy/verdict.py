# SPDX-License-Identifier: Apache-2.0
"""What a caller would be told, with all that decides beside a policy rule.

This says in words what the layers do; a test compares both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from glance_lite.errors import NotFound
from glance_lite.policy import cache, members, metadefs, stores, tasks
from glance_lite.policy.explain import Explainer, Explanation
from glance_lite.policy.target import target_of

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.model import Image
    from glance_lite.operations import Operations
    from glance_lite.policy.enforcer import Enforcer

ALLOWED, FORBIDDEN, HIDDEN = 200, 403, 404

#: Rules that are asked about nothing where they are not asked about an image.
_GENERAL = frozenset(
    rule.name for module in (tasks, stores, cache) for rule in module.RULES
)  # fmt: skip
_METADEFS = frozenset(rule.name for rule in metadefs.RULES)
_MEMBERS = frozenset(rule.name for rule in members.RULES)
_PUBLISHING = frozenset(('publicize_image', 'communitize_image'))

#: Rules beside which the layer ``auth`` asks for ownership.
OWNED = frozenset(
    (
        'modify_image', 'delete_image', 'deactivate', 'reactivate', 'upload_image',
        'set_image_location', 'delete_image_location', *_PUBLISHING,
    )
)  # fmt: skip
#: Rules beside which the layer ``policy`` does so where the old defaults count.
OWNED_BEFORE = frozenset(('add_member', 'delete_member'))


@dataclasses.dataclass(frozen=True)
class Subject:
    """What somebody wants to do something to."""

    #: as a person would call it
    name: str
    #: as rules see it
    target: Mapping[str, Any]
    image: Image | None = None
    #: whether it is in the database, and whether that shows it to the caller
    stored: bool = False
    visible: bool = True


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a caller may, what it is told if not, and what of it is not the rule's doing."""

    explanation: Explanation
    status: int
    note: str = ''

    @property
    def allowed(self) -> bool:
        return self.status == ALLOWED


def image_of(db: Operations, ctx: RequestContext, admin: RequestContext, image_id: str) -> Subject:
    """An image as `ctx` finds it, read as `admin`. `NotFound`."""
    image = db.peek(admin, image_id)
    try:
        db.peek(ctx, image_id)
        visible = True
    except NotFound:
        visible = False
    return Subject(f'image {image_id}', target_of(ctx, image), image, True, visible)


def namespace_of(db: Operations, ctx: RequestContext, admin: RequestContext, name: str) -> Subject:
    """A namespace of metadata definitions as `ctx` finds it. `NotFound`."""
    namespace = db.peek_namespace(admin, name)
    try:
        db.peek_namespace(ctx, name)
        visible = True
    except NotFound:
        visible = False
    target = {'project_id': namespace.owner, 'visibility': namespace.visibility}
    return Subject(f'namespace {name}', target, None, True, visible)


def nothing(ctx: RequestContext, rule: str, said: Mapping[str, str]) -> Subject:
    """What a rule is asked about where there is no image yet; `said` are attributes of it."""
    if rule in _GENERAL:
        return Subject('nothing in particular', dict(said))
    if rule in _METADEFS or rule == 'get_images':
        return Subject('the project of the caller', {'project_id': ctx.project_id, **said})
    owner = said.get('owner', ctx.project_id)
    target = {'project_id': owner, 'owner': owner, 'visibility': 'private', **said}
    return Subject('an image to be made', target)


class Judge:
    """Gives verdicts on the rules that `enforcer` has in force."""

    def __init__(self, enforcer: Enforcer) -> None:
        self._enforcer = enforcer
        self._explainer = Explainer(enforcer)

    def verdict(self, ctx: RequestContext, rule: str, subject: Subject) -> Verdict:
        credentials = ctx.credentials or self._enforcer.begin(ctx)
        found = self._explainer.explain(rule, subject.target, credentials)
        status, note = self._decide(ctx, rule, subject, found.allowed)
        return Verdict(found, status, note)

    def _decide(
        self, ctx: RequestContext, rule: str, subject: Subject, allowed: bool
    ) -> tuple[int, str]:
        """The status, and a sentence where something else than the rule decides."""
        if not subject.visible:
            return HIDDEN, 'The database does not show it to this project, whatever the rules say.'
        see = 'get_image' if subject.image else 'get_metadef_namespace'
        if rule == see and not allowed:
            return HIDDEN, ''
        foreign = rule in OWNED and not ctx.is_admin and not _own(ctx, subject.image)
        asked = subject.stored and (not allowed or foreign or rule in _MEMBERS | _PUBLISHING)
        if asked and not self._enforcer.allowed(ctx, see, subject.target):
            return HIDDEN, f'{see} refuses as well: to this caller there is no such thing.'
        refused = HIDDEN if rule == 'get_member' else FORBIDDEN
        image = subject.image
        if image and rule in _MEMBERS and image.visibility != 'shared':
            return refused, f'Only shared images have members; this one is {image.visibility}.'
        if not allowed:
            return refused, ''
        return self._beside(ctx, rule, image) if image and not ctx.is_admin else (ALLOWED, '')

    def _beside(self, ctx: RequestContext, rule: str, image: Image) -> tuple[int, str]:
        """What is asked of those who are no administrators where the rule has said yes."""
        own = _own(ctx, image)
        if rule in OWNED and not own:
            return FORBIDDEN, 'Only the project that owns an image and administrators change it.'
        if self._enforcer.owner_matters and rule in OWNED_BEFORE and not own:
            return FORBIDDEN, (
                'With [oslo_policy] enforce_new_defaults = false only the owner and '
                'administrators share an image.'
            )
        if self._enforcer.owner_matters and rule == 'modify_member' and own:
            return FORBIDDEN, 'The owner of an image cannot decide for its members.'
        if rule.startswith('download') and image.status == 'deactivated':
            return FORBIDDEN, 'The data of a deactivated image is for administrators only.'
        return ALLOWED, ''


def _own(ctx: RequestContext, image: Image | None) -> bool:
    return image is not None and ctx.project_id is not None and image.owner == ctx.project_id
