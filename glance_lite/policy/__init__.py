# SPDX-License-Identifier: Apache-2.0
"""The policy rules, one module per resource, and what decides by them.

Names, default checks and scopes are those of Glance 33, so that an operator's ``policy.yaml``
means the same here.
"""

from __future__ import annotations

from oslo_policy import policy

from glance_lite.policy import base, cache, images, members, metadefs, stores, tasks


def list_rules() -> list[policy.RuleDefault]:
    """All rules with their defaults; what the ``oslopolicy-*`` generators print."""
    return [
        *base.RULES,
        *images.RULES,
        *members.RULES,
        *stores.RULES,
        *cache.RULES,
        *tasks.RULES,
        *metadefs.RULES,
    ]
