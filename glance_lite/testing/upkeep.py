# SPDX-License-Identifier: Apache-2.0
"""Duties, audits and updates for the conformance kit of layers: what is given and answered."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from glance_lite.audit.values import DAMAGED, Copy, Finding, Looked, Looking, Quarantined, Surveyed
from glance_lite.maintenance.duty import DutyState
from glance_lite.model import Digests, Image, Location
from glance_lite.updates.values import Hashed, Hashing, Placement

if TYPE_CHECKING:
    from glance_lite.context import RequestContext

MOMENT = datetime.datetime(2026, 4, 1, 12, 0, 0)


def _copy(image_id: str) -> Copy:
    location = Location(7, f'memory://ram/{image_id}', {'store': 'ram'})
    return Copy(location, image_id, 5, 'c' * 32, 'sha512', 'a' * 128)


def _finding(image_id: str) -> Finding:
    return Finding(DAMAGED, image_id, 'ram', f'memory://ram/{image_id}', 'other bytes', 7)


def _image(image_id: str) -> Image:
    return _copy(image_id).image()


#: What an operation gives -> how the recorder makes one.
ANSWERS: dict[str, Callable[[str, RequestContext, dict[str, Any]], Any]] = {
    'tuple[DutyState, ...]': lambda name, ctx, asked: (
        DutyState('audit', None, False, MOMENT, MOMENT, {'copies': 1}, None),
    ),
    'tuple[Copy, ...]': lambda name, ctx, asked: (_copy('an-image'),),
    'tuple[str, ...]': lambda name, ctx, asked: ('an-image',),
    'tuple[str | None, ...]': lambda name, ctx, asked: ('alpha', None),
    'tuple[Surveyed, ...]': lambda name, ctx, asked: (Surveyed('ram', True, True),),
    'Looked': lambda name, ctx, asked: Looked(True, None),
    'tuple[Quarantined, ...]': lambda name, ctx, asked: (
        Quarantined(7, 'an-image', 'ram', 'memory://ram/x', DAMAGED, 'other bytes', MOMENT, False),
    ),
    'str | None': lambda name, ctx, asked: None,
    'tuple[Placed, ...]': lambda name, ctx, asked: (),
    'tuple[Placement, ...]': lambda name, ctx, asked: (Placement('an-image', ('ram',), ()),),
}

#: What an operation gives -> its type.
TYPES: dict[str, type | tuple[type, ...]] = {
    'tuple[DutyState, ...]': tuple,
    'tuple[Copy, ...]': tuple,
    'tuple[str, ...]': tuple,
    'tuple[str | None, ...]': tuple,
    'tuple[Surveyed, ...]': tuple,
    'Looked': Looked,
    'tuple[Quarantined, ...]': tuple,
    'str | None': (str, type(None)),
    'tuple[Placed, ...]': tuple,
    'tuple[Placement, ...]': tuple,
}

#: Parameter of an operation -> what the kit gives for it, for an image id.
ARGUMENTS: dict[str, Callable[[str], Any]] = {
    'holder': lambda image_id: 'somebody',
    'period': lambda image_id: 60.0,
    'result': lambda image_id: {'copies': 1},
    'problem': lambda image_id: 'it could not be done',
    'copy': _copy,
    'finding': _finding,
    'looking': lambda image_id: Looking(_copy(image_id)),
    'position': lambda image_id: '{}',
    'hashing': Hashing,
    'hashed': lambda image_id: Hashed(_image(image_id), Digests('c' * 32, 'sha512', 'a' * 128)),
    'stores': lambda image_id: {'ram': True},
    'due': lambda image_id: True,
}

_TEXT: dict[str, Callable[[str], Any]] = {'after': lambda image_id: ''}
_DUTY: dict[str, Callable[[str], Any]] = {'name': lambda image_id: 'audit'}

#: Operation -> those of its parameters that are something else there.
ARGUMENTS_OF: dict[str, dict[str, Callable[[str], Any]]] = {
    **dict.fromkeys(('list_dataless', 'list_unhashed', 'list_placed', 'list_placements'), _TEXT),
    **dict.fromkeys(
        ('take_duty', 'keep_duty', 'leave_duty', 'get_position', 'set_position'), _DUTY
    ),
}
