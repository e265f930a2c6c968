# SPDX-License-Identifier: Apache-2.0
"""Locations: which comes first, how they are kept in the database, when their data goes."""

from __future__ import annotations

from oslo_config import cfg

OPTIONS: dict[str, list[cfg.Opt]] = {
    'DEFAULT': [
        cfg.StrOpt(
            'location_strategy',
            default='weight',
            help='Which location of an image comes first, where it is read and where it is shown: '
            'weight (by the weight of its store), location_order (the oldest), store_type (by '
            'store_type_preference), or a plug-in. All API hosts must agree on it.',
        ),
        cfg.StrOpt(
            'metadata_encryption_key',
            secret=True,
            help='Key of 16, 24 or 32 bytes with which urls of locations are encrypted in the '
            'database (AES). All API hosts must have the same. What was written without a key is '
            'read as it is; what was written with another key cannot be read at all.',
        ),
        cfg.BoolOpt(
            'delayed_delete',
            default=False,
            help='Keep the data of deleted images for scrub_time seconds. The images themselves '
            'are gone at once. All API hosts must agree on it.',
        ),
        cfg.IntOpt(
            'scrub_time',
            default=0,
            min=0,
            help='Seconds for which data is kept with delayed_delete. It counts as it is set for '
            'the API; glance-scrubber.conf is not read.',
        ),
        cfg.IntOpt(
            'scrub_pool_size',
            default=1,
            min=1,
            help='Images whose data a process removes at a time, with delayed_delete.',
        ),
    ],
    'store_type_location_strategy': [
        cfg.ListOpt(
            'store_type_preference',
            default=[],
            help='Types of stores, best first, for location_strategy = store_type. Those that '
            'are not named come last.',
        ),
    ],
}
