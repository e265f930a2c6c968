# SPDX-License-Identifier: Apache-2.0
"""Our rules are Glance 33's: an operator's policy.yaml means the same to both.

``glance33_defaults.json`` is what ``oslopolicy-policy-generator --namespace glance`` prints for
Glance 33.0.0, as JSON.
"""

from __future__ import annotations

import json
import pathlib

import pytest
from oslo_policy import _parser

from glance_lite import policy

GLANCE = json.loads(pathlib.Path(__file__).with_name('glance33_defaults.json').read_text())
OURS = {rule.name: rule for rule in policy.list_rules()}


def test_the_same_names():
    assert sorted(OURS) == sorted(GLANCE)


@pytest.mark.parametrize('name', sorted(GLANCE))
def test_the_same_default(name):
    wanted = str(_parser.parse_rule(GLANCE[name]))
    assert str(_parser.parse_rule(OURS[name].check_str)) == wanted
