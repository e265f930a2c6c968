# SPDX-License-Identifier: Apache-2.0
"""``/v2/cache``, and the older routes."""

from __future__ import annotations

from typing import Any

from glance_lite.api.described import (
    CHAIN,
    COUNT,
    NO_CONTENT,
    TEXT,
    Answer,
    Described,
    Parameter,
    found,
    ref,
)


def _exactly(**properties: Any) -> dict[str, Any]:
    return {
        'type': 'object',
        'properties': properties,
        'required': list(properties),
        'additionalProperties': False,
    }


_TIME = {'type': 'number'}
_CACHED = {
    'type': 'array',
    'items': _exactly(
        image_id=TEXT, hits=COUNT, last_accessed=_TIME, last_modified=_TIME, size=COUNT
    ),
}
_IDS = {'type': 'array', 'items': TEXT}
_DONE = found({'type': 'null'}, 'It is done')

SCHEMAS = {
    'CacheState': _exactly(cached_images=_CACHED, queued_images=_IDS),
    'CachedImages': _exactly(cached_images=_CACHED),
    'QueuedImages': _exactly(queued_images=_IDS),
    'CacheNodes': _IDS,
    'Pruned': _exactly(total_files_pruned=COUNT, total_bytes_pruned=COUNT),
    'Cleared': _exactly(num_deleted=COUNT),
}

HANDLERS = {
    'index': Described('What is cached and queued on this host', found(ref('CacheState')), CHAIN),
    'clear': Described(
        'Drop what is cached and queued',
        NO_CONTENT,
        CHAIN,
        headers=(
            Parameter(
                'x-image-cache-clear-target', '``cache``, ``queue``, or nothing, which is both'
            ),
        ),
    ),
    'queue': Described('Have an image fetched into the cache', {202: Answer('It will be')}, CHAIN),
    'drop': Described('Drop an image from the cache and the queue', NO_CONTENT, CHAIN),
    'nodes': Described(
        'Which hosts have an image in their cache', found(ref('CacheNodes')), (*CHAIN, 409)
    ),
    'clean': Described('Remove what is broken from the cache', {200: Answer('It is done')}, CHAIN),
    'prune': Described('Bring the cache back to its size', found(ref('Pruned')), CHAIN),
    'list_cached': Described(
        'What is cached; with the filter ``cachemanage``', found(ref('CachedImages')), CHAIN
    ),
    'list_queued': Described(
        'What is queued; with the filter ``cachemanage``', found(ref('QueuedImages')), CHAIN
    ),
    'clear_cached': Described(
        'Drop what is cached; with the filter ``cachemanage``', found(ref('Cleared')), CHAIN
    ),
    'clear_queued': Described(
        'Drop what is queued; with the filter ``cachemanage``', found(ref('Cleared')), CHAIN
    ),
    'drop_cached': Described(
        'Drop an image from the cache; with the filter ``cachemanage``', _DONE, CHAIN
    ),
    'drop_queued': Described(
        'Drop an image from the queue; with the filter ``cachemanage``', _DONE, CHAIN
    ),
    'queue_old': Described(
        'Have an image fetched into the cache; with the filter ``cachemanage``', _DONE, CHAIN
    ),
}
