# SPDX-License-Identifier: Apache-2.0
"""Metadata definitions in the layers: who may write, which rule decides, what is announced."""

from __future__ import annotations

import pytest
from oslo_messaging.notify import _impl_test

from glance_lite.errors import Forbidden, NotFound
from glance_lite.layer import overrides
from glance_lite.layers.auth import Auth
from glance_lite.metadefs.auth import MetadefAuth
from glance_lite.metadefs.model import (
    Association,
    Namespace,
    NamespaceQuery,
    Object,
    Paging,
    Property,
    Tag,
)
from glance_lite.metadefs.policy import SEE
from glance_lite.policy.metadefs import RULES as DECLARED
from glance_lite.testing.metadefs import SCHEMA, make_namespace
from tests.unit.layers.conftest import admin, beta, nobody, owner

BUS = '[oslo_messaging_notifications]\ndriver = test\ntransport_url = fake://\n'
NEW = {
    'object': Object('new'),
    'property': Property('new', SCHEMA),
    'tag': Tag('new'),
    'resource_type': Association('New'),
}
ITEMS = {
    'object': 'wall',
    'property': 'colour',
    'tag': 'bright',
    'resource_type': 'OS::Glance::Image',
}

#: (operation, rule, arguments after the namespace)
READS = [
    ('get_namespace', 'get_metadef_objects', ()),
    ('get_namespace', 'get_metadef_properties', ()),
    ('get_namespace', 'get_metadef_tags', ()),
    ('get_namespace', 'list_metadef_resource_types', ()),
    ('list_definitions', 'get_metadef_objects', ('object', Paging())),
    ('list_definitions', 'get_metadef_properties', ('property', Paging())),
    ('list_definitions', 'get_metadef_tags', ('tag', Paging())),
    ('list_definitions', 'list_metadef_resource_types', ('resource_type', Paging())),
    ('get_definition', 'get_metadef_object', ('object', 'wall')),
    ('get_definition', 'get_metadef_property', ('property', 'colour')),
    ('get_definition', 'get_metadef_tag', ('tag', 'bright')),
    ('get_definition', 'get_metadef_resource_type', ('resource_type', 'OS::Glance::Image')),
]
WRITES = [
    ('update_namespace', 'modify_metadef_namespace', (Namespace('renamed'),)),
    ('delete_namespace', 'delete_metadef_namespace', ()),
    ('clear_namespace', 'delete_metadef_namespace', ('object',)),
    ('clear_namespace', 'delete_metadef_namespace', ('property',)),
    ('clear_namespace', 'delete_metadef_namespace', ('tag',)),
    ('clear_namespace', 'delete_metadef_tags', ('tag',)),
    ('add_definition', 'add_metadef_object', (NEW['object'],)),
    ('add_definition', 'add_metadef_property', (NEW['property'],)),
    ('add_definition', 'add_metadef_tag', (NEW['tag'],)),
    ('add_definition', 'add_metadef_resource_type_association', (NEW['resource_type'],)),
    ('update_definition', 'modify_metadef_object', ('wall', NEW['object'])),
    ('update_definition', 'modify_metadef_property', ('colour', NEW['property'])),
    ('update_definition', 'modify_metadef_tag', ('bright', NEW['tag'])),
    ('delete_definition', 'delete_metadef_object', ('object', 'wall')),
    ('delete_definition', 'remove_metadef_property', ('property', 'colour')),
    ('delete_definition', 'delete_metadef_tag', ('tag', 'bright')),
    (
        'delete_definition',
        'remove_metadef_resource_type_association',
        ('resource_type', 'OS::Glance::Image'),
    ),
    ('set_tags', 'add_metadef_tags', ((Tag('new'),), False)),
]
ids = [f'{name}-{rule}' for name, rule, _ in READS + WRITES]
each = pytest.mark.parametrize(('name', 'rule', 'arguments'), READS + WRITES, ids=ids)
#: All that the declared rules would refuse before the one in question is asked.
EVERYTHING = {rule: '@' for _, rule, _ in READS + WRITES}


@pytest.fixture
def chain(make):
    def build(layers='policy, quota, location, db', text='', rules=None, **fields):
        made = make(layers, text, rules)
        made.space = made.db.create_namespace(owner(), make_namespace(**fields))
        return made

    return build


def now(made):
    return made.db.get_namespace(admin(), 'colours')


# --- policy


@each
def test_what_is_seen_and_refused_is_forbidden(chain, name, rule, arguments):
    made = chain(rules={**EVERYTHING, rule: '!'})
    before = now(made)
    for ctx in (owner(), admin()):
        with pytest.raises(Forbidden, match=rule):
            getattr(made.outer, name)(ctx, 'colours', *arguments)
    assert now(made) == before


@each
def test_what_the_rules_hide_is_not_found(chain, name, rule, arguments):
    made = chain(rules={**EVERYTHING, rule: '!', SEE: '!'})
    before = now(made)
    with pytest.raises(NotFound) as caught:
        getattr(made.outer, name)(owner(), 'colours', *arguments)
    with pytest.raises(NotFound) as absent:
        getattr(made.outer, name)(owner(), 'nowhere', *arguments)
    # Nothing tells one that is hidden from one that is not there.
    assert str(caught.value) == str(absent.value).replace('nowhere', 'colours')
    assert now(made) == before


@each
def test_namespaces_of_others_are_not_found(chain, name, rule, arguments):
    made = chain(rules=EVERYTHING, visibility='private')
    before = now(made)
    for ctx in (beta(), nobody()):
        with pytest.raises(NotFound, match='no namespace colours'):
            getattr(made.outer, name)(ctx, 'colours', *arguments)
    assert now(made) == before


@pytest.mark.parametrize(('name', 'rule', 'arguments'), WRITES, ids=ids[len(READS) :])
def test_only_administrators_write_by_default(chain, name, rule, arguments):
    made = chain()
    with pytest.raises(Forbidden):
        getattr(made.outer, name)(owner(), 'colours', *arguments)
    getattr(made.outer, name)(admin(), 'colours', *arguments)


def test_every_rule_is_asked():
    general = {
        'get_metadef_namespaces', 'add_metadef_namespace', SEE, 'metadef_default', 'metadef_admin',
    }  # fmt: skip
    assert {rule.name for rule in DECLARED} == {rule for _, rule, _ in READS + WRITES} | general


def test_lists_leave_out_what_a_rule_hides(chain):
    made = chain(rules={SEE: "'private':%(visibility)s"})
    made.db.create_namespace(owner(), Namespace('plain'))
    page = made.outer.list_namespaces(owner(), NamespaceQuery())
    assert [one.namespace for one in page.namespaces] == ['plain']


@pytest.mark.parametrize('rule', ['get_metadef_namespaces', 'list_metadef_resource_types'])
def test_a_list_that_a_rule_refuses(chain, rule):
    made = chain(rules={rule: '!', SEE: '@'})
    with pytest.raises(Forbidden, match=rule):
        made.outer.list_namespaces(owner(), NamespaceQuery())


@pytest.mark.parametrize(
    ('kind', 'rule'),
    [('object', 'get_metadef_object'), ('resource_type', 'get_metadef_resource_type')],
)
def test_a_list_of_what_nobody_may_see_is_empty(chain, kind, rule):
    made = chain(rules={rule: '!'})
    assert made.outer.list_definitions(owner(), 'colours', kind, Paging()) == ()


@pytest.mark.parametrize(
    ('kind', 'rule'),
    [
        ('object', 'add_metadef_object'),
        ('property', 'add_metadef_property'),
        ('tag', 'add_metadef_tag'),
        ('resource_type', 'add_metadef_resource_type_association'),
    ],
)
def test_what_is_made_within_is_asked_about_as_well(make, kind, rule):
    made = make('policy, quota, location, db', rules={'add_metadef_namespace': '@', rule: '!'})
    new = make_namespace()
    with pytest.raises(Forbidden, match=rule):
        made.outer.create_namespace(admin(), new)
    assert made.outer.list_namespaces(admin(), NamespaceQuery()).namespaces == []
    less = {one: found for one, found in new.contents.items() if one != kind}
    made.outer.create_namespace(admin(), new.replace(contents=less))


# --- auth


@pytest.mark.parametrize('name', sorted(overrides(MetadefAuth)))
def test_anonymous_callers_change_nothing(chain, name):
    made = chain('auth, location, db')
    before = now(made)
    arguments = {one: ('colours', *rest) for one, _, rest in WRITES}
    arguments['create_namespace'] = (Namespace('mine'),)
    with pytest.raises(Forbidden, match='Anonymous'):
        getattr(made.outer, name)(nobody(), *arguments[name])
    assert now(made) == before
    assert set(overrides(MetadefAuth)) <= set(overrides(Auth))


def test_nobody_makes_or_gives_namespaces_for_others(chain):
    made = chain('auth, location, db')
    with pytest.raises(Forbidden):
        made.outer.create_namespace(owner(), Namespace('mine', owner='beta'))
    with pytest.raises(Forbidden):
        made.outer.update_namespace(owner(), 'colours', Namespace('colours', owner='beta'))
    assert now(made).owner == 'alpha'
    mine = made.outer.create_namespace(owner(), Namespace('mine'))
    assert mine.owner == 'alpha'
    assert made.outer.create_namespace(admin(), Namespace('given', owner='beta')).owner == 'beta'
    made.outer.update_namespace(admin(), 'mine', Namespace('mine', owner='beta'))
    with pytest.raises(NotFound):
        made.outer.update_namespace(owner(), 'mine', Namespace('mine', owner='gamma'))


# --- events


@pytest.fixture
def sent():
    """What a chain has sent: (event type, payload)."""

    def found(made):
        made.layer('notifier')._sender.run()
        messages = [message for _, message, _, _ in _impl_test.NOTIFICATIONS]
        return [(message['event_type'], message['payload']) for message in messages]

    _impl_test.reset()
    yield found
    _impl_test.reset()


def test_the_life_of_a_namespace_is_announced(make, sent):
    made = make('notifier, policy, quota, location, db', BUS)
    made.outer.create_namespace(admin(), make_namespace())
    made.outer.update_namespace(
        admin(), 'colours', Namespace('paints', visibility='public', owner='alpha')
    )
    for kind in ('object', 'property', 'tag'):
        made.outer.clear_namespace(admin(), 'paints', kind)
    made.outer.delete_namespace(admin(), 'paints')
    events = sent(made)
    assert [name for name, _ in events] == [
        'metadef_namespace.create', 'metadef_resource_type.create', 'metadef_object.create',
        'metadef_tag.create', 'metadef_property.create', 'metadef_namespace.update',
        'metadef_namespace.delete_objects', 'metadef_namespace.delete_properties',
        'metadef_namespace.delete_tags', 'metadef_namespace.delete',
    ]  # fmt: skip
    create, association, object_, tag, property_, update, *_, delete = (one for _, one in events)
    times = {name: create[name] for name in ('created_at', 'updated_at')}
    assert create == {
        'namespace': 'colours', 'namespace_old': 'colours', 'display_name': 'Colours',
        'description': 'What walls are painted in', 'visibility': 'public', 'protected': False,
        'owner': 'alpha', 'deleted': False, 'deleted_at': None, **times,
    }  # fmt: skip
    common = {'namespace': 'colours', 'deleted': False, 'deleted_at': None}
    names = {'name': 'OS::Glance::Image', 'name_old': 'OS::Glance::Image'}
    more = {'prefix': 'hw_', 'properties_target': None}
    assert association == {**common, **times, **names, **more}
    assert tag == {**common, **times, 'name': 'bright', 'name_old': 'bright'}
    said = {'title': 'Colour', 'type': 'string', 'enum': ['red', 'green']}
    nothing = dict.fromkeys((
        'description', 'default', 'minimum', 'maximum', 'pattern', 'minLength', 'maxLength',
        'confidential', 'items', 'uniqueItems', 'minItems', 'maxItems', 'additionalItems',
    ))  # fmt: skip
    assert property_ == {**common, 'name': 'colour', 'name_old': 'colour', **nothing, **said}
    assert object_ == {
        **common, **times, 'name': 'wall', 'name_old': 'wall', 'description': 'A wall',
        'required': ['colour'], 'properties': [{'name': 'colour', **nothing, **said}],
    }  # fmt: skip
    assert (update['namespace'], update['namespace_old']) == ('paints', 'colours')
    assert delete['deleted'] is True and delete['deleted_at'].endswith('Z')


def test_changes_within_are_announced_with_the_name_before(chain, sent):
    made = chain('notifier, policy, quota, location, db', BUS)
    for kind, new in NEW.items():
        if kind != 'resource_type':
            made.outer.update_definition(admin(), 'colours', ITEMS[kind], new)
    for kind, new in NEW.items():
        if kind == 'resource_type':
            made.outer.add_definition(admin(), 'colours', new)
        made.outer.delete_definition(admin(), 'colours', kind, new.name)
    made.outer.set_tags(admin(), 'colours', (Tag('a'), Tag('b')), True)
    events = [(name, one['name'], one['name_old'], one['namespace']) for name, one in sent(made)]
    assert events == [
        ('metadef_object.update', 'new', 'wall', 'colours'),
        ('metadef_property.update', 'new', 'colour', 'colours'),
        ('metadef_tag.update', 'new', 'bright', 'colours'),
        ('metadef_object.delete', 'new', 'new', 'colours'),
        ('metadef_property.delete', 'new', 'new', 'colours'),
        ('metadef_tag.delete', 'new', 'new', 'colours'),
        ('metadef_resource_type.create', 'New', 'New', 'colours'),
        ('metadef_resource_type.delete', 'New', 'New', 'colours'),
        ('metadef_tag.create', 'a', 'a', 'colours'),
        ('metadef_tag.create', 'b', 'b', 'colours'),
    ]


def test_what_is_refused_or_read_is_not_announced(chain, sent):
    made = chain('notifier, policy, quota, location, db', BUS)
    for name, _, arguments in WRITES:
        with pytest.raises(Forbidden):
            getattr(made.outer, name)(owner(), 'colours', *arguments)
    for name, _, arguments in READS:
        getattr(made.outer, name)(owner(), 'colours', *arguments)
    assert sent(made) == []
