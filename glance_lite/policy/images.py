# SPDX-License-Identifier: Apache-2.0
"""Rules for images, their data and their locations."""

from __future__ import annotations

from oslo_policy import policy

from glance_lite.policy.base import (
    ADMIN,
    ADMIN_OR_CREATOR,
    ADMIN_OR_MEMBER,
    ADMIN_OR_READER,
    ADMIN_OR_VISIBLE_TO_MEMBER,
    ADMIN_OR_VISIBLE_TO_READER,
    DEFAULT,
    SERVICE,
    SERVICE_OR_CREATOR,
    rule,
)

_IMAGE = '/v2/images/{image_id}'
_FILE = '/v2/images/{image_id}/file'
_LOCATIONS = '/v2/images/{image_id}/locations'
_ACTIONS = '/v2/images/{image_id}/actions'

RULES: list[policy.RuleDefault] = [
    rule(
        'add_image',
        ADMIN_OR_CREATOR,
        'Register an image.',
        'POST /v2/images',
        before=DEFAULT,
    ),
    rule(
        'delete_image',
        ADMIN_OR_MEMBER,
        'Delete an image and its data.',
        f'DELETE {_IMAGE}',
        before=DEFAULT,
    ),
    rule(
        'get_image',
        ADMIN_OR_VISIBLE_TO_READER,
        'See an image. Who may not see it is told that it does not exist.',
        f'GET {_IMAGE}',
        before=DEFAULT,
    ),
    rule(
        'get_images',
        ADMIN_OR_READER,
        'List images. Each image of the list must also pass get_image.',
        'GET /v2/images',
        before=DEFAULT,
    ),
    rule(
        'modify_image',
        ADMIN_OR_MEMBER,
        'Change attributes, properties or tags of an image.',
        f'PATCH {_IMAGE}',
        before=DEFAULT,
    ),
    rule(
        'publicize_image',
        ADMIN,
        'Make an image public.',
        f'PATCH {_IMAGE}',
    ),
    rule(
        'communitize_image',
        ADMIN_OR_MEMBER,
        'Give an image the visibility community.',
        f'PATCH {_IMAGE}',
        before=DEFAULT,
    ),
    rule(
        'download_image',
        ADMIN_OR_VISIBLE_TO_MEMBER,
        'Read the data of an image.',
        f'GET {_FILE}',
        before=DEFAULT,
    ),
    rule(
        'download_from_store',
        ADMIN_OR_VISIBLE_TO_MEMBER,
        'Choose the store the data is read from.',
        f'GET {_FILE}',
    ),
    rule(
        'upload_image',
        ADMIN_OR_MEMBER,
        'Store the data of an image.',
        f'PUT {_FILE}',
        before=DEFAULT,
    ),
    rule(
        'delete_image_location',
        ADMIN,
        'Take a location off an image, and remove one of several copies of its data.',
        f'PATCH {_IMAGE}',
        before=DEFAULT,
    ),
    rule(
        'get_image_location',
        ADMIN_OR_READER,
        'See where the data of an image is.',
        f'GET {_IMAGE}',
        before=DEFAULT,
    ),
    rule(
        'set_image_location',
        ADMIN_OR_MEMBER,
        'Give an image a location.',
        f'PATCH {_IMAGE}',
        before=DEFAULT,
    ),
    rule(
        'add_image_location',
        SERVICE_OR_CREATOR,
        'Register a location through the location API.',
        f'POST {_LOCATIONS}',
    ),
    rule(
        'fetch_image_location',
        SERVICE,
        'Read all locations through the location API.',
        f'GET {_LOCATIONS}',
    ),
    rule(
        'deactivate',
        ADMIN_OR_MEMBER,
        'Withhold the data of an image.',
        f'POST {_ACTIONS}/deactivate',
        before=DEFAULT,
    ),
    rule(
        'reactivate',
        ADMIN_OR_MEMBER,
        'Give out the data of a deactivated image again.',
        f'POST {_ACTIONS}/reactivate',
        before=DEFAULT,
    ),
    rule(
        'copy_image',
        ADMIN,
        'Copy the data of an image to further stores.',
        f'POST {_IMAGE}/import',
    ),
]
