# SPDX-License-Identifier: Apache-2.0
"""A step's `Work` in a directory, for tests of one method or plug-in by itself."""

from __future__ import annotations

from glance_lite.errors import Gone, LimitExceeded
from glance_lite.imports.values import Work


class FileWork(Work):
    """`cut` is the number of bytes after which the image is deleted."""

    def __init__(self, path, most=None, note=None, cut=None):
        self.path = path
        self.most = most
        self.note = dict(note or {})
        self.cut = cut
        #: what was told, in order
        self.seen = []

    def told(self, done, total=None):
        self.seen.append((done, total))
        if self.cut is not None and done >= self.cut:
            raise Gone
        if self.most is not None and done > self.most:
            raise LimitExceeded(f'An image may have {self.most} bytes at most')

    def keep(self, note):
        self.note = dict(note)

    def new(self):
        return self.path.with_name(self.path.name + '.new')
