# SPDX-License-Identifier: Apache-2.0
"""The options of the group ``[acme_release]``."""

from __future__ import annotations

from oslo_config import cfg, types

GROUP = 'acme_release'

OPTIONS = [
    cfg.ListOpt(
        'required_tags',
        item_type=types.String(max_length=255),
        default=['tested', 'licensed'],
        help='Tags that an image must have before it may be public. Empty: no tag is needed.',
    ),
    cfg.StrOpt(
        'exempt_role',
        help='Who has this role may publish an image without the tags. Not set: nobody may.',
    ),
]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """For oslo-config-generator."""
    return [(GROUP, OPTIONS)]
