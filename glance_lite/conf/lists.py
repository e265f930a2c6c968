# SPDX-License-Identifier: Apache-2.0
"""Lists that Glance wants in brackets, and that people write without them."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg


class Bracketed(cfg.types.List):  # type: ignore[misc]
    """A list whose brackets may be left out: ``[80, 443]`` or ``80, 443``."""

    def __init__(self, item_type: Any) -> None:
        super().__init__(item_type=item_type, bounds=True)

    def __call__(self, value: Any) -> list[Any]:
        if isinstance(value, str) and not value.lstrip().startswith('['):
            value = f'[{value}]'
        return super().__call__(value)  # type: ignore[no-any-return]


def bracketed(name: str, item_type: Any, default: list[Any], what: str) -> cfg.Opt:
    """An option that is such a list."""
    option = cfg.ListOpt(name, default=default, help=what)
    option.type = Bracketed(item_type)
    return option
