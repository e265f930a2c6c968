# SPDX-License-Identifier: Apache-2.0
"""What a worker does in the background."""

from __future__ import annotations

from oslo_config import cfg

OPTIONS: dict[str, list[cfg.Opt]] = {
    'maintenance': [
        cfg.IntOpt(
            'heartbeat_interval',
            default=10,
            min=1,
            help='Seconds between two signs of life that a process gives for its uploads and '
            'deletes under way.',
        ),
        cfg.IntOpt(
            'operation_expiry',
            default=60,
            min=3,
            help='Seconds without a sign of life after which an upload or delete is given up: the '
            'image of an upload is queued again and its bytes are removed. At least three times '
            'heartbeat_interval. One whose process on the same host has ended is given up at once.',
        ),
        cfg.IntOpt(
            'sweep_interval',
            default=20,
            min=1,
            help='Seconds between two searches for uploads and deletes that are to be given up. '
            'Each process searches, when it starts as well.',
        ),
        cfg.IntOpt(
            'orphan_min_age',
            default=24 * 3600,
            min=0,
            help='Seconds for which data that no image refers to must have lain in a store before '
            'it counts as an orphan.',
        ),
    ],
}
