# SPDX-License-Identifier: Apache-2.0
"""``/v2/images/{id}/locations``: where data is, and data that lies somewhere already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import webob

from glance_lite.api import http
from glance_lite.api.v2.schemas import Checker
from glance_lite.api.v2.views import location_view
from glance_lite.model import EMPTY, NewLocation

if TYPE_CHECKING:
    from glance_lite.operations import Operations

#: Longest url, in characters: longer ones lead nowhere.
LONGEST = 4096

#: Of a body.
SCHEMA: dict[str, Any] = {
    'properties': {
        'url': {'type': 'string', 'minLength': 1, 'maxLength': LONGEST},
        'validation_data': {
            'type': 'object',
            'additionalProperties': False,
            'properties': {
                'os_hash_algo': {
                    'type': 'string',
                    'enum': ['sha1', 'sha256', 'sha512', 'md5'],
                },
                'os_hash_value': {'type': 'string', 'maxLength': 128},
            },
            'dependentRequired': {
                'os_hash_algo': ['os_hash_value'],
                'os_hash_value': ['os_hash_algo'],
            },
        },
    },
    'required': ['url'],
}

_check = Checker(SCHEMA, 'The location')


def new_location(value: dict[str, Any]) -> NewLocation:
    """From a value that a schema was checked for."""
    metadata = value.get('metadata') or EMPTY
    return NewLocation(value['url'], metadata, value.get('validation_data') or EMPTY)


class Locations:
    """The locations of one image, for other services."""

    def __init__(self, chain: Operations) -> None:
        self._chain = chain

    def index(self, request: webob.Request, image_id: str) -> webob.Response:
        found = self._chain.get_locations(http.context(request), image_id)
        return http.json_answer([location_view(one) for one in found])

    def create(self, request: webob.Request, image_id: str) -> webob.Response:
        body = http.json_object(request)
        _check(body)
        new = new_location({name: body.get(name) for name in ('url', 'validation_data')})
        self._chain.add_location(http.context(request), image_id, new)
        return http.accepted()
