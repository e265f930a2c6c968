# SPDX-License-Identifier: Apache-2.0
"""Urls of locations as the database has them: as they are, or encrypted with the operator's key.

The format is Glance's: AES in CBC mode, a random first block and what follows it in url-safe
base64. What is encrypted twice differs, so no statement may look for a location by its url.
Base64 has no colon and a url has one, which tells the two apart: a database may hold both.
"""

from __future__ import annotations

import base64
import functools
import logging
import re
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from glance_lite.errors import ConfigurationError, Unavailable
from glance_lite.model import UNREADABLE, Location

if TYPE_CHECKING:
    from oslo_config import cfg
    from sqlalchemy.engine import Connection

    from glance_lite.db.statements import Direct

LOG = logging.getLogger(__name__)

#: Of a connection's ``info``: the `Sealer` of its engine.
SEALER = 'glance_lite.sealer'

#: Bytes that a key of AES may have, and those of a block.
SIZES, BLOCK = (16, 24, 32), 16

#: How many urls are kept decrypted.
CACHED = 4096

#: How whatever was decrypted with the right key begins.
_URL = re.compile(r'[A-Za-z][A-Za-z0-9+.-]*:')


def key_of(conf: cfg.ConfigOpts) -> bytes | None:
    """The key of the configuration; None: urls are not encrypted. `ConfigurationError`."""
    key = (conf.metadata_encryption_key or '').encode()
    if key and len(key) not in SIZES:
        raise ConfigurationError(
            f'[DEFAULT] metadata_encryption_key: it must have 16, 24 or 32 bytes, not {len(key)}'
        )
    return key or None


class Sealer:
    """Encrypts and decrypts urls, if there is a key."""

    def __init__(self, key: bytes | None) -> None:
        self._cipher: Any = None
        self._told = False
        # PERF: the same rows are read again and again; AES costs 28 Python calls.
        self.unseal = functools.lru_cache(maxsize=CACHED)(self._unseal)
        if key is not None:
            # Not before it is needed: most sites have no key.
            from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

            self._cipher = lambda first: Cipher(algorithms.AES(key), modes.CBC(first))

    def seal(self, url: str) -> str:
        """What is written for a url."""
        if self._cipher is None:
            return url
        text = url.encode() + b'\0'
        # Glance takes off what comes from the last zero byte on.
        text += bytes(secrets.randbelow(255) + 1 for _ in range(-len(text) % BLOCK))
        first = secrets.token_bytes(BLOCK)
        encryptor = self._cipher(first).encryptor()
        sealed = first + encryptor.update(text) + encryptor.finalize()
        return base64.urlsafe_b64encode(sealed).decode()

    def _unseal(self, value: str) -> str:
        """The url that is meant by what was read; `UNREADABLE` if it cannot be told."""
        url = self._decrypted(value) if self._cipher is not None else ''
        if _URL.match(url):
            return url
        if not self._told:
            self._told = True
            LOG.error(
                'There are locations in the database that cannot be decrypted: '
                '[DEFAULT] metadata_encryption_key is %s',
                'not set' if self._cipher is None else 'not the one they were encrypted with',
            )
        return UNREADABLE

    def _decrypted(self, value: str) -> str:
        try:
            sealed = base64.urlsafe_b64decode(value)
            decryptor = self._cipher(sealed[:BLOCK]).decryptor()
            text: bytes = decryptor.update(sealed[BLOCK:]) + decryptor.finalize()
            return text.rpartition(b'\0')[0].decode()
        except ValueError:  # no base64, no whole blocks, no UTF-8
            return ''


def seal(connection: Connection, url: str) -> str:
    """What is written for a url."""
    sealer: Sealer = connection.info[SEALER]
    return sealer.seal(url)


def unseal(connection: Connection | Direct, value: str) -> str:
    """The url that is meant by what was read; `UNREADABLE` if it cannot be told."""
    if ':' in value:
        return value  # PERF: nearly all are urls
    sealer: Sealer = connection.info[SEALER]
    return sealer.unseal(value)


def are_readable(locations: Iterable[Location]) -> bool:
    return all(found.url != UNREADABLE for found in locations)


def check_readable(locations: Iterable[Location]) -> None:
    """Before rows are taken away of which data would be left behind. `Unavailable`."""
    if not are_readable(locations):
        raise Unavailable('A location of the image cannot be decrypted')
