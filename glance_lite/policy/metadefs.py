# SPDX-License-Identifier: Apache-2.0
"""Rules for the metadata definitions."""

from __future__ import annotations

from oslo_policy import policy

from glance_lite.policy.base import ADMIN, ADMIN_OR_NAMESPACE_READER, ADMIN_OR_READER, rule

_NAMESPACES = '/v2/metadefs/namespaces'
_NAMESPACE = '/v2/metadefs/namespaces/{namespace_name}'
_REASON = 'Reading metadata definitions distinguishes projects and roles.'


def _reading(
    name: str, description: str, operation: str, check: str = ADMIN_OR_NAMESPACE_READER
) -> policy.DocumentedRuleDefault:
    return rule(
        name,
        check,
        description,
        operation,
        before='rule:metadef_default',
        since='Xena',
        reason=_REASON,
    )


def _writing(name: str, description: str, operation: str) -> policy.DocumentedRuleDefault:
    return rule(name, 'rule:metadef_admin', description, operation)


def _family(noun: str, plural: str, path: str, item: str) -> list[policy.RuleDefault]:
    """The rules that objects, properties and tags of a namespace have in common."""
    return [
        _reading(f'get_metadef_{noun}', f'See one {noun}.', f'GET {_NAMESPACE}/{path}/{item}'),
        _reading(f'get_metadef_{plural}', f'List {plural}.', f'GET {_NAMESPACE}/{path}'),
        _writing(f'modify_metadef_{noun}', f'Change a {noun}.', f'PUT {_NAMESPACE}/{path}/{item}'),
    ]


RULES: list[policy.RuleDefault] = [
    policy.RuleDefault('metadef_default', '', description='Who could read before Xena.'),
    policy.RuleDefault('metadef_admin', ADMIN, description='Who defines metadata.'),
    _reading('get_metadef_namespace', 'See a namespace.', f'GET {_NAMESPACE}'),
    _reading('get_metadef_namespaces', 'List namespaces.', f'GET {_NAMESPACES}', ADMIN_OR_READER),
    _writing('modify_metadef_namespace', 'Change a namespace.', f'PUT {_NAMESPACE}'),
    _writing('add_metadef_namespace', 'Create a namespace.', f'POST {_NAMESPACES}'),
    _writing('delete_metadef_namespace', 'Delete a namespace.', f'DELETE {_NAMESPACE}'),
    *_family('object', 'objects', 'objects', '{object_name}'),
    _writing('add_metadef_object', 'Create an object.', f'POST {_NAMESPACE}/objects'),
    _writing(
        'delete_metadef_object',
        'Delete an object.',
        f'DELETE {_NAMESPACE}/objects/{{object_name}}',
    ),
    _reading(
        'list_metadef_resource_types', 'List resource types.', 'GET /v2/metadefs/resource_types'
    ),
    _reading(
        'get_metadef_resource_type',
        'See the resource types of a namespace.',
        f'GET {_NAMESPACE}/resource_types',
    ),
    _writing(
        'add_metadef_resource_type_association',
        'Bind a namespace to a resource type.',
        f'POST {_NAMESPACE}/resource_types',
    ),
    _writing(
        'remove_metadef_resource_type_association',
        'Unbind a namespace from a resource type.',
        f'DELETE {_NAMESPACE}/resource_types/{{name}}',
    ),
    *_family('property', 'properties', 'properties', '{property_name}'),
    _writing('add_metadef_property', 'Create a property.', f'POST {_NAMESPACE}/properties'),
    _writing(
        'remove_metadef_property',
        'Delete a property.',
        f'DELETE {_NAMESPACE}/properties/{{property_name}}',
    ),
    *_family('tag', 'tags', 'tags', '{tag_name}'),
    _writing('add_metadef_tag', 'Create a tag.', f'POST {_NAMESPACE}/tags/{{tag_name}}'),
    _writing('add_metadef_tags', 'Replace all tags.', f'POST {_NAMESPACE}/tags'),
    _writing('delete_metadef_tag', 'Delete a tag.', f'DELETE {_NAMESPACE}/tags/{{tag_name}}'),
    _writing('delete_metadef_tags', 'Delete all tags.', f'DELETE {_NAMESPACE}/tags'),
]
