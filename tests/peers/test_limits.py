# SPDX-License-Identifier: Apache-2.0
"""Limits of a real Keystone: glance-lite beside a Glance 33 that asks the same one."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from glance_lite.db import tables
from tests.backends import databases, keystone
from tests.peers import glance33, lite
from tests.peers.lite import OCTETS, V21, Client, Who
from tests.servers import processes
from tests.sizes import full

pytestmark = pytest.mark.peer

MIB = 1 << 20
BARE = {'disk_format': 'raw', 'container_format': 'bare'}
#: What every project may use: MiB, and images.
REGISTERED = {
    'image_size_total': 3,
    'image_stage_total': 2,
    'image_count_total': 4,
    'image_count_uploading': 1,
}


@dataclasses.dataclass
class Side:
    """One of the services."""

    name: str
    client: Client

    def ask(self, who: Who, method: str, path: str, *rest: Any, **more: Any) -> requests.Response:
        return self.client.send(who, method, path, *rest, **more)

    def usage(self, who: Who) -> Any:
        answer = self.ask(who, 'GET', '/v2/info/usage')
        assert answer.status_code == 200, answer.text
        return answer.json()

    def create(self, who: Who, **fields: Any) -> str:
        answer = self.ask(who, 'POST', '/v2/images', {**BARE, **fields})
        assert answer.status_code == 201, answer.text
        return str(answer.json()['id'])

    def put(self, who: Who, image_id: str, data: Any, what: str = 'file', **headers: str) -> int:
        path = f'/v2/images/{image_id}/{what}'
        return self.ask(who, 'PUT', path, data, kind=OCTETS, headers=headers).status_code


def chunks(size: int) -> Iterator[bytes]:
    """A body whose size nobody is told."""
    for start in range(0, size, 100_000):
        yield bytes(min(100_000, size - start))


@dataclasses.dataclass
class Scene:
    region: keystone.Region
    endpoint: str
    glance: Side
    ours: Side
    database: str
    directory: pathlib.Path

    def project(self, **limits: int) -> Who:
        _, project_id = self.region.project('limited')
        self.region.limit(project_id, **limits)
        return Who(project_id)

    @property
    def both(self) -> tuple[Side, Side]:
        return self.glance, self.ours


@contextlib.contextmanager
def scene(directory: pathlib.Path, shared: str | None = None) -> Iterator[Scene]:
    """Both services with the limits of one region: on a database each, or on `shared`."""
    region = keystone.cloud().region()
    region.register(**REGISTERED)
    endpoint = region.serves('http://image.example/')
    urls = {}
    with contextlib.ExitStack() as stack:
        for name in ('glance', 'lite'):
            stores = lite.make_stores(directory / f'stores-{name}')
            text = f'use_keystone_limits = true\n{stores}\n{region.oslo_limit(endpoint)}'
            url = shared or f'sqlite:///{directory}/{name}.sqlite'
            settings = lite.write_settings(directory / f'manage-{name}', url, stores, 1)
            lite.manage(settings, 'db', 'sync')
            run = glance33.running if name == 'glance' else lite.running
            if name == 'glance':
                glance33.write_settings(directory / name, url, text)
            urls[name] = stack.enter_context(run(directory / name, url, text))
        yield Scene(
            region,
            endpoint,
            Side('glance', Client(urls['glance'])),
            Side('lite', Client(urls['lite'])),
            url,
            directory,
        )


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    glance33.home()
    with scene(tmp_path_factory.mktemp('limits')) as found:
        yield found


def same(made: Scene, who: Who) -> Any:
    """What both say is used."""
    glance, ours = (side.usage(who) for side in made.both)
    assert glance == ours
    return ours['usage']


def used(made: Scene, who: Who) -> list[int]:
    found = same(made, who)
    return [found[name]['usage'] for name in REGISTERED]


def test_the_limits_are_those_of_keystone(made):
    who = made.project(image_count_total=7)
    found = same(made, who)
    assert list(found) == list(REGISTERED)
    assert {name: one['limit'] for name, one in found.items()} == {
        **REGISTERED, 'image_count_total': 7,
    }  # fmt: skip
    assert used(made, who) == [0, 0, 0, 0]


def test_how_many_images(made):
    who = made.project()
    for side in made.both:
        ids = [side.create(who) for _ in range(4)]
        assert side.ask(who, 'POST', '/v2/images', BARE).status_code == 413
        assert side.ask(who, 'DELETE', f'/v2/images/{ids[0]}').status_code == 204
        side.create(who)
    assert used(made, who) == [0, 0, 4, 0]


def test_how_many_bytes(made):
    who = made.project()
    for side in made.both:
        first, second, third = (side.create(who) for _ in range(3))
        assert side.put(who, first, bytes(MIB)) == 204
        assert side.put(who, second, bytes(3 * MIB)) == 413
        assert side.put(who, second, chunks(9), **{'x-openstack-image-size': str(4 * MIB)}) == 413
        assert side.put(who, second, chunks(MIB)) == 204
        assert side.put(who, third, bytes(2 * MIB)) == 413
        assert side.put(who, third, bytes(MIB)) == 204
        fourth = side.create(who)
        assert side.put(who, fourth, bytes(MIB)) == 413
        for image in (second, third, fourth):
            assert side.ask(who, 'DELETE', f'/v2/images/{image}').status_code == 204
    assert used(made, who) == [1, 0, 1, 0]


def test_what_glance_lets_pass(made):
    """It counts whole MiB before, and of what it does not know the size nothing at all."""
    for data, left in ((lambda: bytes(3 * MIB // 2), 1), (lambda: chunks(2 * MIB), 1)):
        who = made.project()
        answers = []
        for side in made.both:
            image, other = side.create(who), side.create(who)
            assert side.put(who, image, bytes((3 - left) * MIB)) == 204
            answers.append(side.put(who, other, data()))
        assert answers == [204, 413]
        assert made.ours.usage(who)['usage']['image_size_total']['usage'] == 2
        assert made.glance.usage(who)['usage']['image_size_total']['usage'] >= 3


def test_whose_limit_it_is(made):
    """The owner's. A Glance asks for those of the caller, and counts for the owner."""
    who = made.project(image_count_total=1)
    admin = Who(made.project().project, 'admin,member,reader')
    answers = []
    for side in made.both:
        side.create(who)
        body = {**BARE, 'owner': who.project}
        answers.append(side.ask(admin, 'POST', '/v2/images', body).status_code)
    assert answers == [201, 413]


class Slow(threading.Thread):
    """An upload that goes on until it is told to end."""

    def __init__(self, side: Side, who: Who, image_id: str) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()
        self._call = (side, who, image_id)
        self.status = 0

    def run(self) -> None:
        side, who, image_id = self._call

        def body() -> Iterator[bytes]:
            yield bytes(1000)
            self.begun.set()
            self.go_on.wait(300)
            yield bytes(1000)

        self.status = side.put(who, image_id, body())


def test_how_many_uploads(made):
    who = made.project()
    for side in made.both:
        first, second = side.create(who), side.create(who)
        slow = Slow(side, who, first)
        slow.start()
        assert slow.begun.wait(30)
        show = f'/v2/images/{first}'
        processes.until(
            lambda side=side, show=show: side.ask(who, 'GET', show).json()['status'] == 'saving',
            'it has begun',
        )
        assert side.usage(who)['usage']['image_count_uploading']['usage'] == 1
        assert slow.is_alive()
        assert side.put(who, second, bytes(1000)) == 413
        assert slow.is_alive()
        assert side.ask(who, 'GET', f'/v2/images/{second}').json()['status'] == 'queued'
        slow.go_on.set()
        slow.join()
        assert slow.status == 204
        assert side.put(who, second, bytes(1000)) == 204
    assert used(made, who) == [0, 0, 2, 0]


def test_no_limit_and_none_at_all(made):
    free = made.project(**dict.fromkeys(REGISTERED, -1))
    nothing = made.project(**dict.fromkeys(REGISTERED, 0))
    for side in made.both:
        for _ in range(5):
            image = side.create(free)
        assert side.put(free, image, chunks(4 * MIB)) == 204
        assert side.ask(nothing, 'POST', '/v2/images', BARE).status_code == 413
        assert side.ask(nothing, 'GET', '/v2/images').status_code == 200
    assert used(made, free) == [4, 0, 5, 0]
    assert {one['limit'] for one in same(made, free).values()} == {-1}


def test_counts_of_one_image(made):
    """Tags and properties beyond 128, members beyond 128: whichever is asked first decides."""
    who = made.project()
    for side in made.both:
        image = side.create(who, visibility='shared', tags=[f't{n}' for n in range(128)])
        path = f'/v2/images/{image}'
        assert side.ask(who, 'PUT', path + '/tags/more').status_code == 413
        assert side.ask(who, 'PUT', path + '/tags/t1').status_code == 204
        for number in range(128):
            body = {'member': f'm{number}'}
            assert side.ask(who, 'POST', path + '/members', body).status_code == 200
        for member in ('more', 'm1'):
            body = {'member': member}
            assert side.ask(who, 'POST', path + '/members', body).status_code == 413
        properties = {f'p{number}': 'x' for number in range(128)}
        full = side.create(who, **properties)
        steps = [{'op': 'add', 'path': '/more', 'value': 'x'}]
        answer = side.ask(who, 'PATCH', f'/v2/images/{full}', steps, kind=V21)
        assert answer.status_code == 413
        assert side.ask(who, 'POST', '/v2/images', {**properties, 'more': 'x'}).status_code == 413


def test_who_has_more_than_a_limit_that_was_lowered(made):
    """May have less, and as much; a Glance refuses to go on with fewer tags that are too many."""
    who = made.project()
    answers = []
    for side in made.both:
        image = side.create(who)
        many = [f't{number}' for number in range(131)]
        add_tags(made.directory / f'{side.name}.sqlite', image, many)
        assert side.ask(who, 'DELETE', f'/v2/images/{image}/tags/t1').status_code == 204
        steps = [{'op': 'replace', 'path': '/tags', 'value': many[2:]}]
        answer = side.ask(who, 'PATCH', f'/v2/images/{image}', steps, kind=V21)
        answers.append(answer.status_code)
    assert answers == [413, 200]


def add_tags(database: pathlib.Path, image_id: str, tags: list[str]) -> None:
    """As if the limit had been a higher one."""
    engine = sa.create_engine(f'sqlite:///{database}')
    now = datetime.datetime(2026, 1, 1)
    fixed = {'image_id': image_id, 'created_at': now, 'updated_at': now, 'deleted': False}
    with engine.begin() as connection:
        insert = sa.insert(tables.image_tags)
        connection.execute(insert, [{**fixed, 'value': tag} for tag in tags])
    engine.dispose()


# --- on one database


@pytest.fixture(scope='module', params=full(('postgresql',), ('postgresql', 'mysql')))
def together(request, tmp_path_factory):
    glance33.home()
    databases.require(request.param)
    url = databases.create(request.param)
    try:
        with scene(tmp_path_factory.mktemp('together'), shared=url) as found:
            yield found
    finally:
        databases.drop(url)


def test_what_a_glance_does_beside_us_is_counted(together):
    """In the same second as what we do: a stamp of MariaDB has no more."""
    who = together.project(**dict.fromkeys(REGISTERED, 100))
    glance, ours = together.glance, together.ours
    first = ours.create(who)
    assert glance.put(who, first, bytes(2 * MIB)) == 204
    assert used(together, who) == [2, 0, 1, 0]
    second = glance.create(who)
    assert ours.put(who, second, bytes(3 * MIB)) == 204
    assert used(together, who) == [5, 0, 2, 0]
    third = ours.create(who)
    assert glance.put(who, third, bytes(MIB), 'stage') == 204
    assert used(together, who) == [5, 1, 3, 1]
    assert glance.ask(who, 'DELETE', f'/v2/images/{first}').status_code == 204
    assert used(together, who) == [3, 1, 2, 1]
    ours.create(who)
    assert used(together, who) == [3, 1, 3, 1]
    engine = sa.create_engine(together.database)
    with engine.connect() as connection:
        query = sa.select(tables.usage).where(tables.usage.c.project == who.project)
        row = connection.execute(query).one()
    engine.dispose()
    assert (row.size, row.staged, row.images, row.uploading) == (3 * MIB, MIB, 3, 1)


def test_a_limit_holds_whoever_has_filled_it(together):
    who = together.project()
    glance, ours = together.glance, together.ours
    image, other = ours.create(who), ours.create(who)
    assert glance.put(who, image, bytes(2 * MIB)) == 204
    assert ours.put(who, other, bytes(MIB + 1)) == 413
    assert ours.put(who, other, bytes(MIB)) == 204
    assert used(together, who) == [3, 0, 2, 0]


# --- Keystone is away


def test_where_keystone_does_not_answer(tmp_path):
    with keystone.relay(keystone.cloud().url) as relay:
        region = keystone.cloud().region(relay.url)
        region.register(**REGISTERED)
        endpoint = region.serves('http://image.example/')
        text = region.oslo_limit(endpoint, relay.url, timeout=2)
        made = processes.settings(tmp_path, default='use_keystone_limits = true', more=text)
        made.edit('workers = 2', 'workers = 1')
        who, other = (Who(region.project('away')[1]) for _ in range(2))
        with processes.api(made) as server:
            side = Side('lite', Client(server.url))
            image, queued = side.create(who), side.create(who)
            assert side.put(who, image, b'data') == 204
            before = len(relay.requests)
            for _ in range(20):
                assert side.ask(who, 'GET', '/v2/info/usage').status_code == 200
            assert len(relay.requests) - before <= 2  # at most every ten seconds
            for mode in (relay.down, relay.broken, relay.silent):
                mode()
                # Of this project nothing is known yet.
                answer = side.ask(other, 'POST', '/v2/images', BARE)
                assert (answer.status_code, answer.headers['Retry-After']) == (503, '2')
                assert 'limits' in answer.text and 'Traceback' not in answer.text
                assert side.ask(other, 'GET', '/v2/info/usage').status_code == 503
                assert side.ask(other, 'GET', '/v2/images').status_code == 200
                assert side.ask(who, 'GET', f'/v2/images/{image}/file').content == b'data'
                relay.up()
                processes.until(
                    lambda: side.ask(who, 'PUT', f'/v2/images/{image}/tags/a').status_code == 204,
                    'a change without a limit',
                )
            relay.up()
            processes.until(
                lambda: side.ask(other, 'POST', '/v2/images', BARE).status_code == 201,
                'Keystone is back',
            )
            relay.down()
            assert side.ask(who, 'DELETE', f'/v2/images/{queued}').status_code == 204
            assert 'Traceback' not in server.text()
            assert server.lines('Limits cannot be had from Keystone')
            assert keystone.PASSWORD not in server.text()


def test_a_limit_that_nobody_registered_is_nothing(tmp_path):
    region = keystone.cloud().region()
    endpoint = region.serves('http://image.example/')
    text = region.oslo_limit(endpoint)
    made = processes.settings(tmp_path, default='use_keystone_limits = true', more=text)
    who = Who(region.project('poor')[1])
    with processes.api(made) as server:
        side = Side('lite', Client(server.url))
        assert side.ask(who, 'POST', '/v2/images', BARE).status_code == 413
        assert {one['limit'] for one in side.usage(who)['usage'].values()} == {0}
        assert 'Not registered in Keystone, so 0: image_size_total, image_stage' in server.text()


@pytest.mark.parametrize(
    ('text', 'option'),
    [
        ('', 'auth_type'),
        ('[oslo_limit]\nauth_type = password\n', 'endpoint_id'),
    ],
)
def test_what_is_missing_stops_the_start(text, option, tmp_path):
    made = processes.settings(tmp_path, default='use_keystone_limits = true', more=text)
    with pytest.raises(RuntimeError, match=rf'\[oslo_limit\] {option}: ') as caught:
        with processes.api(made):
            pass
    assert 'Traceback' not in str(caught.value)
