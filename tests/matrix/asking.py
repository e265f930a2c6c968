# SPDX-License-Identifier: Apache-2.0
"""Asks one operation as everybody and gives one cell of the table for each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.matrix.operations import Operation
from tests.matrix.people import PEOPLE, Person
from tests.matrix.seeds import IMAGE_ID, Seeds


class Heard(NamedTuple):
    """An answer of whichever service."""

    status: int
    headers: dict[str, str]
    body: bytes


#: sends (identity, method, path, body, content type)
Send = Callable[[Person, str, str, Any, Any], Heard]


def cell(operation: Operation, answer: Heard) -> str:
    """What the table says: the status; of a list, whether the image is in it."""
    if operation.lists is None or answer.status != 200 or 'marker=' in operation.path:
        return str(answer.status)
    listed, known_by = operation.lists
    found = [one[known_by] for one in json.loads(answer.body)[listed]]
    assert found in ([], [IMAGE_ID])
    return 'in' if found else 'out'


def answers(
    send: Send, seeds: Seeds, operation: Operation, visibility: str
) -> Iterator[tuple[Person, Heard]]:
    """Everybody's answer; the image is as it was before each of them."""
    fresh = False
    for who in PEOPLE:
        if not fresh:
            seeds.reset(operation.image, visibility)
        yield who, send(who, *operation.request(who, IMAGE_ID, visibility))
        fresh = operation.method == 'GET'


def row(send: Send, seeds: Seeds, operation: Operation, visibility: str) -> tuple[str, ...]:
    """One row of the table."""
    return tuple(cell(operation, one) for _, one in answers(send, seeds, operation, visibility))
