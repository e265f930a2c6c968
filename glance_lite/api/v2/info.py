# SPDX-License-Identifier: Apache-2.0
"""``/v2/info``: what clients may ask about the service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import webob

from glance_lite import plugins
from glance_lite.api import http

if TYPE_CHECKING:
    from oslo_config import cfg


def import_methods(conf: cfg.ConfigOpts) -> tuple[str, ...]:
    """The configured import methods that this installation has a plug-in for."""
    known = plugins.names(plugins.IMPORT_METHODS)
    return tuple(name for name in conf.enabled_import_methods if name in known)


class Info:
    """Documents made once, at start."""

    def __init__(self, methods: tuple[str, ...]) -> None:
        value = {
            'description': 'Import methods available.',
            'type': 'array',
            'value': list(methods),
        }
        self._methods = json.dumps({'import-methods': value}).encode()

    def import_methods(self, request: webob.Request) -> webob.Response:
        return http.json_bytes(self._methods)

    def usage(self, request: webob.Request) -> webob.Response:
        """What a project uses of its limits in Keystone: none, where there are none."""
        return http.json_answer({'usage': {}})
