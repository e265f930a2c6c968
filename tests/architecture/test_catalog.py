# SPDX-License-Identifier: Apache-2.0
"""The catalog in etc/metadefs has every namespace of Glance 33, in our own words."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from tests.peers import glance33, lite

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'etc' / 'metadefs'

TEXTS = ('display_name', 'title', 'description')
ASSOCIATION = {'name', 'prefix', 'properties_target'}
NAMESPACE = {
    'namespace', 'display_name', 'description', 'visibility', 'protected',
    'resource_type_associations', 'properties', 'objects', 'tags',
}  # fmt: skip
PROPERTY = {
    'title', 'description', 'type', 'operators', 'enum', 'items', 'default', 'minimum', 'maximum',
    'pattern', 'readonly',
}  # fmt: skip
#: where Glance is wrong: its default, and ours
DEFAULTS = {
    'sw_database_mysql_listen_port': (3606, 3306),
    'sw_database_db2_port': (5432, 50000),
    'sw_database_oracle_edition': ('Express', 'Express (XE)'),
}
#: as many words in a row are a copied sentence; a shorter title may be the name of the thing
COPIED = 6


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key that is there twice would lose the first value in silence."""
    found = dict(pairs)
    assert len(found) == len(pairs), [key for key, _ in pairs]
    return found


def read(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Namespace -> what its file says."""
    files = [json.loads(path.read_text(), object_pairs_hook=once) for path in folder.glob('*.json')]
    found = {file['namespace']: file for file in files}
    assert len(found) == len(files)
    return found


def properties(namespace: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property, of the namespace itself and of its objects."""
    yield from namespace.get('properties', {}).items()
    for item in namespace.get('objects', []):
        yield from item['properties'].items()


def texts(namespace: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(where, text) of all that a person reads."""
    yield 'display_name', namespace['display_name']
    yield 'description', namespace['description']
    for item in namespace.get('objects', []):
        yield item['name'], item['description']
    for name, schema in properties(namespace):
        yield f'{name}.title', schema['title']
        # Glance has a property without one
        yield f'{name}.description', schema.get('description', '')


def skeleton(value: Any, named: bool = False) -> Any:
    """`value` without texts; `named` if the keys of it are names of properties."""
    if isinstance(value, dict):
        return {
            key: skeleton(inner, named=key == 'properties')
            for key, inner in value.items()
            if named or key not in TEXTS
        }
    if isinstance(value, list):
        inner = [skeleton(item) for item in value]
        # Glance lists two editions of SQL Server twice
        return list(dict.fromkeys(inner)) if all(isinstance(item, str) for item in inner) else inner
    return value


def as_shown(namespace: dict[str, Any]) -> list[Any]:
    """What Glance's API shows of the parts; it turns each default into text."""
    found: list[Any] = [
        (item['name'], item['description'], list(item['properties']))
        for item in namespace.get('objects', [])
    ]
    for key, schema in properties(namespace):
        default = {'default': str(schema['default'])} if 'default' in schema else {}
        found.append((key, {**schema, **default}))
    return sorted(found, key=lambda part: part[0])


def runs(text: str) -> set[tuple[str, ...]]:
    """The runs of words that are long enough to be recognized."""
    words = re.findall(r"[\w:./'-]+", text.lower())
    return {tuple(words[i : i + COPIED]) for i in range(len(words) - COPIED + 1)}


@pytest.fixture(scope='module')
def ours() -> dict[str, dict[str, Any]]:
    return read(FOLDER)


@pytest.fixture(scope='module')
def theirs() -> dict[str, dict[str, Any]]:
    return read(glance33.home() / 'etc' / 'glance' / 'metadefs')


def test_a_file_is_named_after_its_namespace(ours):
    named = {namespace.lower().replace('::', '-') + '.json' for namespace in ours}
    assert {path.name for path in FOLDER.iterdir()} == named | {'README.rst'}


def test_every_part_is_of_the_format(ours):
    for name, namespace in ours.items():
        assert set(namespace) <= NAMESPACE, name
        for association in namespace['resource_type_associations']:
            assert {'name'} <= set(association) <= ASSOCIATION, name
        for item in namespace.get('objects', []):
            assert set(item) == {'name', 'description', 'properties'}, name
        for key, schema in properties(namespace):
            assert {'title', 'description', 'type'} <= set(schema) <= PROPERTY, key
            values = schema.get('enum', []) or schema.get('items', {}).get('enum', [])
            assert len(set(values)) == len(values), key
            if 'enum' in schema and 'default' in schema:
                assert schema['default'] in schema['enum'], key


def test_every_part_is_explained(ours):
    for name, namespace in ours.items():
        for where, text in texts(namespace):
            assert text and text == text.strip(), (name, where)
            if where == 'display_name' or where.endswith('.title'):
                # The column of a display name has 80 characters; a title is a label of a form.
                assert len(text) <= 40 and not text.endswith('.'), (name, where)
            else:
                assert text.endswith('.') and '  ' not in text, (name, where)
        titles = [schema['title'] for _, schema in properties(namespace)]
        assert len(set(titles)) == len(titles), name
    names = [namespace['display_name'] for namespace in ours.values()]
    assert len(set(names)) == len(names)


@pytest.mark.peer
def test_names_types_and_bounds_are_glances(ours, theirs):
    assert set(ours) == set(theirs)
    corrected = {}
    for name, namespace in theirs.items():
        expected = skeleton({key: value for key, value in namespace.items() if value != []})
        for key, schema in properties(expected):
            if key in DEFAULTS:
                corrected[key] = (schema['default'], DEFAULTS[key][1])
                schema['default'] = DEFAULTS[key][1]
        got = {key: value for key, value in ours[name].items() if value != []}
        assert skeleton(got) == expected, name
    assert corrected == DEFAULTS


@pytest.mark.peer
def test_the_words_are_ours(ours, theirs):
    copied = {run: name for name, item in theirs.items() for _, t in texts(item) for run in runs(t)}
    assert copied
    for name, namespace in ours.items():
        glances = dict(texts(theirs[name]))
        for where, text in texts(namespace):
            assert not runs(text) & set(copied), (name, where)
            if len(text.split()) > 3:
                assert text.lower() != glances[where].lower(), (name, where)


#: what Glance's tables hold, with the namespace instead of its number
ARRIVED = {
    'namespaces': 'namespace, display_name, description, visibility, protected'
    ' FROM metadef_namespaces',
    'properties': 'namespace, name, json_schema'
    ' FROM metadef_properties JOIN metadef_namespaces n ON n.id = namespace_id',
    'objects': 'namespace, name, o.description, json_schema'
    ' FROM metadef_objects o JOIN metadef_namespaces n ON n.id = namespace_id',
    'tags': 'namespace, name FROM metadef_tags JOIN metadef_namespaces n ON n.id = namespace_id',
    'associations': 'namespace, name, prefix, properties_target'
    ' FROM metadef_namespace_resource_types JOIN metadef_namespaces n ON n.id = namespace_id'
    ' JOIN metadef_resource_types r ON r.id = resource_type_id',
}


def arriving(catalog: dict[str, dict[str, Any]]) -> dict[str, list[tuple[Any, ...]]]:
    """What ARRIVED must find."""
    found: dict[str, list[tuple[Any, ...]]] = {table: [] for table in ARRIVED}
    for name, file in catalog.items():
        texts = (file['display_name'], file['description'])
        found['namespaces'].append((name, *texts, file.get('visibility'), file['protected']))
        for key, schema in file.get('properties', {}).items():
            found['properties'].append((name, key, json.dumps(schema)))
        for item in file.get('objects', []):
            schemas = json.dumps(item['properties'])
            found['objects'].append((name, item['name'], item['description'], schemas))
        for tag in file.get('tags', []):
            found['tags'].append((name, tag['name']))
        for item in file['resource_type_associations']:
            target = item.get('properties_target')
            found['associations'].append((name, item['name'], item.get('prefix'), target))
    return found


def arrived(database: str) -> dict[str, list[tuple[Any, ...]]]:
    engine = sa.create_engine(database, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        found = {
            table: [tuple(row) for row in connection.execute(sa.text(f'SELECT {query}'))]
            for table, query in ARRIVED.items()
        }
    engine.dispose()
    return found


def in_order(found: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    return {table: sorted(rows, key=str) for table, rows in found.items()}


def load(etc: pathlib.Path, folder: pathlib.Path, *options: str) -> None:
    """With Glance's own command, which ends well even if it could not read a file."""
    output = glance33.manage(etc, 'db', 'load_metadefs', '--path', str(folder), *options)
    assert 'ERROR' not in output and 'Duplicate' not in output, output


@pytest.fixture(scope='module')
def loaded(tmp_path_factory) -> tuple[pathlib.Path, str]:
    """(directory, url) of a database that Glance 33 made and loaded with our files."""
    directory = tmp_path_factory.mktemp('catalog')
    url = f'sqlite:///{directory}/glance.sqlite'
    etc = glance33.write_settings(directory, url, '')
    glance33.manage(etc, 'db', 'sync')
    load(etc, FOLDER)
    return directory, url


@pytest.mark.peer
def test_glance_loads_all_of_it(ours, loaded):
    assert in_order(arrived(loaded[1])) == in_order(arriving(ours))


@pytest.mark.peer
def test_it_takes_the_place_of_glances(ours, tmp_path):
    """An operator who comes from Glance has its files in the database."""
    url = f'sqlite:///{tmp_path}/glance.sqlite'
    etc = glance33.write_settings(tmp_path, url, '')
    glance33.manage(etc, 'db', 'sync')
    load(etc, glance33.home() / 'etc' / 'glance' / 'metadefs')
    assert in_order(arrived(url)) != in_order(arriving(ours))
    load(etc, FOLDER, '--merge', '--prefer_new')
    assert in_order(arrived(url)) == in_order(arriving(ours))


@pytest.mark.peer
def test_glance_shows_what_was_loaded(ours, loaded):
    """Its API is what a dashboard makes forms of; it knows some keys of a JSON schema only."""
    directory, database = loaded
    stores = lite.make_stores(directory / 'stores')
    with glance33.running(directory / 'service', database, stores) as url:
        for name, namespace in ours.items():
            answer = requests.get(
                f'{url}/v2/metadefs/namespaces/{name}', headers=lite.ADMIN.headers(), timeout=60
            )
            assert answer.status_code == 200, (name, answer.text)
            assert as_shown(answer.json()) == as_shown(namespace)
