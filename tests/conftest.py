# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys

import pytest

pytest_plugins = ['tests.backends.fixtures']


@pytest.fixture(autouse=True)
def _unpatched():
    """No test makes the threads of its process green: those that come after would hang."""
    yield
    patcher = sys.modules.get('eventlet.patcher')
    assert patcher is None or not patcher.already_patched, 'eventlet has patched this process'
