# SPDX-License-Identifier: Apache-2.0
"""What benchmarks/chain.py measures, at its smallest."""

from __future__ import annotations

import pytest

from benchmarks import chain
from glance_lite.policy import enforcer


@pytest.fixture(scope='module', autouse=True)
def calm():
    """On a busy machine each of several calls would find that it is time to look at the files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enforcer, 'INTERVAL', 3600)
        yield


@pytest.fixture(scope='module')
def found():
    return chain.measure(1)


def test_nothing_costs_one_call(found):
    """The operation's own: what the others have more is the layers'."""
    assert {figures['nothing'][0] for figures in found.values()} == {1}


def test_each_operation_costs_more_with_layers_and_more_again_with_rows(found):
    for name, figures in found.items():
        six, seven = figures['six'][0], figures['seven'][0]
        assert 1 < six <= seven, name
        assert six < seven or name == 'list_stores', name
        assert all(microseconds > 0 for _, microseconds in figures.values())


def test_every_layer_has_something_to_do():
    with chain.place('six') as made:
        acting = vars(made.chain)
        assert len({type(method.__self__).__name__ for method in acting.values()}) >= 5


def test_counts_do_not_depend_on_what_came_before():
    with chain.place('six') as made:
        for name in ('get_image', 'list_images', 'update_image'):
            assert chain.calls(made, name) == chain.calls(made, name), name


def test_the_table(found):
    rule, head, second, *rows, last = chain.report(found).splitlines()
    assert rule == second == last and 'Six layers: calls' in head
    assert [row.split()[0] for row in rows] == list(chain.CASES)
    # Cells are where the rule has them, or it would be no table.
    assert all(len(row) <= len(rule) for row in (head, *rows))
