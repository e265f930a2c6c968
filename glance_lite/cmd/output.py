# SPDX-License-Identifier: Apache-2.0
"""What a command found: lines for people as they come, or one JSON document at the end."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any


def add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--format', choices=('text', 'json'), default='text', help='text (default) or JSON'
    )


class Output:
    """Rows of one kind, and a summary."""

    def __init__(self, kind: str, form: str, say: Callable[[str], None] = print) -> None:
        """`kind` is what the document calls the list of rows; `say` prints a line."""
        self._json = form == 'json'
        self._kind = kind
        self._say = say
        self._rows: list[dict[str, Any]] = []

    def row(self, text: str, **values: Any) -> None:
        if self._json:
            self._rows.append(values)
        else:
            self._say(text)

    def end(self, text: str = '', **values: Any) -> None:
        """There are no more."""
        if self._json:
            print(json.dumps({self._kind: self._rows, **values}, indent=2))
        elif text:
            print(text)


def human(count: int | None) -> str:
    """Bytes, for people."""
    if count is None:
        return '?'
    size, unit = float(count), 'B'
    for unit in ('B', 'KiB', 'MiB', 'GiB', 'TiB'):
        if size < 1024 or unit == 'TiB':
            break
        size /= 1024
    return f'{count} B' if unit == 'B' else f'{size:.1f} {unit}'
