# SPDX-License-Identifier: Apache-2.0
"""Keys, certificates and chains of them, and signatures of data as images have them."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import functools
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

from glance_lite.signatures import CERTIFICATE, HASH_METHOD, KEY_TYPE, SIGNATURE

HASHES = {
    'SHA-224': hashes.SHA224(),
    'SHA-256': hashes.SHA256(),
    'SHA-384': hashes.SHA384(),
    'SHA-512': hashes.SHA512(),
}
#: img_signature_key_type -> how a key of it is made
KEYS = {
    'RSA-PSS': lambda: rsa.generate_private_key(65537, 2048),
    'DSA': lambda: dsa.generate_private_key(2048),
    'ECC_SECP384R1': lambda: ec.generate_private_key(ec.SECP384R1()),
    'ECC_SECP521R1': lambda: ec.generate_private_key(ec.SECP521R1()),
    'Ed25519': ed25519.Ed25519PrivateKey.generate,
}
DER = serialization.Encoding.DER
DAY = datetime.timedelta(days=1)


@functools.cache
def key(kind: str) -> Any:
    """A private key of this kind, the same one in a test run: some take long to make."""
    return KEYS[kind]()


def sign(private: Any, data: bytes, method: str) -> str:
    """What goes into ``img_signature``."""
    chosen = HASHES[method]
    if isinstance(private, rsa.RSAPrivateKey):
        scheme = padding.PSS(padding.MGF1(chosen), padding.PSS.MAX_LENGTH)
        made = private.sign(data, scheme, chosen)
    elif isinstance(private, dsa.DSAPrivateKey):
        made = private.sign(data, chosen)
    else:
        made = private.sign(data, ec.ECDSA(chosen))
    return base64.b64encode(made).decode()


def properties(private: Any, kind: str, method: str, certificate: str, data: bytes) -> dict:
    """All that signs an image."""
    return {
        SIGNATURE: sign(private, data, method),
        HASH_METHOD: method,
        KEY_TYPE: kind,
        CERTIFICATE: certificate,
    }


@dataclasses.dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        name: str,
        private: Any,
        *,
        ca: bool = False,
        length: int | None = None,
        begin: datetime.timedelta = -DAY,
        end: datetime.timedelta = 30 * DAY,
    ) -> Issued:
        """A certificate for another key; with `ca` one that issues others in turn."""
        return _issue(name, private, self, ca, length, begin, end)


def root(name: str = 'root', private: Any = None, end: datetime.timedelta = 30 * DAY) -> Issued:
    """A CA that nobody has issued."""
    own = private or ec.generate_private_key(ec.SECP384R1())
    return _issue(name, own, None, True, None, -30 * DAY, end)


def selfsigned(private: Any) -> Issued:
    """A certificate that is no CA and has none."""
    return _issue('leaf', private, None, False, None, -DAY, 30 * DAY)


def _issue(
    name: str,
    private: Any,
    issuer: Issued | None,
    ca: bool,
    length: int | None,
    begin: datetime.timedelta,
    end: datetime.timedelta,
) -> Issued:
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer.key if issuer else private
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=length), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not ca,
                key_cert_sign=ca,
                crl_sign=ca,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    method = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Issued(built.sign(signer, method), private)
