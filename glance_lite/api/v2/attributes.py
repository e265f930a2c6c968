# SPDX-License-Identifier: Apache-2.0
"""Which attributes of an image clients may write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glance_lite.errors import Forbidden, Invalid, LimitExceeded
from glance_lite.model import RESERVED_PREFIX

#: What the service finds out or decides.
READ_ONLY = frozenset({
    'created_at', 'updated_at', 'status', 'checksum', 'size', 'virtual_size', 'direct_url',
    'self', 'file', 'schema', 'os_hash_algo', 'os_hash_value', 'stores',
})  # fmt: skip

#: Names that are neither attributes nor to be had as properties.
RESERVED = frozenset({'location', 'deleted', 'deleted_at'})
NOT_WRITABLE = READ_ONLY | RESERVED

#: What every image has and clients may set.
WRITABLE = frozenset({
    'name', 'visibility', 'protected', 'os_hidden', 'owner', 'container_format', 'disk_format',
    'min_ram', 'min_disk', 'tags', 'id',
})  # fmt: skip
BASE = WRITABLE | READ_ONLY

#: Largest min_ram and min_disk.
LARGEST = 2**31 - 1

#: Longest name of a custom property, in characters.
LONGEST_NAME = 255


#: Most tags or properties of one request; checked before each of them is looked at.
MOST = 5000


def check_many(value: Any, what: str) -> None:
    """`LimitExceeded` for more than anybody has use for."""
    if isinstance(value, (list, dict)) and len(value) > MOST:
        raise LimitExceeded(f'A request may have {MOST} {what} at most')


def check_writable(name: str, new: bool) -> None:
    """`Forbidden` for an attribute that is not for clients; the id only at creation."""
    if name in READ_ONLY or (name == 'id' and not new):
        raise Forbidden(f'Attribute {name} is read-only')
    if name in RESERVED:
        raise Forbidden(f'Attribute {name} is reserved')


def check_custom(name: str) -> None:
    """`Invalid` or `Forbidden` for what cannot be the name of a custom property."""
    if len(name) > LONGEST_NAME:
        raise Invalid(f'The name of a property may have {LONGEST_NAME} characters at most')
    if name.startswith(RESERVED_PREFIX):
        raise Forbidden(f'Properties that begin with {RESERVED_PREFIX} belong to the service')


def refuse_locations() -> None:
    raise Forbidden('The locations of an image cannot be changed here')


def check_counts(fields: Mapping[str, Any]) -> None:
    """The sizes that a host must have."""
    for name in ('min_ram', 'min_disk'):
        if not 0 <= fields.get(name, 0) <= LARGEST:
            raise Invalid(f'{name} must be between 0 and {LARGEST}')
