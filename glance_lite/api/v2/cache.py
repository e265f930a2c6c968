# SPDX-License-Identifier: Apache-2.0
"""``/v2/cache``, and the older ``/v2/cached_images`` and ``/v2/queued_images``.

They act on the cache of the host that is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import webob

from glance_lite.api import http
from glance_lite.errors import Forbidden, ImageNotFound, Invalid, NotFound

if TYPE_CHECKING:
    from glance_lite.cache.directory import Entry
    from glance_lite.operations import Operations

#: What DELETE of all is about, by header: None is both.
TARGETS = {'': None, 'cache': False, 'queue': True}
#: The rule of the older routes.
OLD = 'manage_image_cache'


class Cache:
    """Asks the policy rule of each route before anything else, whether or not there is a cache."""

    def __init__(self, chain: Operations, managed: Callable[[], bool]) -> None:
        """`managed`: whether the pipeline has the filter to which the older routes belong."""
        self._chain = chain
        self._managed = managed

    def _admit(self, request: webob.Request, rule: str, image_id: str | None = None) -> None:
        self._chain.admit(http.context(request), rule, image_id)

    def index(self, request: webob.Request) -> webob.Response:
        """What is cached and queued."""
        self._admit(request, 'cache_list')
        found = self._chain.list_cache(http.context(request))
        cached = [_view(entry) for entry in found.cached]
        return http.json_answer({'cached_images': cached, 'queued_images': list(found.queued)})

    def clear(self, request: webob.Request) -> webob.Response:
        """Drop what is cached, queued or both."""
        self._admit(request, 'cache_delete')
        target = request.environ.get('HTTP_X_IMAGE_CACHE_CLEAR_TARGET', '').lower()
        # Where there is no cache that is told first.
        self._chain.list_cache(http.context(request))
        if target not in TARGETS:
            raise Invalid('x-image-cache-clear-target must be cache, queue or nothing')
        self._chain.clear_cache(http.context(request), TARGETS[target])
        return http.no_content()

    def queue(self, request: webob.Request, image_id: str) -> webob.Response:
        """Have an image fetched into the cache."""
        self._admit(request, 'cache_image', image_id)
        ctx = http.context(request)
        self._chain.list_cache(ctx)
        if self._chain.get_image(ctx, image_id).status != 'active':
            raise Invalid('Only an active image can be fetched into the cache')
        self._chain.queue_for_cache(ctx, image_id)
        return http.accepted()

    def drop(self, request: webob.Request, image_id: str) -> webob.Response:
        """Drop one image."""
        ctx = http.context(request)
        try:
            self._admit(request, 'cache_delete', image_id)
        except ImageNotFound as ex:
            # It may be gone and its copy not yet; whoever may not know learns nothing of it.
            try:
                self._admit(request, 'cache_delete')
                there = self._chain.drop_from_cache(ctx, image_id, None)
            except (Forbidden, NotFound):
                there = False
            if not there:
                raise ex from None
        else:
            self._chain.drop_from_cache(ctx, image_id, None)
        return http.no_content()

    def nodes(self, request: webob.Request, image_id: str) -> webob.Response:
        """Which hosts have an image in their cache."""
        self._admit(request, 'list_cached_nodes')
        return http.json_answer(list(self._chain.list_cache_nodes(http.context(request), image_id)))

    def clean(self, request: webob.Request) -> webob.Response:
        """Remove what is broken or was given up."""
        self._admit(request, 'cache_clean')
        self._chain.clean_cache(http.context(request))
        return webob.Response(status=200, headerlist=[('Content-Length', '0')])

    def prune(self, request: webob.Request) -> webob.Response:
        """Bring the cache back to its size."""
        self._admit(request, 'cache_prune')
        files, size = self._chain.prune_cache(http.context(request))
        return http.json_answer({'total_files_pruned': files, 'total_bytes_pruned': size})

    # --- the older routes

    def _admit_old(self, request: webob.Request) -> None:
        if not self._managed():
            raise NotFound('The resource could not be found.')
        self._admit(request, OLD)

    def list_cached(self, request: webob.Request) -> webob.Response:
        self._admit_old(request)
        found = self._chain.list_cache(http.context(request))
        return http.json_answer({'cached_images': [_view(entry) for entry in found.cached]})

    def list_queued(self, request: webob.Request) -> webob.Response:
        self._admit_old(request)
        found = self._chain.list_cache(http.context(request))
        return http.json_answer({'queued_images': list(found.queued)})

    def clear_cached(self, request: webob.Request) -> webob.Response:
        return self._clear(request, False)

    def clear_queued(self, request: webob.Request) -> webob.Response:
        return self._clear(request, True)

    def _clear(self, request: webob.Request, queue: bool) -> webob.Response:
        self._admit_old(request)
        count = self._chain.clear_cache(http.context(request), queue)
        return http.json_answer({'num_deleted': count})

    def drop_cached(self, request: webob.Request, image_id: str) -> webob.Response:
        return self._drop(request, image_id, False)

    def drop_queued(self, request: webob.Request, image_id: str) -> webob.Response:
        return self._drop(request, image_id, True)

    def _drop(self, request: webob.Request, image_id: str, queue: bool) -> webob.Response:
        self._admit_old(request)
        self._chain.drop_from_cache(http.context(request), image_id, queue)
        return http.json_answer(None)

    def queue_old(self, request: webob.Request, image_id: str) -> webob.Response:
        """Whether there is such an image is found out when it is fetched."""
        self._admit_old(request)
        self._chain.queue_for_cache(http.context(request), image_id)
        return http.json_answer(None)


def _view(entry: Entry) -> dict[str, Any]:
    return {
        'image_id': entry.key.image_id,
        'hits': entry.hits,
        'last_accessed': entry.last_accessed,
        'last_modified': entry.last_modified,
        'size': entry.key.size,
    }
