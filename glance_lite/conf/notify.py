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
            help='Events that are not sent: names like image.create, or groups like image.',
        ),
    ],
}
