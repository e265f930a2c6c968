# SPDX-License-Identifier: Apache-2.0
"""Every route of the Image API v2, in one table.

Paths are relative to ``/v2``, where Paste mounts the application.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import routes
import webob

from glance_lite.api import metadef_routes

Handler = Callable[..., webob.Response]

IMAGE = '/images/{image_id}'
MEMBER = IMAGE + '/members/{member_id}'

#: path, method, family, name of the handler, whether it reads a body
TABLE: tuple[tuple[str, str, str, str, bool], ...] = (
    ('/schemas/image', 'GET', 'schemas', 'image', False),
    ('/schemas/images', 'GET', 'schemas', 'images', False),
    ('/schemas/member', 'GET', 'schemas', 'member', False),
    ('/schemas/members', 'GET', 'schemas', 'members', False),
    ('/schemas/task', 'GET', 'schemas', 'task', False),
    ('/schemas/tasks', 'GET', 'schemas', 'tasks', False),
    ('/images', 'GET', 'images', 'index', False),
    ('/images', 'POST', 'images', 'create', True),
    (IMAGE, 'GET', 'images', 'show', False),
    (IMAGE, 'PATCH', 'images', 'update', True),
    (IMAGE, 'DELETE', 'images', 'delete', False),
    (IMAGE + '/actions/deactivate', 'POST', 'images', 'deactivate', False),
    (IMAGE + '/actions/reactivate', 'POST', 'images', 'reactivate', False),
    (IMAGE + '/tags/{tag}', 'PUT', 'images', 'add_tag', False),
    (IMAGE + '/tags/{tag}', 'DELETE', 'images', 'remove_tag', False),
    (IMAGE + '/file', 'GET', 'data', 'download', False),
    (IMAGE + '/file', 'HEAD', 'data', 'download', False),
    (IMAGE + '/file', 'PUT', 'data', 'upload', True),
    (IMAGE + '/tasks', 'GET', 'tasks', 'of_image', False),
    (IMAGE + '/stage', 'PUT', 'imports', 'stage', True),
    (IMAGE + '/import', 'POST', 'imports', 'start', True),
    (IMAGE + '/locations', 'GET', 'locations', 'index', False),
    (IMAGE + '/locations', 'POST', 'locations', 'create', True),
    (IMAGE + '/members', 'GET', 'members', 'index', False),
    (IMAGE + '/members', 'POST', 'members', 'create', True),
    (MEMBER, 'GET', 'members', 'show', False),
    (MEMBER, 'PUT', 'members', 'update', True),
    (MEMBER, 'DELETE', 'members', 'delete', False),
    ('/stores/{store_id}/{image_id}', 'DELETE', 'data', 'delete_from_store', False),
    ('/info/stores', 'GET', 'data', 'list_stores', False),
    ('/info/stores/detail', 'GET', 'data', 'list_stores_detail', False),
    ('/info/import', 'GET', 'info', 'import_methods', False),
    ('/info/usage', 'GET', 'info', 'usage', False),
    ('/tasks', 'GET', 'tasks', 'index', False),
    ('/tasks', 'POST', 'tasks', 'create', True),
    ('/tasks/{task_id}', 'GET', 'tasks', 'show', False),
    ('/tasks/{task_id}', 'DELETE', 'tasks', 'delete', False),
    ('/cache', 'GET', 'cache', 'index', False),
    ('/cache', 'DELETE', 'cache', 'clear', False),
    ('/cache/clean', 'POST', 'cache', 'clean', False),
    ('/cache/prune', 'POST', 'cache', 'prune', False),
    ('/cache/nodes/{image_id}', 'GET', 'cache', 'nodes', False),
    ('/cache/{image_id}', 'PUT', 'cache', 'queue', False),
    ('/cache/{image_id}', 'DELETE', 'cache', 'drop', False),
    ('/cached_images', 'GET', 'cache', 'list_cached', False),
    ('/cached_images', 'DELETE', 'cache', 'clear_cached', False),
    ('/cached_images/{image_id}', 'DELETE', 'cache', 'drop_cached', False),
    ('/queued_images', 'GET', 'cache', 'list_queued', False),
    ('/queued_images', 'DELETE', 'cache', 'clear_queued', False),
    ('/queued_images/{image_id}', 'PUT', 'cache', 'queue_old', False),
    ('/queued_images/{image_id}', 'DELETE', 'cache', 'drop_queued', False),
    *metadef_routes.TABLE,
)


class Action(NamedTuple):
    """What answers one method of one path."""

    handler: Handler
    body: bool


class Router:
    """Finds who answers; compiled once, at start."""

    def __init__(self, families: Mapping[str, Any]) -> None:
        self._resources: dict[str, dict[str, Action]] = {}
        mapper = routes.Mapper(register=False)
        for path, method, family, name, body in TABLE:
            if path not in self._resources:
                mapper.connect(path, path)
                self._resources[path] = {}
            self._resources[path][method] = Action(getattr(families[family], name), body)
        mapper.create_regs()
        self._match = mapper.routematch

    def find(self, path: str) -> tuple[str, dict[str, Action], dict[str, str]] | None:
        """(route, method -> action, parameters) of a path, or None."""
        found = self._match(path)
        if found is None:
            return None
        values, route = found
        values.pop('controller', None)
        values.pop('action', None)
        return route.name, self._resources[route.name], values
