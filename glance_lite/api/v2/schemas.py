# SPDX-License-Identifier: Apache-2.0
"""JSON schemas: the documents clients read, and the checks of what clients send.

The shape is the Image API's: clients build their models from these documents. An operator adds
properties in ``schema-image.json``, which is either a map of properties or, to demand some of
them, ``{"properties": {...}, "required": [...]}``.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jsonschema
import webob

from glance_lite.api import http
from glance_lite.errors import ConfigurationError, Invalid
from glance_lite.model import MEMBER_STATUSES
from glance_lite.tasks import STATUSES as STATUSES_OF_TASK
from glance_lite.tasks import TYPES

if TYPE_CHECKING:
    from oslo_config import cfg

UUID = '^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$'

STATUSES = (
    'queued', 'saving', 'active', 'killed', 'deleted', 'uploading', 'importing',
    'pending_delete', 'deactivated',
)  # fmt: skip

#: File of the operator's own properties, beside the configuration.
SCHEMA_FILE = 'schema-image.json'


def _text(description: str, longest: int | None = None, null: bool = False, **more: Any) -> Any:
    found: dict[str, Any] = {'type': ['null', 'string'] if null else 'string', **more}
    found['description'] = description
    if longest is not None:
        found['maxLength'] = longest
    return found


def _read_only(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, 'readOnly': True}


def base_properties(conf: cfg.ConfigOpts) -> dict[str, Any]:
    """The attributes every image has."""
    formats = conf.image_format
    nullable = ['null', 'string']
    count = {'type': ['null', 'integer']}
    return {
        'id': _text('Identifier of the image', pattern=UUID),
        'name': _text('Name for people', 255, null=True),
        'status': _read_only(_text('State of the image', enum=list(STATUSES))),
        'visibility': _text(
            'Who may see the image', enum=['community', 'public', 'private', 'shared']
        ),
        'protected': {'type': 'boolean', 'description': 'Whether the image cannot be deleted'},
        'os_hidden': {
            'type': 'boolean',
            'description': 'Whether the image is left out of the default list',
        },
        'checksum': _read_only(_text('MD5 of the data', 32, null=True)),
        'os_hash_algo': _read_only(_text('Algorithm of os_hash_value', 64, null=True)),
        'os_hash_value': _read_only(
            _text('Hexadecimal digest of the data by os_hash_algo', 128, null=True)
        ),
        'owner': _text('Project that owns the image', 255, null=True),
        'size': _read_only({**count, 'description': 'Size of the data in bytes'}),
        'virtual_size': _read_only(
            {**count, 'description': 'Size in bytes of the disk that the image describes'}
        ),
        'container_format': {
            'type': nullable,
            'description': 'What the disk is packed in',
            'enum': [None, *formats.container_formats],
        },
        'disk_format': {
            'type': nullable,
            'description': 'Format of the disk',
            'enum': [None, *formats.disk_formats],
        },
        'created_at': _read_only(_text('When the image was registered')),
        'updated_at': _read_only(_text('When the image was last changed')),
        'tags': {
            'type': 'array',
            'description': 'Words that belong to the image',
            'items': {'type': 'string', 'maxLength': 255},
        },
        'direct_url': _read_only(_text('Where the store keeps the data')),
        'min_ram': {'type': 'integer', 'description': 'Memory needed to boot, in MiB'},
        'min_disk': {'type': 'integer', 'description': 'Disk needed to boot, in GiB'},
        'self': _read_only(_text('Link to the image')),
        'file': _read_only(_text('Link to the data')),
        'stores': _read_only(
            _text('Ids of the stores that hold the data, separated by commas, where there are '
                  'several stores')
        ),
        'schema': _read_only(_text('Link to this schema')),
        'locations': {
            'type': 'array',
            'description': 'Where the data can be read',
            'items': {
                'type': 'object',
                'properties': {
                    'url': {'type': 'string', 'maxLength': 255},
                    'metadata': {'type': 'object'},
                    'validation_data': {
                        'type': 'object',
                        'description': 'Checksums of the data. Once the image is past queued '
                        'they must be those it has.',
                        'writeOnly': True,
                        'additionalProperties': False,
                        'properties': {
                            'checksum': {'type': 'string', 'minLength': 32, 'maxLength': 32},
                            'os_hash_algo': {'type': 'string', 'maxLength': 64},
                            'os_hash_value': {'type': 'string', 'maxLength': 128},
                        },
                        'required': ['os_hash_algo', 'os_hash_value'],
                    },
                },
                'required': ['url', 'metadata'],
            },
        },
    }  # fmt: skip


IMAGE_LINKS = [
    {'rel': 'self', 'href': '{self}'},
    {'rel': 'enclosure', 'href': '{file}'},
    {'rel': 'describedby', 'href': '{schema}'},
]
PAGE_LINKS = [
    {'rel': 'first', 'href': '{first}'},
    {'rel': 'next', 'href': '{next}'},
    {'rel': 'describedby', 'href': '{schema}'},
]

MEMBER: dict[str, Any] = {
    'name': 'member',
    'properties': {
        'member_id': _text('Project with which the image is shared'),
        'image_id': _text('Identifier of the image', pattern=UUID),
        'created_at': _text('When the image was shared'),
        'updated_at': _text('When the membership was last changed'),
        'status': _text('Answer of the project', enum=list(MEMBER_STATUSES)),
        'schema': {'readOnly': True, 'type': 'string'},
    },
}
MEMBERS: dict[str, Any] = {
    'name': 'members',
    'properties': {
        'members': {'type': 'array', 'items': MEMBER},
        'schema': {'type': 'string'},
    },
    'links': [{'rel': 'describedby', 'href': '{schema}'}],
}

_ID = _text('Identifier of the task', pattern=UUID)
_LINK = {'readOnly': True, 'type': 'string'}
_OBJECT: dict[str, Any] = {'type': ['null', 'object']}
_TASK_BEGIN: dict[str, Any] = {
    'id': _ID,
    'type': _text('What is to be done', enum=list(TYPES)),
    'status': _text('How far it has come', enum=list(STATUSES_OF_TASK)),
}
_TASK_END: dict[str, Any] = {
    'image_id': _text('Image that it is about'),
    'request_id': _text('Id of the request that asked for it'),
    'user_id': _text('User who asked for it'),
    'expires_at': _text('When it goes', null=True),
    'created_at': _text('When it was asked for'),
    'updated_at': _text('When it last changed'),
    'self': _LINK,
    'schema': _LINK,
}
_OWNER = {'owner': _text('Project that asked for it')}
TASK: dict[str, Any] = {
    'name': 'task',
    'properties': {
        **_TASK_BEGIN,
        'input': {**_OBJECT, 'description': 'What it was given'},
        'result': {**_OBJECT, 'description': 'What came of it'},
        **_OWNER,
        'message': _text('Why it failed, for people'),
        **_TASK_END,
    },
}
TASKS: dict[str, Any] = {
    'name': 'tasks',
    'properties': {
        'tasks': {
            'type': 'array',
            'items': {'name': 'task', 'properties': {**_TASK_BEGIN, **_OWNER, **_TASK_END}},
        },
        'schema': {'type': 'string'},
    },
    'links': [{'rel': 'describedby', 'href': '{schema}'}],
}


def operator_file(conf: cfg.ConfigOpts) -> tuple[dict[str, Any], list[str]]:
    """(properties, required ones) of the operator's file. Raises `ConfigurationError`."""
    path = conf.find_file(SCHEMA_FILE)
    if path is None:
        return {}, []
    try:
        value = json.loads(pathlib.Path(path).read_text())
    except (OSError, ValueError) as ex:
        raise ConfigurationError(f'{path} cannot be read: {ex}') from ex
    required: Any = []
    if isinstance(value, dict) and isinstance(value.get('required'), list):
        required, value = value['required'], value.get('properties', {})
    elif isinstance(value, dict) and set(value) == {'properties'}:
        value = value['properties']
    if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
        raise ConfigurationError(f'{path} is not a map of properties to their schemas')
    unknown = [name for name in required if name not in value]
    if unknown:
        raise ConfigurationError(f'{path}: required names {unknown[0]}, which is not a property')
    try:
        jsonschema.Draft4Validator.check_schema({'properties': value})
    except jsonschema.SchemaError as ex:
        raise ConfigurationError(f'{path} is not a JSON schema: {ex.message}') from ex
    for name, one in value.items():
        kinds = one.get('type', 'string')
        if not set([kinds] if isinstance(kinds, str) else kinds) <= {'string', 'null'}:
            raise ConfigurationError(f'{path}: property {name} has the type {kinds}, not string')
    return value, required


class Checker:
    """A schema, compiled: says in one sentence what is wrong with a value."""

    def __init__(
        self, schema: Mapping[str, Any], what: str, draft: Any = jsonschema.Draft4Validator
    ) -> None:
        self._validator = draft(dict(schema))
        self._what = what

    def __call__(self, value: Any) -> None:
        """Raises `Invalid`."""
        for error in self._validator.iter_errors(value):
            where = '.'.join(str(part) for part in error.absolute_path)
            reason = error.message if len(error.message) < 300 else 'is not as the schema wants it'
            raise Invalid(f'{self._what} is not valid: {where + ": " if where else ""}{reason}')


class ImageSchema:
    """What an image looks like here: the document and the checks made of it."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        #: the attributes every image has
        base = self.base = base_properties(conf)
        added, required = operator_file(conf)
        self.required = frozenset(required)
        # The operator's file describes custom properties; the service's own stay as they are.
        properties = {**base, **{name: one for name, one in added.items() if name not in base}}
        self.document: dict[str, Any] = {
            'name': 'image',
            'properties': properties,
            'additionalProperties': {'type': 'string'},
            'links': IMAGE_LINKS,
        }
        if required:
            self.document['required'] = required
        #: checks a body of a new image
        self.check_new = Checker(self.document, 'The image')
        #: checks attributes or properties one by one, so that none is missing
        self.check_some = Checker(
            {name: part for name, part in self.document.items() if name != 'required'},
            'The image',
        )

    @property
    def collection(self) -> dict[str, Any]:
        return {
            'name': 'images',
            'properties': {
                'images': {'type': 'array', 'items': self.document},
                'first': {'type': 'string'},
                'next': {'type': 'string'},
                'schema': {'type': 'string'},
            },
            'links': PAGE_LINKS,
        }


check_member = Checker({'properties': MEMBER['properties']}, 'The member')


class Schemas:
    """``/v2/schemas/...``: made once, at start."""

    def __init__(self, image: ImageSchema) -> None:
        documents = {
            'image': image.document,
            'images': image.collection,
            'member': MEMBER,
            'members': MEMBERS,
            'task': TASK,
            'tasks': TASKS,
        }
        self._bodies = {name: json.dumps(value).encode() for name, value in documents.items()}

    def image(self, request: webob.Request) -> webob.Response:
        return http.json_bytes(self._bodies['image'])

    def images(self, request: webob.Request) -> webob.Response:
        return http.json_bytes(self._bodies['images'])

    def member(self, request: webob.Request) -> webob.Response:
        return http.json_bytes(self._bodies['member'])

    def members(self, request: webob.Request) -> webob.Response:
        return http.json_bytes(self._bodies['members'])

    def task(self, request: webob.Request) -> webob.Response:
        return http.json_bytes(self._bodies['task'])

    def tasks(self, request: webob.Request) -> webob.Response:
        return http.json_bytes(self._bodies['tasks'])
