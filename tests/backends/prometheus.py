# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus that scrapes one service."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import requests

from tests.servers.processes import required

SETTINGS = """
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: image
    static_configs:
      - targets: ['{target}']
"""

#: seconds within which it answers
PATIENCE = 60


def program(name: str) -> str:
    """``prometheus`` or ``promtool``; skips, or fails where peers are demanded."""
    return required(shutil.which(name), 'Prometheus (apt-get install prometheus)')


@contextlib.contextmanager
def running(directory: pathlib.Path, target: str) -> Iterator[Callable[[str], list[float]]]:
    """Gives a function that asks it for the values of an expression."""
    from tests.peers.glance33 import free_port

    directory.mkdir()
    (directory / 'prometheus.yml').write_text(SETTINGS.format(target=target))
    url = f'http://127.0.0.1:{free_port()}'
    command = [
        program('prometheus'),
        f'--config.file={directory}/prometheus.yml',
        f'--storage.tsdb.path={directory}/data',
        f'--web.listen-address={url.removeprefix("http://")}',
    ]
    with open(directory / 'output', 'ab') as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)

    def ask(expression: str) -> list[float]:
        answer = requests.get(f'{url}/api/v1/query', params={'query': expression}, timeout=30)
        found = answer.json()
        assert found['status'] == 'success', found
        return [float(one['value'][1]) for one in found['data']['result']]

    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f'{url}/-/ready', timeout=5).status_code == 200:
                    break
            assert process.poll() is None, (directory / 'output').read_text()
            assert time.monotonic() < deadline, 'Prometheus does not answer'
            time.sleep(0.1)
        yield ask
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
