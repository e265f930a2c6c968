# SPDX-License-Identifier: Apache-2.0
"""How far a command has come, for somebody who sits at a terminal; for nobody else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar('T')

#: Characters of a full bar.
WIDTH = 40
#: Seconds between two pictures of it.
PERIOD = 0.1


class Bar:
    """A bar on standard error; where that is no terminal, nothing. Used with ``with``."""

    def __init__(self, total: int | None, unit: str = '') -> None:
        """`total` of what is to be done; None: nobody knows how much it is."""
        self._total = total
        self._unit = f' {unit}' if unit else ''
        self._done = 0
        self._terminal = sys.stderr.isatty()
        self._shown = 0.0

    def __enter__(self) -> Bar:
        self._show()
        return self

    def __exit__(self, *error: object) -> None:
        if self._terminal:
            self._show()
            print(file=sys.stderr)

    def add(self, count: int = 1) -> None:
        """So much more is done."""
        self._done += count
        if self._terminal and time.monotonic() - self._shown >= PERIOD:
            self._show()

    def say(self, line: str) -> None:
        """Print a line to standard output; it goes above the bar."""
        if self._terminal:
            print('\r\033[K', end='', file=sys.stderr, flush=True)
        print(line, flush=True)
        self._show()

    def _show(self) -> None:
        if not self._terminal:
            return
        self._shown = time.monotonic()
        if self._total is None:
            text = f'{self._done}{self._unit}'
        else:
            share = min(WIDTH, self._done * WIDTH // max(1, self._total))
            bar = '#' * share + '.' * (WIDTH - share)
            text = f'[{bar}] {self._done}/{self._total}{self._unit}'
        print(f'\r\033[K{text}', end='', file=sys.stderr, flush=True)


def shown(items: Sequence[T]) -> Iterator[T]:
    """The items, with a bar that says how many of them are done."""
    with Bar(len(items)) as bar:
        for item in items:
            yield item
            bar.add()
