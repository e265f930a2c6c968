# SPDX-License-Identifier: Apache-2.0
"""The small import plug-ins: ``image_decompression``, ``inject_image_metadata``, ``no_op``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from glance_lite.imports import archives, native
from glance_lite.imports.plugin import ImportPlugin
from glance_lite.imports.values import Job, Outcome, Work

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)


class NoOp(ImportPlugin):
    """``no_op``: does nothing. It is the least that a plug-in can be."""

    def apply(self, job: Job, work: Work) -> Outcome:
        """Nothing is made of it."""
        return Outcome()


class InjectImageMetadata(ImportPlugin):
    """``inject_image_metadata``: properties that the operator wants at imported images."""

    def __init__(self, name: str, conf: cfg.ConfigOpts) -> None:
        super().__init__(name, conf)
        own = conf.inject_metadata_properties
        self._properties: dict[str, str] = dict(own.inject)
        self._ignored = frozenset(role.strip().lower() for role in own.ignore_user_roles)

    def apply(self, job: Job, work: Work) -> Outcome:
        """The properties, unless who asked has a role that is left alone."""
        if self._ignored.intersection(job.roles):
            return Outcome()
        return Outcome(properties=self._properties)


class ImageDecompression(ImportPlugin):
    """``image_decompression``: takes apart what is compressed with gzip, xz, bzip2, zstd or zip."""

    def __init__(self, name: str, conf: cfg.ConfigOpts) -> None:
        super().__init__(name, conf)
        own = conf.image_decompression
        self._size: int | None = own.max_size or None
        self._ratio: int | None = own.max_ratio or None

    def apply(self, job: Job, work: Work) -> Outcome:
        """What was in it. `UnsupportedMedia`, `LimitExceeded`."""
        if job.image.container_format == 'compressed':
            return Outcome()  # it is meant to be
        kind = native.run(work.told, lambda meter: archives.kind_of_file(work.path))
        if kind is None:
            return Outcome()
        sizes = [size for size in (self._size, work.most) if size is not None]
        bounds = archives.Bounds(min(sizes, default=None), self._ratio)
        size = native.run(
            work.told,
            lambda meter: archives.decompress(kind, work.path, work.new(), bounds, meter),
        )
        LOG.info('Image %s was decompressed: %d bytes from %s', job.image.id, size, kind)
        return Outcome(file=work.new())
