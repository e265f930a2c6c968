# SPDX-License-Identifier: Apache-2.0
"""What import plug-ins of ours do, and how far they go."""

from __future__ import annotations

from oslo_config import cfg

from glance_lite.conf.lists import bracketed

_NO_LIMIT = '0 is no limit.'

OPTIONS: dict[str, list[cfg.Opt]] = {
    'image_conversion': [
        cfg.StrOpt(
            'output_format',
            default='raw',
            choices=['qcow2', 'raw', 'vmdk'],
            help='Format that the plug-in image_conversion makes of imported data.',
        ),
        cfg.IntOpt(
            'max_virtual_size',
            default=1 << 40,
            min=0,
            help='Largest disk in bytes that may be in data that is converted. What is made raw '
            f'must not be larger than image_size_cap either. {_NO_LIMIT}',
        ),
        cfg.IntOpt(
            'max_ratio',
            default=1000,
            min=0,
            help='How many times as large as the data the disk in it may be, where it has more '
            f'than 1 GiB. {_NO_LIMIT}',
        ),
        cfg.IntOpt(
            'memory', default=1024, min=256, help='MiB of address space that qemu-img may have.'
        ),
        cfg.IntOpt(
            'cpu_time',
            default=3600,
            min=1,
            help='Seconds of processor time that a conversion may take.',
        ),
        cfg.IntOpt(
            'max_time', default=4 * 3600, min=1, help='Seconds that a conversion may take in all.'
        ),
        cfg.BoolOpt(
            'require_no_network',
            default=False,
            help='Refuse to start where qemu-img cannot be cut off from the network, because the '
            'host lets neither root nor others make namespaces. Without it, that is a warning.',
        ),
    ],
    'image_decompression': [
        cfg.IntOpt(
            'max_ratio',
            default=200,
            min=0,
            help='How many times as large as the data what comes out of it may be, where that is '
            f'more than 16 MiB. {_NO_LIMIT}',
        ),
        cfg.IntOpt(
            'max_size',
            default=0,
            min=0,
            help='Most bytes that may come out of compressed data. 0 leaves it to image_size_cap.',
        ),
    ],
    'inject_metadata_properties': [
        cfg.DictOpt(
            'inject',
            default={},
            help='Properties that images get when they are imported, as name:value,name:value.',
        ),
        bracketed(
            'ignore_user_roles',
            cfg.types.String(quotes=True),
            ['admin'],
            'Who has one of these roles imports images without those properties.',
        ),
    ],
}
