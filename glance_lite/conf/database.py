# SPDX-License-Identifier: Apache-2.0
"""``[database]``: oslo.db's own options, by its names and with its defaults, and one of ours."""

from __future__ import annotations

import copy

from oslo_config import cfg
from oslo_db import options

# Copies: registering must not share option objects with another library's configuration.
OPTIONS: dict[str, list[cfg.Opt]] = {
    'database': [
        *copy.deepcopy(options.database_opts),
        cfg.FloatOpt(
            'list_timeout',
            default=10,
            min=0,
            help='Seconds that the database may take to find one page of a list of images; then '
            'it gives up, and the answer is 413. 0 for no limit. The manual says which filters '
            'and orders have the database read how much.',
        ),
    ]
}
