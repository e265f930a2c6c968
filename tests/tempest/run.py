# SPDX-License-Identifier: Apache-2.0
"""Runs tempest's tests of the Image service. For tempest's own Python: imports nothing of ours.

Arguments: a JSON file with the ids of tests and classes, ``only`` those to run (all if there are
none) and ``not`` those; and the file that gets a JSON line ``[id, outcome, reason]`` for each test.
The outcome is ok, skip, fail or left out. TEMPEST_CONFIG_DIR names the settings.
"""

from __future__ import annotations

import collections
import json
import os
import re
import sys
import unittest

import tempest
import testtools

CLASS = re.compile(r'setUpClass \((.+)\)')


def short(test_id: str) -> str:
    """An id without the attributes that tempest appends to it."""
    return test_id.partition('[')[0]


class Result(testtools.TestResult):
    """Writes a line for each test."""

    def __init__(self, out, ids) -> None:
        super().__init__()
        self._out = out
        self._of_class = collections.defaultdict(list)
        for test_id in ids:
            self._of_class[test_id.rpartition('.')[0]].append(test_id)

    def _write(self, test, outcome, reason='') -> None:
        whole = CLASS.match(test.id())
        for test_id in self._of_class[whole.group(1)] if whole else [short(test.id())]:
            print(json.dumps([test_id, outcome, reason]), file=self._out, flush=True)

    def addSuccess(self, test, details=None) -> None:
        super().addSuccess(test, details)
        self._write(test, 'ok')

    def addSkip(self, test, reason=None, details=None) -> None:
        super().addSkip(test, reason, details)
        self._write(test, 'skip', reason or details['reason'].as_text())

    def _broken(self, test, error, details) -> None:
        if error is not None:
            details = {'traceback': testtools.content.TracebackContent(error, test)}
        text = ''.join(
            content.as_text()
            for name, content in (details or {}).items()
            if name.startswith('traceback')
        )
        self._write(test, 'fail', text[-4000:])

    def addError(self, test, err=None, details=None) -> None:
        super().addError(test, err, details)
        self._broken(test, err, details)

    def addFailure(self, test, err=None, details=None) -> None:
        super().addFailure(test, err, details)
        self._broken(test, err, details)


def tests_of(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_of(test)
        else:
            yield test


def main() -> None:
    with open(sys.argv[1]) as file:
        choice = json.load(file)
    only, unwanted = set(choice['only']), set(choice['not'])
    package = os.path.dirname(tempest.__file__)
    loader = unittest.TestLoader()
    top = os.path.dirname(package)
    found = loader.discover(os.path.join(package, 'api', 'image'), top_level_dir=top)
    assert not loader.errors, loader.errors
    classes = collections.defaultdict(unittest.TestSuite)
    with open(sys.argv[2], 'w') as out:
        for test in tests_of(found):
            test_id = short(test.id())
            names = {test_id, test_id.rpartition('.')[0]}
            if unwanted & names or (only and not only & names):
                print(json.dumps([test_id, 'left out', '']), file=out)
            else:
                classes[test.__class__].addTest(test)
        wanted = [short(test.id()) for suite in classes.values() for test in suite]
        unittest.TestSuite(classes.values()).run(Result(out, wanted))


main()
