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
        cfg.ListOpt(
            'duties',
            default=['expire_tasks', 'scrub'],
            help='Duties that are done in the background, each by one process of all nodes at a '
            'time.',
        ),
        cfg.BoolOpt(
            'run_duties',
            default=True,
            help='Whether processes of glance-lite-api take their turns at duties. Where others '
            'do, it can be switched off.',
        ),
        cfg.DictOpt(
            'schedule',
            default={},
            help='How long after one run of a duty the next one begins, as NAME:PERIOD with the '
            'period in seconds, or followed by s, m, h or d. For example: scrub:30s,audit:7d',
        ),
        cfg.DictOpt(
            'window',
            default={},
            help='Between which times of the day, in UTC, runs of a duty begin, as '
            'NAME:HH.MM-HH.MM; a run that has begun is not broken off. For example: '
            'audit:01.00-05.30',
        ),
    ],
}
