# SPDX-License-Identifier: Apache-2.0
"""A chain of real layers on SQLite, a directory and a memory store."""

from __future__ import annotations

import dataclasses
import functools
import pathlib

import pytest
import sqlalchemy as sa

from glance_lite.layer import Chain, Parts, link
from glance_lite.model import Changes, Image, Wanted
from glance_lite.service import load_layers
from glance_lite.testing.layers import caller, make_parts, make_upload
from tests.backends.fixtures import empty

TWO_STORES = """
[DEFAULT]
enabled_backends = fast:file,ram:memory
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {directory}/fast
[database]
connection = {url}
[controller]
layers = {layers}
"""

# Functions, because a context remembers what was read for its request.
owner = functools.partial(caller, 'alpha', 'member', 'reader')
admin = functools.partial(caller, 'operators', 'admin', 'member', 'reader')
beta = functools.partial(caller, 'beta', 'member', 'reader')
nobody = functools.partial(caller, None, read_only=True)


@dataclasses.dataclass
class Made:
    """A linked chain, and what a test does with it again and again."""

    chain: Chain
    parts: Parts
    directory: pathlib.Path

    @property
    def outer(self):
        return self.chain.outer

    @property
    def db(self):
        """The innermost layer, past whatever is in front of it."""
        return self.chain.layers[-1]

    def layer(self, name):
        return next(layer for layer in self.chain.layers if layer.name == name)

    def create(self, project='alpha', properties=None, tags=(), **fields) -> Image:
        """An image of a project, made behind the layers under test."""
        fields = {'disk_format': 'raw', 'container_format': 'bare', **fields}
        changes = Changes(fields=fields, properties=properties or {}, tags=frozenset(tags))
        return self.db.create_image(caller(project), changes)

    def now(self, image) -> Image:
        """The image as it is in the database."""
        return self.db.get_image(caller('operators', 'admin'), image.id)

    def active(self, data=b'some data', project='alpha', **fields) -> Image:
        """An image with data in the default store."""
        image = self.create(project, **fields)
        self.chain.inner.upload(caller(project), image.id, make_upload(data), None)
        return self.now(image)

    def read(self, image, ctx=None, wanted=None) -> bytes:
        download = self.outer.download(ctx or owner(), image.id, wanted or Wanted())
        try:
            return b''.join(bytes(chunk) for chunk in download)
        finally:
            download.close()

    def files(self):
        """Names of all files of the store ``fast``, hidden ones included."""
        return sorted(path.name for path in (self.directory / 'fast').iterdir())


@pytest.fixture
def make(tmp_path, _synced):
    """Builds a chain from names of layers, more configuration and policy rules."""
    url = _synced('sqlite')
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    empty(engine)
    engine.dispose()
    made = []

    def build(layers, text='', rules=None):
        lines = [f'"{name}": "{check}"\n' for name, check in (rules or {}).items()]
        (tmp_path / 'policy.yaml').write_text(''.join(lines) or '{}')
        base = TWO_STORES.format(directory=tmp_path, url=url, layers=layers)
        parts = make_parts(tmp_path, base + text)
        chain = link(load_layers(parts))
        for layer in chain.layers:
            if layer.acts():
                layer.start()
                made.append(layer)
        return Made(chain, parts, tmp_path)

    yield build
    for layer in made:
        layer.stop()
