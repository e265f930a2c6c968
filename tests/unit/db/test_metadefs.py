# SPDX-License-Identifier: Apache-2.0
"""Metadata definitions, on every engine."""

from __future__ import annotations

import dataclasses
import threading

import pytest
import sqlalchemy as sa

from glance_lite.db import tables
from glance_lite.errors import Duplicate, Forbidden, Invalid, NotFound
from glance_lite.metadefs.model import (
    Association,
    Namespace,
    NamespaceQuery,
    Object,
    Paging,
    Property,
    Tag,
)
from tests.backends.fixtures import context
from tests.unit.db.helpers import execute, rows

SCHEMA = {'title': 'T', 'type': 'string'}
TABLES = (
    'metadef_namespace_resource_types', 'metadef_objects', 'metadef_properties', 'metadef_tags',
    'metadef_namespaces',
)  # fmt: skip


def full(name='space', **fields):
    contents = {
        'resource_type': (Association('OS::B', 'b_'), Association('OS::A', None, 'image')),
        'object': (
            Object('two', 'Second', ('p', 'q'), {'p': SCHEMA, 'q': SCHEMA}),
            Object('one', None, None, None),
        ),
        'tag': (Tag('x'), Tag('z'), Tag('y')),
        'property': (Property('q', SCHEMA), Property('p', {**SCHEMA, 'enum': ['é', 'b']})),
    }
    return Namespace(name, **{'contents': contents, **fields})


def make(db, *names, project='alpha', **fields):
    for name in names:
        db.create_namespace(context(project), Namespace(name, **fields))


def names(found):
    return [one.name for one in found]


def left(db):
    """Rows in any of the tables that belong to namespaces."""
    with db.database.engine.connect() as connection:
        return sum(
            connection.execute(sa.select(sa.func.count()).select_from(tables.glance.tables[one]))
            .scalars()
            .one()
            for one in TABLES
        )


def test_a_namespace_is_read_as_it_was_made(db):
    made = db.create_namespace(
        context(),
        full(display_name='D', description='x' * 500, protected=True, visibility='public'),
    )
    found = db.get_namespace(context(), 'space')
    assert dataclasses.replace(found, contents=made.contents) == made
    assert made.owner == 'alpha' and made.created_at.microsecond == 0
    stamp = {'created_at': made.created_at, 'updated_at': made.created_at}
    given = full().contents
    assert found.contents['object'] == (
        Object('one', None, (), {}, **stamp),
        given['object'][0].replace(**stamp),
    )
    assert {one.name: one.schema for one in found.contents['property']} == {
        one.name: one.schema for one in given['property']
    }
    assert names(found.contents['tag']) == ['y', 'z', 'x']
    assert {
        one.replace(created_at=None, updated_at=None) for one in found.contents['resource_type']
    } == set(given['resource_type'])
    assert db.peek_namespace(context(), 'space') == dataclasses.replace(found, contents={})


def test_reading_and_listing_cost_few_statements(db, statements):
    for number in range(5):
        db.create_namespace(context(), full(f'n{number}'))
    with statements() as seen:
        found = db.get_namespace(context(), 'n1')
    assert len([one for one in seen if not one.startswith('PREPARE')]) == 1
    assert sum(map(len, found.contents.values())) == 9
    with statements() as seen:
        page = db.list_namespaces(context(), NamespaceQuery())
    assert len(page.namespaces) == 5 and len(seen) == 2
    assert all(len(one.contents['resource_type']) == 2 for one in page.namespaces)
    with statements() as seen:
        db.list_namespaces(context(), NamespaceQuery(Paging(marker='n3', limit=2)))
    assert len(seen) == 3
    for kind in ('object', 'property', 'tag', 'resource_type'):
        ctx = context()
        db.peek_namespace(ctx, 'n2')
        with statements() as seen:
            db.list_definitions(ctx, 'n2', kind, Paging())
        assert len(seen) == 1


def test_a_name_is_taken_once(db):
    make(db, 'space', project='beta')
    with pytest.raises(Duplicate):
        db.create_namespace(context(), full())
    assert left(db) == 1


@pytest.mark.parametrize('kind', ['resource_type', 'object', 'tag', 'property'])
def test_all_or_nothing(db, kind):
    contents = {**full().contents, kind: full().contents[kind] * 2}
    with pytest.raises(Duplicate):
        db.create_namespace(context(), full(contents=contents))
    assert left(db) == 0


def test_who_has_no_project_must_name_an_owner(db):
    ctx = context(None, admin=True)
    with pytest.raises(Invalid):
        db.create_namespace(ctx, Namespace('space'))
    assert db.create_namespace(ctx, Namespace('space', owner='beta')).owner == 'beta'


@pytest.mark.parametrize('project', ['beta', None])
def test_private_namespaces_are_for_their_project(db, project):
    make(db, 'hidden')
    ctx = context(project)
    for name, arguments in {
        'get_namespace': (),
        'peek_namespace': (),
        'list_definitions': ('tag', Paging()),
        'get_definition': ('tag', 'x'),
        'add_definition': (Tag('x'),),
        'set_tags': ((Tag('x'),), False),
        'update_namespace': (Namespace('mine', owner='beta'),),
        'delete_namespace': (),
        'clear_namespace': ('tag',),
    }.items():
        with pytest.raises(NotFound, match='no namespace hidden'):
            getattr(db, name)(ctx, 'hidden', *arguments)
    with pytest.raises(NotFound, match='no namespace hidden'):
        db.list_namespaces(ctx, NamespaceQuery(Paging(marker='hidden')))
    assert db.list_namespaces(ctx, NamespaceQuery()).namespaces == []
    assert db.get_namespace(context('beta', admin=True), 'hidden').owner == 'alpha'


def test_an_update_replaces_all_but_the_contents(db):
    before = db.create_namespace(context(), full(display_name='D', description='x'))
    make(db, 'other')
    changed = db.update_namespace(context(), 'space', Namespace('renamed', visibility='public'))
    found = db.get_namespace(context('beta'), 'renamed')
    assert dataclasses.replace(found, contents={}) == changed
    assert (found.display_name, found.description, found.created_at) == (
        None, None, before.created_at,
    )  # fmt: skip
    assert sum(map(len, found.contents.values())) == 9
    with pytest.raises(NotFound):
        db.get_namespace(context(), 'space')
    with pytest.raises(Duplicate):
        db.update_namespace(context(), 'renamed', Namespace('other'))
    with pytest.raises(NotFound):
        db.update_namespace(context(), 'nowhere', Namespace('other'))


def test_deleting_leaves_nothing_but_the_types(db):
    db.create_namespace(context(), full())
    gone = db.delete_namespace(context(), 'space')
    assert gone.namespace == 'space' and left(db) == 0
    assert names(db.list_resource_types(context())) == ['OS::B', 'OS::A']


def test_what_is_protected_stays(db):
    db.create_namespace(context(), full(protected=True))
    count = left(db)
    with pytest.raises(Forbidden):
        db.delete_namespace(context(), 'space')
    for kind, item in (
        ('object', 'one'),
        ('tag', 'x'),
        ('property', 'p'),
        ('resource_type', 'OS::A'),
    ):
        with pytest.raises(Forbidden):
            db.clear_namespace(context(), 'space', kind)
        with pytest.raises(Forbidden):
            db.delete_definition(context(), 'space', kind, item)
        with pytest.raises(NotFound):
            db.delete_definition(context(), 'space', kind, 'nothing')
    assert left(db) == count


@pytest.mark.parametrize(
    ('first', 'second', 'third'),
    [
        (Object('a', 'd', ('p',), {'p': SCHEMA}), Object('b'), Object('c', None, None, {})),
        (Property('a', SCHEMA), Property('b', SCHEMA), Property('c', {**SCHEMA, 'minimum': 1})),
        (Tag('a'), Tag('b'), Tag('c')),
    ],
    ids=lambda one: one.kind,
)
def test_the_life_of_a_definition(db, first, second, third):
    make(db, 'space')
    kind = first.kind
    for one in (first, second):
        made = db.add_definition(context(), 'space', one)
        assert made == one.replace(created_at=made.created_at, updated_at=made.created_at)
    with pytest.raises(Duplicate):
        db.add_definition(context(), 'space', first)
    assert db.get_definition(context(), 'space', kind, 'a').name == 'a'
    assert sorted(names(db.list_definitions(context(), 'space', kind, Paging()))) == ['a', 'b']
    assert db.update_definition(context(), 'space', 'a', third).name == 'c'
    with pytest.raises(NotFound):
        db.get_definition(context(), 'space', kind, 'a')
    with pytest.raises(NotFound):
        db.update_definition(context(), 'space', 'a', third)
    with pytest.raises(Duplicate):
        db.update_definition(context(), 'space', 'b', third)
    assert db.delete_definition(context(), 'space', kind, 'b').name == 'b'
    with pytest.raises(NotFound):
        db.delete_definition(context(), 'space', kind, 'b')
    assert names(db.list_definitions(context(), 'space', kind, Paging())) == ['c']
    db.clear_namespace(context(), 'space', kind)
    assert db.list_definitions(context(), 'space', kind, Paging()) == ()


def test_a_type_is_known_for_ever_and_by_all(db):
    make(db, 'one', 'two')
    for space in ('one', 'two'):
        db.add_definition(context(), space, Association('OS::A', space))
    (row,) = rows(db, 'metadef_resource_types')
    assert (row['name'], bool(row['protected'])) == ('OS::A', False)
    assert db.get_definition(context(), 'two', 'resource_type', 'OS::A').prefix == 'two'
    db.delete_definition(context(), 'one', 'resource_type', 'OS::A')
    assert db.list_definitions(context(), 'one', 'resource_type', Paging()) == ()
    assert db.get_definition(context(), 'two', 'resource_type', 'OS::A').prefix == 'two'
    assert names(db.list_resource_types(context())) == ['OS::A']


def test_names_that_the_database_takes_for_one(db):
    """MySQL does not tell é from e: then it is the same type, and twice in one is a conflict."""
    make(db, 'one', 'two')
    db.add_definition(context(), 'one', Association('typé'))
    db.add_definition(context(), 'two', Association('type'))
    assert len(db.list_definitions(context(), 'two', 'resource_type', Paging())) == 1
    assert len(db.list_resource_types(context())) == (1 if db.database.backend == 'mysql' else 2)


def test_tags_replace_or_append(db):
    make(db, 'space')

    def set_(*found, append=False):
        return names(db.set_tags(context(), 'space', tuple(map(Tag, found)), append))

    def there():
        return names(db.list_definitions(context(), 'space', 'tag', Paging('name', True)))

    assert set_('b', 'a') == ['b', 'a']
    assert set_('c', append=True) == ['c'] and there() == ['a', 'b', 'c']
    for refused in (('d', 'd'), ('d', 'a')):
        with pytest.raises(Duplicate):
            set_(*refused, append=True)
    with pytest.raises(Duplicate):
        set_('d', 'd')
    assert there() == ['a', 'b', 'c']
    assert set_() == [] and there() == ['a', 'b', 'c']
    assert set_('d') == ['d'] and there() == ['d']


# --- lists


def pages(db, ctx, limit, **query):
    """All names, page by page; each page must be as long as its limit but the last."""
    found, marker = [], None
    paging = query.pop('paging', Paging())
    while True:
        wanted = dataclasses.replace(paging, limit=limit, marker=marker)
        page = db.list_namespaces(ctx, NamespaceQuery(wanted, **query))
        found += [one.namespace for one in page.namespaces]
        if not page.full:
            return found
        marker = page.marker


@pytest.mark.parametrize('ascending', [True, False])
@pytest.mark.parametrize('key', [
    'id', 'namespace', 'display_name', 'description', 'visibility', 'protected', 'owner',
    'created_at', 'updated_at',
])  # fmt: skip
def test_pages_lose_and_repeat_nothing(db, key, ascending):
    for number, (shown, text) in enumerate(
        ((None, 'b'), ('Z', None), (None, None), ('A', 'a'), ('Z', 'b'))
    ):
        fields = {'display_name': shown, 'description': text, 'protected': number == 2}
        make(db, f'n{number}', project=('beta', 'alpha')[number % 2], **fields)
    ctx = context(admin=True)
    paging = Paging(key, ascending)
    whole = pages(db, ctx, 100, paging=paging)
    assert sorted(whole) == [f'n{number}' for number in range(5)]
    for limit in (1, 2, 3, 5):
        assert pages(db, ctx, limit, paging=paging) == whole
    values = [getattr(db.peek_namespace(context(admin=True), name), key, None) for name in whole]
    if key not in ('id', 'protected'):
        order = [(value is not None, value or '') for value in values if key != 'created_at']
        assert order == sorted(order, reverse=not ascending) or key == 'updated_at'


def test_filters_of_namespaces(db):
    make(db, 'private', 'another')
    make(db, 'public', visibility='public')
    db.add_definition(context(), 'public', Association('OS::A'))
    db.add_definition(context(), 'another', Association('OS::A'))
    db.add_definition(context(), 'another', Association('OS::B'))
    ctx, by_name = context(), Paging('namespace', True)
    assert pages(db, ctx, 10, paging=by_name) == ['another', 'private', 'public']
    assert pages(db, ctx, 10, paging=by_name, visibility='private') == ['another', 'private']
    for wanted in (('OS::A',), ('OS::A', 'OS::B')):
        found = pages(db, ctx, 1, paging=by_name, resource_types=wanted)
        assert found == ['another', 'public']
    assert pages(db, ctx, 10, resource_types=('OS::C',)) == []
    assert pages(db, context('beta'), 10) == ['public']
    assert db.list_namespaces(ctx, NamespaceQuery(Paging(limit=0))).namespaces == []


def test_pages_of_tags(db):
    make(db, 'space')
    db.set_tags(context(), 'space', tuple(map(Tag, 'acb')), False)

    def listed(**paging):
        return ''.join(names(db.list_definitions(context(), 'space', 'tag', Paging(**paging))))

    assert (listed(), listed(ascending=True)) == ('bca', 'acb')
    assert listed(sort_key='name', ascending=True, limit=2) == 'ab'
    assert listed(sort_key='name', ascending=True, marker='b') == 'c'
    assert listed(limit=0) == ''
    for key in ('name', 'id', 'created_at', 'updated_at'):
        assert listed(sort_key=key, marker=listed(sort_key=key)[1]) == listed(sort_key=key)[2]
    with pytest.raises(NotFound):
        listed(marker='d')
    for key in ('bogus', '', 'namespace_id'):
        with pytest.raises(Invalid):
            listed(sort_key=key)
    with pytest.raises(Invalid):
        db.list_namespaces(context(), NamespaceQuery(Paging('bogus')))


# --- what others have written


def test_rows_that_a_file_brought(db):
    """glance-manage leaves NULL where the file says nothing, and any JSON in the schemas."""
    make(db, 'space')
    columns = tables.metadef_namespaces
    execute(db, sa.update(columns).values(visibility=None, protected=None, updated_at=None))
    number = rows(db, 'metadef_namespaces')[0]['id']
    fixed = {'namespace_id': number, 'created_at': sa.func.current_timestamp()}
    for name, text in (('list', '[1]'), ('null', 'null'), ('broken', '{"'), ('good', '{"a": 1}')):
        execute(
            db, sa.insert(tables.metadef_properties).values(name=name, json_schema=text, **fixed)
        )
        execute(db, sa.insert(tables.metadef_objects).values(name=name, json_schema=text, **fixed))
    found = db.get_namespace(context(), 'space')
    assert (found.visibility, found.protected, found.updated_at) == ('private', False, None)
    schemas = {one.name: one.schema for one in found.contents['property']}
    assert schemas == {'list': {}, 'null': {}, 'broken': {}, 'good': {'a': 1}}
    assert {one.name: one.properties for one in found.contents['object']} == schemas
    assert found.contents['object'][0].updated_at is None
    assert pages(db, context(), 1) == ['space']


def test_two_who_write_at_once(db):
    """One namespace, one type that is new to both, one that goes while another puts in."""
    make(db, 'one', 'two')
    outcomes = []

    def work(function, *arguments):
        try:
            function(*arguments)
            outcomes.append('done')
        except (Duplicate, NotFound) as ex:
            outcomes.append(type(ex).__name__)

    jobs = [(db.create_namespace, context(), full('same')) for _ in range(4)]
    jobs += [(db.add_definition, context(), name, Association('New')) for name in ('one', 'two')]
    jobs += [(db.delete_namespace, context(), 'one')]
    jobs += [(db.add_definition, context(), 'one', Tag(str(number))) for number in range(3)]
    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == len(jobs) and outcomes.count('Duplicate') == 3
    assert names(db.list_resource_types(context())).count('New') == 1
    assert len(rows(db, 'metadef_namespaces')) == 2
    assert len(rows(db, 'metadef_tags')) == 3
