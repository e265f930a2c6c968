# SPDX-License-Identifier: Apache-2.0
"""Running a program on data that may be made to hurt it: little memory, little time, no network.

The tools of util-linux do it, one after another in place of each other: ``setpriv`` has the
kernel kill the program when its parent dies and lets it gain no rights, ``prlimit`` sets the
limits, ``unshare`` gives it a network of its own in which there is nothing. No code of ours runs
between fork and exec, where threads make everything dangerous.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import pathlib
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from glance_lite.errors import ConfigurationError, LimitExceeded, UnsupportedMedia

LOG = logging.getLogger(__name__)

#: Seconds between two looks whether it has ended.
LOOK = 0.1
#: Where programs are looked for, whatever the service was started with.
PATH = '/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin'
#: Ways to a network of one's own: as root, and as anybody where user namespaces are allowed.
ALONE = (('unshare', '--net', '--'), ('unshare', '--map-root-user', '--net', '--'))


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """Of one run."""

    #: bytes of address space
    memory: int
    #: seconds of processor time
    cpu: int
    #: seconds in all
    seconds: float
    #: bytes of the largest file it may write
    file: int


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """How it ended."""

    code: int
    output: bytes
    #: what it said on its standard error; it names paths, and is for nobody but the log
    errors: str


class Sandbox:
    """Runs programs. Looks once, when it is made, what this host has for it."""

    def __init__(self, option: str, alone: bool) -> None:
        """`alone`: whether nothing may run that can reach a network. `ConfigurationError`.

        `option` is what the sentence calls the place that wants it.
        """
        for tool in ('setpriv', 'prlimit', 'unshare'):
            if shutil.which(tool, path=PATH) is None:
                raise ConfigurationError(f'{option}: {tool} (util-linux) is not installed')
        self._alone = next((way for way in ALONE if _works(way)), ())
        if not self._alone:
            if alone:
                raise ConfigurationError(
                    f'{option}: programs cannot be cut off from the network on this host, where '
                    f'neither root nor user namespaces are allowed to'
                )
            LOG.warning(
                'Programs that convert images can reach the network: this host allows no namespaces'
            )

    @property
    def isolated(self) -> bool:
        """Whether what it runs has no network."""
        return bool(self._alone)

    def run(
        self,
        command: Sequence[str],
        limits: Limits,
        output: pathlib.Path,
        looked: Callable[[bytes], object] = lambda tail: None,
    ) -> Ended:
        """Run to the end. `output` is a scratch file; it is removed afterwards.

        `looked` is told the end of the output again and again, and may raise: the program is
        killed then. `LimitExceeded`: it took too long.
        """
        errors = output.with_name(output.name + '.errors')
        try:
            with open(output, 'wb') as out, open(errors, 'wb') as err:
                process = subprocess.Popen(
                    [*self._prefix(limits), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env={'PATH': PATH, 'LC_ALL': 'C', 'MALLOC_ARENA_MAX': '2'},
                    cwd='/',
                    start_new_session=True,
                )
            code = self._wait(process, limits, output, looked)
            return Ended(code, output.read_bytes(), errors.read_text(errors='replace')[:2000])
        finally:
            for path in (output, errors):
                path.unlink(missing_ok=True)

    def _prefix(self, limits: Limits) -> list[str]:
        return [
            'setpriv', '--pdeathsig', 'KILL', '--no-new-privs', '--',
            'prlimit', f'--as={limits.memory}', f'--cpu={limits.cpu}:{limits.cpu + 5}',
            f'--fsize={limits.file}', '--core=0', '--nofile=256', '--',
            *self._alone,
        ]  # fmt: skip

    @staticmethod
    def _wait(
        process: subprocess.Popen[bytes],
        limits: Limits,
        output: pathlib.Path,
        looked: Callable[[bytes], object],
    ) -> int:
        deadline = time.monotonic() + limits.seconds
        try:
            # A wait that the hub does not know would hold up everybody where threads are green.
            while (code := process.poll()) is None:
                looked(_tail(output))
                if time.monotonic() > deadline:
                    raise LimitExceeded(f'The conversion took more than {limits.seconds:g} seconds')
                time.sleep(LOOK)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            while process.poll() is None:
                time.sleep(LOOK / 10)
            raise
        if code == -signal.SIGXCPU:
            raise LimitExceeded(f'The conversion took more than {limits.cpu} seconds of processor')
        if code == -signal.SIGKILL:
            raise LimitExceeded('The conversion took more memory or processor time than there is')
        if code == -signal.SIGXFSZ:
            raise LimitExceeded('The data is larger than it says it is')
        if code < 0:
            raise UnsupportedMedia('The data broke the program that was to convert it')
        return code


def _works(way: Sequence[str]) -> bool:
    command = ['setpriv', '--pdeathsig', 'KILL', '--no-new-privs', '--', *way, 'true']
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            command, capture_output=True, timeout=30, env={'PATH': PATH}, check=False
        )
        return done.returncode == 0
    return False


def _tail(path: pathlib.Path) -> bytes:
    with open(path, 'rb') as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 200))
        return file.read()
