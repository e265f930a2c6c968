# SPDX-License-Identifier: Apache-2.0
"""Rules for the cache of image data."""

from __future__ import annotations

from oslo_policy import policy

from glance_lite.policy.base import ADMIN, rule

_BEFORE = 'rule:manage_image_cache'
_REASON = 'Each operation on the cache has a rule of its own.'

RULES: list[policy.RuleDefault] = [
    policy.RuleDefault(
        'manage_image_cache',
        ADMIN,
        description='Manage the cache; only what older policy files refer to.',
        scope_types=['project'],
    ),
    rule(
        'list_cached_nodes',
        ADMIN,
        'See which nodes have an image in their cache.',
        'GET /v2/cache/nodes/{image_id}',
    ),
    rule(
        'cache_image',
        ADMIN,
        'Queue an image for the cache.',
        'PUT /v2/cache/{image_id}',
        before=_BEFORE,
        since='Xena',
        reason=_REASON,
    ),
    rule(
        'cache_list',
        ADMIN,
        'See what is cached and queued.',
        'GET /v2/cache',
        before=_BEFORE,
        since='Xena',
        reason=_REASON,
    ),
    rule(
        'cache_delete',
        ADMIN,
        'Drop images from the cache and its queue.',
        'DELETE /v2/cache',
        'DELETE /v2/cache/{image_id}',
        before=_BEFORE,
        since='Xena',
        reason=_REASON,
    ),
    rule(
        'cache_clean',
        ADMIN,
        'Remove broken and abandoned files from the cache.',
        'POST /v2/cache/clean',
    ),
    rule(
        'cache_prune',
        ADMIN,
        'Bring the cache back to its size limit.',
        'POST /v2/cache/prune',
    ),
]
