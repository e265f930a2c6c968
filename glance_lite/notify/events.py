# SPDX-License-Identifier: Apache-2.0
"""The values of notifications: an `Event` that is to be told of, a `Notice` that is ready to go.

An `Event` is a rider: the layer ``notifier`` attaches it to what it wants told, and ``db`` makes a
`Notice` of it from the value that it has written, in the same transaction. Nothing is told of what
was not done, and nothing that was done is forgotten.
"""

from __future__ import annotations

import dataclasses
import datetime
import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from oslo_utils import timeutils

from glance_lite.model import EMPTY
from glance_lite.notify.payloads import kind_of, payloads

INFO, ERROR = 'INFO', 'ERROR'

#: When an event is told: when what it rides on is done. Or, of an upload or an import, when it is
#: claimed, when somebody has begun, when there is a location, when it has come to nothing.
DONE, CLAIMED, BEGUN, PLACED, FAILED = 'done', 'claimed', 'begun', 'placed', 'failed'


def _empty() -> Mapping[str, Any]:
    return EMPTY


@dataclasses.dataclass(frozen=True, slots=True)
class Notice:
    """One notification, complete. `message` is what goes over the bus, as oslo.messaging has it."""

    message: Mapping[str, Any]
    #: its place in the outbox, which is the order in which things happened; 0: it is not in there
    serial: int = 0

    @property
    def event(self) -> str:
        return str(self.message['event_type'])

    @property
    def priority(self) -> str:
        return str(self.message['priority'])


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """Rider: something to be told of."""

    name: str
    publisher: str
    priority: str = INFO
    when: str = DONE
    #: fields of the payload that the value does not have
    more: Mapping[str, Any] = dataclasses.field(default_factory=_empty)

    def notices(self, values: Iterable[Any]) -> list[Notice]:
        """What is told of the one value, of those that were written, that it is about.

        One notice, one for each of several definitions, none if there is no such value. An error
        is told in the words that are among the values.
        """
        kind = str if self.priority == ERROR else kind_of(self.name)
        return [
            make_notice(self.name, self.publisher, self.priority, payload)
            for value in values
            if isinstance(value, kind)
            for payload in payloads(self.name, value, self.more)
        ]

    def note(self) -> dict[str, Any]:
        """As JSON, for what is done later; `Event(**note)` is this event again."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**found, 'more': dict(self.more)}


def make_notice(event: str, publisher: str, priority: str, payload: Any) -> Notice:
    """A notice of something that happens now."""
    return Notice(
        {
            'message_id': str(uuid.uuid4()),
            'publisher_id': publisher,
            'event_type': event,
            'priority': priority,
            'payload': payload,
            'timestamp': str(timeutils.utcnow()),
        }
    )


def is_disabled(event: str, disabled: Collection[str]) -> bool:
    """Whether the event or one of the groups it is in is disabled.

    ``image.member.create`` is in ``image.member``, and that in ``image``.
    """
    words = event.split('.')
    return any('.'.join(words[:count]) in disabled for count in range(1, len(words) + 1))


@dataclasses.dataclass(frozen=True, slots=True)
class Sending:
    """Who wants to send what is in the outbox, and how."""

    #: a name that no other sender has
    sender: str
    #: events to take at a time
    batch: int = 100
    #: most events that the outbox keeps; the oldest ones are dropped
    limit: int = 100_000
    #: seconds for which nobody tries again after a failure
    pause: float = 5.0


@dataclasses.dataclass(frozen=True, slots=True)
class Outbox:
    """What is to be known of the outbox."""

    waiting: int
    #: seconds since the oldest one that waits has happened; None: there is none
    age: float | None
    #: how many were dropped, ever
    dropped: int
    #: since when nothing can be sent, by the database's clock; None: it can, or nobody tried
    failing_since: datetime.datetime | None
