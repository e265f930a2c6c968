# SPDX-License-Identifier: Apache-2.0
"""Property protections."""

from __future__ import annotations

from oslo_config import cfg

OPTIONS: dict[str, list[cfg.Opt]] = {
    'DEFAULT': [
        cfg.StrOpt(
            'property_protection_file',
            help='File that says who may create, read, update and delete which custom properties.',
        ),
        cfg.StrOpt(
            'property_protection_rule_format',
            default='roles',
            choices=('roles', 'policies'),
            help='Whether that file names roles or policy rules.',
        ),
    ],
}
