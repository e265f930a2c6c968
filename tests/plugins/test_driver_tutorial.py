# SPDX-License-Identifier: Apache-2.0
"""The tutorial on drivers, executed: it shows the files of a package, and what to do with them."""

from __future__ import annotations

import re
import shutil

from tests.plugins.test_acme_store import ACME
from tests.plugins.test_tutorial import blocks, reader, steps  # noqa: F401 - a fixture
from tests.servers.processes import ROOT, required

PAGE = ROOT / 'doc' / 'source' / 'contributor' / 'writing-a-driver.rst'


def test_the_tutorial(reader, tmp_path):  # noqa: F811
    required(shutil.which('curl'), 'curl')
    text = PAGE.read_text().replace('/srv/attic', str(tmp_path))
    directory = tmp_path / 'package'
    shutil.copytree(ACME, directory, dirs_exist_ok=True)
    files = {caption: content for _, caption, content in blocks(text) if caption}
    assert files.keys() == {'glance-api.conf'}
    (directory / 'glance-api.conf').write_text(reader.own(files['glance-api.conf']) + '\n')
    found = steps(text)
    assert len(found) >= 12
    for command, wanted in found:
        if command.startswith('sed'):
            reader.stop()  # the next start is to be refused
        reader.do(command, wanted)


def test_it_shows_all_of_the_class():
    """Of the verbs none is left out that the contract has without a default."""
    shown = set(re.findall(r':pyobject: ShelfStore\.(\w+)', PAGE.read_text()))
    assert {'start', 'parse', 'add', 'get'} <= shown
