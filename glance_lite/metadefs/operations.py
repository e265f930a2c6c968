# SPDX-License-Identifier: Apache-2.0
"""The operations on metadata definitions, as `glance_lite.operations` has those on images.

`kind` is one of `glance_lite.metadefs.model.KINDS`. A namespace that the caller may not see is
`NotFound` in all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from glance_lite.contract import Family, operation

if TYPE_CHECKING:
    from glance_lite.context import RequestContext
    from glance_lite.metadefs.model import (
        Association,
        Definition,
        Namespace,
        NamespacePage,
        NamespaceQuery,
        Paging,
        Tag,
    )


class MetadefOperations(Family):
    @operation()
    def list_namespaces(self, ctx: RequestContext, query: NamespaceQuery) -> NamespacePage:
        """One page of namespaces with their associations. `NotFound`: unknown marker."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation()
    def get_namespace(self, ctx: RequestContext, namespace: str) -> Namespace:
        """The namespace with everything in it."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(inner=True)
    def peek_namespace(self, ctx: RequestContext, namespace: str) -> Namespace:
        """The namespace without its contents, for a layer that must know it: one read."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def create_namespace(self, ctx: RequestContext, new: Namespace) -> Namespace:
        """A new namespace with its contents, or nothing. `Duplicate`: of it or within it."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def update_namespace(self, ctx: RequestContext, namespace: str, new: Namespace) -> Namespace:
        """Replace its attributes, the name perhaps too; the contents stay. `Duplicate`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def delete_namespace(self, ctx: RequestContext, namespace: str) -> Namespace:
        """Delete it and all in it; the namespace as it was. `Forbidden`: it is protected."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def clear_namespace(self, ctx: RequestContext, namespace: str, kind: str) -> Namespace:
        """Delete all of one kind in it. `Forbidden`: it is protected."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation()
    def list_definitions(
        self, ctx: RequestContext, namespace: str, kind: str, paging: Paging
    ) -> tuple[Definition, ...]:
        """All of one kind in a namespace; a page of its tags. `NotFound`: unknown marker."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation()
    def get_definition(
        self, ctx: RequestContext, namespace: str, kind: str, item: str
    ) -> Definition:
        """The one of that kind whose name is `item`. `NotFound`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def add_definition(self, ctx: RequestContext, namespace: str, new: Definition) -> Definition:
        """One more; a resource type that nobody knew is made. `Duplicate`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def update_definition(
        self, ctx: RequestContext, namespace: str, item: str, new: Definition
    ) -> Definition:
        """Replace the one of `new`'s kind whose name is `item`. `NotFound`, `Duplicate`."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def delete_definition(
        self, ctx: RequestContext, namespace: str, kind: str, item: str
    ) -> Definition:
        """Delete one; as it was. `NotFound`. `Forbidden`: the namespace is protected."""
        return self._unlinked()  # type: ignore[no-any-return]

    @operation(writes=True)
    def set_tags(
        self, ctx: RequestContext, namespace: str, tags: tuple[Tag, ...], append: bool
    ) -> tuple[Definition, ...]:
        """Several tags in place of all there are, or beside them. None at all changes nothing.

        `Duplicate`.
        """
        return self._unlinked()  # type: ignore[no-any-return]

    @operation()
    def list_resource_types(self, ctx: RequestContext) -> tuple[Association, ...]:
        """All types of resources that were ever associated; without a prefix."""
        return self._unlinked()  # type: ignore[no-any-return]
