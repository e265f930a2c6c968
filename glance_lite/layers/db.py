# SPDX-License-Identifier: Apache-2.0
"""The innermost layer: images in a database. Everything about SQL is in `glance_lite.db`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from glance_lite.db import (
    cached,
    census,
    copies,
    engine,
    images,
    imports,
    jobs,
    lists,
    members,
    metadef_lists,
    metadef_writes,
    metadefs,
    operations,
    orphans,
    outbox,
    parts,
    removals,
    rows,
    sealing,
    staging,
    sweeps,
    usage,
)
from glance_lite.db import (
    tasks as task_rows,
)
from glance_lite.imports.jobs import STAGE
from glance_lite.layer import Metric, Parts, overrides
from glance_lite.layers.db_upkeep import Upkeep
from glance_lite.process import Process

if TYPE_CHECKING:
    from glance_lite.cache.directory import Entry
    from glance_lite.cache.key import Key
    from glance_lite.context import RequestContext
    from glance_lite.imports.jobs import NewJob, Progress, Step
    from glance_lite.metadefs.model import (
        Association,
        Definition,
        Namespace,
        NamespacePage,
        NamespaceQuery,
        Paging,
        Tag,
    )
    from glance_lite.model import (
        Changes,
        Digests,
        Holding,
        Image,
        LimitUsage,
        Location,
        Member,
        NewLocation,
        Operation,
        Page,
        Query,
        Relocation,
        Stored,
        Usage,
    )
    from glance_lite.notify.events import Notice, Outbox, Sending
    from glance_lite.stream import Upload
    from glance_lite.tasks import NewTask, Task, TaskPage, TaskQuery


class Database(Upkeep):
    """Reads and writes rows, and decides who may see which image."""

    def __init__(self, parts: Parts) -> None:
        engine.database_url(parts.conf)  # a bad url stops the start
        sealing.key_of(parts.conf)  # and so does a bad key
        self._conf = parts.conf

    def start(self) -> None:
        """Make the engine; it connects with the first request."""
        self.process = Process.this()
        self.database = engine.Database(self._conf)
        self._census = census.Census()

    def stop(self) -> None:
        if hasattr(self, 'database'):
            self.database.dispose()

    def check(self) -> None:
        self.database.read(lambda connection: connection.execute(sa.text('SELECT 1')))

    def metrics(self) -> Iterable[Metric]:
        """Operations under way, images by status, and what all projects use together."""
        return self.database.read(self._census.take)

    # --- images

    def get_image(self, ctx: RequestContext, image_id: str) -> Image:
        image: Image | None = ctx.rows.get(image_id)
        if image is None:
            image = self.database.query(lambda connection: rows.fetch(connection, ctx, image_id))
            ctx.rows[image_id] = image
        return image

    peek = get_image

    def list_images(self, ctx: RequestContext, query: Query) -> Page:
        seconds = self.database.list_timeout
        return self.database.query(
            lambda connection: lists.list_images(connection, ctx, query, seconds)
        )

    def create_image(self, ctx: RequestContext, changes: Changes) -> Image:
        return self._write(ctx, images.create, ctx, changes)

    def update_image(self, ctx: RequestContext, image_id: str, changes: Changes) -> Image:
        return self._write(ctx, images.update, ctx, image_id, changes)

    def set_active(self, ctx: RequestContext, image_id: str, active: bool) -> Image:
        return self._write(ctx, images.set_active, ctx, image_id, active)

    # --- members

    def list_members(self, ctx: RequestContext, image_id: str) -> tuple[Member, ...]:
        return self.database.read(
            lambda connection: members.list_members(connection, ctx, image_id)
        )

    def get_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        return self.database.read(
            lambda connection: members.get_member(connection, ctx, image_id, member_id)
        )

    def add_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        return self._write(ctx, members.add_member, ctx, image_id, member_id)

    def update_member(
        self, ctx: RequestContext, image_id: str, member_id: str, status: str
    ) -> Member:
        return self._write(ctx, members.update_member, ctx, image_id, member_id, status)

    def remove_member(self, ctx: RequestContext, image_id: str, member_id: str) -> Member:
        return self._write(ctx, members.remove_member, ctx, image_id, member_id)

    # --- what projects use

    def list_usage(self, ctx: RequestContext) -> tuple[LimitUsage, ...]:
        return ()

    def count_usage(self, ctx: RequestContext, project: str | None) -> Usage:
        return self.database.read(lambda connection: usage.read(connection, project))

    # --- tasks, and who is let in

    def create_task(self, ctx: RequestContext, task: NewTask) -> Task:
        return self._write(ctx, task_rows.create, ctx, task, self._conf.task.task_time_to_live)

    def get_task(self, ctx: RequestContext, task_id: str) -> Task:
        return self.database.read(lambda connection: task_rows.get(connection, ctx, task_id))

    def list_tasks(self, ctx: RequestContext, tasks: TaskQuery) -> TaskPage:
        return self.database.read(lambda connection: task_rows.list_tasks(connection, ctx, tasks))

    def list_image_tasks(self, ctx: RequestContext, image_id: str) -> tuple[Task, ...]:
        return self.database.read(lambda connection: task_rows.of_image(connection, ctx, image_id))

    def expire_tasks(self, ctx: RequestContext) -> int:
        return self._write(ctx, task_rows.expire)

    def admit(self, ctx: RequestContext, rule: str, image_id: str | None) -> None:
        if image_id is not None:
            self.get_image(ctx, image_id)

    # --- the commit protocol

    def claim_upload(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str | None
    ) -> Operation:
        return self._write(ctx, operations.claim_upload, ctx, self.process, image_id, source, store)

    def extend_upload(self, ctx: RequestContext, claim: Operation, source: Upload) -> int | None:
        return self._write(ctx, operations.extend_upload, claim, source)

    def confirm_upload(self, ctx: RequestContext, claim: Operation, source: Upload) -> None:
        self._write(ctx, operations.confirm_upload, claim, source)

    def commit_upload(
        self, ctx: RequestContext, claim: Operation, source: Upload, stored: Stored
    ) -> Image:
        return self._write(ctx, operations.commit_upload, claim, source, stored)

    def abort_upload(
        self, ctx: RequestContext, claim: Operation, source: Upload, reason: str
    ) -> Operation | None:
        return self._write(ctx, operations.abort_upload, claim, source, reason)

    def end_operation(self, ctx: RequestContext, claim: Operation) -> None:
        self._write(ctx, operations.end, claim)

    def claim_delete(self, ctx: RequestContext, image_id: str) -> Operation:
        return self._write(ctx, removals.claim_delete, ctx, self.process, image_id)

    def defer_delete(self, ctx: RequestContext, image_id: str) -> Operation:
        return self._write(ctx, removals.claim_delete, ctx, self.process, image_id, later=True)

    def take_deferred(self, ctx: RequestContext, age: float) -> Operation | None:
        return self._write(ctx, removals.take_deferred, ctx, self.process, age)

    def claim_grant(self, ctx: RequestContext, image_id: str) -> Operation:
        return self._write(ctx, operations.claim_grant, ctx, self.process, image_id)

    def commit_delete(self, ctx: RequestContext, claim: Operation) -> None:
        self._write(ctx, removals.commit_delete, claim)

    def leave_delete(self, ctx: RequestContext, claim: Operation) -> None:
        self._write(ctx, removals.leave_delete, claim)

    def abort_delete(self, ctx: RequestContext, claim: Operation) -> None:
        self._write(ctx, removals.abort_delete, claim)

    def claim_location(self, ctx: RequestContext, image_id: str, location_id: int) -> Operation:
        return self._write(ctx, removals.claim_location, ctx, self.process, image_id, location_id)

    # --- copies

    def list_holdings(self, ctx: RequestContext, after: int, count: int) -> tuple[Holding, ...]:
        return self.database.read(lambda connection: copies.list_holdings(connection, after, count))

    def claim_copy(self, ctx: RequestContext, image_id: str, store: str) -> Operation:
        return self._write(ctx, copies.claim, ctx, self.process, image_id, store)

    def commit_copy(self, ctx: RequestContext, claim: Operation, stored: Stored) -> Image:
        return self._write(ctx, copies.commit, claim, stored)

    def abort_copy(self, ctx: RequestContext, claim: Operation) -> Operation | None:
        return self._write(ctx, copies.abort, claim)

    # --- imports

    def claim_stage(
        self, ctx: RequestContext, image_id: str, source: Upload, store: str
    ) -> Operation:
        return self._write(
            ctx, operations.claim_upload, ctx, self.process, image_id, source, store, STAGE
        )

    def commit_stage(
        self, ctx: RequestContext, claim: Operation, source: Upload, stored: Stored
    ) -> Image:
        return self._write(ctx, staging.commit, claim, source, stored)

    def claim_job(self, ctx: RequestContext, image_id: str, job: NewJob) -> Operation:
        return self._write(ctx, jobs.claim, ctx, self.process, image_id, job)

    def list_jobs(self, ctx: RequestContext) -> tuple[Operation, ...]:
        return self.database.read(jobs.waiting)

    def take_job(self, ctx: RequestContext, found: Operation) -> Operation | None:
        return self._write(ctx, jobs.take, self.process, found)

    def tell_job(self, ctx: RequestContext, claim: Operation, progress: Progress) -> None:
        self._write(ctx, jobs.tell, claim, progress)

    def finish_step(self, ctx: RequestContext, claim: Operation, step: Step) -> Operation:
        return self._write(ctx, jobs.finish_step, claim, step)

    def claim_part(self, ctx: RequestContext, claim: Operation, store: str) -> Operation:
        return self._write(ctx, parts.claim, ctx, self.process, claim, store)

    def commit_part(
        self, ctx: RequestContext, claim: Operation, part: Operation, stored: Stored
    ) -> Image:
        return self._write(ctx, parts.commit, claim, part, stored)

    def fail_part(
        self, ctx: RequestContext, claim: Operation, store: str, reason: str
    ) -> Operation:
        return self._write(ctx, parts.fail, claim, store, reason)

    def commit_job(self, ctx: RequestContext, claim: Operation) -> Operation:
        return self._write(ctx, parts.commit_job, claim)

    def abort_job(self, ctx: RequestContext, claim: Operation, reason: str) -> Operation | None:
        return self._write(ctx, parts.abort_job, claim, reason)

    # --- data that lies somewhere already

    def relocate(
        self, ctx: RequestContext, image_id: str, changes: Changes, relocation: Relocation
    ) -> Operation:
        return self._write(ctx, imports.relocate, ctx, self.process, image_id, changes, relocation)

    def claim_import(
        self, ctx: RequestContext, image_id: str, new: NewLocation, store: str
    ) -> None:
        self._write(ctx, imports.claim, ctx, self.process, image_id, new, store)

    def take_import(self, ctx: RequestContext) -> Operation | None:
        return self._write(ctx, imports.take, self.process)

    def place_import(
        self,
        ctx: RequestContext,
        claim: Operation,
        size: int,
        active: bool,
        algorithm: str | None,
    ) -> Operation:
        return self._write(ctx, imports.place, claim, size, active, algorithm)

    def is_held(self, ctx: RequestContext, claim: Operation) -> bool:
        return self.database.read(lambda connection: imports.is_held(connection, claim))

    def commit_import(self, ctx: RequestContext, claim: Operation, digests: Digests) -> None:
        self._write(ctx, imports.commit, claim, digests)

    def abort_import(self, ctx: RequestContext, claim: Operation, reason: str) -> None:
        self._write(ctx, imports.abort, claim, reason)

    # --- what is done in the background

    def refresh(self, ctx: RequestContext, held: Mapping[int, str]) -> None:
        self._write(ctx, sweeps.refresh, held)

    def find_abandoned(self, ctx: RequestContext, expiry: float) -> tuple[Operation, ...]:
        found = self.database.read(sweeps.under_way)
        return sweeps.abandoned(found, self.process, expiry)

    def take_over(self, ctx: RequestContext, found: Operation) -> Operation | None:
        return self._write(ctx, sweeps.take_over, self.process, found)

    def list_locations(self, ctx: RequestContext, after: int, count: int) -> tuple[Location, ...]:
        return self.database.read(
            lambda connection: orphans.list_locations(connection, after, count)
        )

    def find_vanished(self, ctx: RequestContext, image_ids: Sequence[str]) -> frozenset[str]:
        return self.database.read(lambda connection: orphans.find_vanished(connection, image_ids))

    # --- the caches of hosts

    def find_cacheable(self, ctx: RequestContext, image_ids: Sequence[str]) -> frozenset[Key]:
        return self.database.read(lambda connection: cached.find_cacheable(connection, image_ids))

    def find_cache_nodes(self, ctx: RequestContext, image_id: str) -> tuple[str, ...]:
        return self.database.read(lambda connection: cached.find_nodes(connection, image_id))

    def report_cache(self, ctx: RequestContext, node: str, entries: Sequence[Entry]) -> None:
        told = self.database.read(lambda connection: cached.is_reported(connection, node, entries))
        if not told:
            self._write(ctx, cached.report, node, entries)

    # --- the outbox

    def is_outbox_ready(self, ctx: RequestContext, sending: Sending) -> bool | None:
        return self.database.read(lambda connection: outbox.is_ready(connection, sending))

    def take_notices(
        self, ctx: RequestContext, sending: Sending, sent: Sequence[int]
    ) -> tuple[Notice, ...] | None:
        return self._write(ctx, outbox.take, self.process, sending, sent)

    def keep_outbox(self, ctx: RequestContext, sending: Sending, beyond: int) -> bool:
        return self._write(ctx, outbox.keep, sending, beyond)

    def release_outbox(
        self, ctx: RequestContext, sending: Sending, sent: Sequence[int], failed: bool
    ) -> None:
        self._write(ctx, outbox.release, sending, sent, failed)

    def count_dropped(self, ctx: RequestContext, count: int) -> None:
        self._write(ctx, outbox.count_dropped, count)

    def look_at_outbox(self, ctx: RequestContext) -> Outbox:
        return self.database.read(outbox.look)

    # --- metadata definitions

    def _space(self, ctx: RequestContext, namespace: str) -> tuple[int, Namespace]:
        """(id, namespace without its contents), read once for a request."""
        key = f'namespace {namespace}'
        found: tuple[int, Namespace] | None = ctx.rows.get(key)
        if found is None:
            found = self.database.query(
                lambda connection: metadefs.peek(connection, ctx, namespace)
            )
            ctx.rows[key] = found
        return found

    def list_namespaces(self, ctx: RequestContext, query: NamespaceQuery) -> NamespacePage:
        return self.database.read(
            lambda connection: metadef_lists.list_namespaces(connection, ctx, query)
        )

    def get_namespace(self, ctx: RequestContext, namespace: str) -> Namespace:
        return self.database.query(
            lambda connection: metadefs.get_namespace(connection, ctx, namespace)
        )

    def peek_namespace(self, ctx: RequestContext, namespace: str) -> Namespace:
        return self._space(ctx, namespace)[1]

    def create_namespace(self, ctx: RequestContext, new: Namespace) -> Namespace:
        return self._write(ctx, metadef_writes.create_namespace, ctx, new)

    def update_namespace(self, ctx: RequestContext, namespace: str, new: Namespace) -> Namespace:
        return self._write(ctx, metadef_writes.update_namespace, ctx, namespace, new)

    def delete_namespace(self, ctx: RequestContext, namespace: str) -> Namespace:
        return self._write(ctx, metadef_writes.delete_namespace, ctx, namespace)

    def clear_namespace(self, ctx: RequestContext, namespace: str, kind: str) -> Namespace:
        return self._write(ctx, metadef_writes.clear_namespace, ctx, namespace, kind)

    def list_definitions(
        self, ctx: RequestContext, namespace: str, kind: str, paging: Paging
    ) -> tuple[Definition, ...]:
        number, _ = self._space(ctx, namespace)
        return self.database.read(
            lambda connection: metadef_lists.list_definitions(
                connection, number, namespace, kind, paging
            )
        )

    def get_definition(
        self, ctx: RequestContext, namespace: str, kind: str, item: str
    ) -> Definition:
        number, _ = self._space(ctx, namespace)
        return self.database.read(
            lambda connection: metadefs.get_definition(connection, number, namespace, kind, item)
        )[1]

    def add_definition(self, ctx: RequestContext, namespace: str, new: Definition) -> Definition:
        return self._write(ctx, metadef_writes.add_definition, ctx, namespace, new)

    def update_definition(
        self, ctx: RequestContext, namespace: str, item: str, new: Definition
    ) -> Definition:
        return self._write(ctx, metadef_writes.update_definition, ctx, namespace, item, new)

    def delete_definition(
        self, ctx: RequestContext, namespace: str, kind: str, item: str
    ) -> Definition:
        return self._write(ctx, metadef_writes.delete_definition, ctx, namespace, kind, item)

    def set_tags(
        self, ctx: RequestContext, namespace: str, tags: tuple[Tag, ...], append: bool
    ) -> tuple[Definition, ...]:
        return self._write(ctx, metadef_writes.set_tags, ctx, namespace, tags, append)

    def list_resource_types(self, ctx: RequestContext) -> tuple[Association, ...]:
        return self.database.read(metadef_lists.list_resource_types)


Database.ends = frozenset(overrides(Database))
