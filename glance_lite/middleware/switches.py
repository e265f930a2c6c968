# SPDX-License-Identifier: Apache-2.0
"""``cache`` and ``cachemanage``: names that operators' pipelines have.

In Glance these filters do the caching. Here the cache is a location behind all layers, so the
names only switch it on, and do nothing on the path of a request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glance_lite.service import Service


def _through(app: Any) -> Any:
    return app


def cache(
    service: Service, global_conf: Mapping[str, str], **local_conf: str
) -> Callable[[Any], Any]:
    """For Paste: downloads use the cache, if ``image_cache_dir`` says where it is."""
    service.gateway.cache.serves = service.gateway.cache.enabled
    return _through


def cachemanage(
    service: Service, global_conf: Mapping[str, str], **local_conf: str
) -> Callable[[Any], Any]:
    """For Paste: the older routes of the cache's API are there."""
    service.cache_managed = service.gateway.cache.enabled
    return _through
