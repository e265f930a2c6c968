# SPDX-License-Identifier: Apache-2.0
"""When duties are done, as the configuration says it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Container, Mapping

from glance_lite.errors import ConfigurationError

_UNITS = {'': 1, 's': 1, 'm': 60, 'h': 3600, 'd': 86400}
_PERIOD = re.compile(r'(\d{1,9})([smhd]?)')
_WINDOW = re.compile(r'([01]\d|2[0-3])\.([0-5]\d)-([01]\d|2[0-3])\.([0-5]\d)')

#: Minutes of the day, of the begin and of the end.
Window = tuple[int, int]


def periods(option: Mapping[str, str], known: Container[str]) -> dict[str, float]:
    """Duty -> seconds. Raises `ConfigurationError`."""
    found = {}
    for name, text in option.items():
        _check(name, known, 'schedule')
        match = _PERIOD.fullmatch(text.strip())
        if match is None or not int(match[1]):
            raise ConfigurationError(
                f'[maintenance] schedule: {text!r} of {name} is not a number of seconds, or one '
                f'followed by s, m, h or d'
            )
        found[name] = float(int(match[1]) * _UNITS[match[2]])
    return found


def windows(option: Mapping[str, str], known: Container[str]) -> dict[str, Window]:
    """Duty -> when it may begin. Raises `ConfigurationError`."""
    found = {}
    for name, text in option.items():
        _check(name, known, 'window')
        match = _WINDOW.fullmatch(text.strip())
        if match is None:
            raise ConfigurationError(
                f'[maintenance] window: {text!r} of {name} is not of the form HH.MM-HH.MM'
            )
        found[name] = (int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4]))
    return found


def _check(name: str, known: Container[str], option: str) -> None:
    if name not in known:
        raise ConfigurationError(f'[maintenance] {option}: there is no duty {name}')


def is_open(window: Window | None, now: datetime.datetime) -> bool:
    """Whether a duty may begin at `now`, a time in UTC. A window may span midnight."""
    if window is None:
        return True
    minute, (begin, end) = now.hour * 60 + now.minute, window
    if begin <= end:
        return begin <= minute < end
    return minute >= begin or minute < end
