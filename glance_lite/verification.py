# SPDX-License-Identifier: Apache-2.0
"""Verifying signatures of images: cursive, on what a certificate manager gives.

cursive comes with the extra ``signatures``; without it this module cannot be imported. All that it
looks at here comes from whoever has made the image.
"""

from __future__ import annotations

import contextlib
import logging
import pathlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cursive import signature_utils
from cursive.certificate_utils import CertificateVerificationContext
from cursive.exception import SignatureVerificationError

from glance_lite.errors import ConfigurationError, Invalid
from glance_lite.signatures import CERTIFICATE, HASH_METHOD, KEY_TYPE, SIGNATURE

if TYPE_CHECKING:
    from glance_lite.certificates import CertificateManager
    from glance_lite.context import RequestContext

LOG = logging.getLogger(__name__)


class Verification:
    """Makes verifiers."""

    def __init__(self, manager: CertificateManager, trusted: str | None) -> None:
        """`trusted` is the path of a file of CA certificates. `ConfigurationError`."""
        self._manager = manager
        self._trusted = _read(trusted) if trusted else []

    def verifier(self, ctx: RequestContext, properties: Mapping[str, Any]) -> Verifier:
        """What decides on the data of an image with these properties. `Invalid`, `Unavailable`."""
        with _refusing():
            signature = signature_utils.get_signature(properties[SIGNATURE])
            method = signature_utils.get_hash_method(properties[HASH_METHOD])
            kind = signature_utils.SignatureKeyType.lookup(properties[KEY_TYPE])
        encoded = self._manager.get(ctx, properties[CERTIFICATE])
        with _refusing():
            certificate = _load(encoded)
            if self._trusted:
                self._check_chain(certificate)
            key = certificate.public_key()
            if not isinstance(key, kind.public_key_type):
                raise Invalid(f'The key of the certificate is not of the type {kind.name}')
            made = kind.create_verifier(signature, method, key)
            if made is None:
                raise Invalid(f'{SIGNATURE} is empty')
        return Verifier(made)

    def _check_chain(self, certificate: x509.Certificate) -> None:
        # A new one each time: it leaves out what is not valid at present.
        chain = CertificateVerificationContext(self._trusted)
        chain.update(certificate)
        chain.verify()


class Verifier:
    """Sees the data of one upload, and decides."""

    def __init__(self, made: Any) -> None:
        self._made = made
        self.update = made.update

    def verify(self) -> None:
        """Raises `Invalid` when the signature is not one of the data that was seen."""
        with _refusing():
            self._made.verify()
        LOG.info('The signature of an upload has been verified')


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """Whatever is wrong with what an image names is an error of whoever made the image."""
    try:
        yield
    except Invalid:
        raise
    except InvalidSignature as ex:
        raise Invalid('Signature verification failed: it is not a signature of this data') from ex
    except SignatureVerificationError as ex:
        raise Invalid(str(ex)) from ex
    except Exception as ex:
        # Certificates are made up to confuse; cursive expects good ones.
        LOG.warning('A signature cannot be verified: %s: %s', type(ex).__name__, ex)
        raise Invalid('Signature verification failed: signature or certificate is damaged') from ex


def _load(encoded: bytes) -> x509.Certificate:
    if encoded.lstrip().startswith(b'-----BEGIN'):
        return x509.load_pem_x509_certificate(encoded)
    return x509.load_der_x509_certificate(encoded)


def _read(path: str) -> list[tuple[str, x509.Certificate]]:
    """(subject, certificate) of each CA in a file."""
    try:
        found = x509.load_pem_x509_certificates(pathlib.Path(path).read_bytes())
    except (OSError, ValueError) as ex:
        raise ConfigurationError(f'[image_signatures] trusted_certificates: {path}: {ex}') from ex
    return [(one.subject.rfc4514_string(), one) for one in found]
