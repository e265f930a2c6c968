# SPDX-License-Identifier: Apache-2.0
"""The query string of a list: from text to a checked `Query`, and to the links of the next page.

A name that is no attribute of an image is a custom property, so an unknown one simply matches
nothing, as in the Image API.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from oslo_utils import timeutils

from glance_lite.errors import Invalid
from glance_lite.model import MEMBER_STATUSES, VISIBILITIES, Condition, Query

SORT_KEYS = (
    'name', 'status', 'container_format', 'disk_format', 'size', 'id', 'created_at', 'updated_at',
)  # fmt: skip
SORT_DIRECTIONS = ('asc', 'desc')

#: Filters that take ``in:a,b`` and ``eq:``.
IN_FILTERS = frozenset({'name', 'id', 'status', 'container_format', 'disk_format'})
EQUAL_FILTERS = frozenset({'owner', 'checksum', 'os_hash_value', 'os_hash_algo'})
COUNT_FILTERS = frozenset({'size', 'min_ram', 'min_disk', 'virtual_size'})
TIME_FILTERS = frozenset({'created_at', 'updated_at'})
TIME_OPERATORS = {'gt': 'gt', 'gte': 'ge', 'lt': 'lt', 'lte': 'le', 'neq': 'ne', 'eq': 'eq'}

#: Keys that say how to list, not what.
PAGING = ('limit', 'marker', 'sort', 'sort_key', 'sort_dir')

_OPERATOR = re.compile(r'^([A-Za-z]*):(.*)$', re.S)
# Possessive: a missing quotation mark must not cost the cube of the blanks before it.
_QUOTED = re.compile(r'\s*+(?:"((?:[^"\\]|\\.)*+)"\s*+|([^",]*+))(,|$)')
_RANGE = re.compile(r'^(.+)_(min|max)$')


class Parser:
    """Parses query strings; built once with the limits of the configuration."""

    def __init__(self, default_limit: int, largest_limit: int) -> None:
        self._default = default_limit
        self._largest = largest_limit

    def __call__(self, pairs: list[tuple[str, str]]) -> Query:
        """Raises `Invalid` in one sentence that names the parameter."""
        # PERF: most lists have no query at all.
        if not pairs:
            return Query(limit=self._default)
        single = dict(pairs)
        fields: dict[str, Any] = {'limit': self._limit(single.pop('limit', None))}
        if 'marker' in single:
            fields['marker'] = single.pop('marker')
        fields['sort'] = sort_of(pairs)
        for name in ('sort', 'sort_key', 'sort_dir'):
            single.pop(name, None)
        fields['tags'] = tuple(value for name, value in pairs if name == 'tag')
        single.pop('tag', None)
        _view(single, fields)
        conditions: list[Condition] = []
        properties: dict[str, str] = {}
        for name, value in single.items():
            found = condition(name, value)
            if found is not None:
                conditions.append(found)
            elif name != 'deleted':
                properties[name] = value
        return Query(conditions=tuple(conditions), properties=properties, **fields)

    def _limit(self, text: str | None) -> int:
        if text is None:
            return self._default
        limit = whole_number('limit', text)
        if limit < 0:
            raise Invalid('limit must not be negative')
        return min(limit, self._largest)


def whole_number(name: str, text: str) -> int:
    """An integer of a size that can mean something."""
    if not re.fullmatch(r'\s*[+-]?[0-9]{1,100}\s*', text, re.A):
        raise Invalid(f'{name} must be a whole number')
    return int(text)


def _view(single: dict[str, str], fields: dict[str, Any]) -> None:
    """Takes what decides which images there are at all out of `single`."""
    visibility = single.pop('visibility', None)
    if visibility is not None:
        if visibility not in (*VISIBILITIES, 'all'):
            raise Invalid(f'visibility must be one of {", ".join(VISIBILITIES)}, all')
        fields['visibility'] = visibility
    member_status = single.pop('member_status', None)
    if member_status is not None:
        if member_status not in (*MEMBER_STATUSES, 'all'):
            raise Invalid(f'member_status must be one of {", ".join(MEMBER_STATUSES)}, all')
        fields['member_status'] = member_status
    hidden = single.pop('os_hidden', None)
    if hidden is not None:
        # Clients send it as Python writes it, and Glance takes it; protected it does not.
        fields['hidden'] = _boolean('os_hidden', hidden.lower())
    if 'changes-since' in single:
        raise Invalid('changes-since is not a filter of this version of the API')


def condition(name: str, value: str) -> Condition | None:
    """The condition that one filter makes; None when it is a custom property."""
    if name in IN_FILTERS:
        return _in(name, value)
    if name in EQUAL_FILTERS:
        return Condition(name, 'eq', value)
    if name in TIME_FILTERS:
        return _time(name, value)
    if name in COUNT_FILTERS:
        return Condition(name, 'eq', whole_number(name, value))
    if name == 'protected':
        return Condition(name, 'eq', _boolean(name, value))
    bound = _RANGE.match(name)
    if bound and bound[1] in COUNT_FILTERS:
        return Condition(bound[1], 'ge' if bound[2] == 'min' else 'le', whole_number(name, value))
    return None


def _boolean(name: str, value: str) -> bool:
    if value not in ('true', 'false'):
        raise Invalid(f'{name} must be true or false')
    return value == 'true'


def _operator(name: str, value: str, known: Mapping[str, str], default: str) -> tuple[str, str]:
    match = _OPERATOR.match(value)
    if match is None:
        return default, value
    if match[1] not in known:
        raise Invalid(f'{match[1]} is not an operator of the filter {name} ({", ".join(known)})')
    return known[match[1]], match[2]


def _in(name: str, value: str) -> Condition:
    operator, rest = _operator(name, value, {'in': 'in', 'eq': 'eq'}, 'eq')
    if operator == 'eq':
        return Condition(name, 'eq', rest)
    return Condition(name, 'in', tuple(words(name, rest)))


def words(name: str, text: str) -> list[str]:
    """The values of ``a,"b,c",d``. `Invalid` when a quotation mark is missing."""
    found = []
    position = 0
    while True:
        match = _QUOTED.match(text, position)
        if match is None:
            raise Invalid(f'The values of the filter {name} are not quoted properly')
        quoted = match[1]
        found.append(match[2].rstrip() if quoted is None else re.sub(r'\\(.)', r'\1', quoted))
        position = match.end()
        if not match[3]:
            return found


def _time(name: str, value: str) -> Condition:
    if value[:1].isdigit():
        operator, rest = 'eq', value
    else:
        operator, rest = _operator(name, value, TIME_OPERATORS, 'eq')
    try:
        when = timeutils.normalize_time(timeutils.parse_isotime(rest))
    except (ValueError, OverflowError) as ex:
        raise Invalid(f'{name} must be a time in ISO 8601, not {rest[:40]!r}') from ex
    return Condition(name, operator, _naive(when))


def _naive(when: datetime.datetime) -> datetime.datetime:
    return when.replace(tzinfo=None)


def sort_of(pairs: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The order of a list, in either of its two spellings."""
    new = [value for name, value in pairs if name == 'sort']
    keys = [value for name, value in pairs if name == 'sort_key']
    directions = [value for name, value in pairs if name == 'sort_dir']
    if new and (keys or directions):
        raise Invalid('sort cannot be combined with sort_key and sort_dir')
    if new:
        order = [_pair(word) for word in new[-1].split(',')]
    else:
        order = _old_order(keys or ['created_at'], directions or ['desc'])
    for key, direction in order:
        if key not in SORT_KEYS:
            raise Invalid(f'Images are sorted by {", ".join(SORT_KEYS)}, not by {key[:40]!r}')
        if direction not in SORT_DIRECTIONS:
            raise Invalid(f'A sort direction is asc or desc, not {direction[:40]!r}')
    return tuple(order)


def _pair(word: str) -> tuple[str, str]:
    key, _, direction = word.strip().partition(':')
    return key, direction or 'desc'


def _old_order(keys: list[str], directions: list[str]) -> list[tuple[str, str]]:
    if len(directions) == 1:
        directions = directions * len(keys)
    if len(directions) != len(keys):
        raise Invalid('There must be as many sort_dir as sort_key, or one')
    return list(zip(keys, directions, strict=True))


def links(
    path: str,
    pairs: list[tuple[str, str]],
    marker: str | None,
    quote: Callable[..., str] = urlencode,
) -> tuple[str, str | None]:
    """(first, next) links of a page; `marker` is the id after which the next one begins."""
    rest = [pair for pair in pairs if pair[0] != 'marker']
    first = f'{path}?{quote(rest)}' if rest else path
    if marker is None:
        return first, None
    return first, f'{path}?{quote([*rest, ("marker", marker)])}'
