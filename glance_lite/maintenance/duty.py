# SPDX-License-Identifier: Apache-2.0
"""A duty: work on stores and rows that one process of all nodes does at a time.

A duty is a plug-in in the group ``glance_lite.duties``; ``[maintenance] duties`` names those that
are switched on. It is made once, at start; `glance_lite.maintenance.keeper` finds out whose turn
it is and calls `Duty.run`::

    class Greet(Duty):
        '''Says hello to each image.'''

        period = 3600

        def run(self, turn):
            count = 0
            for holding in self.inner.list_holdings(service_context(), 0, 100):
                turn.go_on()
                count += 1
            return {'greeted': count}
"""

from __future__ import annotations

import abc
import dataclasses
import datetime
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.operations import Operations

#: Version of this contract. A duty may demand it with ``requires_api``.
DUTY_API = 1


class TurnOver(Exception):
    """Somebody else has the turn by now, or the process is to stop. A duty lets it pass."""


def untold(count: int) -> None:
    """Nobody wants to know how much is done."""


@dataclasses.dataclass(frozen=True)
class DutyParts:
    """What a duty is built from."""

    conf: cfg.ConfigOpts
    #: the chain from ``location`` down: no policy, no quota, no events
    inner: Operations
    #: values of the duty's own options, by name
    settings: Mapping[str, Any]


class Turn:
    """The right to do a duty, as long as it lasts."""

    def __init__(
        self, name: str, holder: str, lasts: float, told: Callable[[int], None] = untold
    ) -> None:
        """`lasts`: seconds from a sign of life until others may take the turn."""
        self.name = name
        #: what the row of the duty says while it is our turn
        self.holder = holder
        self._lasts = lasts
        self._until = time.monotonic() + lasts
        self._over = threading.Event()
        self._told = told

    def go_on(self, count: int = 0) -> None:
        """`count` more is done; called before each step. Raises `TurnOver`."""
        if count:
            self._told(count)
        if self._over.is_set() or time.monotonic() > self._until:
            raise TurnOver

    def wait(self, seconds: float) -> None:
        """Let time pass. Raises `TurnOver` as soon as the turn is over."""
        self._over.wait(max(0.0, min(seconds, self._until - time.monotonic())))
        self.go_on()

    def renewed(self, began: float) -> None:
        """A sign of life has come through that was begun at `began`, as `time.monotonic`."""
        self._until = began + self._lasts

    def end(self) -> None:
        """It is over."""
        self._over.set()


class Duty(abc.ABC):
    """Work that is done by one process at a time. Its state is configuration and rows.

    It may be broken off at any point, by a kill as well, and is begun anew by any process: what it
    must remember it keeps in the database.
    """

    #: version of the contract it was written for
    requires_api: ClassVar[int] = DUTY_API
    #: seconds from the end of one run to the next, where ``[maintenance] schedule`` says nothing
    period: float = 3600
    #: options of its own, in the group ``[duty_NAME]``
    opts: ClassVar[list[cfg.Opt]] = []
    #: what `Turn.go_on` counts, for people: images, bytes ...
    unit: ClassVar[str] = ''

    def __init__(self, parts: DutyParts) -> None:
        """Raises `ConfigurationError` naming group and option. No I/O."""
        self.conf = parts.conf
        self.inner = parts.inner
        self.settings = parts.settings

    def acts(self) -> bool:
        """Whether the configuration gives it anything to do."""
        return True

    def total(self) -> int | None:
        """How much `Turn.go_on` will count in a run, for a progress bar; None: nobody knows."""
        return None

    @abc.abstractmethod
    def run(self, turn: Turn) -> Mapping[str, int]:
        """Do what is to be done now; what was done, as numbers by name.

        Calls `Turn.go_on` before each thing it does, and at least every few seconds: whoever has
        lost the turn stops there. Whatever it raises is noted as the result, and the duty is
        tried again a period later.
        """


@dataclasses.dataclass(frozen=True, slots=True)
class DutyState:
    """What the database says of a duty. Times are the database's clock."""

    name: str
    #: ``HOST (PID)`` of the process that does it now; None: nobody does
    holder: str | None
    #: whether that process still gives signs of life
    alive: bool
    #: when the run that is under way, or the last one, began
    began: datetime.datetime | None
    #: when the last run ended
    ended: datetime.datetime | None
    #: what the last run has done
    result: Mapping[str, int]
    #: why the last run failed; None: it did not
    problem: str | None
