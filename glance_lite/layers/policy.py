# SPDX-License-Identifier: Apache-2.0
"""The policy files: a rule for each operation, decided on the image as it is.

What a caller may not read is not found (404); what it may read and not change is forbidden
(403). Where ``[oslo_policy] enforce_new_defaults`` is false the old rules say little about
ownership, so ownership is asked for beside them, as in Glance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from glance_lite.errors import Forbidden, ImageNotFound, NotFound
from glance_lite.layer import Parts
from glance_lite.metadefs.policy import MetadefPolicy
from glance_lite.model import Changes, Image, Page
from glance_lite.policy.target import Target, target_of

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.imports.jobs import ImportRequest
    from glance_lite.model import Location, Member, NewLocation, Query, StoreInfo, Wanted
    from glance_lite.stream import Download, Upload
    from glance_lite.tasks import NewTask, Task, TaskPage, TaskQuery

#: Rules that decide on becoming visible to others.
VISIBILITY_RULES = {'public': 'publicize_image', 'community': 'communitize_image'}

#: The rule that decides on all of the task API.
TASKS = 'tasks_api_access'

#: A change of nothing.
NOTHING = Changes()


class Policy(MetadefPolicy):
    """Asks the enforcer before each operation."""

    outside_of = ('quota', 'location', 'db')

    def __init__(self, parts: Parts) -> None:
        self._enforcer = parts.enforcer
        self._allowed = parts.enforcer.allowed
        self._owner_matters = parts.enforcer.owner_matters
        conf = parts.conf
        self._shows_locations: bool = conf.show_image_direct_url or conf.show_multiple_locations

    # --- deciding

    def _readable(self, ctx: RequestContext, image: Image) -> Target:
        target = target_of(ctx, image)
        if not self._allowed(ctx, 'get_image', target):
            raise ImageNotFound(image.id)
        return target

    def _enforce(self, ctx: RequestContext, image: Image, *rules: str) -> Target:
        """403 by the first rule that refuses, or 404 for whom the image is not there."""
        target = target_of(ctx, image)
        for rule in rules:
            if not self._allowed(ctx, rule, target):
                if not self._allowed(ctx, 'get_image', target):
                    raise ImageNotFound(image.id)
                raise Forbidden(f'You are not allowed to do this ({rule})')
        return target

    def _change(self, ctx: RequestContext, image_id: str, *rules: str) -> Target:
        image = self.next.peek(ctx, image_id)
        target = self._enforce(ctx, image, *rules)
        if self._owner_matters:
            _own(ctx, image)
        return target

    def _publish(self, ctx: RequestContext, target: Mapping[str, Any], visibility: Any) -> None:
        rule = VISIBILITY_RULES.get(visibility)
        if rule:
            self._enforcer.enforce(ctx, rule, target)

    # --- images

    def get_image(self, ctx: RequestContext, image_id: str) -> Image:
        image = self.next.get_image(ctx, image_id)
        if not self._allowed(ctx, 'get_image', target_of(ctx, image)):
            raise ImageNotFound(image_id)
        return self._seen(ctx, image)

    def list_images(self, ctx: RequestContext, query: Query) -> Page:
        self._enforcer.enforce(ctx, 'get_images', {'project_id': ctx.project_id})
        page = self.next.list_images(ctx, query)
        allowed = self._allowed
        shows = self._shows_locations
        seen = [
            self._seen(ctx, image) if shows or image.status == 'deactivated' else image
            for image in page.images
            if allowed(ctx, 'get_image', target_of(ctx, image))
        ]
        return Page(seen, page.full, page.marker)

    def create_image(self, ctx: RequestContext, changes: Changes) -> Image:
        owner = changes.fields.get('owner', ctx.project_id)
        visibility = changes.fields.get('visibility', 'private')
        target = {'project_id': owner, 'owner': owner, 'visibility': visibility}
        self._enforcer.enforce(ctx, 'add_image', target)
        self._publish(ctx, target, visibility)
        return self.next.create_image(ctx, changes)

    def update_image(self, ctx: RequestContext, image_id: str, changes: Changes) -> Image:
        if 'visibility' in changes.fields:
            image = self.next.peek(ctx, image_id)
            target = self._readable(ctx, image)
            self._publish(ctx, target, changes.fields['visibility'])
        ops = {step.op for step in changes.locations}
        if ops - {'remove'}:
            self._enforce(ctx, self.next.peek(ctx, image_id), 'set_image_location')
        if 'remove' in ops:
            self._change(ctx, image_id, 'delete_image_location')
        if not ops or dataclasses.replace(changes, locations=()) != NOTHING:
            self._change(ctx, image_id, 'modify_image')
        return self._seen(ctx, self.next.update_image(ctx, image_id, changes))

    def delete_image(self, ctx: RequestContext, image_id: str) -> None:
        self._change(ctx, image_id, 'delete_image')
        self.next.delete_image(ctx, image_id)

    def set_active(self, ctx: RequestContext, image_id: str, active: bool) -> Image:
        self._change(ctx, image_id, 'reactivate' if active else 'deactivate')
        return self.next.set_active(ctx, image_id, active)

    # --- data

    def upload(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str | None
    ) -> Image:
        self._change(ctx, image_id, 'upload_image')
        return self.next.upload(ctx, image_id, source, store)

    def stage(self, ctx: RequestContext, image_id: str, source: Upload) -> Image:
        self._change(ctx, image_id, 'modify_image')
        return self.next.stage(ctx, image_id, source)

    def import_image(self, ctx: RequestContext, image_id: str, asked: ImportRequest) -> Image:
        if asked.method == 'copy-image':
            self._enforce(ctx, self.next.peek(ctx, image_id), 'copy_image')
        else:
            self._change(ctx, image_id, 'modify_image')
        return self.next.import_image(ctx, image_id, asked)

    def download(self, ctx: RequestContext, image_id: str, wanted: Wanted) -> Download:
        image = self.next.peek(ctx, image_id)
        if image.status == 'deactivated' and not ctx.is_admin:
            self._readable(ctx, image)
            raise Forbidden('The image has been deactivated')
        rules = ('download_image', 'download_from_store') if wanted.prefer else ('download_image',)
        self._enforce(ctx, image, *rules)
        return self.next.download(ctx, image_id, wanted)

    def delete_from_store(self, ctx: RequestContext, image_id: str, store: str) -> None:
        image = self.next.peek(ctx, image_id)
        self._enforce(ctx, image, 'get_image_location', 'delete_image_location')
        if self._owner_matters:
            _own(ctx, image)
        self.next.delete_from_store(ctx, image_id, store)

    def list_stores(self, ctx: RequestContext, detail: bool) -> tuple[StoreInfo, ...]:
        if detail:
            self._enforcer.enforce(ctx, 'stores_info_detail', {})
        return self.next.list_stores(ctx, detail)

    # --- locations

    def _seen(self, ctx: RequestContext, image: Image) -> Image:
        """Without locations where the caller may not know them.

        Those of a deactivated image are for administrators only. Apart from that whoever sees the
        image sees what the configuration shows, as in Glance: services clone public images with
        the tokens of users. A rule get_image_location of the operator's own decides instead.
        """
        if not image.locations or ctx.is_admin:
            return image
        if image.status == 'deactivated' or (
            self._shows_locations
            and 'get_image_location' in self._enforcer.own
            and not self._allowed(ctx, 'get_image_location', target_of(ctx, image))
        ):
            return image.replace(locations=())
        return image

    def get_locations(self, ctx: RequestContext, image_id: str) -> tuple[Location, ...]:
        image = self.next.peek(ctx, image_id)
        self._enforce(ctx, image, 'fetch_image_location')
        if image.status == 'deactivated' and not ctx.is_admin:
            return ()
        return self.next.get_locations(ctx, image_id)

    def add_location(self, ctx: RequestContext, image_id: str, new: NewLocation) -> None:
        self._enforce(ctx, self.next.peek(ctx, image_id), 'add_image_location')
        self.next.add_location(ctx, image_id, new)

    # --- members

    def _member(
        self, ctx: RequestContext, image_id: str, rule: str, member_id: str | None = None
    ) -> Target:
        """404 for an image, or a membership, that is not there; 403 by visibility and rule."""
        image = self.next.peek(ctx, image_id)
        target = self._readable(ctx, image)
        if image.visibility != 'shared':
            raise Forbidden('Only shared images have members')
        if not self._allowed(ctx, rule, target):
            if member_id is not None:
                self.next.get_member(ctx, image_id, member_id)
            raise Forbidden(f'You are not allowed to do this ({rule})')
        return target

    def list_members(self, ctx: RequestContext, image_id: str) -> tuple[Member, ...]:
        target = self._member(ctx, image_id, 'get_members')
        members = self.next.list_members(ctx, image_id)
        return members if self._allowed(ctx, 'get_member', target) else ()

    def get_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        try:
            self._member(ctx, image_id, 'get_member')
        except Forbidden as ex:
            # To say that it is forbidden would say that it is there.
            raise NotFound(f'{member_id} is no member of image {image_id}') from ex
        return self.next.get_member(ctx, image_id, member_id)

    def add_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        target = self._member(ctx, image_id, 'add_member')
        if self._owner_matters:
            _own(ctx, target.image)
        return self.next.add_member(ctx, image_id, member_id)

    def update_member(
        self, ctx: RequestContext, image_id: str, member_id: str, status: str
    ) -> Member:
        target = self._member(ctx, image_id, 'modify_member', member_id)
        if self._owner_matters and not ctx.is_admin and target.image.owner == ctx.project_id:
            raise Forbidden('The owner of an image cannot decide for its members')
        return self.next.update_member(ctx, image_id, member_id, status)

    def remove_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        target = self._member(ctx, image_id, 'delete_member', member_id)
        if self._owner_matters:
            _own(ctx, target.image)
        return self.next.remove_member(ctx, image_id, member_id)

    # --- tasks, and who is let in

    def create_task(self, ctx: RequestContext, task: NewTask) -> Task:
        self._enforcer.enforce(ctx, TASKS, {})
        return self.next.create_task(ctx, task)

    def get_task(self, ctx: RequestContext, task_id: str) -> Task:
        self._enforcer.enforce(ctx, TASKS, {})
        return self.next.get_task(ctx, task_id)

    def list_tasks(self, ctx: RequestContext, tasks: TaskQuery) -> TaskPage:
        self._enforcer.enforce(ctx, TASKS, {})
        return self.next.list_tasks(ctx, tasks)

    def list_image_tasks(self, ctx: RequestContext, image_id: str) -> tuple[Task, ...]:
        self._readable(ctx, self.next.peek(ctx, image_id))
        return self.next.list_image_tasks(ctx, image_id)

    def admit(self, ctx: RequestContext, rule: str, image_id: str | None) -> None:
        if image_id is None:
            self._enforcer.enforce(ctx, rule, {})
        elif rule == 'modify_image':
            self._change(ctx, image_id, rule)
        else:
            self._enforce(ctx, self.next.peek(ctx, image_id), rule)
        self.next.admit(ctx, rule, image_id)


def _own(ctx: RequestContext, image: Image) -> None:
    if not ctx.is_admin and (ctx.project_id is None or image.owner != ctx.project_id):
        raise Forbidden('You do not own this image')
