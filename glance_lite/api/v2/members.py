# SPDX-License-Identifier: Apache-2.0
"""``/v2/images/{id}/members``: with whom a shared image is shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import webob

from glance_lite.api import http
from glance_lite.api.v2.views import member_view
from glance_lite.errors import Invalid
from glance_lite.model import MEMBER_STATUSES

if TYPE_CHECKING:
    from glance_lite.operations import Operations


class Members:
    """Memberships of one image."""

    def __init__(self, chain: Operations) -> None:
        self._chain = chain

    def index(self, request: webob.Request, image_id: str) -> webob.Response:
        found = self._chain.list_members(http.context(request), image_id)
        body = {'members': [member_view(one) for one in found], 'schema': '/v2/schemas/members'}
        return http.json_answer(body)

    def show(self, request: webob.Request, image_id: str, member_id: str) -> webob.Response:
        member = self._chain.get_member(http.context(request), image_id, member_id)
        return http.json_answer(member_view(member))

    def create(self, request: webob.Request, image_id: str) -> webob.Response:
        member_id = http.json_object(request).get('member')
        if not isinstance(member_id, str) or not member_id.strip():
            raise Invalid('The body must name a project as member')
        if len(member_id) > 255:
            raise Invalid('A member may have 255 characters at most')
        member = self._chain.add_member(http.context(request), image_id, member_id)
        return http.json_answer(member_view(member))

    def update(self, request: webob.Request, image_id: str, member_id: str) -> webob.Response:
        status = http.json_object(request).get('status')
        if status not in MEMBER_STATUSES:
            raise Invalid(f'The status of a member is one of {", ".join(MEMBER_STATUSES)}')
        member = self._chain.update_member(http.context(request), image_id, member_id, status)
        return http.json_answer(member_view(member))

    def delete(self, request: webob.Request, image_id: str, member_id: str) -> webob.Response:
        self._chain.remove_member(http.context(request), image_id, member_id)
        return http.no_content()
