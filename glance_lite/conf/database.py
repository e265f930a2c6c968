# SPDX-License-Identifier: Apache-2.0
"""``[database]``: the options are oslo.db's own, by its names and with its defaults."""

from __future__ import annotations

import copy

from oslo_config import cfg
from oslo_db import options

# Copies: registering must not share option objects with another library's configuration.
OPTIONS: dict[str, list[cfg.Opt]] = {'database': copy.deepcopy(options.database_opts)}
