# SPDX-License-Identifier: Apache-2.0
"""Two answers to the same request, compared: the rows of `test_differential` and what is equal."""

from __future__ import annotations

import dataclasses
import json
import re
import sqlite3
import uuid
from collections.abc import Iterator
from typing import Any

import requests

from tests.peers.lite import Client, Who

#: Headers that clients rely on. OpenStack-image-import-methods comes with imports.
HEADERS = (
    'Location', 'OpenStack-image-store-ids', 'Content-MD5', 'Content-Range', 'Accept-Patch',
    'Allow', 'Retry-After', 'Access-Control-Allow-Origin', 'Access-Control-Expose-Headers',
    'Access-Control-Allow-Methods', 'Access-Control-Allow-Headers', 'Access-Control-Max-Age',
    'Access-Control-Allow-Credentials',
)  # fmt: skip
#: A time of this test run; those that `Sql` has set are in 2020 and compared as they are.
NOW = re.compile(r'(?!2020)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ')
#: A task's id is always the service's choice.
TASK = re.compile('/v2/tasks/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')
#: The order of words in these headers means nothing.
SETS = (
    'Allow', 'Accept-Patch', 'Access-Control-Expose-Headers', 'Access-Control-Allow-Methods',
    'Access-Control-Allow-Headers',
)  # fmt: skip
OCTETS = 'application/octet-stream'


@dataclasses.dataclass(frozen=True)
class Row:
    """One request and the status both answer, or how glance-lite differs on purpose.

    `ours` is (mark in doc/source/differences.rst, status of glance-lite); with the same status,
    `apart` names the header that differs, or ``body``.
    """

    status: int
    who: Who
    method: str
    path: str
    body: Any = None
    kind: str | None = None
    headers: dict[str, str] | None = None
    ours: tuple[str, int] | None = None
    apart: str | None = None

    def __str__(self) -> str:
        kind = f' {self.kind}' if self.kind else ''
        body = '' if self.body is None else f' {str(self.body)[:200]}'
        roles = f'{self.who.project}:{self.who.roles}'
        return f'{roles} {self.method} {self.path[:300]}{kind} {self.headers or ""}{body}'

    def send(self, client: Client) -> requests.Response:
        body = self.body
        if isinstance(body, tuple):  # in chunks, without a length
            body = iter(body)
        try:
            return client.send(self.who, self.method, self.path, body, self.kind, self.headers)
        except requests.ConnectionError as ex:
            # No answer is an answer too: the row may say so.
            broken = requests.Response()
            broken.status_code = 0
            broken._content = str(ex).encode()
            return broken


@dataclasses.dataclass(frozen=True)
class Sql:
    """A statement for both databases, for what requests cannot set."""

    statement: str
    values: tuple[Any, ...] = ()

    def run(self, database: str) -> None:
        connection = sqlite3.connect(database, timeout=30)
        try:
            with connection:
                assert connection.execute(self.statement, self.values).rowcount > 0
        finally:
            connection.close()


def ident(group: str, number: int) -> str:
    """The id of an image that is the same on both sides."""
    made = uuid.uuid5(uuid.NAMESPACE_URL, f'{group}-{number}')
    return str(uuid.UUID(bytes=made.bytes, version=4))


def normal(value: Any, url: str) -> Any:
    """Without what differs between two runs of the same: times of now, where the service is.

    Texts for people are left out: a `description`, and the `message` of an error. Tags are a set.
    """
    if isinstance(value, dict):
        if 'versions' in value:
            value = {'versions': sorted(value['versions'], key=lambda one: str(one['id']))}
        return {
            key: _value(key, inner, value, url)
            for key, inner in value.items()
            if not (key == 'description' and isinstance(inner, str) and 'type' in value)
            # Of a store, which Glance knows nothing of.
            and not (key == 'health' and 'weight' in value)
            and not (key == 'message' and value.keys() == {'message', 'code', 'title'})
        }
    if isinstance(value, list):
        return [normal(inner, url) for inner in value]
    if isinstance(value, str):
        return TASK.sub('<task>', NOW.sub('<time>', value.replace(url, '<url>')))
    return value


def differences(row: Row, glance: requests.Response, ours: requests.Response) -> list[str]:
    """What is wrong about these two answers; empty when all is well."""
    wanted = (row.status, row.ours[1] if row.ours else row.status)
    got = (glance.status_code, ours.status_code)
    if got != wanted:
        return [f'statuses {got}, not {wanted}: {glance.text[:300]!r} / {ours.text[:300]!r}']
    if row.ours and not row.apart:
        return []
    found = dict(_differences(row, glance, ours))
    if row.apart:
        return [] if found.keys() == {row.apart} else [f'{row.apart} only should differ: {found}']
    return list(found.values())


def _differences(
    row: Row, glance: requests.Response, ours: requests.Response
) -> Iterator[tuple[str, str]]:
    """(name of what differs, how) of two answers of the same status."""
    for name in HEADERS:
        pair = (_header(glance, name), _header(ours, name))
        if pair[0] != pair[1]:
            yield name, f'{name}: {pair[0]!r} / {pair[1]!r}'
    request_id = ours.headers.get('x-openstack-request-id', '')
    # CORS answers before the request has an id.
    identified = row.path.startswith('/v2/') and row.method != 'OPTIONS'
    if identified and not re.fullmatch(r'req-[0-9a-f-]{36}', request_id):
        yield 'x-openstack-request-id', f'the request id is {request_id!r}'
    if not glance.content and not ours.content:
        return
    kinds = (glance.headers.get('Content-Type'), ours.headers.get('Content-Type'))
    if kinds[0] != kinds[1]:
        yield 'Content-Type', f'Content-Type: {kinds[0]!r} / {kinds[1]!r}'
    elif kinds[0] == 'application/json':
        bodies = [normal(json.loads(one.content), _base(one)) for one in (glance, ours)]
        if bodies[0] != bodies[1]:
            yield 'body', f'bodies:\n    {json.dumps(bodies[0])}\n    {json.dumps(bodies[1])}'
    elif kinds[0] == OCTETS:
        if glance.content != ours.content:
            yield 'body', f'data: {glance.content[:80]!r} / {ours.content[:80]!r}'
        if glance.headers.get('Content-Length') != ours.headers.get('Content-Length'):
            yield 'Content-Length', 'Content-Length of the data differs'


def _value(key: str, value: Any, around: dict[str, Any], url: str) -> Any:
    if key == 'tags' and 'id' in around:
        return sorted(value)
    if key == 'data_dir':
        return value.rpartition('/')[2]
    return normal(value, url)


def _header(answer: requests.Response, name: str) -> Any:
    value = answer.headers.get(name)
    if value is None:
        return None
    if name == 'OpenStack-image-store-ids':
        # Glance tells of its internal stores, but not in every process.
        return [word for word in value.split(',') if not word.startswith('os_glance_')]
    if name in SETS:
        return {word.strip() for word in value.split(',')}
    return TASK.sub('<task>', value.replace(_base(answer), '<url>'))


def _base(answer: requests.Response) -> str:
    return str(answer.request.url).split('/')[2]
