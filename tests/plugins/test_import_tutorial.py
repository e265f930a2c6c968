# SPDX-License-Identifier: Apache-2.0
"""The tutorial on import plug-ins, executed: files are written, commands run."""

from __future__ import annotations

import shutil
import subprocess

from tests.plugins.test_tutorial import blocks, reader, steps  # noqa: F401 - a fixture
from tests.servers import processes
from tests.servers.processes import ROOT, required

PAGE = ROOT / 'doc' / 'source' / 'contributor' / 'writing-an-import-plugin.rst'


def test_the_tutorial(reader, tmp_path):  # noqa: F811
    required(shutil.which('curl'), 'curl')
    text = PAGE.read_text().replace('/srv/staging', f'{tmp_path}/staging')
    files = {caption: content for _, caption, content in blocks(text) if caption}
    assert files.keys() == {
        'pyproject.toml', 'acme_fingerprint.py', 'test_fingerprint.py', 'glance-api.conf',
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / 'package' / name).write_text(reader.own(content) + '\n')
    found = steps(text)
    assert len(found) >= 10
    for command, wanted in found:
        if command.startswith('sed'):
            reader.stop()  # the next start is to be refused
        reader.do(command, wanted)


def test_code_of_the_page_is_styled_as_ours(tmp_path):
    for language, caption, content in blocks(PAGE.read_text()):
        if language == 'python':
            (tmp_path / caption).write_text(content + '\n')
    shutil.copy(ROOT / 'pyproject.toml', tmp_path)
    ruff = shutil.which('ruff', path=str(processes.BIN))
    # Whose package is whose cannot be seen there.
    command = [ruff, 'check', '-q', '--ignore', 'I001', '.']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
