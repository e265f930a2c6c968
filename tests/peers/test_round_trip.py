# SPDX-License-Identifier: Apache-2.0
"""One database and two file stores, served by a Glance 33 and by glance-lite, also at once."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import pathlib
import uuid
from typing import Any

import pytest

from tests.peers import glance33, lite
from tests.peers.lite import ADMIN, MEMBER, OCTETS, OTHER, V21, Client, Who

pytestmark = pytest.mark.peer

BARE = {'disk_format': 'raw', 'container_format': 'bare'}
LISTS = (
    'limit=100', 'limit=2', 'sort=name:asc', 'sort=size:desc,id:asc&size_min=0', 'visibility=all',
    'visibility=community', 'visibility=shared&member_status=all', 'tag=blue', 'tag=blue&tag=green',
    'color=red', 'os_hidden=true', 'protected=true', 'status=queued', 'size_min=4',
    'name=in:first,second', 'member_status=all', 'owner=beta', 'created_at=gt:2020-01-01T00:00:00Z',
)  # fmt: skip
EVERYBODY = (ADMIN, MEMBER, OTHER)


@dataclasses.dataclass
class Site:
    """What both services share."""

    directory: pathlib.Path
    database: str
    stores: str

    @property
    def glance_etc(self) -> pathlib.Path:
        return glance33.write_settings(self.directory / 'glance', self.database, self.stores)

    def lite_manage(self, *arguments: str) -> str:
        # Settings of its own: those of a running glance-lite have its port.
        file = lite.write_settings(self.directory / 'manage', self.database, self.stores, 1)
        return lite.manage(file, *arguments)

    @contextlib.contextmanager
    def glance(self):
        self.glance_etc  # noqa: B018
        with glance33.running(self.directory / 'glance', self.database, self.stores) as url:
            yield Service(url)

    @contextlib.contextmanager
    def ours(self):
        with lite.running(self.directory / 'lite', self.database, self.stores) as url:
            yield Service(url)

    def files(self) -> set[str]:
        """Names of images that have a file in a store, as store/id."""
        return lite.stored(self.directory / 'stores')


class Service:
    """Either of the two, as somebody who makes and reads images."""

    def __init__(self, url: str) -> None:
        self.client = Client(url)

    def ask(self, status: int, who: Who, method: str, path: str, *rest: Any, **more: Any) -> Any:
        answer = self.client.send(who, method, path, *rest, **more)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text)
        kind = answer.headers.get('Content-Type', '')
        return answer.json() if kind == 'application/json' else answer.content

    def create(
        self, who: Who, data: bytes | None = None, store: str | None = None, **fields: Any
    ) -> str:
        image = self.ask(201, who, 'POST', '/v2/images', {**BARE, **fields})
        path = f'/v2/images/{image["id"]}/file'
        if data is not None:
            headers = {'x-image-meta-store': store} if store else {}
            self.ask(204, who, 'PUT', path, data, kind=OCTETS, headers=headers)
        return image['id']

    def patch(self, who: Who, image_id: str, *steps: tuple[str, str, Any]) -> Any:
        body = [{'op': op, 'path': path, 'value': value} for op, path, value in steps]
        return self.ask(200, who, 'PATCH', f'/v2/images/{image_id}', body, kind=V21)

    def delete(self, who: Who, image_id: str) -> None:
        self.ask(204, who, 'DELETE', f'/v2/images/{image_id}')

    def fill(self) -> tuple[dict[str, str], list[str]]:
        """Images of every kind: name -> id, and the ids that were deleted."""
        ids = {
            'first': self.create(
                MEMBER, b'first data', name='first', tags=['blue', 'green'], color='red',
                visibility='private', min_ram=5, **{'hw:x/y~z': 'é'},
            ),
            'second': self.create(
                MEMBER, b'second', 'cheap', name='second', tags=['blue'], visibility='community'
            ),
            'shared': self.create(MEMBER, b'x' * 300_000, name='shared'),
            'public': self.create(ADMIN, b'', name='public', visibility='public'),
            'queued': self.create(OTHER, name='queued', color='red'),
            'others': self.create(OTHER, b'of beta', 'cheap', name='others'),
            'hidden': self.create(MEMBER, name='hidden', os_hidden=True, protected=True),
            'off': self.create(MEMBER, b'not for all', name='off'),
        }  # fmt: skip
        for member in ('beta', 'gamma'):
            path = f'/v2/images/{ids["shared"]}/members'
            self.ask(200, MEMBER, 'POST', path, {'member': member})
        self.ask(200, OTHER, 'PUT', f'{path}/beta', {'status': 'accepted'})
        self.ask(200, OTHER, 'POST', f'/v2/images/{ids["others"]}/members', {'member': 'alpha'})
        self.ask(204, MEMBER, 'POST', f'/v2/images/{ids["off"]}/actions/deactivate')
        self.ask(204, MEMBER, 'DELETE', f'/v2/images/{ids["first"]}/tags/green')
        self.ask(204, MEMBER, 'PUT', f'/v2/images/{ids["first"]}/tags/green')
        gone = [
            self.create(MEMBER, b'gone', name='gone', tags=['blue'], color='red'),
            self.create(MEMBER, name='never had data'),
        ]
        for image_id in gone:
            self.delete(MEMBER, image_id)
        return ids, gone

    def view(self, ids: list[str], people: tuple[Who, ...] = EVERYBODY) -> dict[str, Any]:
        """All that can be read about these images, and every list."""
        seen: dict[str, Any] = {}
        for who in people:
            for image_id in ids:
                for rest in ('', '/members', '/file'):
                    answer = self.client.send(who, 'GET', f'/v2/images/{image_id}{rest}')
                    key = f'{who.project} {image_id}{rest}'
                    if rest == '/file':
                        digest = hashlib.sha512(answer.content).hexdigest()
                        seen[key] = (answer.status_code, answer.ok and digest)
                    else:
                        seen[key] = (answer.status_code, answer.ok and plain(answer.json()))
            for query in LISTS:
                path = f'/v2/images?{query}'
                pages = []
                while path:
                    page = self.ask(200, who, 'GET', path)
                    pages.append(plain(page['images']))
                    path = page.get('next')
                seen[f'{who.project} {query}'] = pages
        return seen

    def assert_gone(self, ids: list[str]) -> None:
        for image_id in ids:
            for who in EVERYBODY:
                self.ask(404, who, 'GET', f'/v2/images/{image_id}')
        images = self.ask(200, ADMIN, 'GET', '/v2/images?limit=1000&visibility=all')['images']
        assert not {image['id'] for image in images} & set(ids)


def plain(value: Any) -> Any:
    """A body without what has no order."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if 'tags' in value:
        value['tags'] = sorted(value['tags'])
    if 'members' in value:
        value['members'] = sorted(value['members'], key=lambda one: str(one['member_id']))
    return value


@pytest.fixture
def site(empty_url, tmp_path):
    stores = lite.make_stores(tmp_path / 'stores')
    made = Site(tmp_path, empty_url, stores)
    glance33.manage(made.glance_etc, 'db', 'sync')
    return made


def test_each_serves_what_the_other_has_made(site):
    with site.glance() as glance:
        ids, gone = glance.fill()
        everything = [*ids.values(), *gone]
        told = glance.view(everything)
    files = site.files()
    site.lite_manage('db', 'sync')

    with site.ours() as ours:
        assert ours.view(everything) == told
        ours.assert_gone(gone)
        image = ours.patch(
            MEMBER, ids['first'], ('replace', '/name', 'renamed'), ('add', '/shape', 'round'),
            ('replace', '/tags', ['new', 'blue']),
        )  # fmt: skip
        assert (image['name'], image['shape'], image['color']) == ('renamed', 'round', 'red')
        ours.ask(204, MEMBER, 'POST', f'/v2/images/{ids["off"]}/actions/reactivate')
        ours.ask(204, OTHER, 'PUT', f'/v2/images/{ids["queued"]}/file', b'late', kind=OCTETS)
        ours.ask(200, MEMBER, 'POST', f'/v2/images/{ids["shared"]}/members', {'member': 'delta'})
        ours.ask(204, MEMBER, 'DELETE', f'/v2/images/{ids["shared"]}/members/gamma')
        ours.delete(MEMBER, ids['second'])
        gone.append(ids.pop('second'))
        assert site.files() == files - {f'cheap/{gone[-1]}'} | {f'fast/{ids["queued"]}'}
        new, more_gone = ours.fill()
        gone += more_gone
        everything = [*ids.values(), *new.values(), *gone]
        told = ours.view(everything)

    with site.glance() as glance:
        assert glance.view(everything) == told
        glance.assert_gone(gone)
        # A property and a tag that were removed, and come back.
        glance.patch(MEMBER, new['first'], ('remove', '/color', None), ('replace', '/tags', []))
        glance.patch(MEMBER, new['first'], ('add', '/color', 'blue'), ('add', '/tags', ['blue']))
        for name in ('first', 'shared'):
            glance.delete(MEMBER, new[name])
            glance.delete(MEMBER, ids[name])
            gone += [new.pop(name), ids.pop(name)]
        left = [*ids.values(), *new.values()]
        told = glance.view(left)

    with site.ours() as ours:
        assert ours.view(left) == told
        ours.assert_gone(gone)
        for image_id in gone:
            ours.ask(409, MEMBER, 'POST', '/v2/images', {'id': image_id})
    kept = {name.partition('/')[2] for name in site.files()}
    assert kept == {image_id for image_id in left if _has_file(told, image_id)}


def _has_file(told: dict[str, Any], image_id: str) -> bool:
    return told[f'operators {image_id}'][1]['size'] is not None


def test_side_by_side(site):
    site.lite_manage('db', 'sync')
    with site.glance() as glance, site.ours() as ours:
        gone = []
        for maker, other in ((glance, ours), (ours, glance)):
            # Each has read it before the other takes it away.
            image_id = maker.create(MEMBER, b'data', name='short', tags=['a'], color='red')
            path = f'/v2/images/{image_id}'
            for service in (maker, other):
                assert service.ask(200, MEMBER, 'GET', f'{path}/file') == b'data'
                assert service.ask(200, MEMBER, 'GET', path)['color'] == 'red'
            other.delete(MEMBER, image_id)
            gone.append(image_id)
            for service in (maker, other):
                service.ask(404, MEMBER, 'GET', path)
                service.ask(404, MEMBER, 'GET', f'{path}/file')
                service.ask(404, MEMBER, 'PUT', f'{path}/tags/x')
                service.ask(404, MEMBER, 'PUT', f'{path}/file', b'x', kind=OCTETS)
                service.ask(404, MEMBER, 'DELETE', path)
                service.ask(409, MEMBER, 'POST', '/v2/images', {'id': image_id})
            # Each changes what the other has just written.
            kept = maker.create(MEMBER, name='kept', color='red', tags=['a'])
            other.patch(MEMBER, kept, ('replace', '/color', 'blue'), ('add', '/tags', ['a', 'b']))
            maker.patch(MEMBER, kept, ('remove', '/color', None))
            other.patch(MEMBER, kept, ('add', '/color', 'green'))
            maker.ask(204, MEMBER, 'PUT', f'/v2/images/{kept}/file', b'late', kind=OCTETS)
            other.ask(409, MEMBER, 'PUT', f'/v2/images/{kept}/file', b'late', kind=OCTETS)
            assert other.view([kept]) == maker.view([kept])
            assert other.ask(200, MEMBER, 'GET', f'/v2/images/{kept}')['color'] == 'green'
            other.delete(MEMBER, kept)
            gone.append(kept)
        for service in (glance, ours):
            service.assert_gone(gone)
    assert site.files() == set()


def test_each_purges_what_the_other_has_deleted(site):
    site.lite_manage('db', 'sync')
    with site.glance() as glance, site.ours() as ours:
        kept, gone = glance.fill()
        more, more_gone = ours.fill()
        gone += more_gone
        left = [*kept.values(), *more.values()]
        told = glance.view(left, (ADMIN,))
        site.lite_manage('db', 'purge', '--age_in_days', '0', '--max_rows', '-1')
        for service in (glance, ours):
            service.assert_gone(gone)
            # The rows of images stay, so that an id is not used twice.
            service.ask(409, MEMBER, 'POST', '/v2/images', {'id': gone[0]})
        site.lite_manage('db', 'purge_images_table', '--age_in_days', '0', '--max_rows', '-1')
        for service in (glance, ours):
            service.assert_gone(gone)
            assert service.view(left, (ADMIN,)) == told
        # Now they are free.
        for service, image_id in ((glance, gone[-1]), (ours, gone[0])):
            service.create(MEMBER, b'again', id=image_id, name='again')
            service.delete(MEMBER, image_id)
        doomed = [glance.create(MEMBER, b'a', color='red'), ours.create(MEMBER, b'b', color='red')]
        ours.delete(MEMBER, doomed[0])
        glance.delete(MEMBER, doomed[1])
        glance33.manage(site.glance_etc, 'db', 'purge', '--age_in_days', '0', '--max_rows', '-1')
        glance33.manage(
            site.glance_etc, 'db', 'purge_images_table', '--age_in_days', '0', '--max_rows', '-1'
        )
        for service in (glance, ours):
            service.assert_gone([*gone, *doomed])
            assert service.view(left, (ADMIN,)) == told
        for service, image_id in ((glance, doomed[1]), (ours, doomed[0])):
            assert service.create(MEMBER, b'again', id=image_id) == image_id
            service.delete(MEMBER, image_id)
        unknown = str(uuid.uuid4())
        for service in (glance, ours):
            service.ask(404, MEMBER, 'GET', f'/v2/images/{unknown}')
    assert {name.partition('/')[2] for name in site.files()} == {
        image_id for image_id in left if _has_file(told, image_id)
    }


def test_null_sorts_as_the_smallest_on_all_engines(site, engine_name):
    """Glance leaves it to the engine, and PostgreSQL takes it for the largest."""
    site.lite_manage('db', 'sync')
    path = '/v2/images?sort=size:desc'
    with site.glance() as glance, site.ours() as ours:
        made = [ours.create(MEMBER, b'data'), ours.create(MEMBER)]
        found = [
            [image['id'] for image in service.ask(200, MEMBER, 'GET', path)['images']]
            for service in (ours, glance)
        ]
    assert found == [made, made[::-1] if engine_name == 'postgresql' else made]
