# SPDX-License-Identifier: Apache-2.0
"""A store on a mount that hangs, under real servers: the others serve on, and it comes back."""

from __future__ import annotations

import threading
import time

import pytest
import requests

from tests.backends import hung_mount
from tests.servers import processes
from tests.servers.processes import until
from tests.servers.test_servers import MIB, Caller, noise

BREAKER = """
[glance_store]
breaker_hang_time = 1
breaker_longest_pause = 1
"""

#: more than a uWSGI of ours has threads
CROWD = 12


@pytest.fixture(params=['api', 'uwsgi'])
def server(request, tmp_path):
    made = processes.settings(tmp_path, more=BREAKER)
    with processes.SERVERS[request.param](made) as running:
        yield running


def ask(server, image_id, answers):
    begun = time.monotonic()
    answer = requests.get(
        f'{server.url}/v2/images/{image_id}/file',
        headers=processes.identity('alpha'),
        timeout=60,
    )
    answers.append((answer.status_code, time.monotonic() - begun, answer.headers))


def test_a_mount_that_hangs(server):
    alpha, data = Caller(server.url, 'alpha'), noise(MIB)
    there, here = alpha.create(), alpha.create()
    headers = {'Content-Type': 'application/octet-stream'}
    for image_id, store in ((there, 'cheap'), (here, 'fast')):
        alpha(
            'PUT', f'/images/{image_id}/file', 204,
            data=data, headers={**headers, 'X-Image-Meta-Store': store},
        )  # fmt: skip
    with hung_mount.hanging(server.settings.directory / 'cheap') as mount:
        mount.hang()
        answers: list = []
        crowd = [threading.Thread(target=ask, args=(server, there, answers)) for _ in range(CROWD)]
        for one in crowd:
            one.start()
        for one in crowd:
            one.join(60)
        # Each is answered; those that came while all threads waited had to wait for one.
        assert [status for status, _, _ in answers] == [503] * CROWD
        assert max(took for _, took, _ in answers) < 30
        alpha.check(here, data)

        def quick() -> bool:
            found: list = []
            ask(server, there, found)
            ((status, took, sent),) = found
            assert status == 503
            return took < 1 and 'Retry-After' in sent

        # Each process has to find out for itself.
        until(lambda: all(quick() for _ in range(10)), 'all processes leave it alone')
        new = alpha.create()
        refused = alpha(
            'PUT', f'/images/{new}/file', 503,
            data=data, headers={**headers, 'X-Image-Meta-Store': 'cheap'},
        )  # fmt: skip
        assert refused.headers['Retry-After']
        alpha.check(here, data)
    # It is back, and nobody has started anything again.
    until(lambda: all(alpha_reads(server, there, data) for _ in range(6)), 'it serves again')
    alpha.upload(new, data)
    alpha.check(new, data)


def alpha_reads(server, image_id, data) -> bool:
    url = f'{server.url}/v2/images/{image_id}/file'
    answer = requests.get(url, headers=processes.identity('alpha'), timeout=60)
    return answer.status_code == 200 and answer.content == data
