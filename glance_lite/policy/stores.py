# SPDX-License-Identifier: Apache-2.0
"""Rules for what is told about the stores."""

from __future__ import annotations

from oslo_policy import policy

from glance_lite.policy.base import ADMIN, ADMIN_OR_SERVICE, rule

RULES: list[policy.RuleDefault] = [
    rule(
        'stores_info_detail',
        ADMIN_OR_SERVICE,
        'See type, weight and settings of the stores.',
        'GET /v2/info/stores/detail',
        before=ADMIN,
        since='2025.1',
        reason='Other services may ask for the details of the stores.',
    ),
]
