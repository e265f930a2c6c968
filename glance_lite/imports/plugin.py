# SPDX-License-Identifier: Apache-2.0
"""An import plug-in: what is made of data that was imported before it goes to the stores.

A plug-in is a class behind an entry point in ``glance_lite.import_plugins``; those that
``[image_import_opts] image_import_plugins`` names are applied in its order, to all methods but
``copy-image``. One is made in each process, at start, and asked by many threads.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from glance_lite.imports.values import IMPORT_API, Job, Outcome, Work

if TYPE_CHECKING:
    from oslo_config import cfg


class ImportPlugin(abc.ABC):
    """Makes something else of a file, or says something of it."""

    #: version of the contract it was written for
    requires_api: ClassVar[int] = IMPORT_API
    #: group -> options, registered before one is made
    opts: ClassVar[Mapping[str, Sequence[cfg.Opt]]] = MappingProxyType({})

    def __init__(self, name: str, conf: cfg.ConfigOpts) -> None:
        """Read the configuration. `ConfigurationError`: bad options."""
        self.name = name
        self.conf = conf

    @abc.abstractmethod
    def apply(self, job: Job, work: Work) -> Outcome:
        """Look at ``work.path``; a new file is written to ``work.new()`` and named in the outcome.

        Called in the background, again after a process was killed in it or had finished it and
        could not say so: each time with the same file as input. Whatever it raises fails the
        import; of a `GlanceLiteError` the owner reads the message.
        """
