# SPDX-License-Identifier: Apache-2.0
"""Writes a ledger of all locations."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar

from oslo_config import cfg

from glance_lite.context import service_context
from glance_lite.errors import ConfigurationError
from glance_lite.maintenance.duty import Duty, DutyParts, Turn

OPTIONS = [
    cfg.StrOpt('file', help='The ledger; it is appended to.'),
    cfg.FloatOpt('pause', default=0.0, min=0, help='Seconds to wait after each line.'),
]

#: How many locations are asked for at a time.
PAGE = 100


class Ledger(Duty):
    """A line for each location, and one at the begin and at the end of each run."""

    period = 86400
    opts: ClassVar[list[cfg.Opt]] = OPTIONS
    unit: ClassVar[str] = 'locations'

    def __init__(self, parts: DutyParts) -> None:
        super().__init__(parts)
        if not self.settings['file']:
            raise ConfigurationError('[duty_acme_ledger] file: it must be set')

    def run(self, turn: Turn) -> Mapping[str, int]:
        after = count = 0
        with open(self.settings['file'], 'a', encoding='utf-8') as ledger:
            print(os.getpid(), 'begin', file=ledger, flush=True)
            while page := self.inner.list_holdings(service_context(), after, PAGE):
                for holding in page:
                    turn.go_on(1)
                    print(os.getpid(), holding.image_id, file=ledger, flush=True)
                    count += 1
                    turn.wait(self.settings['pause'])
                after = page[-1].location.id
            print(os.getpid(), 'end', file=ledger, flush=True)
        return {'written': count}


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """For oslo-config-generator."""
    return [('duty_acme_ledger', OPTIONS)]
