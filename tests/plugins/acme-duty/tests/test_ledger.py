# SPDX-License-Identifier: Apache-2.0
"""What it writes, and that it stops when it is told to."""

from __future__ import annotations

import types

import pytest
from acme_duty.ledger import Ledger

from glance_lite.errors import ConfigurationError
from glance_lite.maintenance.duty import DutyParts, Turn, TurnOver


class Images:
    """What is further in, with some locations."""

    def __init__(self, count):
        self.count = count

    def list_holdings(self, ctx, after, count):
        return tuple(
            types.SimpleNamespace(
                image_id=f'image-{number}', location=types.SimpleNamespace(id=number)
            )
            for number in range(after + 1, min(self.count, after + count) + 1)
        )


def ledger(file, count, pause=0.0):
    return Ledger(DutyParts(None, Images(count), {'file': file, 'pause': pause}))


def test_a_line_for_each(tmp_path):
    file = tmp_path / 'ledger'
    told = []
    turn = Turn('acme_ledger', 'me', 60, told.append)
    assert ledger(str(file), 250).run(turn) == {'written': 250}
    lines = [line.split()[1] for line in file.read_text().splitlines()]
    assert lines == ['begin', *(f'image-{number}' for number in range(1, 251)), 'end']
    assert sum(told) == 250


def test_it_stops_with_its_turn(tmp_path):
    file = tmp_path / 'ledger'
    turn = Turn('acme_ledger', 'me', 0.2)
    with pytest.raises(TurnOver):
        ledger(str(file), 1000, 0.05).run(turn)
    assert len(file.read_text().splitlines()) < 20


def test_it_wants_a_file():
    with pytest.raises(ConfigurationError, match='must be set'):
        ledger('', 1)
