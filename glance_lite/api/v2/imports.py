# SPDX-License-Identifier: Apache-2.0
"""``/v2/images/{id}/stage`` and ``/import``: no import method is available yet, and they say so.

What ``GET /v2/info/import`` lists is what there is; every other method is refused as one that is
switched off.
"""

from __future__ import annotations

from typing import Any, NoReturn

import webob

from glance_lite.api import http
from glance_lite.errors import Invalid, NotFound


class Imports:
    """Refuses, and never pretends."""

    def stage(self, request: webob.Request, image_id: str) -> NoReturn:
        """Data for an import by ``glance-direct``: 404 where that is not available."""
        raise NotFound('The import method glance-direct is not available here')

    def start(self, request: webob.Request, image_id: str) -> NoReturn:
        """Import data into an image: 400 for a method that is not available."""
        body = http.json_object(request)
        name = method_name(body)
        check_stores(body)
        raise Invalid(f'The import method {name[:80]} is not available here')


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
