# SPDX-License-Identifier: Apache-2.0
"""Rules for tasks. The API asks only ``tasks_api_access``."""

from __future__ import annotations

from oslo_policy import policy

from glance_lite.policy.base import ADMIN, DEFAULT, rule

_TASKS = '/v2/tasks'
_TASK = '/v2/tasks/{task_id}'
_INNER = ' Imports use tasks as well, so refusing it here breaks them; see tasks_api_access.'

RULES: list[policy.RuleDefault] = [
    rule('get_task', DEFAULT, 'See a task.' + _INNER, f'GET {_TASK}'),
    rule('get_tasks', DEFAULT, 'List tasks.' + _INNER, f'GET {_TASKS}'),
    rule('add_task', DEFAULT, 'Start a task.' + _INNER, f'POST {_TASKS}'),
    policy.DocumentedRuleDefault(
        name='modify_task',
        check_str=DEFAULT,
        description='Nothing asks this rule.',
        operations=[{'method': 'DELETE', 'path': _TASK}],
        scope_types=['project'],
        deprecated_for_removal=True,
        deprecated_reason='No operation has ever depended on it.',
        deprecated_since='Wallaby',
    ),
    rule(
        'tasks_api_access',
        ADMIN,
        'Use the task API, reading and writing alike.',
        f'GET {_TASK}',
        f'GET {_TASKS}',
        f'POST {_TASKS}',
        f'DELETE {_TASK}',
    ),
]
