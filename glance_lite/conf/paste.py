# SPDX-License-Identifier: Apache-2.0
"""Which Paste pipeline is served."""

from __future__ import annotations

from oslo_config import cfg

OPTIONS: dict[str, list[cfg.Opt]] = {
    'paste_deploy': [
        cfg.StrOpt(
            'flavor',
            sample_default='keystone',
            help='Which pipeline of the Paste file to serve: the one named glance-api-FLAVOR.',
        ),
        cfg.StrOpt(
            'config_file',
            sample_default='glance-api-paste.ini',
            help='The Paste file. Looked for beside the configuration file when not set.',
        ),
    ],
}
