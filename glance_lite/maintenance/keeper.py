# SPDX-License-Identifier: Apache-2.0
"""Does duties when they are due and it is this process's turn.

`Keeper` gives jobs for a `Ticker`: one a duty, which looks whether it is due, and the heartbeat of
those that this process does. A command may do a duty as well, without waiting until it is due.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from glance_lite import conf as configuration
from glance_lite import plugins
from glance_lite.context import service_context
from glance_lite.errors import Conflict, GlanceLiteError, NotFound, PluginError
from glance_lite.maintenance import schedule
from glance_lite.maintenance.duty import (
    DUTY_API,
    Duty,
    DutyParts,
    DutyState,
    Turn,
    TurnOver,
    untold,
)
from glance_lite.maintenance.ticker import Job

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.operations import Operations

LOG = logging.getLogger(__name__)

OPTION = '[maintenance] duties'
#: Longest time in seconds between two looks at whether a duty is due.
LOOK = 30.0


class Keeper:
    """The duties that are switched on. Built without I/O; `ConfigurationError`, `PluginError`."""

    def __init__(self, conf: cfg.ConfigOpts, inner: Operations) -> None:
        """`inner` is the chain from ``location`` down."""
        options = conf.maintenance
        self._conf = conf
        self._inner = inner
        self._expiry: float = options.operation_expiry
        #: those under way in this process
        self._turns: set[Turn] = set()
        option = f'{configuration.where(conf, "maintenance", "duties")}{OPTION}'
        self.duties: dict[str, Duty] = {}
        for name in options.duties:
            if name in self.duties:
                raise PluginError(f'{option}: {name} is in the list twice')
            self.duties[name] = load(name, conf, inner, option)
        known = {*self.duties, *plugins.names(plugins.DUTIES)}
        self._periods = schedule.periods(options.schedule, known)
        self._windows = schedule.windows(options.window, known)
        self.heartbeat = Job('heartbeat of duties', options.heartbeat_interval, self.beat)
        self.jobs = tuple(
            Job(
                f'duty {name}',
                min(LOOK, self.period(name)),
                functools.partial(self.look, name),
                at_once=True,
            )
            for name, duty in self.duties.items()
            if duty.acts()
        )

    def period(self, name: str) -> float:
        """Seconds from the end of one run to the next."""
        return self._periods.get(name, self.duties[name].period)

    def is_open(self, name: str) -> bool:
        """Whether a run may begin now."""
        now = datetime.datetime.now(datetime.UTC)
        return schedule.is_open(self._windows.get(name), now)

    # --- doing them

    def look(self, name: str) -> Mapping[str, int] | None:
        """Do a duty if it is due and nobody else does; what was done."""
        if not self.is_open(name):
            return None
        return self._run(name, self.duties[name], self.period(name), untold)

    def run(self, name: str, told: Callable[[int], None] = untold) -> Mapping[str, int]:
        """Do a duty now, also one that is switched off. `Conflict`: somebody else is at it.

        `told` is called with what is done. `NotFound`: there is no such duty.
        """
        done = self._run(name, self.get(name), 0, told)
        if done is None:
            raise Conflict(f'Somebody else is at the duty {name}, or has just taken over')
        return done

    def get(self, name: str) -> Duty:
        """A duty, also one that is switched off. `NotFound`."""
        if name not in self.duties:
            known = plugins.names(plugins.DUTIES)
            if name not in known:
                raise NotFound(f'There is no duty {name}; there are {", ".join(known)}')
            self.duties[name] = load(name, self._conf, self._inner, OPTION)
        return self.duties[name]

    def _run(
        self, name: str, duty: Duty, period: float, told: Callable[[int], None]
    ) -> Mapping[str, int] | None:
        """None: it was not our turn, or is no more."""
        ctx, holder = service_context(), secrets.token_hex(16)
        turn = Turn(name, holder, self._expiry, told)
        if not self._inner.take_duty(ctx, name, holder, period, self._expiry):
            return None
        self._turns.add(turn)
        result: Mapping[str, int] | None = None
        problem: str | None = None
        try:
            result = duty.run(turn)
            return result
        except TurnOver:
            LOG.info('The duty %s goes on elsewhere, or later', name)
            return None
        except Exception as ex:
            # Not the text of what was not expected: it may carry anything.
            problem = ex.message if isinstance(ex, GlanceLiteError) else type(ex).__name__
            raise
        finally:
            turn.end()
            self._turns.discard(turn)
            self._inner.leave_duty(ctx, name, holder, result, problem)

    # --- keeping the turn

    def beat(self) -> None:
        """Give a sign of life for each turn of this process, or end it."""
        for turn in list(self._turns):
            began = time.monotonic()
            if self._inner.keep_duty(service_context(), turn.name, turn.holder):
                turn.renewed(began)
            elif turn in self._turns:
                LOG.warning('The duty %s was taken over by somebody else', turn.name)
                turn.end()

    def stop(self) -> None:
        """End all turns of this process, so that others need not wait to take over."""
        for turn in list(self._turns):
            turn.end()
            with contextlib.suppress(GlanceLiteError):
                self._inner.leave_duty(service_context(), turn.name, turn.holder, None, None)

    # --- for people

    def states(self) -> tuple[DutyState, ...]:
        """What the database says of all duties that were ever done."""
        return self._inner.list_duties(service_context(), self._expiry)


def load(name: str, conf: cfg.ConfigOpts, inner: Operations, option: str) -> Duty:
    """Make a duty. Raises `PluginError` or `ConfigurationError` in one sentence."""
    kind = plugins.load(plugins.DUTIES, name, option)
    if not (isinstance(kind, type) and issubclass(kind, Duty)):
        raise PluginError(f'{option}: {name} is not a duty')
    if kind.requires_api != DUTY_API:
        raise PluginError(
            f'{option}: {name} was written for version {kind.requires_api} of the contract of '
            f'duties; this is version {DUTY_API}'
        )
    settings = configuration.read(conf, f'duty_{name}', kind.opts)
    try:
        return kind(DutyParts(conf, inner, settings))
    except GlanceLiteError:
        raise
    except Exception as ex:
        said = ' '.join(f'{type(ex).__name__}: {ex}'.split())
        raise PluginError(f'{option}: {name} cannot be made: {said}') from ex
