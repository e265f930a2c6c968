# SPDX-License-Identifier: Apache-2.0
"""The chain of layers."""

from __future__ import annotations

from oslo_config import cfg

LAYERS = ['auth', 'property_protection', 'notifier', 'policy', 'quota', 'location', 'db']

OPTIONS: dict[str, list[cfg.Opt]] = {
    'controller': [
        cfg.ListOpt(
            'layers',
            default=LAYERS,
            help='Layers between the API and the data, outermost first: entry points of '
            'glance_lite.layers. location and db must be among them.',
        ),
    ],
}
