# SPDX-License-Identifier: Apache-2.0
"""The values of metadata definitions. All are frozen.

A `Namespace` holds definitions of four kinds: objects (groups of properties), properties, tags,
and associations with resource types. A PUT replaces all of a thing but what is inside it, so the
new value is the delta. Times are naive UTC without microseconds; a thing that a file brought has
no `updated_at` until it changes.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from glance_lite.model import EMPTY

#: Longest name of anything here, in characters.
LONGEST_NAME = 80

VISIBILITIES = ('public', 'private')

#: What lists may be sorted by.
SORT_KEYS_OF_NAMESPACES = (
    'id', 'namespace', 'display_name', 'description', 'visibility', 'protected', 'owner',
    'created_at', 'updated_at',
)  # fmt: skip
SORT_KEYS_OF_TAGS = ('id', 'name', 'created_at', 'updated_at')


def _empty() -> Mapping[str, Any]:
    return EMPTY


@dataclasses.dataclass(frozen=True)
class Definition:
    """Something in a namespace, found by its kind and name."""

    kind: ClassVar[str]

    name: str
    created_at: datetime.datetime | None = dataclasses.field(default=None, kw_only=True)
    updated_at: datetime.datetime | None = dataclasses.field(default=None, kw_only=True)

    def replace(self, **fields: Any) -> Definition:
        return dataclasses.replace(self, **fields)


@dataclasses.dataclass(frozen=True)
class Object(Definition):
    """A group of properties. None is what the client did not say."""

    kind: ClassVar[str] = 'object'

    description: str | None = None
    required: tuple[str, ...] | None = None
    #: name -> schema, in the form of `glance_lite.metadefs.properties`
    properties: Mapping[str, Mapping[str, Any]] | None = None


@dataclasses.dataclass(frozen=True)
class Property(Definition):
    """A property by itself."""

    kind: ClassVar[str] = 'property'

    schema: Mapping[str, Any] = dataclasses.field(default_factory=_empty)


@dataclasses.dataclass(frozen=True)
class Tag(Definition):
    """A word to tag with."""

    kind: ClassVar[str] = 'tag'


@dataclasses.dataclass(frozen=True)
class Association(Definition):
    """That the namespace applies to a type of resource; its name is the type's."""

    kind: ClassVar[str] = 'resource_type'

    prefix: str | None = None
    properties_target: str | None = None


#: The order in which things are made, announced and shown.
KINDS: tuple[str, ...] = tuple(one.kind for one in (Association, Object, Tag, Property))


@dataclasses.dataclass(frozen=True)
class Namespace:
    """A namespace; `contents` has the kinds it was made or read with."""

    namespace: str
    display_name: str | None = None
    description: str | None = None
    visibility: str | None = 'private'
    protected: bool | None = False
    #: None in a request: the caller's project
    owner: str | None = None
    created_at: datetime.datetime | None = None
    updated_at: datetime.datetime | None = None
    contents: Mapping[str, tuple[Definition, ...]] = dataclasses.field(default_factory=_empty)

    def replace(self, **fields: Any) -> Namespace:
        return dataclasses.replace(self, **fields)


@dataclasses.dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list, in which order. NULL sorts as the smallest value."""

    sort_key: str = 'created_at'
    ascending: bool = False
    #: name of the thing behind which the page begins
    marker: str | None = None
    #: None: all
    limit: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class NamespaceQuery:
    """Which namespaces to list; those that the caller may not see are never among them."""

    paging: Paging = Paging()
    visibility: str | None = None
    #: only those associated with one of these
    resource_types: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class NamespacePage:
    """One page, each namespace with its associations. As `glance_lite.model.Page`."""

    namespaces: Sequence[Namespace]
    full: bool
    marker: str | None = None
