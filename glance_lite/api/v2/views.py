# SPDX-License-Identifier: Apache-2.0
"""Images and members as clients see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glance_lite.imports.jobs import STAGE_HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from glance_lite.model import Image, Location, Member, StoreHealth, StoreInfo


class ImageView:
    """Builds the body of an image; what the configuration decides is decided once."""

    def __init__(
        self,
        several_stores: bool,
        all_locations: bool,
        direct_url: bool,
        order: Callable[[Sequence[Location]], Sequence[Location]],
    ) -> None:
        """`order` puts the best location first."""
        self._several = several_stores
        self._all = all_locations
        self._direct_url = direct_url
        self._order = order

    def __call__(self, image: Image) -> dict[str, Any]:
        image_id = image.id
        link = '/v2/images/' + image_id
        # PERF: one display and C functions only; this runs for each image of a list.
        view: dict[str, Any] = {
            **image.properties,
            'name': image.name,
            'disk_format': image.disk_format,
            'container_format': image.container_format,
            'visibility': image.visibility,
            'size': image.size,
            'virtual_size': image.virtual_size,
            'status': image.status,
            'checksum': image.checksum,
            'protected': image.protected,
            'min_ram': image.min_ram,
            'min_disk': image.min_disk,
            'owner': image.owner,
            'os_hidden': image.os_hidden,
            'os_hash_algo': image.os_hash_algo,
            'os_hash_value': image.os_hash_value,
            'id': image_id,
            'created_at': image.created_at.isoformat() + 'Z',
            'updated_at': image.updated_at.isoformat() + 'Z',
        }
        locations = image.locations and self._order(image.locations)
        if self._all:
            view['locations'] = [location_view(one) for one in locations]
        if locations:
            if self._direct_url:
                view['direct_url'] = locations[0].url
            if self._several:
                stores = [location.store for location in locations]
                view['stores'] = ','.join(store for store in stores if store)
        view.pop(STAGE_HOST, None)  # where data lies meanwhile is nobody's business
        view['tags'] = image.tags
        view['self'] = link
        view['file'] = link + '/file'
        view['schema'] = '/v2/schemas/image'
        return view


def location_view(location: Location) -> dict[str, Any]:
    return {'url': location.url, 'metadata': dict(location.metadata)}


def member_view(member: Member) -> dict[str, Any]:
    return {
        'member_id': member.member_id,
        'image_id': member.image_id,
        'status': member.status,
        'created_at': member.created_at.isoformat() + 'Z',
        'updated_at': member.updated_at.isoformat() + 'Z',
        'schema': '/v2/schemas/member',
    }


def store_view(store: StoreInfo, detail: bool) -> dict[str, Any]:
    view: dict[str, Any] = {'id': store.id}
    if store.description:
        view['description'] = store.description
    if store.default:
        view['default'] = 'true'
    if store.read_only:
        view['read-only'] = 'true'
    if detail:
        view['type'] = store.type
        view['weight'] = store.weight
        view['properties'] = dict(store.properties)
        if store.health is not None:
            view['health'] = health_view(store.health)
    return view


def health_view(health: StoreHealth) -> dict[str, Any]:
    view: dict[str, Any] = {'state': health.state}
    if health.problem:
        view['problem'] = health.problem
    if health.since is not None:
        view['since'] = health.since.strftime('%Y-%m-%dT%H:%M:%SZ')
    if health.retry_after is not None:
        view['retry_after'] = health.retry_after
    return view
