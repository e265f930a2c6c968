# SPDX-License-Identifier: Apache-2.0
"""A virtual environment of its own that has glance-lite, to install plug-ins of others into.

What glance-lite needs it sees through a ``.pth`` file in the environment of the tests, so making
one takes no network and no time to speak of; a package is installed by pip as an operator does.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import sysconfig
import venv

from tests.servers import processes
from tests.servers.processes import ROOT

SCRIPT = """#!{python}
import sys
from glance_lite.cmd.{name} import main
sys.exit(main())
"""


class Environment:
    """A virtual environment."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        home = directory / 'venv'
        venv.EnvBuilder(symlinks=True).create(home)
        self.python = home / 'bin' / 'python'
        paths = {'base': str(home), 'platbase': str(home)}
        self.site = pathlib.Path(sysconfig.get_path('purelib', 'venv', paths))
        ours = sysconfig.get_path('purelib')
        (self.site / 'ours.pth').write_text(f'import site; site.addsitedir({ours!r})\n{ROOT}\n')
        for name in ('api', 'manage'):
            self.command(name).write_text(SCRIPT.format(python=self.python, name=name))
            self.command(name).chmod(0o755)

    def run(
        self, *command: object, cwd: pathlib.Path | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; `more` is added to its environment."""
        return subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            cwd=cwd or self.directory,
            env=self.variables(**more),
        )

    def variables(self, **more: str) -> dict[str, str]:
        # stevedore keeps what is installed where in a cache that others need not share.
        cache = {'XDG_CACHE_HOME': str(self.directory / 'cache')}
        path = f'{self.python.parent}{os.pathsep}{processes.BIN}{os.pathsep}{os.environ["PATH"]}'
        quiet = {'PYTHONWARNINGS': 'ignore'}
        return processes.environment(**{**cache, **quiet, 'PATH': path, **more})

    def install(self, source: pathlib.Path) -> None:
        """Install a package from its directory, which is written to; nothing is fetched."""
        done = subprocess.run(
            [
                sys.executable, '-m', 'pip', '--python', str(self.python), 'install', '-q',
                '--no-index', '--no-deps', '--no-build-isolation', '--no-warn-script-location',
                '--disable-pip-version-check', '--force-reinstall', str(source),
            ],
            capture_output=True,
            text=True,
            env=self.variables(),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def command(self, name: str) -> pathlib.Path:
        """glance-lite-api or glance-lite-manage of this environment."""
        return self.python.parent / f'glance-lite-{name}'
