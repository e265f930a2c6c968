# SPDX-License-Identifier: Apache-2.0
"""A Glance 33 that the tables of rights are asked of; run as a module it writes one of them anew.

``python -m tests.peers.rights new`` (or ``old``: the defaults of policies) asks Glance 33 and the
glance-lite of this tree; with ``--ours`` it asks Glance only for rows that there are none of, with
``--new`` both. A difference keeps its mark; a new one gets ``?``, for somebody to judge.
"""

from __future__ import annotations

import contextlib
import pathlib
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from tests.matrix import asking, table
from tests.matrix.inside import AND_WEB, CACHE, FILES, LOCATIONS, glance_lite
from tests.matrix.operations import OPERATIONS
from tests.matrix.people import Person
from tests.matrix.seeds import Seeds
from tests.peers import glance33, lite

SETTINGS = 'allow_anonymous_access = true\n' + LOCATIONS


@contextlib.contextmanager
def glance(directory: pathlib.Path, defaults: str) -> Iterator[tuple[asking.Send, Seeds]]:
    """A Glance 33 that lets anonymous callers in, and its seeds."""
    settings = (
        SETTINGS
        + CACHE.format(directory=directory / 'stores')
        + lite.make_stores(directory / 'stores').replace(FILES, AND_WEB)
    )
    settings += f'[oslo_policy]\n{table.POLICIES[defaults]}'
    file = directory / 'glance.sqlite'
    url = f'sqlite:///{file}'
    glance33.manage(glance33.write_settings(directory, url, settings), 'db', 'sync')
    with glance33.running(directory, url, settings) as base:
        client = lite.Client(base)

        def send(who: Person, method: str, path: str, body: Any, kind: Any) -> asking.Heard:
            answer = client.send(who, method, path, body, kind)
            return asking.Heard(answer.status_code, dict(answer.headers), answer.content)

        with contextlib.closing(Seeds(file, directory / 'stores')) as seeds:
            yield send, seeds


def main(defaults: str, *options: str) -> None:
    """Write the table, with what both have said before where `options` say so."""
    known = table.read(defaults) if table.FILES[defaults].exists() else {}
    new: table.Table = {}
    with contextlib.ExitStack() as stack:
        theirs, ours = (
            pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)
        )
        peer = stack.enter_context(glance(theirs, defaults))
        own = stack.enter_context(glance_lite(ours, defaults))
        for name, operation in OPERATIONS.items():
            for visibility in operation.visibilities:
                before = known.get((name, visibility))
                if before and '--new' in options:
                    new[name, visibility] = before
                    continue
                said = asking.row(*own, operation, visibility)
                if before is None or '--ours' not in options:
                    wanted = asking.row(*peer, operation, visibility)
                else:
                    wanted = before.glance
                mark = before.mark if before and before.ours == said else None
                new[name, visibility] = table.Expected(wanted, said, mark)
            # What there is so far: a run that is broken off is taken up again with --new.
            table.FILES[defaults].write_text(table.write({**known, **new}))
            print(name, file=sys.stderr)


if __name__ == '__main__':
    main(*sys.argv[1:])
