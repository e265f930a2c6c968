# SPDX-License-Identifier: Apache-2.0
"""The same requests to a Glance 33 and to glance-lite, and the same answers.

Each group of rows is a story of its own: its ids belong to it alone and its rows build on each
other. Where glance-lite answers something else on purpose, the row says what and names the mark
under which doc/source/differences.rst tells why.
"""

from __future__ import annotations

import contextlib
import re
import shutil

import pytest

from tests.peers import glance33, lite, metadef_rows, rows, rows_edges
from tests.peers.comparison import Row, Sql, differences

GROUPS = {**rows.GROUPS, **metadef_rows.GROUPS, **rows_edges.GROUPS}
ALL = {**GROUPS, **rows_edges.CONFIGURED}
ROWS = [row for group in ALL.values() for row in group if isinstance(row, Row)]
PAGE = glance33.ROOT / 'doc' / 'source' / 'differences.rst'


#: Imports are switched off in both: glance-lite has none yet.
PLAIN = 'enabled_import_methods = []\n'


@contextlib.contextmanager
def pair(tmp_path_factory, default, more='', files=None):
    """(client, file of the database) of Glance and of glance-lite, each with its own stores.

    ``{directory}`` in ``default`` is where each keeps its files. What is in the directory `files`
    lies beside the configuration of both.
    """
    with contextlib.ExitStack() as stack:
        found = []
        for name in ('glance', 'lite'):
            directory = tmp_path_factory.mktemp(name)
            options = default.format(directory=directory)
            stores = options + lite.make_stores(directory / 'stores') + more
            file = f'{directory}/glance.sqlite'
            url = f'sqlite:///{file}'
            etc = directory / 'etc' if name == 'glance' else directory
            if files:
                shutil.copytree(files, etc, dirs_exist_ok=True)
            if name == 'glance':
                glance33.manage(glance33.write_settings(directory, url, stores), 'db', 'sync')
                base = stack.enter_context(glance33.running(directory, url, stores))
            else:
                lite.manage(lite.write_settings(directory, url, stores, 1), 'db', 'sync')
                base = stack.enter_context(lite.running(directory, url, stores))
            found.append((lite.Client(base), file))
        yield found


@pytest.fixture(scope='module')
def services(tmp_path_factory):
    with pair(tmp_path_factory, PLAIN) as found:
        yield found


@pytest.fixture(scope='module')
def configured(tmp_path_factory):
    """Behind a proxy, and with a cache in the list of versions."""
    with pair(tmp_path_factory, PLAIN + rows_edges.DEFAULT, rows_edges.SECTIONS) as found:
        yield found


def compare(pair, group, groups=ALL):
    (glance, glance_file), (ours, ours_file) = pair
    wrong = []
    for number, row in enumerate(groups[group]):
        if isinstance(row, Sql):
            row.run(glance_file)
            row.run(ours_file)
            continue
        found = differences(row, row.send(glance), row.send(ours))
        wrong += [f'{group} {number}: {row}\n  {line}' for line in found]
    assert not wrong, f'{len(wrong)} differences\n' + '\n'.join(wrong)


@pytest.mark.peer
@pytest.mark.parametrize('group', GROUPS)
def test_same_answers(services, group):
    compare(services, group)


@pytest.mark.peer
@pytest.mark.parametrize('group', rows_edges.CONFIGURED)
def test_same_answers_behind_a_proxy(configured, group):
    compare(configured, group)


def test_each_difference_is_told():
    """The marks of the table and those of the documentation are the same."""
    told = set(re.findall(r'``test_same_answers``: ``([a-z0-9-]+)``', PAGE.read_text()))
    assert told == {row.ours[0] for row in ROWS if row.ours}
