# SPDX-License-Identifier: Apache-2.0
"""``/v2/images/{id}/stage`` and ``/import``: data that comes in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import webob

from glance_lite.api import http
from glance_lite.api.v2 import proxy
from glance_lite.errors import Invalid, NotFound, StagedElsewhere
from glance_lite.imports.jobs import ImportRequest
from glance_lite.stream import Upload

if TYPE_CHECKING:
    from glance_lite.operations import Operations

#: The import method that needs staged data.
DIRECT = 'glance-direct'


class Imports:
    """What comes is looked at as far as its shape goes; the rest is for the layers."""

    def __init__(self, chain: Operations, methods: tuple[str, ...], several: bool) -> None:
        """`methods` are those that there are; `several`: stores have names."""
        self._chain = chain
        self._methods = methods
        self._several = several

    def stage(self, request: webob.Request, image_id: str) -> webob.Response:
        """Data for an import by ``glance-direct``: 404 where that is not available."""
        if DIRECT not in self._methods:
            raise NotFound('The import method glance-direct is not available here')
        http.octet_stream(request)
        read, size = http.body_reader(request)
        readinto = http.body_filler(request, size)
        declared = request.environ.get('HTTP_X_OPENSTACK_IMAGE_SIZE')
        if declared is not None:
            size = http.declared_size(declared, size)
        self._chain.stage(http.context(request), image_id, Upload(read, size, readinto))
        return http.no_content()

    def start(self, request: webob.Request, image_id: str) -> webob.Response:
        """Import data into an image: 202, and the image and a task tell what becomes of it."""
        body = http.json_object(request)
        wanted = self._wanted(request, body)
        try:
            self._chain.import_image(http.context(request), image_id, wanted)
        except StagedElsewhere as ex:
            return proxy.forward(request, ex.host, body)
        return webob.Response(status=202, headerlist=[('Content-Length', '0')])

    def _wanted(self, request: webob.Request, body: dict[str, Any]) -> ImportRequest:
        name = method_name(body)
        if name not in self._methods:
            raise Invalid(f'The import method {name[:80]} is not available here')
        check_stores(body)
        header = request.environ.get('HTTP_X_IMAGE_META_STORE')
        all_stores = body.get('all_stores', False)
        stores = body.get('stores')
        if self._several:
            if all_stores and ('stores' in body or header is not None):
                raise Invalid('all_stores excludes stores and x-image-meta-store')
            if 'stores' in body and header is not None:
                raise Invalid('stores and x-image-meta-store exclude each other')
        if header is not None:
            stores = [header]
        return ImportRequest(
            name,
            {field: value for field, value in body['method'].items() if field != 'name'},
            None if stores is None else tuple(stores),
            all_stores,
            body.get('all_stores_must_succeed', True),
        )


def method_name(body: dict[str, Any]) -> str:
    """What the body of an import says is to be done. `Invalid`."""
    method = body.get('method')
    if not isinstance(method, dict):
        raise Invalid('The body must have an object called method')
    name = method.get('name')
    if not isinstance(name, str):
        raise Invalid('The method must have a name')
    return name


def check_stores(body: dict[str, Any]) -> None:
    """Where the body of an import wants the data, as far as its shape goes. `Invalid`."""
    stores = body.get('stores')
    if stores is not None and not (
        isinstance(stores, list) and all(isinstance(store, str) for store in stores)
    ):
        raise Invalid('stores must be a list of names of stores')
    for name in ('all_stores', 'all_stores_must_succeed'):
        if not isinstance(body.get(name, False), bool):
            raise Invalid(f'{name} must be true or false')
