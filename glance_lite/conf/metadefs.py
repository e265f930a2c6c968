# SPDX-License-Identifier: Apache-2.0
"""Where the files of metadata definitions are."""

from __future__ import annotations

from oslo_config import cfg

OPTIONS: dict[str, list[cfg.Opt]] = {
    'DEFAULT': [
        cfg.StrOpt(
            'metadata_source_path',
            default='/etc/glance/metadefs/',
            help='Directory of the JSON files from which glance-lite-manage db load_metadefs fills '
            'the database, and into which db export_metadefs writes, where no path is given.',
        ),
    ],
}
