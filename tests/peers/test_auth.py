# SPDX-License-Identifier: Apache-2.0
"""Rights that no policy file gives or takes, asked of a Glance 33 and of glance-lite."""

from __future__ import annotations

import contextlib
import re

import pytest

from tests.peers import glance33, lite
from tests.peers.auth_rows import GROUPS, POLICY
from tests.peers.comparison import differences

PAGE = glance33.ROOT / 'doc' / 'source' / 'differences.rst'

SETTINGS = """
allow_anonymous_access = true
enabled_import_methods = []
{stores}
[oslo_policy]
policy_file = {directory}/policy.yaml
"""


@pytest.fixture(scope='module')
def services(tmp_path_factory):
    """Clients of Glance and of glance-lite."""
    with contextlib.ExitStack() as stack:
        found = []
        for name in ('glance', 'lite'):
            directory = tmp_path_factory.mktemp(name)
            (directory / 'policy.yaml').write_text(POLICY)
            stores = lite.make_stores(directory / 'stores')
            stores = SETTINGS.format(stores=stores, directory=directory)
            url = f'sqlite:///{directory}/glance.sqlite'
            if name == 'glance':
                glance33.manage(glance33.write_settings(directory, url, stores), 'db', 'sync')
                base = stack.enter_context(glance33.running(directory, url, stores))
            else:
                lite.manage(lite.write_settings(directory, url, stores, 1), 'db', 'sync')
                base = stack.enter_context(lite.running(directory, url, stores))
            found.append(lite.Client(base))
        yield found


@pytest.mark.peer
@pytest.mark.parametrize('group', GROUPS)
def test_same_rights_whatever_policy_says(services, group):
    glance, ours = services
    wrong = []
    for number, row in enumerate(GROUPS[group]()):
        found = differences(row, row.send(glance), row.send(ours))
        wrong += [f'{group} {number}: {row}\n  {line}' for line in found]
    assert not wrong, f'{len(wrong)} differences\n' + '\n'.join(wrong)


def test_each_difference_about_rights_is_told():
    name = 'test_same_rights_whatever_policy_says'
    told = set(re.findall(rf'``{name}``: ``([a-z0-9-]+)``', PAGE.read_text()))
    rows = [row for group in GROUPS.values() for row in group()]
    assert told == {row.ours[0] for row in rows if row.ours}
