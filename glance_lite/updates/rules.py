# SPDX-License-Identifier: Apache-2.0
"""Standing rules: in which stores images of a kind are to be.

A rule is a line of conditions, ``to``, and stores::

    visibility:public to fast,cheap
    tag:archive older:90d to cheap only

With ``only`` there is to be no copy in any other store. Of several rules that fit, the first
counts.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

from glance_lite.errors import ConfigurationError
from glance_lite.updates.values import Placed

OPTION = '[maintenance] placement_rule'
_AGE = re.compile(r'(\d{1,6})([smhd])')
_UNITS = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}

Test = Callable[[Placed], bool]


@dataclasses.dataclass(frozen=True)
class Rule:
    """One line."""

    tests: tuple[Test, ...]
    stores: tuple[str, ...]
    only: bool

    def fits(self, image: Placed) -> bool:
        return all(test(image) for test in self.tests)

    def missing(self, image: Placed) -> dict[str, bool]:
        """What is to be changed: store -> whether the image is to be there."""
        change = {store: True for store in self.stores if store not in image.stores}
        if self.only:
            change |= {store: False for store in image.stores if store not in self.stores}
        return change


def parse(lines: Sequence[str], known: Collection[str] | None = None) -> tuple[Rule, ...]:
    """`known` are the ids of stores that take data, if they are. Raises `ConfigurationError`."""
    return tuple(_rule(line, known) for line in lines)


def _rule(line: str, known: Collection[str] | None) -> Rule:
    words = line.split()
    if 'to' not in words:
        raise ConfigurationError(f'{OPTION}: {line!r} does not say "to" which stores')
    at = words.index('to')
    conditions, rest = words[:at], words[at + 1 :]
    only = rest[-1:] == ['only']
    stores = tuple(filter(None, ','.join(rest[:-1] if only else rest).split(',')))
    if not stores:
        raise ConfigurationError(f'{OPTION}: {line!r} does not say "to" which stores')
    for store in stores:
        if known is not None and store not in known:
            raise ConfigurationError(f'{OPTION}: {line!r}: there is no store {store}')
    return Rule(tuple(_test(word, line) for word in conditions), stores, only)


_FIELDS: Mapping[str, Callable[[Placed], str]] = MappingProxyType(
    {
        'visibility': lambda image: image.visibility,
        'owner': lambda image: image.owner or '',
        'disk_format': lambda image: image.disk_format or '',
        'container_format': lambda image: image.container_format or '',
        'os_hidden': lambda image: str(image.os_hidden).lower(),
    }
)


def _test(word: str, line: str) -> Test:
    name, _, value = word.partition(':')
    if name == 'tag' and value:
        return lambda image: value in image.tags
    if name == 'store' and value:
        return lambda image: value in image.stores
    if name in ('older', 'younger'):
        match = _AGE.fullmatch(value)
        if match is not None:
            age = datetime.timedelta(seconds=int(match[1]) * _UNITS[match[2]])
            if name == 'older':
                return lambda image: image.age >= age
            return lambda image: image.age < age
    elif name in _FIELDS and value:
        read = _FIELDS[name]
        return lambda image: read(image) == value
    raise ConfigurationError(f'{OPTION}: {line!r}: {word!r} is no condition')
