# SPDX-License-Identifier: Apache-2.0
"""Encrypted urls, deletes that are put off and the order of locations, by a Glance 33 and by us.

Both work on one database with the same options, and Glance's own glance-scrubber with them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time

import pytest
import sqlalchemy as sa

from glance_lite.db import tables
from tests.backends import databases
from tests.peers import glance33, lite
from tests.peers.lite import ADMIN, MEMBER, OCTETS, Who
from tests.peers.test_round_trip import Site
from tests.sizes import full

pytestmark = pytest.mark.peer

KEY = '0123456789abcdef01234567'
SHOWN = 'show_multiple_locations = true\nshow_image_direct_url = true\n'
DELAYED = 'delayed_delete = true\nscrub_time = {}\n'
SWEPT = '[maintenance]\nsweep_interval = 1\n'
SERVICE = Who('services', 'service,admin')


@pytest.fixture(params=full(('postgresql',), databases.ENGINES))
def engine_name(request):
    """One every day: what differs between them is shown by the other round trips."""
    databases.require(request.param)
    return request.param


@dataclasses.dataclass
class Configured(Site):
    """A site whose options change from one start to the next."""

    plain: str = ''

    def use(self, options: str) -> Configured:
        self.stores = options + self.plain + SWEPT
        return self

    def rows(self, table: sa.Table, image_id: str) -> list[sa.Row]:
        engine = sa.create_engine(self.database, poolclass=sa.pool.NullPool)
        column = table.c.get('image_id', table.c.id)
        with engine.connect() as connection:
            query = sa.select(table).where(column == image_id).order_by(table.c.id)
            return list(connection.execute(query))

    def states(self, image_id: str) -> list[tuple[str, bool]]:
        """Status and deleted of an image and its locations."""
        both = (tables.images, tables.image_locations)
        return [(row.status, bool(row.deleted)) for t in both for row in self.rows(t, image_id)]

    def values(self, image_id: str) -> list[str]:
        return [row.value for row in self.rows(tables.image_locations, image_id)]

    def until(self, files: set[str]) -> None:
        deadline = time.monotonic() + 60
        while self.files() != files:
            assert time.monotonic() < deadline, (self.files(), files)
            time.sleep(0.2)

    @contextlib.contextmanager
    def either(self, name):
        with self.glance() if name == 'glance' else self.ours() as service:
            yield service


@pytest.fixture
def site(empty_url, tmp_path):
    plain = lite.make_stores(tmp_path / 'stores')
    made = Configured(tmp_path, empty_url, plain, plain)
    glance33.manage(made.glance_etc, 'db', 'sync')
    made.lite_manage('db', 'sync')
    return made


def places(service, image_id, who=MEMBER):
    image = service.ask(200, who, 'GET', f'/v2/images/{image_id}')
    urls = [one['url'] for one in image['locations']]
    assert image['direct_url'] == urls[0]
    return urls


def test_each_reads_and_deletes_what_the_other_has_encrypted(site):
    site.use(f'metadata_encryption_key = {KEY}\n' + SHOWN)
    with site.glance() as glance, site.ours() as ours:
        for maker, other in ((glance, ours), (ours, glance)):
            image_id = maker.create(MEMBER, b'data', name='one')
            urls = places(maker, image_id)
            assert urls == [f'file://{site.directory}/stores/fast/{image_id}']
            (value,) = site.values(image_id)
            assert ':' not in value and image_id not in value
            assert places(other, image_id) == urls
            told = other.ask(200, SERVICE, 'GET', f'/v2/images/{image_id}/locations')
            assert [one['url'] for one in told] == urls
            assert other.ask(200, MEMBER, 'GET', f'/v2/images/{image_id}/file') == b'data'
            other.patch(MEMBER, image_id, ('replace', '/name', 'two'))
            assert places(maker, image_id) == urls
            other.delete(MEMBER, image_id)
            maker.ask(404, MEMBER, 'GET', f'/v2/images/{image_id}')
            assert site.files() == set()


def test_what_was_written_before_there_was_a_key(site):
    """Glance cannot even list it."""
    with site.use(SHOWN).ours() as ours:
        image_id = ours.create(MEMBER, b'data')
    path = f'/v2/images/{image_id}'
    site.use(f'metadata_encryption_key = {KEY}\n' + SHOWN)
    with site.glance() as glance, site.ours() as ours:
        for wanted in (path, f'{path}/file', '/v2/images'):
            glance.ask(500, MEMBER, 'GET', wanted)
        assert places(ours, image_id) == site.values(image_id)
        assert ours.ask(200, MEMBER, 'GET', f'{path}/file') == b'data'
        ours.delete(MEMBER, image_id)
    assert site.files() == set()


@pytest.mark.parametrize('key', ['', KEY], ids=['plain', 'encrypted'])
def test_each_cleans_up_what_the_other_has_put_off(site, key):
    options = f'metadata_encryption_key = {key}\n{DELAYED}' if key else DELAYED
    files, states = {}, {}
    for name in ('glance', 'lite'):
        with site.use(options.format(10_000)).either(name) as service:
            ids = [service.create(MEMBER, b'data', color='red', tags=['t']) for _ in range(2)]
            for image_id in ids:
                service.ask(200, MEMBER, 'POST', f'/v2/images/{image_id}/members', {'member': 'b'})
                service.delete(MEMBER, image_id)
                service.ask(404, ADMIN, 'GET', f'/v2/images/{image_id}')
                service.ask(409, MEMBER, 'POST', '/v2/images', {'id': image_id})
            never = service.create(MEMBER)
            service.delete(MEMBER, never)
        files[name] = ids
        states[name] = [site.states(image_id) for image_id in (*ids, never)]
    assert states['lite'] == states['glance']
    assert states['lite'][1:] == [[('pending_delete', True)] * 2, [('deleted', True)]]
    waiting = {f'fast/{image_id}' for ids in files.values() for image_id in ids}
    assert site.files() == waiting

    # One of each is restored. As Glance does it, without its locations.
    etc = site.use(options.format(10_000)).glance_etc
    restored, doomed = zip(*files.values(), strict=True)
    for image_id in restored:
        glance33.scrub(etc, '--restore', image_id)
        assert site.states(image_id) == [('active', False), ('pending_delete', True)]
    glance33.scrub(etc)
    assert site.files() == waiting
    # Glance's scrubber takes ours, and we take Glance's.
    with sa.create_engine(site.database).begin() as connection:
        connection.execute(
            sa.update(tables.images)
            .where(tables.images.c.id == files['lite'][1])
            .values(deleted_at=sa.text("'2026-01-01 00:00:00'"))
        )
    glance33.scrub(etc)
    waiting -= {f'fast/{files["lite"][1]}'}
    assert site.files() == waiting
    assert site.states(files['lite'][1]) == [('deleted', True)] * 2
    with site.use(options.format(0)).ours() as ours:
        waiting -= {f'fast/{files["glance"][1]}'}
        site.until(waiting)
        for image_id in doomed:
            assert site.states(image_id) == [('deleted', True)] * 2
        # What was restored has data that nobody sees; it goes when it is deleted again.
        for image_id in restored:
            assert ours.ask(200, MEMBER, 'GET', f'/v2/images/{image_id}')['status'] == 'active'
            ours.delete(MEMBER, image_id)
        site.until(set())


def copy(site, image_id):
    """The second of two locations of an image, in the store ``cheap``."""
    (directory,) = [path for path in (site.directory / 'stores').iterdir() if path.name == 'cheap']
    (directory / image_id).write_bytes(b'data')
    table = tables.image_locations
    (row,) = site.rows(table, image_id)
    values = {name: value for name, value in row._mapping.items() if name != 'id'}
    values['value'] = values['value'].replace('/fast/', '/cheap/')
    values['meta_data'] = '{"store": "cheap"}'
    with sa.create_engine(site.database).begin() as connection:
        connection.execute(sa.insert(table).values(**values))


def order(service, image_id):
    """Stores in the order in which each way tells them."""
    image = service.ask(200, ADMIN, 'GET', f'/v2/images/{image_id}')
    listed = service.ask(200, ADMIN, 'GET', '/v2/images')['images']
    (same,) = [one for one in listed if one['id'] == image_id]
    told = service.ask(200, SERVICE, 'GET', f'/v2/images/{image_id}/locations')
    kinds = [image['locations'], same['locations'], told, [{'url': image['direct_url']}]]
    stores = [[one['url'].split('/')[-2] for one in kind] for kind in kinds]
    return [*stores, image['stores'], same['stores']]


def test_both_have_one_order_of_locations(site):
    site.plain = site.plain.replace('[cheap]', '[cheap]\nweight = 100')
    site.use(SHOWN)
    with site.glance() as glance, site.ours() as ours:
        for remover in (glance, ours):
            image_id = ours.create(MEMBER, b'data')
            copy(site, image_id)
            heavy = [['cheap', 'fast']] * 3 + [['cheap'], 'cheap,fast', 'cheap,fast']
            assert order(glance, image_id) == order(ours, image_id) == heavy
            # The first one is the one that is shown first.
            remover.patch(ADMIN, image_id, ('remove', '/locations/0', None))
            left = [['fast']] * 4 + ['fast'] * 2
            assert order(glance, image_id) == order(ours, image_id) == left
            ours.delete(MEMBER, image_id)
        kept = ours.create(MEMBER)
        ours.ask(204, MEMBER, 'PUT', f'/v2/images/{kept}/file', b'x', kind=OCTETS)


def test_a_deactivated_image_that_is_deleted(site):
    """Glance says deleted and leaves the data for ever."""
    site.use(DELAYED.format(0))
    with site.glance() as glance:
        theirs = glance.create(MEMBER, b'data')
        glance.ask(204, ADMIN, 'POST', f'/v2/images/{theirs}/actions/deactivate')
        glance.delete(MEMBER, theirs)
    glance33.scrub(site.glance_etc)
    assert site.states(theirs) == [('deleted', True)] * 2
    assert site.files() == {f'fast/{theirs}'}
    with site.ours() as ours:
        image_id = ours.create(MEMBER, b'data')
        ours.ask(204, ADMIN, 'POST', f'/v2/images/{image_id}/actions/deactivate')
        ours.delete(MEMBER, image_id)
        site.until({f'fast/{theirs}'})


def test_a_copy_that_is_deleted_from_one_store(site):
    """Glance puts that off until the image itself is deleted, and scrubbed."""
    site.use(DELAYED.format(0))
    with site.glance() as glance, site.ours() as ours:
        image_id = ours.create(MEMBER, b'data')
        copy(site, image_id)
        glance.ask(204, ADMIN, 'DELETE', f'/v2/stores/cheap/{image_id}')
        assert site.states(image_id)[1:] == [('active', False), ('pending_delete', True)]
        other = ours.create(MEMBER, b'data')
        copy(site, other)
        ours.ask(204, ADMIN, 'DELETE', f'/v2/stores/cheap/{other}')
        assert site.states(other)[1:] == [('active', False), ('deleted', True)]
        assert site.files() == {f'fast/{image_id}', f'cheap/{image_id}', f'fast/{other}'}
        for one in (image_id, other):
            ours.delete(MEMBER, one)
        site.until(set())


def test_a_purge_of_glance_forgets_where_data_is(site):
    """Ours waits until it is gone."""
    site.use(DELAYED.format(10_000))
    with site.ours() as ours:
        image_id = ours.create(MEMBER, b'data')
        ours.delete(MEMBER, image_id)
    site.lite_manage('db', 'purge', '--age_in_days', '0', '--max_rows', '-1')
    assert site.states(image_id) == [('pending_delete', True)] * 2
    glance33.manage(site.glance_etc, 'db', 'purge', '--age_in_days', '0', '--max_rows', '-1')
    assert site.states(image_id) == [('pending_delete', True)]
