# SPDX-License-Identifier: Apache-2.0
"""Tasks: the values, and the operations on them.

A task is a record of something that the service does in the background. Only administrators use
the task API, as a rule; whoever owns an image sees its tasks. Times are naive UTC.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from glance_lite.contract import Family, operation

if TYPE_CHECKING:
    from glance_lite.context import RequestContext

TYPES = ('import', 'api_image_import', 'location_import')
STATUSES = ('pending', 'processing', 'success', 'failure')


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """A task as its row describes it. `input` and `result` are JSON objects."""

    id: str
    type: str
    status: str
    owner: str
    expires_at: datetime.datetime | None
    image_id: str | None
    request_id: str | None
    user_id: str | None
    created_at: datetime.datetime
    updated_at: datetime.datetime
    #: these three are not read for a list
    input: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None
    message: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class NewTask:
    """What a caller wants done."""

    type: str
    input: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which tasks to list and how."""

    #: field of `Task` -> the value it must have
    equal: Mapping[str, str]
    #: created_at and id decide among equals, in the same direction
    sort_key: str = 'created_at'
    ascending: bool = False
    marker: str | None = None
    limit: int = 25


@dataclasses.dataclass(frozen=True, slots=True)
class TaskPage:
    """One page of a list. `full`: there may be another one."""

    tasks: Sequence[Task]
    full: bool


class TaskOperations(Family):
    @operation(writes=True)
    def create_task(self, ctx: RequestContext, task: NewTask) -> Task:
        """A new task of the caller's project. `Invalid`: no project. `LimitExceeded`: too long."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation()
    def get_task(self, ctx: RequestContext, task_id: str) -> Task:
        """The task with its input and result. `NotFound`: expired ones as well."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation()
    def list_tasks(self, ctx: RequestContext, tasks: TaskQuery) -> TaskPage:
        """One page of the tasks of the caller's project. `Invalid`: unknown marker."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation()
    def list_image_tasks(self, ctx: RequestContext, image_id: str) -> tuple[Task, ...]:
        """What the caller's project has had done with an image, oldest first."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True, inner=True)
    def expire_tasks(self, ctx: RequestContext) -> int:
        """Delete the tasks whose time is over; how many. Nobody saw them any more."""
        return self._unlinked()  # type: ignore[no-any-return]
