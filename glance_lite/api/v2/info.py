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

    from glance_lite.operations import Operations


def import_methods(conf: cfg.ConfigOpts) -> tuple[str, ...]:
    """The configured import methods that this installation has a plug-in for."""
    known = plugins.names(plugins.IMPORT_METHODS)
    return tuple(name for name in conf.enabled_import_methods if name in known)


class Info:
    """What is told of the service itself is made once, at start."""

    def __init__(self, chain: Operations, methods: tuple[str, ...]) -> None:
        self._chain = chain
        value = {
            'description': 'Import methods available.',
            'type': 'array',
            'value': list(methods),
        }
        self._methods = json.dumps({'import-methods': value}).encode()

    def import_methods(self, request: webob.Request) -> webob.Response:
        return http.json_bytes(self._methods)

    def usage(self, request: webob.Request) -> webob.Response:
        """What a project uses of its limits in Keystone: nothing, where there are none."""
        found = self._chain.list_usage(http.context(request))
        told = {one.name: {'usage': one.usage, 'limit': one.limit} for one in found}
        return http.json_answer({'usage': told})
