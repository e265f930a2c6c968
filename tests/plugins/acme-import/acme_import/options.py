# SPDX-License-Identifier: Apache-2.0
"""The options of the group ``[acme_scan]``."""

from __future__ import annotations

from oslo_config import cfg

GROUP = 'acme_scan'

OPTIONS = [
    cfg.StrOpt(
        'signatures',
        help='File with what must not be in an image: a name and bytes in hexadecimal in each '
        'line, with a space between. Not set: nothing is searched for.',
    ),
    cfg.ListOpt(
        'exempt_roles',
        default=[],
        help='Who has one of these roles may import anything. The data is searched all the same, '
        'and what was found stands in the property acme_found.',
    ),
]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """For oslo-config-generator."""
    return [(GROUP, OPTIONS)]
