# SPDX-License-Identifier: Apache-2.0
"""``/v2/schemas``."""

from __future__ import annotations

from glance_lite.api.described import Described, found, ref

SCHEMAS = {
    'JSONSchema': {
        'type': 'object',
        'properties': {'name': {'type': 'string'}, 'properties': {'type': 'object'}},
        'required': ['name', 'properties'],
    }
}

HANDLERS = {
    name: Described(f'The schema of {what}', found(ref('JSONSchema')))
    for name, what in (
        ('image', 'an image'),
        ('images', 'a list of images'),
        ('member', 'a membership'),
        ('members', 'a list of memberships'),
        ('task', 'a task'),
        ('tasks', 'a list of tasks'),
    )
}
