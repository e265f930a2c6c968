# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-manage db load_metadefs``, ``unload_metadefs`` and ``export_metadefs``."""

from __future__ import annotations

import json

import pytest

from glance_lite.db import catalog
from glance_lite.errors import Duplicate, Invalid
from glance_lite.metadefs import catalog as files
from glance_lite.metadefs.model import NamespaceQuery, Paging
from tests.backends.fixtures import context
from tests.unit.db.helpers import rows
from tests.unit.test_manage import conf, manage  # noqa: F401 - a fixture

PROPERTY = {'title': 'T', 'type': 'string'}
FILE = {
    'namespace': 'Test::Full',
    'display_name': 'Full of things',
    'description': 'x' * 600,
    'visibility': 'public',
    'protected': True,
    'owner': 'someone',
    'resource_type_associations': [
        {'name': 'OS::B', 'prefix': 'b_', 'properties_target': 'image'},
        {'name': 'OS::A', 'prefix': None, 'properties_target': None},
    ],
    'properties': {'p': {**PROPERTY, 'default': True, 'x-own': [1, {'a': None}]}},
    'objects': [
        {'name': 'o', 'description': 'd', 'required': ['p', 'q'], 'properties': {'p': PROPERTY}}
    ],
    'tags': [{'name': 'b'}, {'name': 'a'}],
}
ADMIN = {'project': 'operators', 'admin': True}


def write(directory, name='full.json', **changes):
    path = directory / name
    path.write_text(json.dumps({**FILE, **changes}))
    return path


def load(db, path, mode=catalog.SKIP):
    return catalog.load(settings(db), files.read(path), mode)


def settings(db):
    return db._conf


def export(db, directory):
    directory.mkdir()
    return files.write(directory, catalog.stored(settings(db)))


def names(db):
    page = db.list_namespaces(context(**ADMIN), NamespaceQuery(Paging('namespace', True)))
    return [one.namespace for one in page.namespaces]


def test_nothing_of_a_file_is_lost(db, tmp_path):
    assert load(db, write(tmp_path)) == 'loaded'
    (row,) = rows(db, 'metadef_namespaces')
    assert (row['owner'], row['description'], row['updated_at']) == ('someone', 'x' * 600, None)
    assert {one['name']: bool(one['protected']) for one in rows(db, 'metadef_resource_types')} == {
        'OS::A': True, 'OS::B': True,
    }  # fmt: skip
    (path,) = export(db, tmp_path / 'out')
    assert path.name == 'Fullofthings.json'
    found = json.loads(path.read_text())
    for part in ('tags', 'resource_type_associations'):
        for one in (found, given := dict(FILE)):
            one[part] = sorted(one[part], key=lambda each: each['name'])
        assert found[part] == given[part]
    assert {**found, 'tags': [], 'resource_type_associations': []} == {
        **FILE, 'tags': [], 'resource_type_associations': [],
    }  # fmt: skip


def test_the_least_that_a_file_may_say(db, tmp_path):
    path = tmp_path / 'least.json'
    path.write_text('{"namespace": "least"}')
    assert load(db, path) == 'loaded'
    found = db.get_namespace(context(**ADMIN), 'least')
    assert (found.owner, found.visibility, found.protected) == ('admin', 'private', False)


def test_what_becomes_of_a_namespace_that_is_there(db, tmp_path):
    load(db, write(tmp_path))
    changed = write(
        tmp_path,
        'changed.json',
        description='new',
        properties={'p': {**PROPERTY, 'title': 'new'}, 'q': PROPERTY},
        objects=[{'name': 'o', 'description': 'new'}, {'name': 'o2'}],
        tags=[{'name': 'c'}],
        resource_type_associations=[{'name': 'OS::B', 'prefix': 'new_'}, {'name': 'OS::C'}],
    )

    def there():
        found = db.get_namespace(context(**ADMIN), 'Test::Full')
        kinds = ('resource_type', 'object', 'tag', 'property')
        by_name = {one.name: one for kind in kinds for one in found.contents.get(kind, ())}
        return found, by_name

    before = there()
    assert load(db, changed).startswith('skipped') and there() == before
    assert load(db, changed, catalog.MERGE) == 'merged'
    found, by_name = there()
    assert found.description == FILE['description'] and by_name['p'] == before[1]['p']
    assert set(by_name) == {'a', 'b', 'c', 'o', 'o2', 'p', 'q', 'OS::A', 'OS::B', 'OS::C'}
    assert by_name['OS::B'].prefix == 'b_' and by_name['o'].description == 'd'
    assert load(db, changed, catalog.PREFER_NEW) == 'merged'
    found, newer = there()
    assert found.description == 'new' and set(newer) == set(by_name)
    assert newer['p'].schema['title'] == 'new' and newer['o'].description == 'new'
    assert newer['OS::B'].prefix == 'new_' and newer['a'] == by_name['a']
    assert load(db, changed, catalog.OVERWRITE) == 'overwritten'
    assert set(there()[1]) == {'c', 'o', 'o2', 'p', 'q', 'OS::B', 'OS::C'}


def test_a_file_is_loaded_whole_or_not_at_all(db, tmp_path):
    with pytest.raises(Duplicate):
        load(db, write(tmp_path, tags=[{'name': 'x'}, {'name': 'x'}]))
    assert names(db) == [] and not rows(db, 'metadef_properties')


def test_unloading_leaves_nothing(db, tmp_path):
    load(db, write(tmp_path))
    assert sum(catalog.unload(settings(db)).values()) == 9
    assert names(db) == [] and not rows(db, 'metadef_resource_types')


def test_export_equals_what_was_loaded(db, tmp_path):
    """Also where display names are missing, alike, or would lead out of the directory."""
    for number, shown in enumerate(('Same', 'same', 'S a_m-e', None, '../../etc/x', '::', None)):
        write(tmp_path, f'{number}.json', namespace=f'n{number}', display_name=shown)
    for path in files.files(tmp_path):
        load(db, path)
    first = export(db, tmp_path / 'first')
    assert {path.parent for path in first} == {tmp_path / 'first'}
    assert {path.name for path in first} == {
        'Same.json', 'same-2.json', 'Same-3.json', 'n3.json', 'etcx.json', 'n5.json', 'n6.json',
    }  # fmt: skip
    catalog.unload(settings(db))
    for path in first:
        load(db, path)
    second = export(db, tmp_path / 'second')
    assert [path.read_text() for path in second] == [path.read_text() for path in first]


@pytest.mark.parametrize('changes', [
    {'namespace': ''}, {'namespace': 5}, {'namespace': 'x' * 81}, {'display_name': 'x' * 81},
    {'visibility': 'shared'}, {'protected': 'yes'}, {'owner': None}, {'tags': [{}]},
    {'tags': [{'name': 'x' * 81}]}, {'objects': {}}, {'objects': [{'name': None}]},
    {'objects': [{'name': 'o', 'required': 'p'}]}, {'objects': [{'name': 'o', 'properties': []}]},
    {'properties': {'x' * 81: {}}}, {'properties': {'p': 5}}, {'properties': []},
    {'resource_type_associations': [{'prefix': 'x'}]},
], ids=str)  # fmt: skip
def test_files_that_are_no_namespace(tmp_path, changes):
    path = write(tmp_path, **changes)
    with pytest.raises(Invalid) as caught:
        files.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize('text', ['', '[]', '{', 'null', '{"namespace": NaN}', '[' * 100000])
def test_files_that_are_no_json(tmp_path, text):
    path = tmp_path / 'bad.json'
    path.write_text(text)
    with pytest.raises(Invalid):
        files.read(path)
    path.write_bytes(b'\xff')
    with pytest.raises(Invalid):
        files.read(path)


# --- the commands


def test_a_bad_file_is_told_and_the_others_are_loaded(conf, tmp_path):  # noqa: F811
    manage(conf, 'db', 'sync')
    directory = tmp_path / 'metadefs'
    directory.mkdir()
    write(directory, 'b.json', namespace='good')
    (directory / 'a.json').write_text('{')
    write(directory, 'c.json', namespace='twice', tags=[{'name': 'x'}, {'name': 'x'}])
    (directory / 'README').write_text('no JSON')
    conf.write_text(
        conf.read_text().replace('[DEFAULT]', f'[DEFAULT]\nmetadata_source_path = {directory}', 1)
    )
    code, out, err = manage(conf, 'db', 'load_metadefs')
    assert (code, out) == (1, 'good: loaded\n')
    assert f'{directory}/a.json cannot be read' in err and f'{directory}/c.json: ' in err
    assert 'Traceback' not in err and len(err.splitlines()) == 2


def test_the_commands_and_their_old_names(conf, tmp_path):  # noqa: F811
    manage(conf, 'db', 'sync')
    path = write(tmp_path)
    assert manage(conf, 'db', 'load_metadefs', '--path', str(path))[:2] == (
        0,
        'Test::Full: loaded\n',
    )
    again = 'Test::Full: skipped, it is there already\n'
    assert manage(conf, 'db_load_metadefs', str(path))[:2] == (0, again)
    for more, what in (
        (('--merge',), 'merged'),
        (('--merge', '--prefer_new'), 'merged'),
        (('--merge', '--overwrite'), 'overwritten'),
    ):
        code, out, _ = manage(conf, 'db', 'load_metadefs', '--path', str(path), *more)
        assert (code, out) == (0, f'Test::Full: {what}\n')
    for more in (('--overwrite',), ('--prefer_new',), ('--merge', '--overwrite', '--prefer_new')):
        code, out, err = manage(conf, 'db', 'load_metadefs', '--path', str(path), *more)
        assert (code, out) == (1, '') and 'prefer_new' in err and 'Traceback' not in err
    for command in (('db', 'export_metadefs', '--path'), ('db_export_metadefs',)):
        code, out, _ = manage(conf, *command, str(tmp_path))
        assert (code, out) == (0, f'{tmp_path}/Fullofthings.json\n')
    for command in (('db', 'unload_metadefs'), ('db_unload_metadefs',)):
        code, out, _ = manage(conf, *command)
        assert code == 0 and 'metadef_namespaces: ' in out


def test_paths_that_lead_nowhere(conf, tmp_path):  # noqa: F811
    manage(conf, 'db', 'sync')
    empty = tmp_path / 'empty'
    empty.mkdir()
    for command, path in (
        ('load_metadefs', tmp_path / 'nosuch'),
        ('load_metadefs', empty),
        ('export_metadefs', tmp_path / 'nosuch'),
        ('export_metadefs', conf),
    ):
        code, out, err = manage(conf, 'db', command, '--path', str(path))
        assert (code, out) == (1, '') and str(path) in err and 'Traceback' not in err
