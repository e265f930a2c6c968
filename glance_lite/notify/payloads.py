# SPDX-License-Identifier: Apache-2.0
"""What events say of images, members, tasks and metadata definitions: Glance's fields.

An image's has neither its locations nor its multihash, a task's neither what it was given nor what
came of it.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from oslo_utils import timeutils

from glance_lite.metadefs.model import Association, Definition, Namespace, Object, Property
from glance_lite.metadefs.properties import shown
from glance_lite.model import Image, Member
from glance_lite.tasks import Task

#: What an event says of a property.
_SCHEMA = (
    'type', 'title', 'description', 'default', 'minimum', 'maximum', 'enum', 'pattern', 'minLength',
    'maxLength', 'confidential', 'items', 'uniqueItems', 'minItems', 'maxItems', 'additionalItems',
)  # fmt: skip

#: What events say of the stores that an import is to copy to, from reserved properties.
_IMPORTS = ('os_glance_importing_to_stores', 'os_glance_failed_import')


def payloads(event: str, value: Any, more: Mapping[str, Any]) -> list[Any]:
    """The payloads of an event about `value`, which is of `kind_of` the event, or a text.

    Of metadata definitions it is a namespace that contains one or several.
    """
    if isinstance(value, str):
        return [value]
    group, _, verb = event.rpartition('.')
    made: list[dict[str, Any]]
    if group in _DEFINITIONS:
        found = value.contents.get(_DEFINITIONS[group], ())
        made = [_definition(value.namespace, one) for one in found]
    else:
        made = [_MAKERS[group][1](value)]
    for payload in made:
        if event in ('image.prepare', 'image.upload'):
            payload |= _stores(value)
        payload |= more
        if verb == 'delete':
            payload |= {'deleted': True, 'deleted_at': _time(timeutils.utcnow())}
    return list(made)


def kind_of(event: str) -> type:
    """What an event is about."""
    group = event.rpartition('.')[0]
    return Namespace if group in _DEFINITIONS else _MAKERS[group][0]


def _time(value: datetime.datetime | None) -> str | None:
    return None if value is None else value.strftime('%Y-%m-%dT%H:%M:%SZ')


def _stores(image: Image) -> dict[str, Any]:
    found = {name: image.properties.get(name) or '' for name in _IMPORTS}
    return {name: text.split(',') if text else [] for name, text in found.items()}


def _image(image: Image) -> dict[str, Any]:
    return {
        'id': image.id,
        'name': image.name,
        'status': image.status,
        'created_at': _time(image.created_at),
        'updated_at': _time(image.updated_at),
        'min_disk': image.min_disk,
        'min_ram': image.min_ram,
        'protected': image.protected,
        'checksum': image.checksum,
        'owner': image.owner,
        'disk_format': image.disk_format,
        'container_format': image.container_format,
        'size': image.size,
        'virtual_size': image.virtual_size,
        'is_public': image.visibility == 'public',
        'visibility': image.visibility,
        'properties': dict(image.properties),
        'tags': list(image.tags),
        'deleted': False,
        'deleted_at': None,
    }


def _member(member: Member) -> dict[str, Any]:
    return {
        'image_id': member.image_id,
        'member_id': member.member_id,
        'status': member.status,
        'created_at': _time(member.created_at),
        'updated_at': _time(member.updated_at),
        'deleted': False,
        'deleted_at': None,
    }


def _task(task: Task) -> dict[str, Any]:
    return {
        'id': task.id,
        'type': task.type,
        'status': task.status,
        'result': None,
        'owner': task.owner,
        'message': None,
        'expires_at': _time(task.expires_at),
        'created_at': _time(task.created_at),
        'updated_at': _time(task.updated_at),
        'deleted': False,
        'deleted_at': None,
    }


def _namespace(namespace: Namespace) -> dict[str, Any]:
    return {
        'namespace': namespace.namespace,
        'namespace_old': namespace.namespace,
        'display_name': namespace.display_name,
        'protected': namespace.protected,
        'visibility': namespace.visibility,
        'owner': namespace.owner,
        'description': namespace.description,
        'created_at': _time(namespace.created_at),
        'updated_at': _time(namespace.updated_at),
        'deleted': False,
        'deleted_at': None,
    }


def _definition(namespace: str, one: Definition) -> dict[str, Any]:
    payload = {
        'namespace': namespace,
        'name': one.name,
        'name_old': one.name,
        'deleted': False,
        'deleted_at': None,
    }
    if isinstance(one, Property):
        schema = shown(one.schema)
        return {**payload, **{name: schema.get(name) for name in _SCHEMA}}
    payload |= {'created_at': _time(one.created_at), 'updated_at': _time(one.updated_at)}
    if isinstance(one, Object):
        payload |= {
            'properties': [
                _property(name, schema) for name, schema in (one.properties or {}).items()
            ],
            'required': None if one.required is None else list(one.required),
            'description': one.description,
        }
    elif isinstance(one, Association):
        payload |= {'prefix': one.prefix, 'properties_target': one.properties_target}
    return payload


def _property(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Within an object, where Glance says None for whatever is empty or zero."""
    known = shown(schema)
    return {'name': name, **{key: known.get(key) or None for key in _SCHEMA}}


#: Group of events -> what it is about, and what makes a payload of that.
_MAKERS: dict[str, tuple[type, Callable[[Any], dict[str, Any]]]] = {
    'image': (Image, _image),
    'image.member': (Member, _member),
    'task': (Task, _task),
    'metadef_namespace': (Namespace, _namespace),
}

#: Group of events -> the kind of definition.
_DEFINITIONS = {f'metadef_{kind}': kind for kind in ('object', 'property', 'tag', 'resource_type')}
