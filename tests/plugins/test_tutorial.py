# SPDX-License-Identifier: Apache-2.0
"""The tutorial on layers, executed: files are written, commands run, and what they say compared.

A block with a caption is a file. In a console block a line that begins with ``$`` is a command and
the rest what it says; ``...`` stands for anything.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import textwrap

import pytest

from tests.peers.glance33 import free_port, wait_for
from tests.servers import processes
from tests.servers.processes import PASTE, ROOT, required

PAGE = ROOT / 'doc' / 'source' / 'contributor' / 'writing-a-layer.rst'

BLOCK = re.compile(r'^\.\. code-block:: (\w+)\n((?:   :\w+:.*\n)*)\n((?:   .*\n|\n)+)', re.M)


def blocks(text: str) -> list[tuple[str, str, str]]:
    """(language, caption, content) of each block of code, in order."""
    found = []
    for language, options, content in BLOCK.findall(text):
        caption = re.search(r':caption: (.*)', options)
        found.append((language, caption[1] if caption else '', textwrap.dedent(content).strip()))
    return found


def steps(text: str) -> list[tuple[str, str]]:
    """(command, what it should say) of all console blocks."""
    found = []
    for language, _, content in blocks(text):
        if language == 'console':
            for part in re.split(r'^\$ ', content, flags=re.M)[1:]:
                command, _, said = part.partition('\n')
                found.append((command.strip(), said))
    return found


def agrees(said: str, wanted: str) -> bool:
    """Whether an output is what the page has, in which ``...`` is anything."""
    words = [' '.join(line.split()) for line in wanted.strip().splitlines()]
    pattern = '\n'.join(map(re.escape, words)).replace(re.escape('...'), '(?s:.*)')
    # Dots on a line of their own may also be no line at all.
    pattern = pattern.replace('\n(?s:.*)', '(?s:.*)')
    shown = '\n'.join(' '.join(line.split()) for line in said.strip().splitlines())
    return re.fullmatch(pattern, shown) is not None


class Reader:
    """Somebody who does what the page says."""

    def __init__(self, environment, directory: pathlib.Path) -> None:
        self._environment = environment
        self._directory = directory
        self._port = free_port()
        self._more: dict[str, str] = {}
        self._service: subprocess.Popen[bytes] | None = None

    def own(self, text: str) -> str:
        """A text of the page, with a port that is free here."""
        return text.replace('9292', str(self._port))

    def do(self, command: str, wanted: str) -> None:
        command = self.own(command)
        if command == 'pip install .':
            self._environment.install(self._directory)
        elif command.endswith('&'):
            self._start(command.removesuffix('&').split())
        else:
            done = self._environment.run('bash', '-c', command, cwd=self._directory, **self._more)
            said = done.stdout + done.stderr
            assert agrees(said, wanted), f'$ {command}\n{said}\n--- and not\n{wanted}'
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._more['IMAGE'] = json.loads(said)['id']

    def _start(self, command: list[str]) -> None:
        log = self._directory / 'service.log'
        with open(log, 'ab') as out:
            self._service = subprocess.Popen(
                command,
                env=self._environment.variables(),
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd=self._directory,
            )
        wait_for(f'http://127.0.0.1:{self._port}', self._service, log)

    def stop(self) -> None:
        if self._service is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._service.pid, signal.SIGTERM)
            assert self._service.wait(60) == 0
            self._service = None


@pytest.fixture
def reader(environment, tmp_path):
    directory = tmp_path / 'package'
    directory.mkdir()
    shutil.copy(PASTE, directory)
    made = Reader(environment, directory)
    yield made
    made.stop()


def test_the_tutorial(reader, tmp_path):
    required(shutil.which('curl'), 'curl')
    text = PAGE.read_text()
    files = {caption: content for _, caption, content in blocks(text) if caption}
    assert files.keys() == {
        'pyproject.toml', 'acme_freeze.py', 'test_freeze.py', 'glance-api.conf',
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / 'package' / name).write_text(reader.own(content) + '\n')
    found = steps(text)
    assert len(found) >= 10
    for command, wanted in found:
        if command.startswith('sed'):
            reader.stop()  # the next start is to be refused
        reader.do(command, wanted)


def test_what_the_page_says_is_compared():
    assert agrees('a  b\nc\n', 'a b\nc')
    assert agrees('x\ny\nz', 'x\n...\nz') and agrees('x\nz', 'x\n...\nz')
    assert agrees('{"id": 1, "name": "n"}', '{..."name": "n"...}')
    assert not agrees('a\nb', 'a') and not agrees('a', 'b')


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
