# SPDX-License-Identifier: Apache-2.0
"""Metadata definitions as the layer ``notifier`` sees them: events with Glance's payloads."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oslo_utils import timeutils

from glance_lite.layer import Layer
from glance_lite.metadefs.model import KINDS, Association, Definition, Namespace, Object, Property
from glance_lite.metadefs.properties import shown

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.metadefs.model import Tag

#: What an event says of a property.
_SCHEMA = (
    'type', 'title', 'description', 'default', 'minimum', 'maximum', 'enum', 'pattern', 'minLength',
    'maxLength', 'confidential', 'items', 'uniqueItems', 'minItems', 'maxItems', 'additionalItems',
)  # fmt: skip

#: Kind -> how the event calls all of them.
_PLURALS = {'object': 'objects', 'property': 'properties', 'tag': 'tags'}


class MetadefNotifier(Layer):
    """Announces what has changed in the metadata definitions."""

    def send(self, ctx: RequestContext, event: str, payload: Any, error: bool = False) -> None:
        """Send unless the event or its group is disabled. Never raises."""
        raise AssertionError('the layer itself knows the bus')

    def create_namespace(self, ctx: RequestContext, new: Namespace) -> Namespace:
        made = self.next.create_namespace(ctx, new)
        self.send(ctx, 'metadef_namespace.create', namespace_payload(made))
        for kind in KINDS:
            for one in made.contents.get(kind, ()):
                stamped = one.replace(created_at=made.created_at, updated_at=made.updated_at)
                self._send_one(ctx, 'create', made.namespace, stamped)
        return made

    def update_namespace(self, ctx: RequestContext, namespace: str, new: Namespace) -> Namespace:
        changed = self.next.update_namespace(ctx, namespace, new)
        payload = {**namespace_payload(changed), 'namespace_old': namespace}
        self.send(ctx, 'metadef_namespace.update', payload)
        return changed

    def delete_namespace(self, ctx: RequestContext, namespace: str) -> Namespace:
        gone = self.next.delete_namespace(ctx, namespace)
        self.send(ctx, 'metadef_namespace.delete', {**namespace_payload(gone), **_deleted()})
        return gone

    def clear_namespace(self, ctx: RequestContext, namespace: str, kind: str) -> Namespace:
        cleared = self.next.clear_namespace(ctx, namespace, kind)
        if kind in _PLURALS:
            event = f'metadef_namespace.delete_{_PLURALS[kind]}'
            self.send(ctx, event, namespace_payload(cleared))
        return cleared

    def add_definition(self, ctx: RequestContext, namespace: str, new: Definition) -> Definition:
        made = self.next.add_definition(ctx, namespace, new)
        self._send_one(ctx, 'create', namespace, made)
        return made

    def update_definition(
        self, ctx: RequestContext, namespace: str, item: str, new: Definition
    ) -> Definition:
        changed = self.next.update_definition(ctx, namespace, item, new)
        self._send_one(ctx, 'update', namespace, changed, {'name_old': item})
        return changed

    def delete_definition(
        self, ctx: RequestContext, namespace: str, kind: str, item: str
    ) -> Definition:
        gone = self.next.delete_definition(ctx, namespace, kind, item)
        self._send_one(ctx, 'delete', namespace, gone, _deleted())
        return gone

    def set_tags(
        self, ctx: RequestContext, namespace: str, tags: tuple[Tag, ...], append: bool
    ) -> tuple[Definition, ...]:
        made = self.next.set_tags(ctx, namespace, tags, append)
        for tag in made:
            self._send_one(ctx, 'create', namespace, tag)
        return made

    def _send_one(
        self,
        ctx: RequestContext,
        verb: str,
        namespace: str,
        one: Definition,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        payload = {**definition_payload(namespace, one), **(more or {})}
        self.send(ctx, f'metadef_{one.kind}.{verb}', payload)


def _deleted() -> dict[str, Any]:
    return {'deleted': True, 'deleted_at': _time(timeutils.utcnow())}


def _time(value: datetime.datetime | None) -> str | None:
    return None if value is None else value.strftime('%Y-%m-%dT%H:%M:%SZ')


def namespace_payload(namespace: Namespace) -> dict[str, Any]:
    """What an event says of a namespace."""
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


def definition_payload(namespace: str, one: Definition) -> dict[str, Any]:
    """What an event says of something in a namespace."""
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
                _property_payload(name, schema) for name, schema in (one.properties or {}).items()
            ],
            'required': None if one.required is None else list(one.required),
            'description': one.description,
        }
    elif isinstance(one, Association):
        payload |= {'prefix': one.prefix, 'properties_target': one.properties_target}
    return payload


def _property_payload(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Within an object, where Glance says None for whatever is empty or zero."""
    known = shown(schema)
    return {'name': name, **{key: known.get(key) or None for key in _SCHEMA}}
