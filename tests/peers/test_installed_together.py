# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.peers import glance33

PROGRAM = """
import importlib.util, pathlib, sys
assert importlib.util.find_spec('glance'), 'Glance is not on the path'
from tests.api.harness import App
app = App(pathlib.Path(sys.argv[1]), flavor='', paste=pathlib.Path(sys.argv[2]))
assert app.get('/versions').status == 200
assert app.get('/v2/schemas/image').status == 200
loaded = [name for name in sys.modules if name.split('.')[0] in ('glance', 'glance_store')]
assert not loaded, loaded
"""


@pytest.mark.peer
def test_glances_paste_file_where_glance_is_installed(tmp_path):
    """Its factories are never imported: the names are ours before anything is loaded."""
    home = glance33.home()
    site = next(home.glob('lib/python*/site-packages'))
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', PROGRAM, str(tmp_path),
         str(home / 'etc' / 'glance' / 'glance-api-paste.ini')],
        capture_output=True,
        text=True,
        cwd=glance33.ROOT,
        # Ours come first; of the other environment only Glance itself is not there already.
        env={**os.environ, 'PYTHONPATH': os.pathsep.join([*filter(None, sys.path), str(site)])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
