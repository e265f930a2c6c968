# SPDX-License-Identifier: Apache-2.0
"""How one generation of the server follows another: the master becomes a new program.

The same process starts the same command anew, so it takes every option, file and module as a
restart would, and keeps what must not break: its process id, the listening socket and the
workers of before, who are its children still. Before that a `Check`, the same command again in a
process of its own, has built everything from the new configuration and served nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import posix
import signal
import sys
import time

from glance_lite.server import notify

#: What the program before has left to this one, and whether this one is a check.
LEFT = 'GLANCE_LITE_GENERATION'
CHECK = 'GLANCE_LITE_CHECK'

#: Seconds that a check may take.
PATIENCE = 120.0


@dataclasses.dataclass(frozen=True)
class Inheritance:
    """What passes from the master before to the one after it."""

    pid: int
    listener: int
    #: workers see the end of the first when nobody has the second any more
    alive: tuple[int, int]
    workers: tuple[int, ...]

    def descriptors(self) -> tuple[int, ...]:
        return (self.listener, *self.alive)


def inherited() -> Inheritance | None:
    """What there is; None at a first start."""
    text = os.environ.pop(LEFT, None)
    if text is None:
        return None
    values = json.loads(text)
    found = Inheritance(
        values['pid'],
        values['listener'],
        tuple(values['alive']),
        tuple(values['workers']),
    )
    if found.pid != os.getpid():
        return None
    for descriptor in found.descriptors():
        os.set_inheritable(descriptor, False)
    return found


def is_check() -> bool:
    """Whether this process shall start everything and serve nothing."""
    return CHECK in os.environ


def follow(inheritance: Inheritance) -> None:
    """Become the next generation. Returns only if that fails, by raising `OSError`."""
    for descriptor in inheritance.descriptors():
        os.set_inheritable(descriptor, True)
    os.environ[LEFT] = json.dumps(dataclasses.asdict(inheritance))
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        _execute()
    finally:
        del os.environ[LEFT]


def _execute() -> None:
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


class Check:
    """The command in a process that ends when all is well, or with a sentence."""

    def __init__(self) -> None:
        self._output = os.memfd_create('check')
        self._begun = time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            self._become()

    def _become(self) -> None:
        try:
            os.dup2(self._output, 1)
            os.dup2(self._output, 2)
            os.environ[CHECK] = '1'
            notify.forget()
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            _execute()
        finally:
            os._exit(1)

    def result(self) -> str | None:
        """None while it runs, then a sentence, which is empty when all is well."""
        pid, status = posix.waitpid(self.pid, os.WNOHANG)
        if not pid:
            if time.monotonic() - self._begun > PATIENCE:
                os.kill(self.pid, signal.SIGKILL)
            return None
        said = os.pread(self._output, 1 << 16, 0).decode(errors='replace').strip()
        os.close(self._output)
        if not status:
            return ''
        last = said.rpartition('\n')[2].removeprefix('glance-lite-api: ')
        return last or f'the check ended with status {status}'

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        posix.waitpid(self.pid, 0)
        os.close(self._output)
