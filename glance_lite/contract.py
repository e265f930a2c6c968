# SPDX-License-Identifier: Apache-2.0
"""What makes a method an operation of the chain; `glance_lite.operations` lists them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar('F', bound=Callable[..., Any])


def operation(*, writes: bool = False, inner: bool = False) -> Callable[[F], F]:
    """Mark a method of a family as part of the contract.

    `writes`: it changes something, so a layer calls `next` at most once. `inner`: only layers
    call it, never a handler.
    """

    def mark(function: F) -> F:
        function.__operation__ = {'writes': writes, 'inner': inner}  # type: ignore[attr-defined]
        return function

    return mark


class Family:
    """Where operations end that no layer implements."""

    def _unlinked(self) -> Any:
        raise AssertionError('called on a layer that is not linked, or on super(); use self.next')
