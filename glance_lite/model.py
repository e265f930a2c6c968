# SPDX-License-Identifier: Apache-2.0
"""The values that travel along the chain. All are frozen: values go up, deltas go down.

Sizes are bytes, ``min_ram`` is MiB and ``min_disk`` GiB as in the Image API, times are naive
UTC datetimes with microseconds cut off. Ids are strings.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from glance_lite.imports.jobs import Running
    from glance_lite.notify.events import Notice

from glance_lite.errors import LimitExceeded

#: Nothing, as a mapping that cannot be written to.
EMPTY: Mapping[str, Any] = MappingProxyType({})


def _empty() -> Mapping[str, Any]:
    return EMPTY


VISIBILITIES = ('public', 'private', 'shared', 'community')
MEMBER_STATUSES = ('pending', 'accepted', 'rejected')

#: What an image's status may become, by what it is now (Image API v2 status machine).
TRANSITIONS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        'queued': frozenset({'saving', 'uploading', 'importing', 'active', 'deleted'}),
        'saving': frozenset({'active', 'killed', 'deleted', 'queued'}),
        'uploading': frozenset({'importing', 'queued', 'deleted'}),
        'importing': frozenset({'active', 'deleted', 'queued'}),
        'active': frozenset({'pending_delete', 'deleted', 'deactivated'}),
        'deactivated': frozenset({'active', 'deleted', 'pending_delete'}),
        'killed': frozenset({'deleted'}),
        'pending_delete': frozenset({'deleted', 'active'}),
        'deleted': frozenset(),
    }
)


def statuses_before(status: str) -> frozenset[str]:
    """The statuses from which an image may become `status`."""
    return frozenset(before for before, after in TRANSITIONS.items() if status in after)


#: Status of an image, and of its locations, that is gone while its data stays for a while.
DEFERRED = 'pending_delete'
#: Status of a location whose data was found to be bad. A Glance does not look at it, either.
QUARANTINED = 'quarantined'
#: Those of images that have data for good.
WITH_DATA = ('active', 'deactivated')


def status_when_deleted(status: str, later: bool) -> str:
    """What a delete makes of an image in `status`. `later`: if it may have data that shall stay."""
    return DEFERRED if later and DEFERRED in TRANSITIONS.get(status, ()) else 'deleted'


#: Names of custom properties that only the service itself reads and writes.
RESERVED_PREFIX = 'os_glance'

#: The property that tells an owner why the last upload came to nothing.
FAILED_UPLOAD = f'{RESERVED_PREFIX}_failed_upload'


#: Stands for the url of a location that the database has encrypted with a key we do not have.
UNREADABLE = 'unreadable:'


@dataclasses.dataclass(frozen=True, slots=True)
class Location:
    """Where the data of an image is."""

    id: int
    url: str
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=_empty)
    status: str = 'active'

    @property
    def store(self) -> str | None:
        """Id of the store that holds it; None when it was written before multi-store."""
        store: str | None = self.metadata.get('store', self.metadata.get('backend'))
        return store

    @property
    def good(self) -> bool:
        """Whether nobody has found its data to be bad."""
        return self.status != QUARANTINED


@dataclasses.dataclass(frozen=True)
class Image:
    """An image as its row, properties, tags and locations describe it."""

    id: str
    name: str | None
    status: str
    visibility: str
    owner: str | None
    disk_format: str | None
    container_format: str | None
    size: int | None
    virtual_size: int | None
    checksum: str | None
    os_hash_algo: str | None
    os_hash_value: str | None
    min_disk: int
    min_ram: int
    protected: bool
    os_hidden: bool
    created_at: datetime.datetime
    updated_at: datetime.datetime
    properties: Mapping[str, str | None] = dataclasses.field(default_factory=_empty)
    tags: tuple[str, ...] = ()
    locations: tuple[Location, ...] = ()

    def replace(self, **fields: Any) -> Image:
        return dataclasses.replace(self, **fields)


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A project with which an image is shared."""

    image_id: str
    member_id: str
    status: str
    created_at: datetime.datetime
    updated_at: datetime.datetime
    #: The image it belongs to, for the rules that decide on both.
    image: Image | None = dataclasses.field(default=None, compare=False, repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class StoreHealth:
    """How a store is, as one process sees it."""

    #: of its breaker: 'closed', 'open' or, when it has just been closed, 'half-open'
    state: str
    #: what was wrong, without secrets
    problem: str | None = None
    #: since when it is open
    since: datetime.datetime | None = None
    #: seconds to the next probe
    retry_after: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a client may know of a store. `detail` is filled only when it was asked for."""

    id: str
    description: str | None = None
    default: bool = False
    read_only: bool = False
    type: str | None = None
    weight: int = 0
    properties: Mapping[str, Any] = dataclasses.field(default_factory=_empty)
    health: StoreHealth | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class NewLocation:
    """A location that somebody names for an image: the url is hostile, the metadata too."""

    url: str
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=_empty)
    #: what the data is said to be: checksum, os_hash_algo, os_hash_value, or some of them
    validation: Mapping[str, str] = dataclasses.field(default_factory=_empty)
    riders: tuple[Rider, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class LocationStep:
    """One step of a patch of an image's locations: add or remove one, replace all."""

    op: str
    #: the place in the list as the client wrote it; ``-`` is the end
    position: str = '-'
    values: tuple[NewLocation, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Relocation:
    """What is to become of an image's locations, worked out on those it had."""

    #: ids, ascending, of those locations; `Conflict` if there are others by now
    expected: tuple[int, ...]
    #: rows to write, in order; their ids are 0
    add: tuple[Location, ...] = ()
    #: ids of rows that go while the bytes stay, because another row names them
    drop: frozenset[int] = frozenset()
    #: ids of rows that go with the bytes
    remove: frozenset[int] = frozenset()


class Rider(Protocol):
    """Something a layer wants written in the same transaction as the row.

    A rider is a frozen value; ``glance_lite.db.riders`` knows how each type is claimed, settled
    and given up. A layer attaches it to a `Changes` or to an `Upload` and forgets it.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """What a project uses, as Glance counts it."""

    #: bytes in stores: of each image the size times the number of its locations
    size: int = 0
    images: int = 0
    #: images to which data is just coming, copies included
    uploading: int = 0
    #: bytes that lie in a staging area
    staged: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class LimitUsage:
    """What is used of one limit, in the limit's unit; a limit of -1 is none."""

    name: str
    limit: int
    usage: int


@dataclasses.dataclass(frozen=True, slots=True)
class Reservation:
    """Rider: room for `amount` bytes of `project`, refused when `limit` would be passed.

    `amount` is None while the size of an upload is unknown: a part of the room is then reserved,
    and more with `extend_upload` as the bytes come. What is written at once needs no amount: it is
    counted when it is there. `counter` is that of `Usage` which the bytes go to.
    """

    project: str | None
    amount: int | None
    limit: int
    counter: str = 'size'


@dataclasses.dataclass(frozen=True, slots=True)
class Ceiling:
    """Rider: with what is written, `project` has no more than `limit` of what `counter` counts."""

    project: str | None
    counter: str
    limit: int


def _check_count(what: str, count: int, limit: int) -> None:
    if 0 <= limit < count:
        raise LimitExceeded(f'An image may have {limit} {what} at most; this would make {count}')


@dataclasses.dataclass(frozen=True, slots=True)
class MemberLimit:
    """Rider of a new member: how many an image may have, fewer than 0 is any number."""

    limit: int

    def check(self, count: int) -> None:
        """`LimitExceeded`: that is too many."""
        _check_count('members', count, self.limit)


@dataclasses.dataclass(frozen=True, slots=True)
class ImageLimits:
    """Rider of a change: how many of each an image may have; fewer than 0 is any number."""

    properties: int = -1
    tags: int = -1
    locations: int = -1

    def check(self, what: str, count: int, before: int = 0) -> None:
        """`LimitExceeded`: that is too many, and more than there were."""
        if count > before:
            _check_count(what, count, getattr(self, what))

    def check_change(self, before: Image, after: Image) -> None:
        """As `check` for properties, without those of the service, and tags."""
        names = [
            [name for name in image.properties if not name.startswith(RESERVED_PREFIX)]
            for image in (after, before)
        ]
        self.check('properties', *map(len, names))
        self.check('tags', len(after.tags), len(before.tags))


@dataclasses.dataclass(frozen=True, slots=True)
class Changes:
    """What is to change in an image; all that is not named stays as it is.

    `fields` are base attributes by column name. `properties` are custom properties to set.
    `require` and `absent` are names of custom properties that must (not) exist before the
    change: `Conflict` otherwise. `expect` are the statuses the row must still have when the
    change is written; None allows any.
    """

    fields: Mapping[str, Any] = dataclasses.field(default_factory=_empty)
    properties: Mapping[str, str | None] = dataclasses.field(default_factory=_empty)
    remove: frozenset[str] = frozenset()
    require: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    #: replaces all tags when not None; `add_tags` and `remove_tags` come after it
    tags: frozenset[str] | None = None
    add_tags: frozenset[str] = frozenset()
    #: a tag that is to be removed and does not exist is `NotFound`
    remove_tags: frozenset[str] = frozenset()
    expect: frozenset[str] | None = None
    riders: tuple[Rider, ...] = ()
    #: steps of the old way to change locations, in order
    locations: tuple[LocationStep, ...] = ()

    def riding(self, rider: Rider) -> Changes:
        return dataclasses.replace(self, riders=(*self.riders, rider))

    @property
    def touched(self) -> frozenset[str]:
        """Names of the custom properties that are set or removed."""
        return frozenset(self.properties) | self.remove


@dataclasses.dataclass(frozen=True, slots=True)
class Condition:
    """One filter of a list: `field` `op` `value`.

    `op` is one of eq, ne, gt, ge, lt, le, in. With `in`, `value` is a tuple.
    """

    field: str
    op: str
    value: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    """What to list and how. Parsed and checked by the API; `db` turns it into statements."""

    #: on the columns of an image
    conditions: tuple[Condition, ...] = ()
    #: custom properties that must have exactly this value
    properties: Mapping[str, str] = dataclasses.field(default_factory=_empty)
    #: all of them must be there
    tags: tuple[str, ...] = ()
    #: None is the default view: own, public, and shared ones accepted
    visibility: str | None = None
    #: accepted, pending, rejected or all
    member_status: str = 'accepted'
    hidden: bool = False
    #: (column, 'asc' | 'desc') pairs; `db` adds created_at and id to make the order total
    sort: tuple[tuple[str, str], ...] = (('created_at', 'desc'),)
    marker: str | None = None
    limit: int = 25


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `full`: the database had a whole page, so there may be another one.

    `marker` is the id of the last row the database returned, filtered by a layer or not.
    """

    images: Sequence[Image]
    full: bool
    marker: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """The range of bytes a client asked for. Suffix: `first` is None, `last` the length."""

    first: int | None
    last: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What a client wants of an image's data."""

    span: Span | None = None
    #: If-Range: `span` counts only while the entity tag is still this one
    validator: str | None = None
    #: ids of the stores to try first, in order
    prefer: tuple[str, ...] = ()
    #: False: only the head is wanted; nothing is opened and nothing announced
    body: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Orphan:
    """Data in a store that no image refers to."""

    store: str
    #: as the driver lists it; it may hold a credential
    url: str
    #: the url without credentials, for people
    shown: str
    #: bytes
    size: int
    #: seconds since it was last written to
    age: float
    #: id of the image that its name tells of; None: it is not one of our names
    image_id: str | None
    #: whether no image has this id any more, so that nobody can come to need the data
    removable: bool


# --- the commit protocol of an upload, between `location` and `db`


#: State of an operation that nobody has given up.
RUNNING = 'running'


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """An upload or delete under way: the row in ``gl_operations`` and what it was claimed on.

    Whoever holds it changes or ends the row only while the row's `state` is this one, so that one
    that was taken over is lost to whom it was taken from.
    """

    serial: int
    image_id: str
    #: name for the driver: the image id, or ``<image-id>-<serial>`` after a swept operation
    name: str
    #: None where nobody needs it: a delete, or an operation that was only found
    image: Image | None = None
    #: locations whose bytes are to go (deletes)
    locations: tuple[Location, ...] = ()
    #: upload, delete, location, import, grant, copy, job, stage, unstage
    kind: str = 'upload'
    #: id of the store an upload or a copy goes to
    store: str | None = None
    state: str = RUNNING
    #: the last sign of life, by the database's clock
    heartbeat: datetime.datetime | None = None
    #: what is to be registered (imports)
    new: NewLocation | None = None
    #: what is told when it is committed (deletes): a delete that a store refuses is not told of
    notices: tuple[Notice, ...] = ()
    #: bytes that may come before `extend_upload` must be asked for more; None: any number
    room: int | None = None
    #: something in a store depends on what is to go, and may do so for long (deletes)
    needed: bool = False
    #: project of the image, were it deleted (uploads and copies that were taken over)
    owner: str | None = None
    #: what is to be imported (jobs)
    job: Running | None = None
    #: what is to be removed of the staging area when an image was deleted
    left: tuple[Operation, ...] = ()

    @property
    def spare(self) -> str:
        """The name for the driver when something lies under the first one."""
        return f'{self.image_id}-{self.serial}'


@dataclasses.dataclass(frozen=True, slots=True)
class Holding:
    """A location, and what of its image matters to whoever looks after stores."""

    location: Location
    image_id: str
    #: of the image
    status: str
    #: of the image, in bytes, if it is known
    size: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Verified:
    """A location whose data has been read again."""

    location_id: int
    #: None: no store makes sense of it
    store: str | None
    #: without credentials
    shown: str
    #: what is wrong, None if nothing is
    problem: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Digests:
    """What was found out of data that lay in a store already; None: nothing was computed."""

    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """What an upload left in a store, and what was found out on the way."""

    url: str
    store: str | None
    size: int
    checksum: str | None = None
    os_hash_algo: str = ''
    os_hash_value: str = ''
    virtual_size: int | None = None
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=_empty)

    @property
    def location(self) -> Location:
        """Where it is, before there is a row that says so."""
        return Location(0, self.url, {'store': self.store} if self.store else {})
