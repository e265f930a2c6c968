# SPDX-License-Identifier: Apache-2.0
"""Metadata definitions as the layer ``policy`` sees them: which rule decides on what.

Every rule is asked about the namespace. Where it refuses, ``get_metadef_namespace`` is asked as
well: what that hides is not found (404), all else is forbidden (403).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from glance_lite.errors import Forbidden, NotFound
from glance_lite.layer import Layer
from glance_lite.metadefs.model import NamespacePage

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.metadefs.model import (
        Association,
        Definition,
        Namespace,
        NamespaceQuery,
        Paging,
        Tag,
    )
    from glance_lite.policy.enforcer import Enforcer

SEE = 'get_metadef_namespace'


class Rules(NamedTuple):
    """The rules on definitions of one kind."""

    see: str
    list: str
    add: str
    remove: str
    #: of resource types there is nothing to change
    modify: str = ''
    #: to remove all of them
    clear: tuple[str, ...] = ('delete_metadef_namespace',)


RULES: Mapping[str, Rules] = {
    'object': Rules(
        'get_metadef_object',
        'get_metadef_objects',
        'add_metadef_object',
        'delete_metadef_object',
        'modify_metadef_object',
    ),
    'property': Rules(
        'get_metadef_property',
        'get_metadef_properties',
        'add_metadef_property',
        'remove_metadef_property',
        'modify_metadef_property',
    ),
    'tag': Rules(
        'get_metadef_tag',
        'get_metadef_tags',
        'add_metadef_tag',
        'delete_metadef_tag',
        'modify_metadef_tag',
        ('delete_metadef_namespace', 'delete_metadef_tags'),
    ),
    'resource_type': Rules(
        'get_metadef_resource_type',
        'list_metadef_resource_types',
        'add_metadef_resource_type_association',
        'remove_metadef_resource_type_association',
        '',
        ('delete_metadef_namespace', 'remove_metadef_resource_type_association'),
    ),
}

#: What a namespace is shown with is asked for in this order.
SHOWN = ('resource_type', 'object', 'property', 'tag')


class MetadefPolicy(Layer):
    """Asks the enforcer before each operation on metadata definitions."""

    _enforcer: Enforcer

    def _ask(
        self, ctx: RequestContext, target: Mapping[str, Any], rules: tuple[str, ...], hidden: str
    ) -> None:
        allowed = self._enforcer.allowed
        for rule in rules:
            if not allowed(ctx, rule, target):
                if rule == SEE or not allowed(ctx, SEE, target):
                    raise NotFound(hidden)
                raise Forbidden(f'You are not allowed to do this ({rule})')

    def _decide(self, ctx: RequestContext, namespace: Namespace, *rules: str) -> None:
        hidden = f'There is no namespace {namespace.namespace}'
        self._ask(ctx, _target(namespace), rules, hidden)

    def _general(self, ctx: RequestContext, *rules: str) -> None:
        """Of what is in no namespace yet."""
        target = {'project_id': ctx.project_id}
        self._ask(ctx, target, rules, 'There are no metadata definitions')

    def _alter(self, ctx: RequestContext, namespace: str, *rules: str) -> None:
        self._decide(ctx, self.next.peek_namespace(ctx, namespace), *rules)

    # --- namespaces

    def list_namespaces(self, ctx: RequestContext, query: NamespaceQuery) -> NamespacePage:
        self._general(ctx, 'get_metadef_namespaces', RULES['resource_type'].list)
        page = self.next.list_namespaces(ctx, query)
        allowed = self._enforcer.allowed
        seen = [one for one in page.namespaces if allowed(ctx, SEE, _target(one))]
        return NamespacePage(seen, page.full, page.marker)

    def get_namespace(self, ctx: RequestContext, namespace: str) -> Namespace:
        found = self.next.get_namespace(ctx, namespace)
        self._decide(ctx, found, SEE, *(RULES[kind].list for kind in SHOWN))
        return found

    def create_namespace(self, ctx: RequestContext, new: Namespace) -> Namespace:
        within = [RULES[kind].add for kind, some in new.contents.items() if some]
        self._general(ctx, 'add_metadef_namespace', *within)
        return self.next.create_namespace(ctx, new)

    def update_namespace(self, ctx: RequestContext, namespace: str, new: Namespace) -> Namespace:
        self._alter(ctx, namespace, 'modify_metadef_namespace')
        return self.next.update_namespace(ctx, namespace, new)

    def delete_namespace(self, ctx: RequestContext, namespace: str) -> Namespace:
        self._alter(ctx, namespace, 'delete_metadef_namespace')
        return self.next.delete_namespace(ctx, namespace)

    def clear_namespace(self, ctx: RequestContext, namespace: str, kind: str) -> Namespace:
        self._alter(ctx, namespace, *RULES[kind].clear)
        return self.next.clear_namespace(ctx, namespace, kind)

    # --- what is in them

    def list_definitions(
        self, ctx: RequestContext, namespace: str, kind: str, paging: Paging
    ) -> tuple[Definition, ...]:
        space = self.next.peek_namespace(ctx, namespace)
        rules = RULES[kind]
        self._decide(ctx, space, rules.list)
        found = self.next.list_definitions(ctx, namespace, kind, paging)
        one_by_one = kind in ('object', 'resource_type')
        if one_by_one and not self._enforcer.allowed(ctx, rules.see, _target(space)):
            return ()
        return found

    def get_definition(
        self, ctx: RequestContext, namespace: str, kind: str, item: str
    ) -> Definition:
        self._alter(ctx, namespace, RULES[kind].see)
        return self.next.get_definition(ctx, namespace, kind, item)

    def add_definition(self, ctx: RequestContext, namespace: str, new: Definition) -> Definition:
        self._alter(ctx, namespace, RULES[new.kind].add)
        return self.next.add_definition(ctx, namespace, new)

    def update_definition(
        self, ctx: RequestContext, namespace: str, item: str, new: Definition
    ) -> Definition:
        self._alter(ctx, namespace, RULES[new.kind].modify)
        return self.next.update_definition(ctx, namespace, item, new)

    def delete_definition(
        self, ctx: RequestContext, namespace: str, kind: str, item: str
    ) -> Definition:
        self._alter(ctx, namespace, RULES[kind].remove)
        return self.next.delete_definition(ctx, namespace, kind, item)

    def set_tags(
        self, ctx: RequestContext, namespace: str, tags: tuple[Tag, ...], append: bool
    ) -> tuple[Definition, ...]:
        self._alter(ctx, namespace, 'add_metadef_tags')
        return self.next.set_tags(ctx, namespace, tags, append)

    def list_resource_types(self, ctx: RequestContext) -> tuple[Association, ...]:
        self._general(ctx, RULES['resource_type'].list)
        return self.next.list_resource_types(ctx)


def _target(namespace: Namespace) -> dict[str, Any]:
    return {'project_id': namespace.owner, 'visibility': namespace.visibility}
