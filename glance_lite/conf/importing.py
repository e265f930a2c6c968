# SPDX-License-Identifier: Apache-2.0
"""Imports: which plug-ins, how many at a time, who does the work."""

from __future__ import annotations

from oslo_config import cfg

OPTIONS: dict[str, list[cfg.Opt]] = {
    'image_import_opts': [
        cfg.ListOpt(
            'image_import_plugins',
            item_type=cfg.types.String(quotes=True),
            bounds=True,
            default=[],
            help='Import plug-ins in the order in which they are applied to imported data.',
        ),
        cfg.IntOpt(
            'max_parallel_stores',
            default=1,
            min=1,
            help='To how many stores one import writes at the same time.',
        ),
    ],
    'taskflow_executor': [
        cfg.StrOpt(
            'engine_mode',
            default='parallel',
            choices=['serial', 'parallel'],
            help='Whether steps that do not depend on each other may be done at the same time.',
        ),
        cfg.IntOpt(
            'max_workers',
            default=10,
            min=1,
            deprecated_opts=[cfg.DeprecatedOpt('eventlet_executor_pool_size', group='task')],
            help='Most steps of one import that are done at the same time.',
        ),
    ],
    'task': [
        cfg.StrOpt(
            'task_executor',
            default='taskflow',
            choices=['taskflow', 'jobboard'],
            deprecated_opts=[cfg.DeprecatedOpt('executor', group='task')],
            help='taskflow: whoever does imports looks for them in the database. jobboard: they '
            'are announced on a board as well.',
        ),
        cfg.StrOpt(
            'jobboard_url',
            secret=True,
            help='Where the board is: redis://HOST, etcd://HOST or zookeeper://HOST, with port, '
            'user, password and path as usual.',
        ),
        cfg.BoolOpt(
            'api_runs_jobs',
            default=True,
            help='Whether workers of the API do imports. If not, glance-lite-worker must run '
            'somewhere.',
        ),
        cfg.IntOpt(
            'jobs_at_a_time',
            default=4,
            min=1,
            help='How many imports one process does at the same time.',
        ),
        cfg.IntOpt(
            'poll_interval',
            default=5,
            min=1,
            help='Seconds between two looks for imports that another process was asked for.',
        ),
    ],
}
