# SPDX-License-Identifier: Apache-2.0
"""Signed images: an upload is verified when the image has all properties that sign it.

As in Glance a part of them alone signs nothing. What verifies is in `glance_lite.verification`,
which needs the extra ``signatures``: without it images that are not signed are taken as ever, and
those that are are refused.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from glance_lite import conf as configuration
from glance_lite import plugins
from glance_lite.certificates import CertificateManager
from glance_lite.errors import PluginError, Unavailable

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.context import RequestContext
    from glance_lite.model import Image
    from glance_lite.stream import Verifier
    from glance_lite.verification import Verification

LOG = logging.getLogger(__name__)

#: What a signed image has, all of it.
SIGNATURE = 'img_signature'
HASH_METHOD = 'img_signature_hash_method'
KEY_TYPE = 'img_signature_key_type'
CERTIFICATE = 'img_signature_certificate_uuid'
SIGNED = frozenset({SIGNATURE, HASH_METHOD, KEY_TYPE, CERTIFICATE})

INSTALL = 'pip install glance-lite[signatures]'


class Signatures:
    """Finds what verifies an upload."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Raises `ConfigurationError` when what is configured cannot be had."""
        self._verification: Verification | None = None
        try:
            self._verification = _verification(conf)
        except PluginError as ex:
            asked = ('certificate_manager', 'trusted_certificates')
            lacking = isinstance(ex.__cause__, ImportError)
            # Who has configured nothing about signatures need not have what they take.
            if not lacking or any(
                configuration.where(conf, 'image_signatures', name) for name in asked
            ):
                raise
            LOG.debug('Signatures of images cannot be verified: %s', ex.message)

    def verifier(self, ctx: RequestContext, image: Image | None) -> Verifier | None:
        """What is to see the data of an image; None: the image is not signed.

        `Invalid`: the properties make no sense, or the certificate is not there or not to be
        trusted. `Unavailable`: nobody can tell at present, or here.
        """
        if image is None or not image.properties.keys() >= SIGNED:
            return None
        if self._verification is None:
            LOG.error('Image %s has %s, which needs: %s', image.id, SIGNATURE, INSTALL)
            raise Unavailable(
                f'The image is signed ({SIGNATURE}), and this service cannot verify signatures; '
                f'they need: {INSTALL}'
            )
        return self._verification.verifier(ctx, image.properties)


def _verification(conf: cfg.ConfigOpts) -> Verification:
    option = '[image_signatures] certificate_manager'
    name: str = conf.image_signatures.certificate_manager
    kind = plugins.load(plugins.CERTIFICATE_MANAGERS, name, option)
    if not (isinstance(kind, type) and issubclass(kind, CertificateManager)):
        raise PluginError(f'{option}: {name} is not a certificate manager')
    try:
        from glance_lite.verification import Verification

        return Verification(kind(conf), conf.image_signatures.trusted_certificates)
    except ImportError as ex:
        raise PluginError(f'{option}: {ex}; install it with: {INSTALL}') from ex
