# SPDX-License-Identifier: Apache-2.0
"""What the page on fault injection shows is run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap

import pytest
import requests

from glance_lite.testing.faults import COMMON, Fault
from tests.servers import processes
from tests.servers.processes import until
from tests.servers.test_servers import MIB, Caller, noise

PAGE = processes.ROOT / 'doc' / 'source' / 'contributor' / 'fault-injection.rst'


def block(language: str) -> str:
    """The one example in a language."""
    pattern = rf'^\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)'
    (found,) = re.findall(pattern, PAGE.read_text(), re.M)
    return textwrap.dedent(found)


def test_the_tests_of_a_driver(tmp_path):
    (tmp_path / 'test_example.py').write_text(block('python'))
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and '2 passed' in done.stdout, done.stdout + done.stderr


def test_the_configuration_of_a_service(tmp_path):
    stores = block('ini').replace('/var/lib/glance/images', f'{tmp_path}/fast')
    stores = stores.replace('/run/faults', f'{tmp_path}/counters')
    defaults, _, rest = stores.removeprefix('[DEFAULT]\n').partition('\n\n')
    made = processes.settings(tmp_path, default=defaults, stores=rest)
    with processes.api(made) as server:
        alpha, data = Caller(server.url, 'alpha'), noise(2 * MIB)
        first, second = alpha.create(), alpha.create()
        alpha.upload(first, data)
        workers = server.workers()
        with pytest.raises(requests.ConnectionError):
            alpha.upload(second, data)
        until(lambda: set(server.workers()) != set(workers), 'the worker has died')
        beta = Caller(server.url, 'alpha')
        assert beta.show(second)['status'] == 'saving'
        beta('DELETE', f'/images/{first}', 503)
        beta('GET', f'/images/{first}', 404)
        third = beta.create()
        beta.upload(third, data)
        beta('DELETE', f'/images/{third}', 204)
        assert (tmp_path / 'counters' / 'within-add@1048576').stat().st_size == 3


def test_each_option_of_the_layer_has_an_entry():
    text = PAGE.read_text().partition('\nOptions\n')[2]
    assert set(re.findall(r'^``(\w+)``\n   \S', text, re.M)) == {opt.dest for opt in COMMON}


def test_each_action_is_named():
    text = PAGE.read_text()
    for line in ('before add 1 kill', 'before add 1 stop', 'before add 1 fail EIO',
                 'before add 1 delay 1', 'before add 1 wait x'):  # fmt: skip
        Fault.read(line)
        assert f'``{line.split()[3]}' in text
