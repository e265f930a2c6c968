# SPDX-License-Identifier: Apache-2.0
"""Requests about locations to a Glance 33 and to glance-lite, and the same answers.

Both read from one nginx, and both are configured to show and to change locations.
"""

from __future__ import annotations

import contextlib
import re

import pytest

from tests.backends import web as servers
from tests.peers import glance33, lite
from tests.peers.comparison import Row, differences
from tests.peers.location_rows import DATA, GROUPS, Until

PAGE = glance33.ROOT / 'doc' / 'source' / 'differences.rst'

SETTINGS = """
show_multiple_locations = true
show_image_direct_url = true
enabled_backends = fast:file,web:http
[import_filtering_opts]
allowed_hosts = [127.0.0.1]
allowed_ports = [{port}]
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {directory}/fast
[web]
store_description = web servers
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {directory}/tasks
"""


@pytest.fixture(scope='module')
def web(tmp_path_factory):
    with servers.running(tmp_path_factory.mktemp('web')) as web:
        web.put('data', DATA)
        web.put('twin', DATA)
        web.put('other', DATA + b'more')
        web.put('empty', b'')
        yield web


@pytest.fixture(scope='module')
def services(tmp_path_factory, web):
    """Clients of Glance and of glance-lite."""
    with contextlib.ExitStack() as stack:
        found = []
        for name in ('glance', 'lite'):
            directory = tmp_path_factory.mktemp(name)
            for store in ('fast', 'staging', 'tasks'):
                (directory / store).mkdir()
            stores = SETTINGS.format(directory=directory, port=web.ports[0])
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
def test_same_answers_about_locations(services, web, group):
    glance, ours = services
    wrong = []
    for number, row in enumerate(GROUPS[group](web.http)):
        if isinstance(row, Until):
            row.wait(glance)
            row.wait(ours)
            continue
        found = differences(row, row.send(glance), row.send(ours))
        wrong += [f'{group} {number}: {row}\n  {line}' for line in found]
    assert not wrong, f'{len(wrong)} differences\n' + '\n'.join(wrong)


def test_each_difference_about_locations_is_told():
    told = set(
        re.findall(r'``test_same_answers_about_locations``: ``([a-z0-9-]+)``', PAGE.read_text())
    )
    rows = [row for group in GROUPS.values() for row in group('http://web') if isinstance(row, Row)]
    assert told == {row.ours[0] for row in rows if row.ours}
