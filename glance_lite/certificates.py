# SPDX-License-Identifier: Apache-2.0
"""Certificate managers: where the certificate lies that an image is signed with.

Each is one class, an entry point of ``glance_lite.certificate_managers``, that
``[image_signatures] certificate_manager`` names.
"""

from __future__ import annotations

import logging
import pathlib
import re
from typing import TYPE_CHECKING, Any

from glance_lite.errors import ConfigurationError, Forbidden, Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.context import RequestContext

LOG = logging.getLogger(__name__)


class CertificateManager:
    """Gives certificates by their ids."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Read the configuration. Raises `ConfigurationError` naming group and option."""

    def get(self, ctx: RequestContext, certificate_id: str) -> bytes:
        """The certificate, PEM or DER, of an id, which whoever made the image has chosen.

        `Invalid`: there is none of this id, or none that the caller may have. `Unavailable`: that
        cannot be found out at present.
        """
        raise Invalid('There are no certificates')


class Castellan(CertificateManager):
    """Asks the key manager of ``[key_manager]`` with the caller's token."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        # It needs castellan, which comes with an extra.
        from glance_lite.key_manager import KeyManager

        self._keys = KeyManager(conf)

    def get(self, ctx: RequestContext, certificate_id: str) -> bytes:
        try:
            found: Any = self._keys.get(ctx, certificate_id)
        except (NotFound, Forbidden) as ex:
            raise Invalid(f'The certificate {certificate_id} cannot be had: {ex.message}') from ex
        if found.format != 'X.509':
            raise Invalid(f'What has the id {certificate_id} is no certificate')
        encoded: bytes = found.get_encoded()
        return encoded


class Directory(CertificateManager):
    """Reads files that the operator has put into ``certificates_directory``."""

    #: Nothing that leads out of the directory, or to a hidden file.
    _ID = re.compile(r'[A-Za-z0-9][A-Za-z0-9_-]{0,199}')

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        path = conf.image_signatures.certificates_directory
        if not path or not pathlib.Path(path).is_dir():
            raise ConfigurationError(
                '[image_signatures] certificates_directory must name a directory, for '
                'certificate_manager is directory'
            )
        self._path = pathlib.Path(path)

    def get(self, ctx: RequestContext, certificate_id: str) -> bytes:
        if not self._ID.fullmatch(certificate_id):
            raise Invalid('img_signature_certificate_uuid is no id of a certificate')
        try:
            return (self._path / f'{certificate_id}.pem').read_bytes()
        except FileNotFoundError:
            raise Invalid(f'There is no certificate {certificate_id}') from None
        except OSError as ex:
            LOG.error('Certificate %s cannot be read: %s', certificate_id, ex)
            raise Unavailable('The certificate cannot be read at present') from ex
