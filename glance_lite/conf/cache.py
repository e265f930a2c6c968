# SPDX-License-Identifier: Apache-2.0
"""The cache of image data."""

from __future__ import annotations

from oslo_config import cfg

OPTIONS: dict[str, list[cfg.Opt]] = {
    'DEFAULT': [
        cfg.StrOpt(
            'image_cache_dir',
            help='Directory of the cache of image data, on a disk of this host. The cache and its '
            'API are off where it is not set. Downloads use the cache where the Paste pipeline has '
            'the filter cache.',
        ),
        cfg.StrOpt(
            'image_cache_driver',
            default='centralized_db',
            choices=('centralized_db', 'sqlite', 'xattr'),
            ignore_case=True,
            help='Where it is noted what is cached. Files always say it for this host; with '
            'centralized_db the database says it to all hosts as well, under '
            'worker_self_reference_url. The two others differ in nothing but that.',
        ),
        cfg.IntOpt(
            'image_cache_max_size',
            default=10 * 1024**3,
            min=0,
            help='Most bytes in the cache, those that are just coming included. It holds at every '
            'moment: what was used least lately makes room, and what is read stays.',
        ),
        cfg.IntOpt(
            'image_cache_stall_time',
            default=86400,
            min=0,
            help='Seconds after which a copy that nobody has gone on with is removed.',
        ),
        cfg.StrOpt(
            'image_cache_sqlite_db',
            default='cache.db',
            help='Understood and not needed: there is no such file.',
        ),
    ],
}
