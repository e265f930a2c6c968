# SPDX-License-Identifier: Apache-2.0
"""The auditor as a duty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from glance_lite.audit.auditor import Auditor, Plan
from glance_lite.maintenance.duty import Duty, Turn

#: Name of the duty's position.
NAME = 'audit'


class Audit(Duty):
    """Looks at everything that is stored, once a week unless the schedule says otherwise."""

    period = 7 * 86400
    unit: ClassVar[str] = 'bytes'

    def run(self, turn: Turn) -> Mapping[str, int]:
        options = self.conf.maintenance
        plan = Plan(
            NAME,
            tuple(options.audit_stores),
            options.audit_depth,
            options.audit_rate,
            options.audit_repair,
            options.orphan_min_age,
        )
        auditor = Auditor(self.inner, plan, turn.go_on, turn.wait)
        for _ in auditor.run():
            turn.go_on()
        return auditor.counts
