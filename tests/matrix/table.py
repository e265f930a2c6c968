# SPDX-License-Identifier: Apache-2.0
"""The tables of expected answers: reading and writing them.

``rights.txt`` is for the policy defaults of Glance 33, ``rights-old.txt`` for ``[oslo_policy]
enforce_new_defaults = false`` and ``enforce_scope = false``, which let the old defaults count.

A row is what Glance 33 answers. Where glance-lite answers something else on purpose, the line
below it says so: ``.`` is the same as above, and the last word is the mark under which
doc/source/differences.rst tells why.
"""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from tests.matrix.operations import OPERATIONS, VISIBILITIES
from tests.matrix.people import PEOPLE

#: which defaults of policies -> the file of the table
FILES = {
    'new': pathlib.Path(__file__).with_name('rights.txt'),
    'old': pathlib.Path(__file__).with_name('rights-old.txt'),
}
#: which defaults of policies -> lines of the group ``[oslo_policy]``
POLICIES = {'new': '', 'old': 'enforce_new_defaults = false\nenforce_scope = false\n'}

LABEL = 16
_SHORT = {'private': 'priv', 'shared': 'shar', 'community': 'comm', 'public': 'publ', '-': '-'}
_LONG = {short: name for name, short in _SHORT.items()}

Cells = tuple[str, ...]


class Expected(NamedTuple):
    """One row: Glance's answers, ours, and the mark of the difference where there is one."""

    glance: Cells
    ours: Cells
    mark: str | None = None


#: (operation, visibility) -> row
Table = dict[tuple[str, str], Expected]


def read(defaults: str) -> Table:
    """The table. Each operation has a row for each of its visibilities."""
    found: Table = {}
    operation, rows = '', []
    for line in FILES[defaults].read_text().splitlines():
        if not line or line.startswith('#'):
            continue
        if line.startswith('== '):
            operation = line[3:].strip()
            continue
        label, cells = line[:LABEL].strip(), line[LABEL:].split()
        if label == 'ours':
            glance = rows[-1][1]
            ours = tuple(a if b == '.' else b for a, b in zip(glance, cells, strict=False))
            for key in rows[-1][0]:
                found[key] = Expected(glance, ours, cells[len(PEOPLE)])
            continue
        assert len(cells) == len(PEOPLE), line
        names = VISIBILITIES if label == 'all' else [_LONG[one] for one in label.split(',')]
        keys = [(operation, name) for name in names]
        rows.append((keys, tuple(cells)))
        for key in keys:
            assert key not in found, key
            found[key] = Expected(tuple(cells), tuple(cells))
    return found


def lacking(table: Table) -> set[str]:
    """Names of operations that have not all of their rows."""
    return {
        name
        for name, one in OPERATIONS.items()
        if any((name, visibility) not in table for visibility in one.visibilities)
    }


def _line(label: str, cells: Cells) -> str:
    parts = []
    for _, group in itertools.groupby(
        zip(PEOPLE, cells, strict=True), key=lambda pair: pair[0].relation
    ):
        parts.append(' '.join(f'{text:4}' for _, text in group))
    return f'{label:{LABEL}}{"  ".join(parts)}'.rstrip()


def heading() -> str:
    """The names of the columns."""
    roles = _line('#', tuple(one.role for one in PEOPLE))
    relations = '#'.ljust(LABEL)
    for relation, group in itertools.groupby(PEOPLE, key=lambda one: one.relation):
        relations += f'{relation:{5 * len(list(group)) + 1}}'
    return f'{relations.rstrip()}\n{roles}'


def write(table: Mapping[tuple[str, str], Expected]) -> str:
    """The text of a table; visibilities with the same answers share a line."""
    lines = []
    for name, operation in OPERATIONS.items():
        rows = [(one, table[name, one]) for one in operation.visibilities if (name, one) in table]
        lines += [f'== {name}'] if rows else []
        done: list[Expected] = []
        for _, row in rows:
            if row in done:
                continue
            done.append(row)
            same = [one for one, other in rows if other == row]
            label = 'all' if len(same) == len(VISIBILITIES) else ','.join(_SHORT[o] for o in same)
            lines.append(_line(label, row.glance))
            if row.ours != row.glance:
                ours = tuple(
                    '.' if a == b else b for a, b in zip(row.glance, row.ours, strict=True)
                )
                lines.append(f'{_line("     ours", ours)}  {row.mark or "?"}')
    return heading() + '\n' + '\n'.join(lines) + '\n'
