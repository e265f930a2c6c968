# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.plugins.environment import Environment

#: Its tests run where it is installed.
collect_ignore = ['acme-duty', 'acme-import', 'acme-layer', 'acme-store', 'vault-store']


@pytest.fixture(scope='module')
def environment(tmp_path_factory):
    """A virtual environment with glance-lite and nothing of anybody else's."""
    return Environment(tmp_path_factory.mktemp('environment'))
