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
            default=['expire_tasks', 'scrub', 'place'],
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
        cfg.IntOpt(
            'audit_rate',
            default=20 * 1024 * 1024,
            min=0,
            help='Bytes that the auditor reads in a second, of all stores together. 0: as many as '
            'it can.',
        ),
        cfg.StrOpt(
            'audit_depth',
            default='hash',
            choices=['hash', 'size'],
            help='What the auditor looks at: every byte, or only how many there are.',
        ),
        cfg.ListOpt(
            'audit_stores',
            default=[],
            help='Ids of the stores that the auditor looks into. Empty: all that take data.',
        ),
        cfg.BoolOpt(
            'audit_repair',
            default=False,
            help='Whether the auditor puts a good copy in the place of a bad one, where the image '
            'has a good one.',
        ),
        cfg.MultiStrOpt(
            'placement_rule',
            default=[],
            help='In which stores images are to be, as CONDITIONS to STORES, with "only" behind it '
            'if there is to be no copy elsewhere. For example: visibility:public to fast,cheap',
        ),
        cfg.IntOpt(
            'copy_rate',
            default=0,
            min=0,
            help='Bytes that are read in a second to bring images to the stores where they are to '
            'be. 0: as many as it can.',
        ),
    ],
}
