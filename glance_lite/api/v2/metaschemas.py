# SPDX-License-Identifier: Apache-2.0
"""JSON schemas of metadata definitions: the documents, and the checks of what clients send.

Structure and bounds are the Image API's. What a document leaves open and no database can keep is
refused by those who read the bodies.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import webob

from glance_lite.api import http
from glance_lite.api.v2.schemas import PAGE_LINKS, Checker
from glance_lite.metadefs.model import LONGEST_NAME, VISIBILITIES

TEXT = {'type': 'string'}
NAME = {'type': 'string', 'maxLength': LONGEST_NAME}
TRUTH = {'type': 'boolean'}
LINK = {'readOnly': True, 'type': 'string'}
TYPE = {
    'type': 'string',
    'enum': ['array', 'boolean', 'integer', 'number', 'object', 'string', None],
}
COUNT = {'$ref': '#/definitions/positiveInteger'}
COUNT_FROM_0 = {'$ref': '#/definitions/positiveIntegerDefault0'}
TEXTS = {'$ref': '#/definitions/stringArray'}
PROPERTIES = {'$ref': '#/definitions/property'}


def _time(description: str) -> dict[str, Any]:
    return {
        'type': 'string',
        'readOnly': True,
        'description': description,
        'format': 'date-time',
    }


def _times(what: str) -> dict[str, Any]:
    return {
        'created_at': _time(f'When the {what} was made'),
        'updated_at': _time(f'When the {what} was last changed'),
    }


PROPERTY_ATTRIBUTES: dict[str, Any] = {
    'name': NAME,
    'title': TEXT,
    'description': TEXT,
    'operators': {'type': 'array', 'items': TEXT},
    'type': TYPE,
    'required': TEXTS,
    'minimum': {'type': 'number'},
    'maximum': {'type': 'number'},
    'maxLength': COUNT,
    'minLength': COUNT_FROM_0,
    'pattern': {'type': 'string', 'format': 'regex'},
    'enum': {'type': 'array'},
    'readonly': TRUTH,
    'default': {},
    'items': {'type': 'object', 'properties': {'type': TYPE, 'enum': {'type': 'array'}}},
    'maxItems': COUNT,
    'minItems': COUNT_FROM_0,
    'uniqueItems': {'type': 'boolean', 'default': False},
    'additionalItems': TRUTH,
}

_NUMBERS: dict[str, Any] = {
    'positiveInteger': {'type': 'integer', 'minimum': 0},
    'positiveIntegerDefault0': {'allOf': [COUNT, {'default': 0}]},
}
_UNIQUE_TEXTS = {'type': 'array', 'items': TEXT, 'uniqueItems': True}

#: In the documents of a property by itself.
PROPERTY_DEFINITIONS: dict[str, Any] = {
    **_NUMBERS,
    'stringArray': {**_UNIQUE_TEXTS, 'minItems': 1},
}
#: In those of a namespace and an object.
DEFINITIONS: dict[str, Any] = {
    **_NUMBERS,
    'stringArray': _UNIQUE_TEXTS,
    'property': {
        'type': 'object',
        'additionalProperties': {
            'type': 'object',
            'required': ['title', 'type'],
            'properties': PROPERTY_ATTRIBUTES,
        },
    },
}

NAMESPACE_ATTRIBUTES: dict[str, Any] = {
    'namespace': {**NAME, 'description': 'The name, of which there is only one'},
    'display_name': {**NAME, 'description': 'Name for people'},
    'description': {
        'type': 'string',
        'description': 'What the namespace is about',
        'maxLength': 500,
    },
    'visibility': {
        'type': 'string',
        'description': 'Who sees the namespace beside its owner',
        'enum': list(VISIBILITIES),
    },
    'protected': {**TRUTH, 'description': 'Whether the namespace cannot be deleted'},
    'owner': {'type': 'string', 'description': 'Project that owns it', 'maxLength': 255},
    **_times('namespace'),
    'schema': LINK,
    'self': LINK,
    'resource_type_associations': {
        'type': 'array',
        'items': {
            'type': 'object',
            'properties': {'name': TEXT, 'prefix': TEXT, 'properties_target': TEXT},
        },
    },
    'properties': PROPERTIES,
    'objects': {
        'type': 'array',
        'items': {
            'type': 'object',
            'properties': {
                'name': TEXT,
                'description': TEXT,
                'required': TEXTS,
                'properties': PROPERTIES,
            },
        },
    },
    'tags': {'type': 'array', 'items': {'type': 'object', 'properties': {'name': TEXT}}},
}

OBJECT_ATTRIBUTES: dict[str, Any] = {
    'name': NAME,
    'description': TEXT,
    'required': TEXTS,
    'properties': PROPERTIES,
    'schema': LINK,
    'self': LINK,
    **_times('object'),
}

RESOURCE_TYPE_ATTRIBUTES: dict[str, Any] = {
    'name': {**NAME, 'description': 'Type of resource, by its name in Heat where it has one'},
    'prefix': {
        **NAME,
        'description': 'What stands before the names of properties when they are set on such a '
        'resource, with its colon or other separator',
    },
    'properties_target': {
        **NAME,
        'description': 'Which of its maps of properties is meant, for a resource that has several',
    },
    **_times('association'),
}

TAG_ATTRIBUTES: dict[str, Any] = {'name': NAME, **_times('tag')}


def _document(
    name: str,
    properties: dict[str, Any],
    required: list[str],
    definitions: dict[str, Any] | None = None,
) -> dict[str, Any]:
    found: dict[str, Any] = {
        'name': name,
        'properties': properties,
        'additionalProperties': False,
        'required': required,
    }
    return {**found, 'definitions': definitions} if definitions else found


def _collection(name: str, one: dict[str, Any], *, by_name: bool = False) -> dict[str, Any]:
    item = {key: value for key, value in one.items() if key != 'definitions'}
    several = (
        {'type': 'object', 'additionalProperties': item}
        if by_name
        else {'type': 'array', 'items': item}
    )
    found = {
        'name': name,
        'properties': {name: several, 'first': TEXT, 'next': TEXT, 'schema': TEXT},
        'links': PAGE_LINKS,
    }
    return {**found, 'definitions': one['definitions']} if 'definitions' in one else found


NAMESPACE = _document('namespace', NAMESPACE_ATTRIBUTES, ['namespace'], DEFINITIONS)
OBJECT = _document('object', OBJECT_ATTRIBUTES, ['name'], DEFINITIONS)
PROPERTY = _document(
    'property', PROPERTY_ATTRIBUTES, ['type', 'title', 'name'], PROPERTY_DEFINITIONS
)
#: A property whose name stands elsewhere.
NAMELESS = {**PROPERTY, 'required': ['type', 'title']}
RESOURCE_TYPE = _document('resource_type_association', RESOURCE_TYPE_ATTRIBUTES, ['name'])
TAG = _document('tag', TAG_ATTRIBUTES, ['name'])
#: A body of several tags; there is no document of it.
TAGS = {
    'properties': {
        'tags': {
            'type': 'array',
            'items': {
                'type': 'object',
                'properties': {'name': NAME},
                'required': ['name'],
                'additionalProperties': False,
            },
        }
    },
    'required': ['tags'],
    'additionalProperties': False,
}


def _checker(schema: dict[str, Any], what: str) -> Checker:
    # 1.0 is a whole number, unlike in the draft that images are checked by.
    return Checker(schema, what, jsonschema.Draft202012Validator)


check_namespace = _checker(NAMESPACE, 'The namespace')
check_object = _checker(OBJECT, 'The object')
check_property = _checker(PROPERTY, 'The property')
check_nameless = _checker(NAMELESS, 'The property')
check_resource_type = _checker(RESOURCE_TYPE, 'The resource type')
check_tag = _checker(TAG, 'The tag')
check_tags = _checker(TAGS, 'The body')


DOCUMENTS: dict[str, dict[str, Any]] = {
    'namespace': NAMESPACE,
    'namespaces': _collection('namespaces', NAMESPACE),
    'resource_type': RESOURCE_TYPE,
    'resource_types': _collection('resource_type_associations', RESOURCE_TYPE),
    'property': PROPERTY,
    'properties': _collection('properties', NAMELESS, by_name=True),
    'object': OBJECT,
    'objects': _collection('objects', OBJECT),
    'tag': TAG,
    'tags': _collection('tags', TAG),
}


class Metaschemas:
    """``/v2/schemas/metadefs/...``: a handler for each of `DOCUMENTS`."""


def _handler(document: dict[str, Any]) -> Callable[..., webob.Response]:
    body = json.dumps(document).encode()

    def handler(self: Metaschemas, request: webob.Request) -> webob.Response:
        return http.json_bytes(body)

    return handler


for _name, _one in DOCUMENTS.items():
    setattr(Metaschemas, _name, _handler(_one))
