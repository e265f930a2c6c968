# SPDX-License-Identifier: Apache-2.0
"""``/v2/cache``: there is no cache yet, which whoever may use it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import webob

from glance_lite.api import http
from glance_lite.errors import NotFound

if TYPE_CHECKING:
    from glance_lite.operations import Operations


class Cache:
    """Asks the policy rule of each request, as it will where there is a cache."""

    def __init__(self, chain: Operations) -> None:
        self._chain = chain

    def _refuse(self, request: webob.Request, rule: str, image_id: str | None = None) -> NoReturn:
        self._chain.admit(http.context(request), rule, image_id)
        raise NotFound('No cache is in use here')

    def index(self, request: webob.Request) -> NoReturn:
        """What is cached and queued."""
        self._refuse(request, 'cache_list')

    def clear(self, request: webob.Request) -> NoReturn:
        """Drop what is cached, queued or both."""
        self._refuse(request, 'cache_delete')

    def queue(self, request: webob.Request, image_id: str) -> NoReturn:
        """Have an image fetched into the cache."""
        self._refuse(request, 'cache_image', image_id)

    def drop(self, request: webob.Request, image_id: str) -> NoReturn:
        """Drop one image."""
        self._refuse(request, 'cache_delete', image_id)

    def nodes(self, request: webob.Request, image_id: str) -> NoReturn:
        """Which hosts have an image in their cache."""
        self._refuse(request, 'list_cached_nodes')

    def clean(self, request: webob.Request) -> NoReturn:
        """Remove what is broken or was given up."""
        self._refuse(request, 'cache_clean')

    def prune(self, request: webob.Request) -> NoReturn:
        """Bring the cache back to its size."""
        self._refuse(request, 'cache_prune')
