# SPDX-License-Identifier: Apache-2.0
"""An import method: where the data of an image comes from.

A method is a class behind an entry point in ``glance_lite.import_methods``; the name of the entry
point is what requests and ``enabled_import_methods`` call it. One is made in each process, at
start, and asked by many threads: it keeps nothing of a job on itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from glance_lite.errors import Invalid
from glance_lite.imports.values import IMPORT_API, Job, Outcome, Work

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.context import RequestContext
    from glance_lite.guarded import Guard
    from glance_lite.model import Image


class ImportMethod:
    """Validates a request and brings its bytes into a file."""

    #: version of the contract it was written for
    requires_api: ClassVar[int] = IMPORT_API
    #: group -> options, registered before one is made
    opts: ClassVar[Mapping[str, Sequence[cfg.Opt]]] = MappingProxyType({})
    #: the status that an image must have
    status: ClassVar[str] = 'queued'
    #: whether `fetch` brings the data; else it is staged, or the image has it
    fetches: ClassVar[bool] = True
    #: names of the fields that the request's ``method`` object may have beside ``name``
    fields: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, name: str, conf: cfg.ConfigOpts, guard: Guard) -> None:
        """`guard` is the client for urls that users give. `ConfigurationError`: bad options."""
        self.name = name
        self.conf = conf
        self.guard = guard

    def validate(self, fields: Mapping[str, Any], image: Image) -> Mapping[str, Any]:
        """The fields as they are kept: JSON, without credentials that a reader must not see.

        Called in the request, before anything is claimed, for a caller who may do it, and quickly:
        it connects to nobody. Fields that it does not know are dropped, as in Glance. `Invalid`,
        `UrlRefused` (400), `Conflict` (409), `Forbidden` (403).
        """
        return {name: value for name, value in fields.items() if name in self.fields}

    def accept(
        self, ctx: RequestContext, fields: Mapping[str, Any], image: Image
    ) -> Mapping[str, Any]:
        """The same once more, when nothing else can refuse the request any more.

        The last moment at which there is a token of the caller. A method that needs their rights
        later has them lent here; it may ask others, and never keeps the token. Raises as
        `validate`, or `Unavailable` (503).
        """
        return fields

    def fetch(self, job: Job, work: Work) -> Outcome:
        """Bring the data into ``work.path``, all of it, flushed to the disk.

        Called in the background, again after a process was killed in it or had finished it and
        could not say so: what it then finds is either resumed or written over. Whatever it raises
        fails the import; of a `GlanceLiteError` the owner reads the message.
        """
        raise Invalid(f'The import method {self.name} fetches nothing')
