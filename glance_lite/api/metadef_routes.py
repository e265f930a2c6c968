# SPDX-License-Identifier: Apache-2.0
"""The routes of metadata definitions, in the form of `glance_lite.api.routes`."""

from __future__ import annotations

NAMESPACES = '/metadefs/namespaces'
NAMESPACE = NAMESPACES + '/{namespace}'
OBJECTS, PROPERTIES, TAGS = (NAMESPACE + path for path in ('/objects', '/properties', '/tags'))
TYPES = NAMESPACE + '/resource_types'
ITEM = '/{item}'

#: The documents under ``/schemas/metadefs``.
DOCUMENTS = (
    'namespace', 'namespaces', 'resource_type', 'resource_types', 'property', 'properties',
    'object', 'objects', 'tag', 'tags',
)  # fmt: skip

TABLE: tuple[tuple[str, str, str, str, bool], ...] = (
    *((f'/schemas/metadefs/{name}', 'GET', 'metaschemas', name, False) for name in DOCUMENTS),
    ('/metadefs/resource_types', 'GET', 'associations', 'types', False),
    (NAMESPACES, 'GET', 'namespaces', 'index', False),
    (NAMESPACES, 'POST', 'namespaces', 'create', True),
    (NAMESPACE, 'GET', 'namespaces', 'show', False),
    (NAMESPACE, 'PUT', 'namespaces', 'update', True),
    (NAMESPACE, 'DELETE', 'namespaces', 'delete', False),
    (TYPES, 'GET', 'associations', 'index', False),
    (TYPES, 'POST', 'associations', 'create', True),
    (TYPES + ITEM, 'DELETE', 'associations', 'delete', False),
    (OBJECTS, 'GET', 'objects', 'index', False),
    (OBJECTS, 'POST', 'objects', 'create', True),
    (OBJECTS, 'DELETE', 'objects', 'clear', False),
    (OBJECTS + ITEM, 'GET', 'objects', 'show', False),
    (OBJECTS + ITEM, 'PUT', 'objects', 'update', True),
    (OBJECTS + ITEM, 'DELETE', 'objects', 'delete', False),
    (PROPERTIES, 'GET', 'properties', 'index', False),
    (PROPERTIES, 'POST', 'properties', 'create', True),
    (PROPERTIES, 'DELETE', 'properties', 'clear', False),
    (PROPERTIES + ITEM, 'GET', 'properties', 'show', False),
    (PROPERTIES + ITEM, 'PUT', 'properties', 'update', True),
    (PROPERTIES + ITEM, 'DELETE', 'properties', 'delete', False),
    (TAGS, 'GET', 'tags', 'index', False),
    (TAGS, 'POST', 'tags', 'create_several', True),
    (TAGS, 'DELETE', 'tags', 'clear', False),
    (TAGS + ITEM, 'GET', 'tags', 'show', False),
    (TAGS + ITEM, 'POST', 'tags', 'add', False),
    (TAGS + ITEM, 'PUT', 'tags', 'update', True),
    (TAGS + ITEM, 'DELETE', 'tags', 'delete', False),
)
