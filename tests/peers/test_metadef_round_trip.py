# SPDX-License-Identifier: Apache-2.0
"""Glance 33 and glance-lite on one database of metadata definitions, with Glance's own files."""

from __future__ import annotations

import json

import pytest

from tests.backends import databases
from tests.peers import glance33, lite
from tests.peers.comparison import normal
from tests.peers.lite import ADMIN, MEMBER, Client
from tests.peers.metadef_rows import FULL, NAMESPACES, TYPES
from tests.sizes import full

pytestmark = pytest.mark.peer

TABLES = (
    'metadef_namespaces', 'metadef_resource_types', 'metadef_namespace_resource_types',
    'metadef_objects', 'metadef_properties', 'metadef_tags',
)  # fmt: skip


@pytest.fixture(scope='module')
def shipped():
    """Glance's files."""
    found = sorted((glance33.home() / 'etc' / 'glance' / 'metadefs').glob('*.json'))
    assert len(found) == 32
    return found


class Site:
    """One database, for both."""

    def __init__(self, directory, url):
        self.directory, self.url = directory, url
        self.stores = lite.make_stores(directory / 'stores')
        self.etc = glance33.write_settings(directory / 'glance', url, self.stores)
        self.settings = lite.write_settings(directory / 'lite', url, self.stores, 1)

    def load(self, who, path):
        manage = glance33.manage if who == 'glance' else lite.manage
        file = self.etc if who == 'glance' else self.settings
        return manage(file, 'db', 'load_metadefs', '--path', str(path))

    def rows(self):
        """What is in the tables, by names: numbers and times are nobody's business."""
        import sqlalchemy as sa

        engine = sa.create_engine(self.url, poolclass=sa.pool.NullPool)
        with engine.connect() as connection:
            found = {
                name: [
                    dict(row._mapping)
                    for row in connection.execute(sa.text(f'SELECT * FROM {name}'))
                ]
                for name in TABLES
            }
        spaces = {row['id']: row['namespace'] for row in found['metadef_namespaces']}
        types = {row['id']: row['name'] for row in found['metadef_resource_types']}
        for name in TABLES:
            for row in found[name]:
                row.pop('id', None)
                row['namespace_id'] = spaces.get(row.get('namespace_id'))
                row['resource_type_id'] = types.get(row.get('resource_type_id'))
                assert row.pop('created_at') is not None
                assert row.pop('updated_at') is None
                if 'json_schema' in row:
                    row['json_schema'] = json.loads(row['json_schema'])
            found[name].sort(key=lambda row: json.dumps(row, sort_keys=True))
        return found


def seen(url):
    """All that a service shows of metadata definitions to an administrator and a member."""
    client, found = Client(url), {}

    def ask(who, path):
        answer = client.send(who, 'GET', path)
        assert answer.status_code == 200, (path, answer.text)
        value = answer.json()
        for one in (value, *value.get('namespaces', ())):
            # Glance says nothing of their order.
            one.get('resource_type_associations', []).sort(key=lambda each: each['name'])
        found[who.project, path] = normal(value, url)
        return value

    for who in (ADMIN, MEMBER):
        spaces = ask(who, NAMESPACES + '?limit=100&sort_key=namespace')['namespaces']
        for space in spaces:
            place = f'{NAMESPACES}/{space["namespace"]}'
            ask(who, place)
            for one in space.get('resource_type_associations', []):
                ask(who, f'{place}?resource_type={one["name"]}')
            for part in ('objects', 'properties', 'tags', 'resource_types'):
                ask(who, f'{place}/{part}')
    for who in (ADMIN, MEMBER):
        types = ask(who, TYPES)
        types['resource_types'].sort(key=lambda one: one['name'])
        found[who.project, TYPES] = normal(types, url)
    return found


@pytest.fixture(params=full(('postgresql',), databases.ENGINES))
def site(request, tmp_path):
    databases.require(request.param)
    url = databases.create(request.param, tmp_path)
    made = Site(tmp_path, url)
    lite.manage(made.settings, 'db', 'sync')
    yield made
    databases.drop(url)


def test_both_load_the_same_from_the_same_files(site, shipped):
    directory = shipped[0].parent
    site.load('glance', directory)
    theirs = site.rows()
    lite.manage(site.settings, 'db', 'unload_metadefs')
    assert not any(site.rows().values())
    site.load('lite', directory)
    assert site.rows() == theirs
    assert len(theirs['metadef_namespaces']) == 32


def test_export_equals_the_files_of_glance(site, shipped, tmp_path):
    site.load('lite', shipped[0].parent)
    out = tmp_path / 'out'
    out.mkdir()
    lite.manage(site.settings, 'db', 'export_metadefs', '--path', str(out))
    exported = {one['namespace']: one for one in map(parsed, out.iterdir())}
    given = {one['namespace']: one for one in map(parsed, shipped)}
    assert exported == given
    before = site.rows()
    lite.manage(site.settings, 'db', 'unload_metadefs')
    # Glance reads what was exported as it reads its own.
    site.load('glance', out)
    after = site.rows()
    for row in before['metadef_namespaces']:
        row['visibility'] = row['visibility'] or 'private'
    assert after == before


def parsed(path):
    """A file in one form: what is not said is said as it is by default, and order is none."""
    value = json.loads(path.read_text())
    value = {
        'owner': 'admin', 'visibility': 'private', 'properties': {}, 'objects': [], 'tags': [],
        **value,
    }  # fmt: skip
    value['resource_type_associations'] = sorted(
        (
            {'prefix': None, 'properties_target': None, **one}
            for one in value['resource_type_associations']
        ),
        key=lambda one: one['name'],
    )
    value['objects'] = sorted(value['objects'], key=lambda one: one['name'])
    return value


def test_both_show_the_same_of_one_database(tmp_path, shipped):
    """Loaded by one and made by the other, read by both."""
    site = Site(tmp_path, f'sqlite:///{tmp_path}/glance.sqlite')
    lite.manage(site.settings, 'db', 'sync')
    half = len(shipped) // 2
    for number, path in enumerate(shipped):
        if number in (0, half):
            (tmp_path / str(number)).mkdir()
        (tmp_path / str(0 if number < half else half) / path.name).write_text(path.read_text())
    site.load('lite', tmp_path / '0')
    site.load('glance', tmp_path / str(half))
    with (
        glance33.running(tmp_path / 'glance', site.url, site.stores) as glance,
        lite.running(tmp_path / 'lite', site.url, site.stores) as ours,
    ):
        types = [{'name': 'OS::Nova::Flavor', 'prefix': 'x:'}, {'name': 'Own'}]
        for name, url in (('by-glance', glance), ('by-us', ours)):
            body = {'namespace': name, **FULL, 'resource_type_associations': types}
            assert Client(url).send(ADMIN, 'POST', NAMESPACES, body).status_code == 201
        theirs, mine = seen(glance), seen(ours)
        assert theirs.keys() == mine.keys() and len(theirs) > 200
        for key in theirs:
            assert theirs[key] == mine[key], key
        for name, url in (('by-glance', ours), ('by-us', glance)):
            place = f'{NAMESPACES}/{name}'
            change = {'namespace': name, 'visibility': 'public', 'owner': 'alpha'}
            assert Client(url).send(ADMIN, 'PUT', place, change).status_code == 200
            assert Client(url).send(ADMIN, 'DELETE', place + '/tags').status_code == 204
        assert seen(glance) == seen(ours)
        for name, url in (('by-glance', ours), ('by-us', glance)):
            assert Client(url).send(ADMIN, 'DELETE', f'{NAMESPACES}/{name}').status_code == 204
