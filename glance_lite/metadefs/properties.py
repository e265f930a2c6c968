# SPDX-License-Identifier: Apache-2.0
"""What the definition of a property may say, and the form in which clients see it.

The values are those of the Image API: a default is text whatever the type, bounds are whole
numbers, an enumeration is of text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from glance_lite.errors import Invalid


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError('must be text')
    return value


def _texts(value: Any) -> list[str | None]:
    if not isinstance(value, list) or not all(one is None or isinstance(one, str) for one in value):
        raise ValueError('must be a list of text')
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError('must be a number')
    return int(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, int):
        raise ValueError('must be true or false')
    return bool(value)


def _default(value: Any) -> str | None:
    return str(value) if isinstance(value, (str, int, float)) else None


def _items(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or 'type' not in value:
        raise ValueError('must say which type')
    return _converted(value, _ITEMS)


_ITEMS: dict[str, Callable[[Any], Any]] = {'type': _text, 'enum': _texts}

ATTRIBUTES: dict[str, Callable[[Any], Any]] = {
    'name': _text,
    'type': _text,
    'title': _text,
    'description': _text,
    'operators': _texts,
    'default': _default,
    'readonly': _truth,
    'minimum': _whole,
    'maximum': _whole,
    'enum': _texts,
    'pattern': _text,
    'minLength': _whole,
    'maxLength': _whole,
    'confidential': _truth,
    'items': _items,
    'uniqueItems': _truth,
    'minItems': _whole,
    'maxItems': _whole,
    'additionalItems': _truth,
}


def _converted(
    value: Mapping[str, Any], known: Mapping[str, Callable[[Any], Any]]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, one in value.items():
        if name not in known:
            raise ValueError(f'does not have {name[:40]}')
        try:
            found[name] = known[name](one)
        except ValueError as ex:
            raise ValueError(f'{name}: {ex}') from None
    return found


def written(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The form in which a schema that a client sends is kept. `Invalid`."""
    try:
        found = _converted(schema, ATTRIBUTES)
    except ValueError as ex:
        raise Invalid(f'The property is not valid: {ex}') from None
    if not (found.get('default') or '').isascii():
        # A Glance beside us could not show the whole namespace any more.
        raise Invalid('The default of a property must be ASCII')
    return found


def shown(schema: Any) -> dict[str, Any]:
    """The form in which clients see a schema that is in the database.

    A file may have brought anything; what the Image API has no words for is left out.
    """
    found: dict[str, Any] = {}
    if isinstance(schema, Mapping):
        for name, convert in ATTRIBUTES.items():
            if name in schema:
                try:
                    found[name] = None if schema[name] is None else convert(schema[name])
                except ValueError:
                    continue
    return found
