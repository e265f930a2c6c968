# SPDX-License-Identifier: Apache-2.0
"""Rules for sharing an image with other projects."""

from __future__ import annotations

from oslo_policy import policy

from glance_lite.policy.base import (
    ADMIN_OR_IMAGE_MEMBER,
    ADMIN_OR_MEMBER,
    ADMIN_OR_READER_OR_IMAGE_MEMBER,
    DEFAULT,
    rule,
)

_MEMBERS = '/v2/images/{image_id}/members'
_MEMBER = '/v2/images/{image_id}/members/{member_id}'

RULES: list[policy.RuleDefault] = [
    rule(
        'add_member',
        ADMIN_OR_MEMBER,
        'Share an image with a project.',
        f'POST {_MEMBERS}',
        before=DEFAULT,
    ),
    rule(
        'delete_member',
        ADMIN_OR_MEMBER,
        'Stop sharing an image with a project.',
        f'DELETE {_MEMBER}',
        before=DEFAULT,
    ),
    rule(
        'get_member',
        ADMIN_OR_READER_OR_IMAGE_MEMBER,
        'See one project an image is shared with.',
        f'GET {_MEMBER}',
        before=DEFAULT,
    ),
    rule(
        'get_members',
        ADMIN_OR_READER_OR_IMAGE_MEMBER,
        'List the projects an image is shared with.',
        f'GET {_MEMBERS}',
        before=DEFAULT,
    ),
    rule(
        'modify_member',
        ADMIN_OR_IMAGE_MEMBER,
        'Accept or reject an image that is shared with the own project.',
        f'PUT {_MEMBER}',
        before=DEFAULT,
    ),
]
