# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 document, made of the route table, the descriptions and the image schema."""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from glance_lite.api import described, routes
from glance_lite.api.described import COUNT, TEXT, Answer, Described, Parameter, found, ref
from glance_lite.api.v2 import attributes

if TYPE_CHECKING:
    from glance_lite.api.v2.schemas import ImageSchema

#: Where the document is.
PATH = '/openapi.json'

#: What any request may get: it cannot be read, or nobody is known to have sent it.
ANYBODY = (400, 401)

ABOUT = """\
The API of the Image service. Errors are answered in the form that ``Accept`` asks for, and
methods that a path does not have with 405 and ``Allow``. Each path that begins with ``/v2`` is
there under ``/v2.0`` to the newest minor version, too, and behaves alike.
"""

#: Refusals that have a header of their own.
HEADERS: Mapping[int, tuple[str, str]] = {
    405: ('Allow', 'The methods that there are'),
    415: ('Accept-Patch', 'The media types of a patch'),
    416: ('Content-Range', 'The size of the data'),
    503: ('Retry-After', 'When to try again, in seconds, if it is known'),
}

VERSIONS = {
    'type': 'object',
    'properties': {
        'versions': {
            'type': 'array',
            'items': {
                'type': 'object',
                'properties': {
                    'id': TEXT,
                    'status': {'enum': ['CURRENT', 'SUPPORTED']},
                    'links': {
                        'type': 'array',
                        'items': {'type': 'object', 'properties': {'rel': TEXT, 'href': TEXT}},
                    },
                },
                'required': ['id', 'status', 'links'],
            },
        }
    },
    'required': ['versions'],
}
ERROR = {
    'type': 'object',
    'properties': {'message': TEXT, 'code': TEXT, 'title': TEXT},
    'required': ['message', 'code', 'title'],
    'additionalProperties': False,
}

#: Beside the API: these know nobody, and refuse nothing.
OUTSIDE: Mapping[str, Described] = {
    '/': Described('The versions', {300: Answer('All versions', ref('Versions'))}),
    '/versions': Described('The versions', found(ref('Versions'), 'All versions')),
    PATH: Described('This document', found({'type': 'object'}, 'This document')),
}


def document(schema: ImageSchema) -> dict[str, Any]:
    """The document of a service that has images of this schema; without ``servers``."""
    paths: dict[str, dict[str, Any]] = {}
    for path, one in OUTSIDE.items():
        paths[path] = {'get': {**_operation(one, 'GET', ()), 'security': []}}
    families: dict[str, None] = {}
    for path, method, family, name, _ in routes.TABLE:
        families[family] = None
        one = described.handler(family, name)
        operation = _operation(one, method, ANYBODY)
        suffix = '_head' if method == 'HEAD' else ''
        operation['operationId'] = f'{family}_{name}{suffix}'
        operation['tags'] = [family]
        at = paths.setdefault('/v2' + path, _path_parameters(path))
        at[method.lower()] = operation
    return {
        'openapi': '3.1.0',
        'info': {'title': 'Image API', 'version': 'v2', 'description': ABOUT},
        'security': [{'token': []}],
        'paths': paths,
        'components': {
            'schemas': _schemas(schema, families),
            'responses': {str(status): _refusal(status) for status in sorted(_refusals(paths))},
            'securitySchemes': {
                'token': {'type': 'apiKey', 'in': 'header', 'name': 'X-Auth-Token'}
            },
        },
    }


def _path_parameters(path: str) -> dict[str, Any]:
    """What all methods of a path have in common."""
    names = re.findall(r'{(\w+)}', path)
    if not names:
        return {}
    return {
        'parameters': [
            {'name': name, 'in': 'path', 'required': True, 'schema': {**TEXT, 'minLength': 1}}
            for name in names
        ]
    }


def _operation(one: Described, method: str, always: tuple[int, ...]) -> dict[str, Any]:
    answers: dict[str, Any] = {
        str(status): _answer(answer, method != 'HEAD') for status, answer in one.answers.items()
    }
    for status in sorted({*always, *one.refusals}):
        answers[str(status)] = {'$ref': f'#/components/responses/{status}'}
    operation: dict[str, Any] = {'summary': one.summary, 'responses': answers}
    parameters = [
        *(_parameter(each, 'query') for each in one.query),
        *(_parameter(each, 'header') for each in one.headers),
    ]
    if parameters:
        operation['parameters'] = parameters
    if one.body:
        content = {kind: {'schema': schema} for kind, schema in one.body.items()}
        operation['requestBody'] = {'required': True, 'content': content}
    return operation


def _parameter(one: Parameter, place: str) -> dict[str, Any]:
    schema = {'type': 'array', 'items': one.schema} if one.many else one.schema
    return {'name': one.name, 'in': place, 'description': one.about, 'schema': schema}


def _answer(one: Answer, body: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {'description': one.about}
    if one.schema is not None and body:
        answer['content'] = {one.kind: {'schema': one.schema}}
    if one.headers:
        answer['headers'] = {
            name: {'description': about, 'schema': TEXT} for name, about in one.headers.items()
        }
    return answer


def _refusal(status: int) -> dict[str, Any]:
    kinds = {'application/json': ref('Error'), 'text/plain': TEXT, 'text/html': TEXT}
    answer: dict[str, Any] = {
        'description': http.client.responses[status],
        'content': {kind: {'schema': schema} for kind, schema in kinds.items()},
    }
    if status in HEADERS:
        name, about = HEADERS[status]
        answer['headers'] = {name: {'description': about, 'schema': TEXT}}
    return answer


def _refusals(paths: Mapping[str, Mapping[str, Any]]) -> set[int]:
    return {
        int(status)
        for path in paths.values()
        for name, operation in path.items()
        if name != 'parameters'
        for status, answer in operation['responses'].items()
        if '$ref' in answer
    }


def _schemas(schema: ImageSchema, families: Mapping[str, None]) -> dict[str, Any]:
    schemas: dict[str, Any] = {'Error': ERROR, 'Versions': VERSIONS}
    schemas['Image'] = _image(schema)
    schemas['NewImage'] = _new_image(schema)
    for family in families:
        schemas.update(getattr(described.family(family), 'SCHEMAS', {}))
    return schemas


#: What an image has in an answer only where there is something to tell.
SOMETIMES = frozenset({'direct_url', 'stores', 'locations'})


def _image(schema: ImageSchema) -> dict[str, Any]:
    """An image in an answer: it may be older than today's limits, formats and operator's file."""
    properties = {name: _loose(name, one) for name, one in schema.base.items()}
    return {
        'type': 'object',
        'properties': properties,
        'required': [name for name in properties if name not in SOMETIMES],
        'additionalProperties': {'type': ['string', 'null']},
    }


def _loose(name: str, one: Mapping[str, Any]) -> dict[str, Any]:
    keep = {'type', 'description'} | ({'enum'} if name in ('status', 'visibility') else set())
    loose = {word: value for word, value in one.items() if word in keep}
    if name == 'tags':
        loose['items'] = TEXT
    if name == 'locations':
        loose['items'] = ref('Location')
    if name in ('min_ram', 'min_disk', 'size'):
        loose['minimum'] = 0
    return loose


def _new_image(schema: ImageSchema) -> dict[str, Any]:
    """A body that registers an image."""
    properties = {
        name: dict(one)
        for name, one in schema.document['properties'].items()
        if name not in attributes.NOT_WRITABLE and name != 'locations'
    }
    for name in ('min_ram', 'min_disk'):
        properties[name].update(COUNT, maximum=attributes.LARGEST)
    return {
        'type': 'object',
        'properties': properties,
        'required': sorted(schema.required),
        'additionalProperties': {'type': 'string'},
    }
