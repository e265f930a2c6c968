# SPDX-License-Identifier: Apache-2.0
"""What each handler takes and answers, for the OpenAPI document and the reference.

Each family of handlers has a module here with its name: ``HANDLERS`` says of each handler what a
`Described` says, and ``SCHEMAS``, where there is one, what its answers and bodies look like. A
handler without a description fails a test, and so does an answer that is not described.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

TEXT: Schema = {'type': 'string'}
COUNT: Schema = {'type': 'integer', 'minimum': 0}
OBJECT: Schema = {'type': 'object'}
NOTHING: Mapping[Any, Any] = {}

JSON = 'application/json'
OCTETS = 'application/octet-stream'


def ref(name: str) -> Schema:
    """The schema of that name."""
    return {'$ref': f'#/components/schemas/{name}'}


@dataclasses.dataclass(frozen=True)
class Parameter:
    """Something in the query, or a header."""

    name: str
    about: str
    schema: Schema = dataclasses.field(default_factory=lambda: TEXT)
    #: it may be there several times
    many: bool = False


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer that is no refusal. Without a schema it has no body."""

    about: str
    schema: Schema | None = None
    kind: str = JSON
    #: name -> what it says
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Described:
    """One handler. `refusals` come on top of 400 and 401, which any request may get."""

    summary: str
    answers: Mapping[int, Answer]
    refusals: tuple[int, ...] = ()
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    #: media type -> schema of the body
    body: Mapping[str, Schema] = dataclasses.field(default_factory=dict)


#: Refusals of what asks the chain: 403 and 404 by who asks, 503 by what does not answer.
CHAIN = (403, 404, 503)

NO_CONTENT: Mapping[int, Answer] = {204: Answer('It is done')}


def found(schema: Schema, about: str = 'It is found') -> Mapping[int, Answer]:
    """200 with a body."""
    return {200: Answer(about, schema)}


def family(name: str) -> Any:
    """The module that describes a family of handlers."""
    return importlib.import_module(f'{__name__}.{name}')


def handler(of: str, name: str) -> Described:
    """What is said of one handler. `KeyError`: nothing."""
    described: Described = family(of).HANDLERS[name]
    return described
