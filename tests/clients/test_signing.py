# SPDX-License-Identifier: Apache-2.0
"""Signing images as the documentation says it, with openssl and the real client."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import textwrap

import pytest

from glance_lite.signatures import SIGNATURE
from tests.backends import barbican, keystone
from tests.servers import processes

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / 'doc' / 'source' / 'admin' / 'signatures.rst'


def commands() -> str:
    """What the page tells to do."""
    blocks = re.findall(r'code-block:: sh\n\n((?:   .*\n|\n)+)', PAGE.read_text())
    return 'set -eu\n' + ''.join(map(textwrap.dedent, blocks))


@pytest.mark.peer
def test_signing_as_the_documentation_says(tmp_path):
    vault, region = barbican.vault(), keystone.cloud().region()
    vault.join(region)
    # Barbican is where the catalog says.
    more = f'{region.authtoken()}[barbican]\nauth_endpoint = {region.cloud.url}\n'
    more += f'barbican_region_name = {region.name}\n'
    made = processes.settings(tmp_path / 'glance', flavor='keystone', more=more)
    alice = region.user('alice')
    (tmp_path / 'disk.raw').write_bytes(os.urandom(3_000_001))
    path = f'{pathlib.Path(sys.executable).parent}:{os.environ["PATH"]}'
    with processes.api(made) as server:
        region.serves(server.url)
        environment = {'PATH': path, 'HOME': str(tmp_path), **alice.environment}
        done = subprocess.run(
            ['bash', '-c', commands()],
            env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        found = alice.connect().image.find_image('signed')
        assert found.status == 'active' and found.properties[SIGNATURE]
        log = server.text()
        assert 'The signature of an upload has been verified' in log
        assert 'Traceback' not in log
