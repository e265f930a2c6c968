# SPDX-License-Identifier: Apache-2.0
"""Tasks: records of what is done in the background."""

from __future__ import annotations

from oslo_config import cfg

OPTIONS: dict[str, list[cfg.Opt]] = {
    'task': [
        cfg.IntOpt(
            'task_time_to_live',
            default=48,
            min=0,
            deprecated_opts=[cfg.DeprecatedOpt('task_time_to_live', group='DEFAULT')],
            help='Hours for which a task is kept after it has succeeded or failed.',
        ),
    ],
}
