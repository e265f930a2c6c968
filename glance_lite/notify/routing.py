# SPDX-License-Identifier: Apache-2.0
"""oslo.messaging's driver ``routing``: which drivers get which event, from a file.

The file has groups, each with drivers, each with patterns of events and of priorities::

    billing:
      messagingv2:
        accepted_events: [image.upload, image.delete]
        accepted_priorities: [info]
"""

from __future__ import annotations

import dataclasses
import fnmatch
import pathlib
from typing import Any

import yaml

from glance_lite.errors import ConfigurationError

_OPTION = '[oslo_messaging_notifications] routing_config'
_KEYS = {'accepted_events', 'accepted_priorities'}


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a driver gets: events and priorities that match; None is all of them."""

    driver: str
    events: tuple[str, ...] | None
    priorities: tuple[str, ...] | None

    def takes(self, event: str, priority: str) -> bool:
        return _matches(event, self.events) and _matches(priority.lower(), self.priorities)


def _matches(text: str, patterns: tuple[str, ...] | None) -> bool:
    return patterns is None or any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)


@dataclasses.dataclass(frozen=True)
class Routing:
    rules: tuple[Rule, ...]

    @property
    def names(self) -> set[str]:
        return {rule.driver for rule in self.rules}

    def drivers(self, event: str, priority: str) -> set[str]:
        """The drivers that get an event."""
        return {rule.driver for rule in self.rules if rule.takes(event, priority)}


def read_routing(path: str) -> Routing:
    """The rules in a file. `ConfigurationError` in one sentence."""
    if not path:
        raise ConfigurationError(f'{_OPTION}: the driver routing needs a file')
    try:
        groups = yaml.safe_load(pathlib.Path(path).read_text())
    except (OSError, UnicodeError) as ex:
        raise ConfigurationError(f'{_OPTION}: {path} cannot be read: {ex}') from None
    except yaml.YAMLError:
        raise ConfigurationError(f'{_OPTION}: {path} is not YAML') from None
    rules = []
    for group, drivers in _mapping(groups, path).items():
        for driver, accepted in _mapping(drivers, f'{path}: {group}').items():
            place = f'{path}: {group}: {driver}'
            rules.append(_rule(str(driver), _mapping(accepted, place), place))
    return Routing(tuple(rules))


def _mapping(value: Any, place: str) -> dict[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigurationError(f'{_OPTION}: {place} is not a mapping')
    return value


def _rule(driver: str, accepted: dict[Any, Any], place: str) -> Rule:
    unknown = sorted(map(str, accepted.keys() - _KEYS))
    if unknown:
        raise ConfigurationError(f'{_OPTION}: {place} has an unknown key {unknown[0]}')
    if driver == 'routing':
        raise ConfigurationError(f'{_OPTION}: {place} would lead back to the rules')
    events, priorities = (accepted.get(name) for name in sorted(_KEYS))
    for patterns in (events, priorities):
        if patterns is not None and not isinstance(patterns, list):
            raise ConfigurationError(f'{_OPTION}: {place} has something else than lists')
    return Rule(
        driver,
        None if events is None else tuple(map(str, events)),
        None if priorities is None else tuple(str(one).lower() for one in priorities),
    )
