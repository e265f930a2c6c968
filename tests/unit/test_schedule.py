# SPDX-License-Identifier: Apache-2.0
"""When duties are done."""

from __future__ import annotations

import datetime

import pytest

from glance_lite.errors import ConfigurationError
from glance_lite.maintenance import schedule


def test_periods():
    given = {'a': '90', 'b': '90s', 'c': '15m', 'd': '6h', 'e': ' 7d '}
    found = schedule.periods(given, given)
    assert list(found.values()) == [90, 90, 900, 6 * 3600, 7 * 86400]


@pytest.mark.parametrize('text', ['', '0', '0m', '-5', '1.5', '5 m', '5w', '1234567890'])
def test_what_is_no_period(text):
    with pytest.raises(ConfigurationError, match=r'^\[maintenance\] schedule: .* of a is not'):
        schedule.periods({'a': text}, {'a'})


@pytest.mark.parametrize(
    ('window', 'opened'),
    [
        ('01.00-05.30', ['01.00', '03.59', '04.00', '05.29']),
        ('22.00-04.00', ['00.00', '00.59', '01.00', '03.59', '22.00', '23.59']),
        ('00.00-00.00', []),
    ],
)
def test_windows(window, opened):
    (found,) = schedule.windows({'a': window}, {'a'}).values()
    texts = ['00.00', '00.59', '01.00', '03.59', '04.00', '05.29', '05.30', '21.59', '22.00']
    texts.append('23.59')
    times = {text: datetime.datetime(2026, 5, 1, *map(int, text.split('.'))) for text in texts}
    assert [text for text, now in times.items() if schedule.is_open(found, now)] == opened
    assert schedule.is_open(None, datetime.datetime(2026, 5, 1))


@pytest.mark.parametrize('text', ['', '1-2', '01:00-02:00', '24.00-01.00', '01.60-02.00', '01.00'])
def test_what_is_no_window(text):
    with pytest.raises(ConfigurationError, match=r'^\[maintenance\] window: .* of a is not'):
        schedule.windows({'a': text}, {'a'})


def test_duties_that_are_not_there():
    with pytest.raises(ConfigurationError, match='schedule: there is no duty a'):
        schedule.periods({'a': '1h'}, {'b'})
    with pytest.raises(ConfigurationError, match='window: there is no duty a'):
        schedule.windows({'a': '01.00-02.00'}, {'b'})
