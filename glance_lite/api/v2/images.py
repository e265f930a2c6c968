# SPDX-License-Identifier: Apache-2.0
"""``/v2/images``: create, show, list, change, delete, (de)activate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import webob

from glance_lite.api import http
from glance_lite.api.v2 import attributes, patch, query
from glance_lite.api.v2.views import ImageView
from glance_lite.errors import Invalid
from glance_lite.model import Changes

if TYPE_CHECKING:
    from oslo_config import cfg

    from glance_lite.api.v2.schemas import ImageSchema
    from glance_lite.model import Image
    from glance_lite.operations import Operations

PATH = '/v2/images'

#: An id, for its length.
ID = '00000000-0000-4000-8000-000000000000'


class Images:
    """Image resources, without their data."""

    def __init__(
        self,
        chain: Operations,
        conf: cfg.ConfigOpts,
        schema: ImageSchema,
        view: ImageView,
        import_methods: tuple[str, ...],
        store_ids: tuple[str, ...],
    ) -> None:
        self._chain = chain
        self._schema = schema
        self._view = view
        self._endpoint: str | None = conf.public_endpoint
        self._locations: bool = conf.show_multiple_locations
        self._query = query.Parser(conf.limit_param_default, conf.api_limit_max)
        self._created: list[tuple[str, str]] = []
        if import_methods:
            self._created.append(('OpenStack-image-import-methods', ','.join(import_methods)))
        if store_ids:
            self._created.append(('OpenStack-image-store-ids', ','.join(store_ids)))

    def _answer(self, image: Image, status: int = 200) -> webob.Response:
        return http.json_bytes(json.dumps(self._view(image)).encode(), status)

    def show(self, request: webob.Request, image_id: str) -> webob.Response:
        return self._answer(self._chain.get_image(http.context(request), image_id))

    def index(self, request: webob.Request) -> webob.Response:
        pairs = http.query(request)
        page = self._chain.list_images(http.context(request), self._query(pairs))
        first, following = query.links(PATH, pairs, page.marker if page.full else None)
        body: dict[str, Any] = {'images': [self._view(image) for image in page.images]}
        body['first'] = first
        if following:
            body['next'] = following
        body['schema'] = '/v2/schemas/images'
        return http.json_bytes(json.dumps(body).encode())

    def create(self, request: webob.Request) -> webob.Response:
        changes = self._new(http.json_object(request))
        image = self._chain.create_image(http.context(request), changes)
        answer = self._answer(image, 201)
        base = http.base_url(request, self._endpoint)
        answer.headerlist.append(('Location', f'{base}{PATH}/{image.id}'))
        answer.headerlist.extend(self._created)
        return answer

    def _new(self, body: dict[str, Any]) -> Changes:
        attributes.check_many(body, 'properties')
        attributes.check_many(body.get('tags'), 'tags')
        self._schema.check_new(body)
        fields: dict[str, Any] = {}
        properties: dict[str, str] = {}
        for name, value in body.items():
            attributes.check_writable(name, new=True)
            if name == 'locations':
                attributes.refuse_locations()
            if name in attributes.BASE:
                fields[name] = value
            else:
                attributes.check_custom(name)
                properties[name] = value
        attributes.check_counts(fields)
        if len(fields.get('id', ID)) != len(ID):
            raise Invalid('The id must be a UUID')  # the pattern's $ lets a line feed pass
        tags = fields.pop('tags', None)
        return Changes(
            fields=fields,
            properties=properties,
            tags=None if tags is None else frozenset(tags),
        )

    def update(self, request: webob.Request, image_id: str) -> webob.Response:
        steps = patch.parse(request, http.json_body(request), self._locations)
        changes = patch.changes(steps, self._schema)
        return self._answer(self._chain.update_image(http.context(request), image_id, changes))

    def delete(self, request: webob.Request, image_id: str) -> webob.Response:
        self._chain.delete_image(http.context(request), image_id)
        return http.no_content()

    def reactivate(self, request: webob.Request, image_id: str) -> webob.Response:
        self._chain.set_active(http.context(request), image_id, True)
        return http.no_content()

    def deactivate(self, request: webob.Request, image_id: str) -> webob.Response:
        self._chain.set_active(http.context(request), image_id, False)
        return http.no_content()

    # --- tags

    def add_tag(self, request: webob.Request, image_id: str, tag: str) -> webob.Response:
        if len(tag) > 255:
            raise Invalid('A tag may have 255 characters at most')
        changes = Changes(add_tags=frozenset({tag}))
        self._chain.update_image(http.context(request), image_id, changes)
        return http.no_content()

    def remove_tag(self, request: webob.Request, image_id: str, tag: str) -> webob.Response:
        changes = Changes(remove_tags=frozenset({tag}))
        self._chain.update_image(http.context(request), image_id, changes)
        return http.no_content()
