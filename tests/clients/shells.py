# SPDX-License-Identifier: Apache-2.0
"""The command line clients, within this process: to start one takes a second or two.

`Shell` runs ``openstack`` and ``glance`` as an account of a real Keystone; what they find they
find by its catalog.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import glanceclient.shell
import openstackclient.shell
from osc_lib.clientmanager import ClientCache, ClientManager

from tests.backends.keystone import Account


@dataclasses.dataclass(frozen=True)
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str


class Refused(Exception):
    """A command did not end well; the message is what it said."""


@contextlib.contextmanager
def _undone() -> Iterator[None]:
    """The clients set up logging for the whole process, which is not theirs here."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        with warnings.catch_warnings():
            yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


def _forget() -> None:
    """``openstack`` keeps its connections at a class, for whoever comes next in this process."""
    for found in vars(ClientManager).values():
        if isinstance(found, ClientCache):
            found._handle = None


class _Terminal(io.StringIO):
    """Where nobody types: from anything else the clients would read the data of an image."""

    def isatty(self) -> bool:
        return True


def _run(main: Callable[[list[str]], Any], arguments: list[str]) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with (
        _undone(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, 'stdin', _Terminal()),
    ):
        try:
            code = main(arguments)
        except SystemExit as ex:
            code = ex.code
    return Done(int(code or 0), out.getvalue(), err.getvalue())


@dataclasses.dataclass(frozen=True)
class Shell:
    """The clients as one account."""

    account: Account

    @property
    def _options(self) -> list[str]:
        return [
            word
            for name, value in self.account.settings.items()
            for word in ('--os-' + name.replace('_', '-'), value)
        ]

    def openstack(self, command: str, *more: object) -> str:
        """Run a command, of which `command` is split at spaces. Raises `Refused`."""
        version = ['--os-identity-api-version', '3']
        words = [*version, *command.split(), *map(str, more)]

        def main(arguments: list[str]) -> int:
            _forget()
            # It takes standard output as it finds it when it is made.
            return openstackclient.shell.OpenStackShell().run(arguments)

        return self._output(_run(main, [*self._options, *words]), words)

    def json(self, command: str, *more: object) -> Any:
        """What ``openstack`` shows."""
        return json.loads(self.openstack(command, *more, '-f', 'json'))

    def glance(self, command: str, *more: object) -> str:
        """Run a command of ``glance``. Raises `Refused`."""
        words = [*command.split(), *map(str, more)]

        def main(arguments: list[str]) -> int:
            try:
                glanceclient.shell.OpenStackImagesShell().main(arguments)
            except Exception as ex:  # as its own main does
                print(ex, file=sys.stderr)
                return 1
            return 0

        return self._output(_run(main, [*self._options, *words]), words)

    @staticmethod
    def _output(done: Done, words: list[str]) -> str:
        if done.code:
            raise Refused(f'{words}: {done.code}: {done.out}{done.err}')
        return done.out
