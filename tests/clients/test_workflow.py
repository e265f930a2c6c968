# SPDX-License-Identifier: Apache-2.0
"""A day with the real clients, as two projects, a reader, an administrator and a service.

Everything goes through a real Keystone: tokens, roles, and the catalog that leads to the service.
Each step leaves what the next ones need; `Checks` counts what was looked at.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator

import pytest

from tests.backends import keystone
from tests.clients import image_steps, import_steps, metadef_steps
from tests.clients.workflow import Day
from tests.servers import processes

#: what the workflow has to look at, at least
LEAST = 80

DEFAULT = """
show_multiple_locations = true
image_cache_dir = {directory}/cache
worker_self_reference_url = http://127.0.0.1:{port}
"""

STAGING = """
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {directory}/tasks
"""

STEPS = (*import_steps.STEPS, *image_steps.STEPS, *metadef_steps.STEPS)


@pytest.fixture
def day(tmp_path, monkeypatch) -> Iterator[Day]:
    # glanceclient keeps schemas below it.
    monkeypatch.setenv('HOME', str(tmp_path))
    for name in [name for name in os.environ if name.startswith('OS_')]:
        monkeypatch.delenv(name)
    region, port = keystone.cloud().region(), processes.free_port()
    made = processes.settings(
        tmp_path / 'glance',
        flavor='keystone+cachemanagement',
        default=DEFAULT.format(directory=tmp_path, port=port),
        stores=processes.TWO_STORES + STAGING,
        more=region.authtoken(memcached_servers=keystone.memcached()),
    )
    with processes.api(made, port=port) as server:
        region.serves(server.url)
        yield Day(region, tmp_path, server)
        assert 'Traceback' not in server.text()


def test_workflow(day, capsys):
    for step in STEPS:
        try:
            step(day, day.check)
        except Exception:
            # The others may go on all the same, and tell more.
            day.check.wrong.append(f'{step.__name__}: {traceback.format_exc(limit=-4)}')
    with capsys.disabled():
        print(f'\n{sum(day.check.count.values())} checks with the real clients')
    assert not day.check.wrong, '\n'.join(day.check.wrong)
    assert sum(day.check.count.values()) >= LEAST
