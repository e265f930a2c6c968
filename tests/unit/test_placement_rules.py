# SPDX-License-Identifier: Apache-2.0
"""Standing rules: what they say, and what is wrong with some."""

from __future__ import annotations

import datetime

import pytest

from glance_lite.errors import ConfigurationError
from glance_lite.updates.rules import parse
from glance_lite.updates.values import Placed

IMAGE = Placed(
    'a', 'public', 'alpha', 'raw', 'bare', False, datetime.timedelta(days=10),
    frozenset({'archive'}), frozenset({'fast'}),
)  # fmt: skip
KNOWN = {'fast', 'cheap', 'far'}


@pytest.mark.parametrize(
    ('line', 'change'),
    [
        ('to fast', {}),
        ('to cheap', {'cheap': True}),
        ('to fast,cheap,far', {'cheap': True, 'far': True}),
        ('to fast, cheap', {'cheap': True}),
        ('to cheap only', {'cheap': True, 'fast': False}),
        ('to fast only', {}),
        ('visibility:public owner:alpha disk_format:raw to cheap', {'cheap': True}),
        ('container_format:bare os_hidden:false tag:archive to cheap', {'cheap': True}),
        ('older:9d store:fast to cheap', {'cheap': True}),
        ('younger:11d to cheap', {'cheap': True}),
        ('older:11d to cheap', None),
        ('younger:240h to cheap', None),
        ('visibility:private to cheap', None),
        ('visibility:public tag:x to cheap', None),
        ('owner:beta to cheap', None),
        ('store:cheap to far', None),
        ('os_hidden:true to cheap', None),
    ],
)
def test_what_a_rule_wants(line, change):
    (rule,) = parse([line], KNOWN)
    assert rule.fits(IMAGE) == (change is not None)
    if change is not None:
        assert rule.missing(IMAGE) == change


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        ('', 'does not say "to" which stores'),
        ('visibility:public', 'does not say "to" which stores'),
        ('to', 'does not say "to" which stores'),
        ('to only', 'does not say "to" which stores'),
        ('to nosuch', 'there is no store nosuch'),
        ('colour:red to fast', "'colour:red' is no condition"),
        ('older:soon to fast', "'older:soon' is no condition"),
        ('tag: to fast', "'tag:' is no condition"),
        ('public to fast', "'public' is no condition"),
    ],
)
def test_what_is_no_rule(line, said):
    with pytest.raises(ConfigurationError, match=r'^\[maintenance\] placement_rule: ') as caught:
        parse([line], KNOWN)
    assert said in caught.value.message
