# SPDX-License-Identifier: Apache-2.0
"""Namespaces of metadata definitions as JSON files, one namespace each, as Glance has them.

Properties are taken as they are written: the API shows what it has words for.
"""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterable
from typing import Any

import jsonschema

from glance_lite.errors import Invalid
from glance_lite.metadefs.model import (
    LONGEST_NAME,
    VISIBILITIES,
    Association,
    Namespace,
    Object,
    Property,
    Tag,
)

#: Owner of a namespace whose file names none.
OWNER = 'admin'

_NAME = {'type': 'string', 'minLength': 1, 'maxLength': LONGEST_NAME}
_OPTIONAL_NAME = {'type': ['string', 'null'], 'maxLength': LONGEST_NAME}
_OPTIONAL_TEXT = {'type': ['string', 'null']}
_SCHEMAS = {'type': ['object', 'null'], 'additionalProperties': {'type': 'object'}}


def _several(**properties: Any) -> dict[str, Any]:
    one = {'type': 'object', 'required': ['name'], 'properties': {'name': _NAME, **properties}}
    return {'type': 'array', 'items': one}


_FILE = jsonschema.Draft202012Validator(
    {
        'type': 'object',
        'required': ['namespace'],
        'properties': {
            'namespace': _NAME,
            'display_name': _OPTIONAL_NAME,
            'description': _OPTIONAL_TEXT,
            'visibility': {'enum': [*VISIBILITIES, None]},
            'protected': {'type': ['boolean', 'null']},
            'owner': {'type': 'string', 'minLength': 1, 'maxLength': 255},
            'resource_type_associations': _several(
                prefix=_OPTIONAL_NAME, properties_target=_OPTIONAL_NAME
            ),
            'properties': {
                'type': 'object',
                'propertyNames': {'maxLength': LONGEST_NAME},
                'additionalProperties': {'type': 'object'},
            },
            'objects': _several(
                description=_OPTIONAL_TEXT,
                required={'type': ['array', 'null'], 'items': {'type': 'string'}},
                properties=_SCHEMAS,
            ),
            'tags': _several(),
        },
    }
)


def files(path: pathlib.Path) -> list[pathlib.Path]:
    """The file itself, or the JSON files of a directory. `Invalid`: there are none."""
    if path.is_file():
        return [path]
    found = sorted(one for one in path.glob('*.json') if one.is_file())
    if not found:
        raise Invalid(f'{path} is no file, and no directory with JSON files in it')
    return found


def read(path: pathlib.Path) -> Namespace:
    """The namespace in a file. `Invalid`, naming the file."""
    try:
        given = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as ex:
        raise Invalid(f'{path} cannot be read: {ex}') from None
    for error in _FILE.iter_errors(given):
        where = '.'.join(str(part) for part in error.absolute_path)
        reason = error.message if len(error.message) < 300 else 'is not as it should be'
        raise Invalid(f'{path} is not a namespace: {where + ": " if where else ""}{reason}')
    return Namespace(
        given['namespace'],
        given.get('display_name'),
        given.get('description'),
        given.get('visibility'),
        given.get('protected'),
        given.get('owner', OWNER),
        contents={
            'resource_type': tuple(
                Association(one['name'], one.get('prefix'), one.get('properties_target'))
                for one in given.get('resource_type_associations', ())
            ),
            'property': tuple(
                Property(name, schema) for name, schema in given.get('properties', {}).items()
            ),
            'object': tuple(_object(one) for one in given.get('objects', ())),
            'tag': tuple(Tag(one['name']) for one in given.get('tags', ())),
        },
    )


def _object(given: dict[str, Any]) -> Object:
    required = given.get('required')
    return Object(
        given['name'],
        given.get('description'),
        None if required is None else tuple(required),
        given.get('properties'),
    )


def document(namespace: Namespace) -> dict[str, Any]:
    """What a file says of a namespace: all there is, so that loading it gives the same again."""

    def within(kind: str) -> list[Any]:
        return sorted(namespace.contents.get(kind, ()), key=lambda one: one.name)

    return {
        'namespace': namespace.namespace,
        'display_name': namespace.display_name,
        'description': namespace.description,
        'visibility': namespace.visibility,
        'protected': namespace.protected,
        'owner': namespace.owner,
        'resource_type_associations': [
            {
                'name': one.name,
                'prefix': one.prefix,
                'properties_target': one.properties_target,
            }
            for one in within('resource_type')
        ],
        'properties': {one.name: one.schema for one in within('property')},
        'objects': [_object_document(one) for one in within('object')],
        'tags': [{'name': one.name} for one in within('tag')],
    }


def _object_document(one: Object) -> dict[str, Any]:
    found: dict[str, Any] = {
        'name': one.name,
        'description': one.description,
        'properties': one.properties or {},
    }
    if one.required:
        found['required'] = list(one.required)
    return found


def write(directory: pathlib.Path, namespaces: Iterable[Namespace]) -> list[pathlib.Path]:
    """One file for each, in an existing directory; what was in it under that name is replaced.

    `Invalid`: it cannot be written to.
    """
    if not directory.is_dir():
        raise Invalid(f'{directory} is not a directory')
    written: list[pathlib.Path] = []
    taken: set[str] = set()
    for namespace in namespaces:
        path = directory / _file_name(namespace, taken)
        text = json.dumps(document(namespace), indent=4) + '\n'
        try:
            path.write_text(text, encoding='utf-8')
        except OSError as ex:
            raise Invalid(f'{path} cannot be written: {ex.strerror}') from None
        written.append(path)
    return written


def _file_name(namespace: Namespace, taken: set[str]) -> str:
    """By the display name, letters and digits only; of two that would have the same, both stay."""
    stems = [_bare(namespace.display_name or ''), _bare(namespace.namespace), 'namespace']
    stem = next(one for one in stems if one)
    number = 1
    name = stem
    while name.casefold() in taken:
        number += 1
        name = f'{stem}-{number}'
    taken.add(name.casefold())
    return f'{name}.json'


def _bare(name: str) -> str:
    return re.sub(r'[\W_]+', '', name)
