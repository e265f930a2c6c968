# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import collections
import re
import sys

import pytest

from glance_lite.testing.stores import ReadConformance
from tests.conformance.green import COUNTED

pytest_plugins = ['tests.backends.fixtures']


@pytest.fixture(autouse=True)
def _unpatched():
    """No test makes the threads of its process green: those that come after would hang."""
    yield
    patcher = sys.modules.get('eventlet.patcher')
    assert patcher is None or not patcher.already_patched, 'eventlet has patched this process'


@pytest.fixture(autouse=True)
def _kit(request, record_property):
    """Cases of the kit are counted for each driver."""
    if request.cls is not None and issubclass(request.cls, ReadConformance):
        record_property('kit', f'{request.path.stem}.{request.cls.__name__}')


def pytest_terminal_summary(terminalreporter):
    """How many cases of the kit each driver has passed."""
    passed, green = collections.Counter(), {}
    for report in terminalreporter.stats.get('passed', ()):
        kit = dict(report.user_properties).get('kit')
        if kit is not None:
            passed[kit] += 1
        elif said := re.search(rf'(\d+) {COUNTED}', report.capstdout):
            green[report.nodeid] = said[1]
    if passed or green:
        terminalreporter.section('cases of the conformance kit that passed, for each driver')
        for kit, count in sorted(passed.items()):
            terminalreporter.line(f'{count:5} {kit}')
        for nodeid, count in sorted(green.items()):
            terminalreporter.line(f'{count:>5} {nodeid} (eventlet)')
