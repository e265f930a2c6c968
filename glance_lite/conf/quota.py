# SPDX-License-Identifier: Apache-2.0
"""Limits on images and projects."""

from __future__ import annotations

from oslo_config import cfg

_MANY = 'Fewer than 0 means any number.'

OPTIONS: dict[str, list[cfg.Opt]] = {
    'DEFAULT': [
        cfg.IntOpt(
            'image_size_cap',
            default=1 << 40,
            min=1,
            max=9223372036854775807,
            help='Largest image that can be uploaded, in bytes.',
        ),
        cfg.IntOpt('image_member_quota', default=128, help=f'Most members of an image. {_MANY}'),
        cfg.IntOpt(
            'image_property_quota',
            default=128,
            help=f'Most custom properties of an image. {_MANY}',
        ),
        cfg.IntOpt('image_tag_quota', default=128, help=f'Most tags of an image. {_MANY}'),
        cfg.IntOpt('image_location_quota', default=10, help=f'Most locations of an image. {_MANY}'),
        cfg.StrOpt(
            'user_storage_quota',
            default='0',
            help='Most bytes that the images of one project may take, as a number or with one of '
            'the units B, KB, MB, GB, TB. 0 is no limit.',
        ),
        cfg.BoolOpt(
            'use_keystone_limits',
            default=False,
            help='Take limits from Keystone; user_storage_quota then does nothing.',
        ),
    ],
}
