# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_each_difference_names_a_test_that_exists():
    text = (ROOT / 'doc' / 'source' / 'differences.rst').read_text()
    named = set(re.findall(r'``(test_\w+)``', text))
    defined = {
        name
        for path in (ROOT / 'tests').rglob('test_*.py')
        for name in re.findall(r'^def (test_\w+)', path.read_text(), re.M)
    }
    assert named and named <= defined, named - defined
    # Each row has its four cells, and the last one is the test.
    rows = text.split('\n   * - ')[2:]
    assert all(row.count('\n     - ') == 3 for row in rows)
    assert all('``test_' in row.rpartition('\n     - ')[2] for row in rows)
