# SPDX-License-Identifier: Apache-2.0
"""Which formats images may have, and how strictly their content is looked at."""

from __future__ import annotations

from oslo_config import cfg

OPTIONS: dict[str, list[cfg.Opt]] = {
    'image_format': [
        cfg.ListOpt(
            'container_formats',
            default=['ami', 'ari', 'aki', 'bare', 'ovf', 'ova', 'docker', 'compressed'],
            help='Values that container_format may have.',
            deprecated_opts=[cfg.DeprecatedOpt('container_formats', group='DEFAULT')],
        ),
        cfg.ListOpt(
            'disk_formats',
            default=[
                'ami',
                'ari',
                'aki',
                'vhd',
                'vhdx',
                'vmdk',
                'raw',
                'qcow2',
                'vdi',
                'iso',
                'ploop',
            ],
            help='Values that disk_format may have.',
            deprecated_opts=[cfg.DeprecatedOpt('disk_formats', group='DEFAULT')],
        ),
        cfg.ListOpt(
            'vmdk_allowed_types',
            default=['streamOptimized', 'monolithicSparse'],
            help='Kinds of VMDK that may be uploaded. Kinds that name further files let a user '
            'read files of whoever opens the image.',
        ),
        cfg.BoolOpt(
            'require_image_format_match',
            default=True,
            help='Refuse data that is not what disk_format says.',
        ),
        cfg.ListOpt(
            'gpt_safety_checks_nonfatal',
            default=[],
            help='Names of safety checks of GPT images whose failure is only logged.',
        ),
    ],
}
