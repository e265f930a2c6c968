# SPDX-License-Identifier: Apache-2.0
"""What one image is, as a service or a dump tells it: checked, and compared with another."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from typing import Any

from glance_lite.errors import GlanceLiteError


class ReplicationError(GlanceLiteError):
    """Something could not be replicated; the message says what and why."""


#: Attributes that are carried over, with the types they have.
CARRIED: Mapping[str, tuple[type, ...]] = {
    'name': (str, type(None)),
    'disk_format': (str, type(None)),
    'container_format': (str, type(None)),
    'min_disk': (int,),
    'min_ram': (int,),
    'owner': (str, type(None)),
    'visibility': (str,),
    'protected': (bool,),
    'os_hidden': (bool,),
    'tags': (list,),
}
#: What each service finds out by itself.
OWN = frozenset({
    'id', 'status', 'size', 'virtual_size', 'checksum', 'os_hash_algo', 'os_hash_value',
    'created_at', 'updated_at', 'deleted_at', 'deleted', 'direct_url', 'locations', 'stores',
    'file', 'self', 'schema',
})  # fmt: skip
#: How properties begin that a service keeps for itself and lets nobody set.
RESERVED = 'os_glance_'

MOST_PROPERTIES, MOST_TAGS, LONGEST = 10_000, 10_000, 65_535

_ID = re.compile(r'[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}')
_HEX = re.compile(r'[0-9a-fA-F]{32,256}')
_STATUS = re.compile(r'[a-z_]{1,30}')


def is_id(text: object) -> bool:
    """Whether it is a UUID in its usual form, which no path can be hidden in."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def shown(value: object, most: int = 200) -> str:
    """What another side has said, fit for a terminal: no control characters, not too long."""
    text = ''.join(c if c.isprintable() else '?' for c in str(value)[: most + 1])
    return text if len(text) <= most else text[: most - 1] + '…'


@dataclasses.dataclass(frozen=True)
class Record:
    """One image. `attributes` are those of `CARRIED` that were told; `properties` all others."""

    id: str
    status: str
    #: bytes
    size: int | None
    checksum: str | None
    hash_algorithm: str | None
    hash_value: str | None
    attributes: Mapping[str, Any]
    properties: Mapping[str, str]

    @property
    def has_data(self) -> bool:
        return self.status == 'active'

    def same_data(self, other: Record) -> bool | None:
        """Whether both have the same data; None: nothing tells that."""
        if None not in (self.size, other.size) and self.size != other.size:
            return False
        if (
            self.hash_algorithm is not None
            and self.hash_algorithm == other.hash_algorithm
            and None not in (self.hash_value, other.hash_value)
        ):
            return self.hash_value == other.hash_value
        if None not in (self.checksum, other.checksum):
            return self.checksum == other.checksum
        return None

    def wanted(self, left_out: Collection[str]) -> dict[str, Any]:
        """What an image must have to be like this one."""
        found = {**self.attributes, **self.properties}
        return {name: value for name, value in found.items() if name not in left_out}

    def differences(self, other: Record, left_out: Collection[str]) -> dict[str, tuple[Any, Any]]:
        """Name -> here and there, of what is not the same; None: is not there."""
        ours, theirs = self.wanted(left_out), other.wanted(left_out)
        return {
            name: (ours.get(name), theirs.get(name))
            for name in sorted(ours.keys() | theirs.keys())
            if _comparable(ours.get(name)) != _comparable(theirs.get(name))
        }

    def document(self) -> dict[str, Any]:
        """As JSON of v2 has it."""
        return {
            'id': self.id,
            'status': self.status,
            'size': self.size,
            'checksum': self.checksum,
            'os_hash_algo': self.hash_algorithm,
            'os_hash_value': self.hash_value,
            **self.attributes,
            **self.properties,
        }


def _comparable(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value


def parse(document: object) -> Record:
    """A record of what another side has said. It is hostile. `ReplicationError`."""
    if not isinstance(document, dict) or not is_id(document.get('id')):
        raise ReplicationError('an image without a well-formed id')
    image_id = str(document['id']).lower()
    try:
        return _parsed(image_id, document)
    except ValueError as ex:
        raise ReplicationError(f'{image_id}: {ex}') from None


def _parsed(image_id: str, document: dict[str, Any]) -> Record:
    attributes = {
        name: _attribute(name, document[name], types)
        for name, types in CARRIED.items()
        if name in document
    }
    properties = {
        name: _property(name, value)
        for name, value in document.items()
        if name not in CARRIED
        and name not in OWN
        and not name.startswith(RESERVED)
        and value is not None
    }
    if len(properties) > MOST_PROPERTIES:
        raise ValueError('it has too many properties')
    size, status = document.get('size'), document.get('status')
    if size is not None and (type(size) is not int or not 0 <= size < 2**63):
        raise ValueError(f'its size is {shown(size)}')
    if not isinstance(status, str) or not _STATUS.fullmatch(status):
        raise ValueError(f'its status is {shown(status)}')
    algorithm = document.get('os_hash_algo')
    return Record(
        id=image_id,
        status=status,
        size=size,
        checksum=_digest('checksum', document.get('checksum')),
        hash_algorithm=None if algorithm is None else str(algorithm)[:64].lower(),
        hash_value=_digest('os_hash_value', document.get('os_hash_value')),
        attributes=attributes,
        properties=properties,
    )


def _attribute(name: str, value: Any, types: tuple[type, ...]) -> Any:
    # True is an int, but no minimum.
    if type(value) not in types or (isinstance(value, str) and len(value) > LONGEST):
        raise ValueError(f'its {name} is {shown(value)}')
    if name == 'tags' and not (
        len(value) <= MOST_TAGS and all(isinstance(tag, str) and len(tag) < 256 for tag in value)
    ):
        raise ValueError('its tags are no list of text')
    return value


def _property(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST or len(name) > 255:
        raise ValueError(f'its property {shown(name)} is no text')
    return value


def _digest(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ValueError(f'its {name} is {shown(value)}')
    return value.lower()
