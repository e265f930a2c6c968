# SPDX-License-Identifier: Apache-2.0
"""The tables of rights are those of Glance 33: each of its answers, asked of the real one.

Every day of a shared image, which tells all relations apart, and of namespaces, with the policy
defaults of today; with ``tools/test --all`` of every visibility, and with the old defaults too.
"""

from __future__ import annotations

import pytest

from tests import sizes
from tests.matrix import asking, table
from tests.matrix.operations import OPERATIONS, VISIBILITIES
from tests.matrix.people import PEOPLE
from tests.peers import rights

DEFAULTS = sizes.full(('new',), tuple(table.FILES))
ASKED = sizes.full(('shared',), VISIBILITIES)


@pytest.fixture(scope='module', params=DEFAULTS)
def glance(tmp_path_factory, request):
    """(table, how to send, seeds) of a Glance 33 with these defaults of policies."""
    directory = tmp_path_factory.mktemp('glance')
    with rights.glance(directory, request.param) as found:
        yield table.read(request.param), *found


@pytest.mark.peer
@pytest.mark.parametrize('name', OPERATIONS)
def test_rights_are_those_of_glance(glance, name):
    expected, send, seeds = glance
    operation = OPERATIONS[name]
    wrong = []
    # What has no image, or no namespace, in four visibilities is asked whole.
    of_an_image = operation.visibilities == VISIBILITIES
    for visibility in ASKED if of_an_image else operation.visibilities:
        got = asking.row(send, seeds, operation, visibility)
        rights_there = expected[name, visibility].glance
        wrong += [
            f'{visibility}, {who.name}: {one}, not {want}'
            for who, one, want in zip(PEOPLE, got, rights_there, strict=True)
            if one != want
        ]
    assert not wrong, '\n'.join([name, *wrong])
