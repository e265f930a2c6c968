# SPDX-License-Identifier: Apache-2.0
"""``/v2/images/{id}/file``: the bytes, in and out, and the stores that hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import webob

from glance_lite.api import http
from glance_lite.api.v2.views import store_view
from glance_lite.errors import Invalid
from glance_lite.model import Wanted
from glance_lite.stream import Upload, etag

if TYPE_CHECKING:
    from glance_lite.operations import Operations
    from glance_lite.stream import Download


class Data:
    """Uploads and downloads."""

    def __init__(self, chain: Operations) -> None:
        self._chain = chain

    def upload(self, request: webob.Request, image_id: str) -> webob.Response:
        http.octet_stream(request)
        read, size = http.body_reader(request)
        readinto = http.body_filler(request, size)
        declared = request.environ.get('HTTP_X_OPENSTACK_IMAGE_SIZE')
        if declared is not None:
            size = http.declared_size(declared, size)
        store = request.environ.get('HTTP_X_IMAGE_META_STORE') or None
        self._chain.upload(
            http.context(request),
            image_id,
            Upload(read, size, readinto),
            store,
        )
        return http.no_content()

    def download(self, request: webob.Request, image_id: str) -> webob.Response:
        body = request.environ['REQUEST_METHOD'] != 'HEAD'
        wanted = Wanted(
            http.span(request),
            request.environ.get('HTTP_IF_RANGE'),
            _preferred(request),
            body,
        )
        found = self._chain.download(http.context(request), image_id, wanted)
        if found.total is None:
            found.close()
            return http.no_content()
        answer = webob.Response(
            status=206 if found.partial else 200, headerlist=_headers(found), app_iter=found
        )
        if not body:
            # webob must not ask an empty body for its length.
            answer.app_iter = found
            answer.headers['Content-Length'] = str(found.length)
        return answer

    # --- stores

    def delete_from_store(
        self, request: webob.Request, store_id: str, image_id: str
    ) -> webob.Response:
        self._chain.delete_from_store(http.context(request), image_id, store_id)
        return http.no_content()

    def list_stores(self, request: webob.Request) -> webob.Response:
        return self._stores(request, False)

    def list_stores_detail(self, request: webob.Request) -> webob.Response:
        return self._stores(request, True)

    def _stores(self, request: webob.Request, detail: bool) -> webob.Response:
        found = self._chain.list_stores(http.context(request), detail)
        return http.json_answer({'stores': [store_view(store, detail) for store in found]})


def _preferred(request: webob.Request) -> tuple[str, ...]:
    if not request.environ.get('QUERY_STRING'):
        return ()
    values = [value for name, value in http.query(request) if name == 'prefer']
    if not values:
        return ()
    found = tuple(http.split_list(values[-1]))
    if not found:
        raise Invalid('prefer must name at least one store')
    return found


def _headers(found: Download) -> list[tuple[str, str]]:
    headers = [
        ('Content-Type', 'application/octet-stream'),
        ('Content-Length', str(found.length)),
        ('Accept-Ranges', 'bytes'),
    ]
    image = found.image
    if image.checksum and not found.partial:
        headers.append(('Content-MD5', image.checksum))
    tag = etag(image)
    if tag:
        headers.append(('ETag', tag))
    if found.partial:
        last = found.offset + found.length - 1
        headers.append(('Content-Range', f'bytes {found.offset}-{last}/{found.total}'))
    return headers
