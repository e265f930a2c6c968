# SPDX-License-Identifier: Apache-2.0
"""Steps in order, on TaskFlow.

TaskFlow keeps nothing here (its backend is memory): what is over is in rows of ours, so that
another process resumes it, and a flow is made of what is left. The library is loaded by the first
import of a process, because most processes never do one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence


@dataclasses.dataclass(frozen=True)
class Part:
    """Something to do, by a name that is unique in its flow."""

    name: str
    run: Callable[[], None]


@dataclasses.dataclass(frozen=True)
class Runner:
    """How flows are run."""

    #: how many parts of `together` are done at the same time
    workers: int = 1

    def run(
        self, name: str, first: Sequence[Part], together: Sequence[Part], last: Sequence[Part]
    ) -> None:
        """Do them in this order; those `together` in any. Raises what the first failure raised.

        When one fails nothing more is begun, and those that have begun are waited for.
        """
        from taskflow import engines
        from taskflow.patterns import linear_flow, unordered_flow

        failed: list[BaseException] = []
        flow = linear_flow.Flow(name)
        flow.add(*(_task(part, failed) for part in first))
        workers = min(self.workers, len(together))
        copies = (unordered_flow if workers > 1 else linear_flow).Flow('copies')
        if together:
            flow.add(copies.add(*(_task(one, failed) for one in together)))
        flow.add(*(_task(part, failed) for part in last))
        more = {'engine': 'parallel', 'max_workers': workers} if workers > 1 else {}
        engine = engines.load(flow, **{'engine': 'serial', **more})
        try:
            engine.run()
        except BaseException:
            if failed:
                raise failed[0] from None
            raise


def _task(part: Part, failed: list[BaseException]) -> object:
    from taskflow import task

    def execute() -> None:
        if failed:
            return  # the flow is over, and what follows must not begin
        try:
            part.run()
        except BaseException as ex:
            failed.append(ex)
            raise

    return task.FunctorTask(execute, name=part.name)
