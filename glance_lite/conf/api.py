# SPDX-License-Identifier: Apache-2.0
"""Options of the API: limits, links and what an answer shows."""

from __future__ import annotations

from oslo_config import cfg

OPTIONS: dict[str, list[cfg.Opt]] = {
    'DEFAULT': [
        cfg.StrOpt(
            'public_endpoint',
            help='Base of the links in version documents and Location headers, for a service '
            'behind a proxy. The address of the request when it is not set.',
        ),
        cfg.BoolOpt(
            'allow_anonymous_access',
            default=False,
            help='Let requests without a valid token read what is public.',
        ),
        cfg.IntOpt(
            'limit_param_default',
            default=25,
            min=1,
            help='Images in a page when the request names no limit.',
        ),
        cfg.IntOpt('api_limit_max', default=1000, min=1, help='Most images in a page.'),
        cfg.IntOpt(
            'max_request_id_length',
            default=64,
            min=0,
            help='Longest request id, in characters, that is taken over from a client.',
        ),
        cfg.BoolOpt(
            'show_image_direct_url',
            default=False,
            help='Show where the data of an image lies, as direct_url. Services that clone in the '
            'store need it; every user who sees the image sees it.',
        ),
        cfg.BoolOpt(
            'show_multiple_locations',
            default=False,
            deprecated_for_removal=True,
            deprecated_reason='The locations API takes its place.',
            help='Show all locations of an image, and let them be changed by patches. Whoever sees '
            'the image sees them, credentials included, unless policy.yaml has a rule '
            'get_image_location.',
        ),
        cfg.BoolOpt(
            'do_secure_hash',
            default=True,
            help='Hash the data of images that are registered by a location, in the background. '
            'Otherwise validation data is believed.',
        ),
        cfg.IntOpt(
            'http_retries',
            default=3,
            min=0,
            help='How often data that is hashed is read again after it broke off.',
        ),
        cfg.ListOpt(
            'enabled_import_methods',
            item_type=cfg.types.String(quotes=True),
            bounds=True,
            default=['glance-direct', 'web-download', 'copy-image'],
            help='Import methods that clients may use.',
        ),
        cfg.StrOpt(
            'node_staging_uri',
            default='file:///tmp/staging/',
            help='Where imports stage data when there is one store only.',
        ),
        cfg.StrOpt(
            'worker_self_reference_url',
            help='How other API hosts reach this one.',
        ),
    ],
}
