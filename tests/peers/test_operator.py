# SPDX-License-Identifier: Apache-2.0
"""Policy files and property protections of an operator: a Glance 33 and glance-lite answer alike.

Both are started on the files in ``operator/``, once with the protections by roles and once with
those by policy rules, and asked the same.
"""

from __future__ import annotations

import pathlib
import re

import pytest

from tests.peers import glance33
from tests.peers.comparison import Row
from tests.peers.lite import ADMIN
from tests.peers.operator_rows import BY_FORMAT, GROUPS
from tests.peers.test_differential import PLAIN, compare, pair

FILES = pathlib.Path(__file__).with_name('operator')
PAGE = glance33.ROOT / 'doc' / 'source' / 'differences.rst'
SETTINGS = """
property_protection_file = protections-{0}.conf
property_protection_rule_format = {0}
"""
ASKED = [(form, group) for form in BY_FORMAT for group in BY_FORMAT[form]]
ROWS = [row for _, group in ASKED for row in GROUPS[group] if isinstance(row, Row)]


@pytest.fixture(scope='module')
def services(tmp_path_factory, request):
    """Both, with the protections in one format."""
    with pair(tmp_path_factory, PLAIN + SETTINGS.format(request.param), files=FILES) as found:
        yield found


@pytest.mark.peer
@pytest.mark.parametrize(('services', 'group'), ASKED, indirect=['services'])
def test_same_answers_with_files_of_an_operator(services, group):
    compare(services, group, GROUPS)


def test_it_is_at_least_two_hundred_cases():
    """Without the rows that only make an image for the next."""
    cases = [row for row in ROWS if row.who is not ADMIN or row.method != 'POST']
    assert len(cases) >= 200


def test_each_difference_with_files_of_an_operator_is_told():
    named = r'``test_same_answers_with_files_of_an_operator``: ``([a-z0-9-]+)``'
    assert set(re.findall(named, PAGE.read_text())) == {row.ours[0] for row in ROWS if row.ours}
