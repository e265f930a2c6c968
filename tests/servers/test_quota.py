# SPDX-License-Identifier: Apache-2.0
"""Many uploads at once, of known and of unknown size, against a limit that fits only some."""

from __future__ import annotations

import concurrent.futures
import random
import re
import threading
import time
from collections.abc import Iterator

import pytest
import requests
import sqlalchemy as sa

from glance_lite.db import tables
from tests.backends import databases
from tests.servers import processes
from tests.servers.test_servers import MIB, Caller
from tests.sizes import full

COUNT = full(40, 200)
LIMIT = COUNT * MIB // 2 + 7
ENGINES = full(('sqlite', 'postgresql'), databases.ENGINES)
REFUSED = re.compile(r'has (\d+) of (\d+) bytes left; the image needs (\d+)')


def chunks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 300_000):
        yield data[start : start + 300_000]


def upload(url: str, image_id: str, data: bytes, how: str) -> requests.Response:
    headers = {**processes.identity('alpha'), 'Content-Type': 'application/octet-stream'}
    if how == 'declared':
        headers['x-openstack-image-size'] = str(len(data))
    path = f'{url}/v2/images/{image_id}/file'
    while True:
        body = data if how == 'sized' else chunks(data)
        answer = requests.put(path, data=body, headers=headers, timeout=300)
        # SQLite has one writer at a time, and tells the last of very many to come again.
        if answer.status_code != 503:
            return answer
        time.sleep(int(answer.headers['Retry-After']))


class Watch(threading.Thread):
    """Looks, as long as the block runs, at what is used and promised."""

    def __init__(self, database: str) -> None:
        super().__init__()
        self._engine = sa.create_engine(database)
        self._end = threading.Event()
        self.seen: list[tuple[int, int]] = []

    def look(self) -> tuple[int, int]:
        """Bytes that are used and reserved by the counters, and by the rows they count."""
        u, i, at, r = (
            table.c
            for table in (tables.usage, tables.images, tables.image_locations, tables.reservations)
        )
        used = sa.select(sa.func.coalesce(sa.func.sum(i.size), 0)).where(
            at.image_id == i.id, at.deleted == sa.false(), i.deleted == sa.false()
        )
        promised = sa.select(sa.func.coalesce(sa.func.sum(r.amount), 0))
        row = sa.select(u.size + u.reserved_size).where(u.project == 'alpha')
        with self._engine.connect() as connection:
            asked = sa.select(
                row.scalar_subquery(), used.scalar_subquery() + promised.scalar_subquery()
            )
            counted, real = connection.execute(asked).one()
        return int(counted), int(real)

    def run(self) -> None:
        while not self._end.wait(0.02):
            self.seen.append(self.look())

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self.join()
        self._engine.dispose()


@pytest.mark.parametrize('hows', [('sized', 'declared'), ('sized', 'declared', 'unknown')], ids=len)
@pytest.mark.parametrize('engine', ENGINES)
def test_not_a_byte_more_than_the_limit(engine, hows, tmp_path):
    databases.require(engine)
    url = databases.create(engine, tmp_path)
    try:
        made = processes.settings(tmp_path, url, default=f'user_storage_quota = {LIMIT}')
        with processes.api(made) as server:
            fill(server, url, hows)
            assert 'Traceback' not in server.text() and 'recounted' not in server.text()
    finally:
        databases.drop(url)


def fill(server: processes.Server, database: str, hows: tuple[str, ...]) -> None:
    chance = random.Random(5)
    alpha = Caller(server.url, 'alpha')
    ids = [alpha.create() for _ in range(COUNT)]
    sizes = [chance.randrange(1, 2 * MIB) for _ in ids]
    how = [hows[number % len(hows)] for number in range(COUNT)]
    with Watch(database) as watch, concurrent.futures.ThreadPoolExecutor(COUNT) as pool:
        answers = list(
            pool.map(lambda n: upload(server.url, ids[n], bytes(sizes[n]), how[n]), range(COUNT))
        )
        assert {answer.status_code for answer in answers} == {204, 413}
        used = sum(s for s, answer in zip(sizes, answers, strict=True) if answer.status_code == 204)
        assert watch.look() == (used, used)
    for size, answer in zip(sizes, answers, strict=True):
        assert alpha.show(ids[sizes.index(size)])['status'] in ('active', 'queued')
        if answer.status_code == 413:
            check_refusal(answer.text, size)
            # Of known sizes only what is uploaded was ever taken.
            assert 'unknown' in hows or used + size > LIMIT
    # Both sums are of one moment, and never more than there may be.
    assert watch.seen and all(one == other <= LIMIT for one, other in watch.seen)
    assert sum(path.stat().st_size for path in server.files()) == used
    fill_up(server, alpha, LIMIT - used)


def check_refusal(text: str, size: int) -> None:
    told = REFUSED.search(text)
    assert told, text
    left, limit, needed = map(int, told.groups())
    assert limit == LIMIT and 0 <= left < needed <= size


def fill_up(server: processes.Server, alpha: Caller, left: int) -> None:
    """What is left is there to the last byte, and not one more."""
    image_id = alpha.create()
    assert upload(server.url, image_id, bytes(left + 1), 'sized').status_code == 413
    assert upload(server.url, image_id, bytes(left + 1), 'unknown').status_code == 413
    assert upload(server.url, image_id, bytes(left), 'unknown').status_code == 204
    assert upload(server.url, alpha.create(), b'x', 'sized').status_code == 413
