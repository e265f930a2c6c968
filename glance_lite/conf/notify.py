# SPDX-License-Identifier: Apache-2.0
"""Notifications. Driver, topics and transport are oslo.messaging's own options."""

from __future__ import annotations

from oslo_config import cfg

OPTIONS: dict[str, list[cfg.Opt]] = {
    'DEFAULT': [
        cfg.StrOpt(
            'default_publisher_id',
            default='image.localhost',
            help='Publisher id of notifications.',
        ),
        cfg.ListOpt(
            'disabled_notifications',
            default=[],
            help='Events that are not sent: names like image.create, or groups like image. '
            'image.member is a part of image.',
        ),
    ],
    'notifier': [
        cfg.ListOpt(
            'drivers',
            default=[],
            help='Where events go: entry points of glance_lite.notifiers. Empty: where the option '
            'driver of the group oslo_messaging_notifications says, or nowhere.',
        ),
        cfg.IntOpt(
            'max_events',
            default=100_000,
            min=1,
            help='Most events that wait in the database while they cannot be sent. Those beyond '
            'it, the oldest ones, are dropped, counted and logged within a few seconds.',
        ),
        cfg.IntOpt(
            'batch_size',
            default=100,
            min=1,
            help='Events that are read from the database at a time. So many may be sent twice '
            'when a process is killed.',
        ),
        cfg.IntOpt(
            'retry_interval',
            default=5,
            min=1,
            help='Seconds between two looks for events that wait, and between two attempts of all '
            'processes together while events cannot be sent.',
        ),
    ],
}
