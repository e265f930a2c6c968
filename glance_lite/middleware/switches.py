# SPDX-License-Identifier: Apache-2.0
"""``cache`` and ``cachemanage``: names that operators' pipelines have.

In Glance these filters do the caching. Here the cache is a location behind all layers, so the
names do nothing on the path of a request; a pipeline that has them keeps working.
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
    """For Paste."""
    return _through


def cachemanage(
    service: Service, global_conf: Mapping[str, str], **local_conf: str
) -> Callable[[Any], Any]:
    """For Paste."""
    return _through
