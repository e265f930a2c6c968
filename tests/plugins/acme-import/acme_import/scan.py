# SPDX-License-Identifier: Apache-2.0
"""Imported data is searched for signatures; images in which one is found are refused."""

from __future__ import annotations

import pathlib
import re

from acme_import import options
from glance_lite.errors import ConfigurationError, UnsupportedMedia
from glance_lite.imports import native
from glance_lite.imports.native import Meter
from glance_lite.imports.plugin import ImportPlugin
from glance_lite.imports.values import Job, Outcome, Work

PIECE = 1024 * 1024


class Scan(ImportPlugin):
    """Searches the data, and says when it found nothing as well."""

    opts = {options.GROUP: options.OPTIONS}

    def __init__(self, name, conf):
        super().__init__(name, conf)
        own = conf.acme_scan
        self._signatures = read_signatures(own.signatures) if own.signatures else {}
        self._exempt = frozenset(own.exempt_roles)

    def apply(self, job: Job, work: Work) -> Outcome:
        """`UnsupportedMedia`: something was found."""
        if not self._signatures:
            return Outcome()
        # It reads and computes: in a native thread, whichever server this is.
        found = native.run(work.told, lambda meter: self._search(work.path, meter))
        if found is None:
            return Outcome(properties={'acme_scanned': 'clean'})
        if not self._exempt.intersection(job.roles):
            raise UnsupportedMedia(f'The data has {found} in it')
        return Outcome(properties={'acme_scanned': 'found', 'acme_found': found})

    def _search(self, path: pathlib.Path, meter: Meter) -> str | None:
        """The name of the first signature in a file."""
        overlap = max(map(len, self._signatures)) - 1
        total = path.stat().st_size
        with open(path, 'rb') as file:
            rest = b''
            while piece := file.read(PIECE):
                window = rest + piece
                for signature, name in self._signatures.items():
                    if signature in window:
                        return name
                rest = window[-overlap:] if overlap else b''
                meter(file.tell(), total)
        return None


def read_signatures(path: str) -> dict[bytes, str]:
    """Bytes -> name. `ConfigurationError`."""
    found = {}
    try:
        lines = pathlib.Path(path).read_text().splitlines()
    except OSError as ex:
        raise ConfigurationError(f'[acme_scan] signatures: {path}: {ex.strerror}') from ex
    for number, line in enumerate(lines, 1):
        match = re.fullmatch(r'(\S+) ((?:[0-9a-fA-F]{2})+)', line.strip())
        if line.strip() and match is None:
            raise ConfigurationError(
                f'[acme_scan] signatures: {path}: line {number} has no name and bytes'
            )
        if match is not None:
            found[bytes.fromhex(match[2])] = match[1]
    return found
