# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

pytest_plugins = ['tests.backends.fixtures']
