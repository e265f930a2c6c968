# SPDX-License-Identifier: Apache-2.0
"""Signatures of images. The key manager has castellan's own options, as in Glance."""

from __future__ import annotations

from oslo_config import cfg

OPTIONS: dict[str, list[cfg.Opt]] = {
    'image_signatures': [
        cfg.StrOpt(
            'certificate_manager',
            default='castellan',
            help='Where the certificate is that an image names in its property '
            'img_signature_certificate_uuid: an entry point of glance_lite.certificate_managers. '
            'castellan asks the key manager that [key_manager] is about, with the token of whoever '
            'uploads; directory reads certificates_directory.',
        ),
        cfg.StrOpt(
            'certificates_directory',
            help='Directory of the certificate manager directory: the certificate of id ID is in '
            'the file ID.pem.',
        ),
        cfg.StrOpt(
            'trusted_certificates',
            help='File of CA certificates in PEM, roots and those between. Where it is set, the '
            'certificate of a signed image must lead to one of its self-signed ones; where it is '
            'not, any certificate will do that the uploader can name, as in Glance.',
        ),
    ],
}
