# SPDX-License-Identifier: Apache-2.0
"""The import method ``glance-download``: what it copies, and as whom it asks."""

from __future__ import annotations

from oslo_config import cfg

from glance_lite.conf.lists import bracketed

OPTIONS: dict[str, list[cfg.Opt]] = {
    'glance_download_properties': [
        bracketed(
            'extra_properties',
            cfg.types.String(quotes=True),
            ['hw_', 'trait:', 'os_distro', 'os_secure_boot', 'os_type'],
            'How properties begin that glance-download copies with the data of an image.',
        ),
    ],
    'glance_download': [
        cfg.StrOpt(
            'auth_section',
            default='keystone_authtoken',
            help='Group with the credentials of the service user to whom users lend their rights '
            'for a glance-download.',
        ),
        cfg.IntOpt(
            'trust_lifetime',
            default=24,
            min=1,
            help='Hours for which they do; an import that has not ended by then fails.',
        ),
    ],
}
