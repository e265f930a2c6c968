# SPDX-License-Identifier: Apache-2.0
"""Limits on images and projects."""

from __future__ import annotations

import re

from oslo_config import cfg

from glance_lite.errors import ConfigurationError

UNITS = {'': 1, 'B': 1, 'KB': 1 << 10, 'MB': 1 << 20, 'GB': 1 << 30, 'TB': 1 << 40}

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
            'the units B, KB, MB, GB, TB. 0 is no limit. Does nothing with use_keystone_limits.',
        ),
        cfg.BoolOpt(
            'use_keystone_limits',
            default=False,
            help='Take limits from Keystone: image_size_total and image_stage_total in MiB, '
            'image_count_total and image_count_uploading. What is not registered there is 0, '
            'and -1 is no limit.',
        ),
    ],
}


def parse_size(text: str) -> int:
    """Bytes from a number with an optional unit. Raises `ConfigurationError`."""
    match = re.fullmatch(r'\s*(\d+)\s*([A-Za-z]*)\s*', text)
    if match is None or match[2].upper() not in UNITS:
        raise ConfigurationError(
            f'[DEFAULT] user_storage_quota: {text!r} is not a number of bytes with one of the '
            f'units B, KB, MB, GB, TB'
        )
    return int(match[1]) * UNITS[match[2].upper()]


def is_counted(conf: cfg.ConfigOpts) -> bool:
    """Whether projects have limits, so that it matters what they use."""
    return bool(conf.use_keystone_limits or parse_size(conf.user_storage_quota))
