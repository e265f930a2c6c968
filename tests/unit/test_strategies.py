# SPDX-License-Identifier: Apache-2.0
"""Which location comes first, by each strategy and by one of somebody else's."""

from __future__ import annotations

import pytest

from glance_lite import plugins
from glance_lite.errors import ConfigurationError, PluginError
from glance_lite.model import Location
from glance_lite.strategies import LocationStrategy
from glance_lite.testing.layers import make_parts
from tests.backends import vendor

STORES = """
[DEFAULT]
enabled_backends = old:memory,fast:file,web:http
{default}
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {directory}/fast
weight = 7
[web]
weight = -3
[store_type_location_strategy]
store_type_preference = {preference}
"""

OLD = Location(1, 'memory://old/x', {'store': 'old'})
FAST = Location(2, 'file:///fast/x', {'store': 'fast'})
WEB = Location(3, 'http://web/x', {'store': 'web'})
BEFORE = Location(4, 'http://web/y')
LOST = Location(5, 'rbd://a/b/c/d', {'store': 'gone'})
ALL = (OLD, FAST, WEB, BEFORE, LOST)


@pytest.fixture
def order(tmp_path):
    def order(default='', preference=''):
        (tmp_path / 'fast').mkdir(exist_ok=True)
        text = STORES.format(directory=tmp_path, default=default, preference=preference)
        gateway = make_parts(tmp_path, text).gateway
        return [location.id for location in gateway.order(ALL)]

    return order


def test_weight_is_the_default_and_equal_ones_stay_as_they_are(order):
    assert order() == [2, 1, 4, 5, 3]


def test_location_order_is_the_order_of_their_coming(order):
    assert order('location_strategy = location_order') == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ('preference', 'wanted'),
    [
        ('', [1, 2, 3, 4, 5]),
        ('http', [3, 4, 1, 2, 5]),
        ('rbd, http, file', [3, 4, 2, 1, 5]),
        # as Glance called it, and one that is named twice
        ('filesystem, memory, filesystem', [2, 1, 3, 4, 5]),
    ],
)
def test_store_type_is_by_preference_whatever_the_weights(order, preference, wanted):
    assert order('location_strategy = store_type', preference) == wanted


class Backwards(LocationStrategy):
    def rank(self, location):
        return -location.id


class Picky(LocationStrategy):
    def __init__(self, conf, stores):
        raise ConfigurationError('[picky] colour: it must be set')

    def rank(self, location):
        return 0


def no_strategy():
    """Whatever it is, it ranks nothing."""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    found = {'backwards': Backwards, 'picky': Picky, 'no_strategy': no_strategy}
    paths = {name: f'{__name__}:{thing.__name__}' for name, thing in found.items()}
    vendor.install(monkeypatch, tmp_path / 'site', plugins.LOCATION_STRATEGIES, paths)


def test_one_of_somebody_else(order, installed):
    assert order('location_strategy = backwards') == [5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ('name', 'error', 'text'),
    [
        ('nearest', PluginError, r'\[DEFAULT\] location_strategy: there is no plug-in nearest'),
        ('no_strategy', PluginError, r'location_strategy: no_strategy is not a location strategy'),
        ('picky', ConfigurationError, r'\[picky\] colour: it must be set'),
    ],
)
def test_what_cannot_be_used_stops_the_start(order, installed, name, error, text):
    with pytest.raises(error, match=text):
        order(f'location_strategy = {name}')
