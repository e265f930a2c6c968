# SPDX-License-Identifier: Apache-2.0
"""A vault: files in a directory, by urls ``vaulted://vault/NAME``."""

from __future__ import annotations

import os
import urllib.parse

from glance_store import capabilities, driver, exceptions, location
from oslo_config import cfg


class StoreLocation(location.StoreLocation):
    def process_specs(self):
        self.name = self.specs['name']

    def get_uri(self):
        return f'vaulted://vault/{self.name}'

    def parse_uri(self, uri):
        parts = urllib.parse.urlparse(uri)
        if parts.netloc != 'vault' or not parts.path.strip('/'):
            raise exceptions.BadStoreUri(uri=uri)
        self.name = parts.path.strip('/')


class Store(driver.Store):
    _CAPABILITIES = capabilities.BitMasks.RW_ACCESS
    OPTIONS = [
        cfg.StrOpt('vault_directory', help='Where the vault is.'),
        cfg.StrOpt('vault_key', secret=True, help='What opens it.'),
    ]

    def get_schemes(self):
        return ('vaulted',)

    def configure_add(self):
        group = getattr(self.conf, self.backend_group or 'glance_store')
        self.directory = group.vault_directory
        if group.vault_key != 'sesame':
            raise exceptions.BadStoreConfiguration(
                store_name='vault', reason=f'the key {group.vault_key} opens nothing'
            )
        os.makedirs(self.directory, exist_ok=True)

    def _path(self, found):
        path = os.path.join(self.directory, found.store_location.name)
        if not os.path.exists(path):
            raise exceptions.NotFound(image=found.store_location.name)
        return path

    @capabilities.check
    def get(self, found, offset=0, chunk_size=None, context=None):
        path = self._path(found)
        return self._read(path), os.path.getsize(path)

    @staticmethod
    def _read(path):
        with open(path, 'rb') as file:
            while chunk := file.read(100_000):
                yield chunk

    def get_size(self, found, context=None):
        return os.path.getsize(self._path(found))

    @capabilities.check
    def add(self, image_id, image_file, image_size, hashing_algo, context=None, verifier=None):
        """It looks for nobody, checks nothing, and does not clean up."""
        assert context.is_admin
        size = 0
        with open(os.path.join(self.directory, image_id), 'wb') as file:
            while chunk := image_file.read(70_000):
                file.write(chunk)
                size += len(chunk)
        made = StoreLocation({'name': image_id}, self.conf, backend_group=self.backend_group)
        return made.get_uri(), size, 'md5', 'hash', {'store': self.backend_group}

    @capabilities.check
    def delete(self, found, context=None):
        try:
            os.unlink(self._path(found))
        except PermissionError as ex:
            raise exceptions.Forbidden() from ex
