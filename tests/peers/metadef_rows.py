# SPDX-License-Identifier: Apache-2.0
"""The rows of `test_differential` on metadata definitions.

Namespaces are everybody's, so lists are narrowed to a type of resource that a story has to itself.
"""

from __future__ import annotations

from typing import Any

from tests.peers.comparison import Row
from tests.peers.lite import ADMIN, MEMBER, NOBODY, OTHER, READER, Who

NAMESPACES = '/v2/metadefs/namespaces'
TYPES = '/v2/metadefs/resource_types'
SCHEMAS = '/v2/schemas/metadefs'
NO_ROLE = Who('alpha', 'none')
APPEND = {'X-Openstack-Append': 'true'}

PROPERTY = {'title': 'T', 'type': 'string'}
#: Something of everything.
FULL: dict[str, Any] = {
    'display_name': 'Full',
    'description': 'Everything there is',
    'visibility': 'public',
    'protected': False,
    'owner': 'alpha',
    'properties': {
        'plain': PROPERTY,
        'rich': {
            'title': 'Rich',
            'description': 'Says all',
            'type': 'integer',
            'operators': ['<in>', '<or>'],
            'default': 3,
            'readonly': True,
            'minimum': 1,
            'maximum': 9.5,
            'enum': ['a', 'b', None],
            'pattern': '^a$',
            'minLength': 0,
            'maxLength': 5.0,
            'items': {'type': 'string', 'enum': ['x']},
            'uniqueItems': True,
            'minItems': 1,
            'maxItems': 2,
            'additionalItems': False,
            'name': 'otherwise',
        },
        'truth': {'title': 'B', 'type': 'boolean', 'default': True},
        'none': {'title': 'N', 'type': 'array', 'default': [1]},
    },
    'objects': [
        {
            'name': 'big',
            'description': 'With properties',
            'required': ['one'],
            'properties': {'one': PROPERTY, 'two': {**PROPERTY, 'default': 0.5}},
        },
        {'name': 'bare'},
    ],
    'tags': [{'name': 'c'}, {'name': 'a'}, {'name': 'b'}],
}


def at(namespace: str, *rest: str) -> str:
    return '/'.join((NAMESPACES, namespace, *rest))


def get(status: int, where: str, who: Who = ADMIN, **more: Any) -> Row:
    return Row(status, who, 'GET', where, **more)


def post(status: int, where: str, body: Any = None, who: Who = ADMIN, **more: Any) -> Row:
    return Row(status, who, 'POST', where, body, **more)


def put(status: int, where: str, body: Any, who: Who = ADMIN, **more: Any) -> Row:
    return Row(status, who, 'PUT', where, body, **more)


def delete(status: int, where: str, who: Who = ADMIN, **more: Any) -> Row:
    return Row(status, who, 'DELETE', where, **more)


def new(namespace: str, status: int = 201, who: Who = ADMIN, **fields: Any) -> Row:
    mark = {name: fields.pop(name) for name in ('ours', 'apart') if name in fields}
    return post(status, NAMESPACES, {'namespace': namespace, **fields}, who, **mark)


def schemas() -> list[Row]:
    names = (
        'namespace', 'namespaces', 'resource_type', 'resource_types', 'property', 'properties',
        'object', 'objects', 'tag', 'tags',
    )  # fmt: skip
    rows = [get(200, f'{SCHEMAS}/{name}', who) for name in names for who in (MEMBER, NO_ROLE)]
    return [*rows, get(401, f'{SCHEMAS}/tag', NOBODY), post(405, f'{SCHEMAS}/tag')]


def life() -> list[Row]:
    """One namespace from its beginning to its end."""
    space = 'life'
    types = [
        {'name': 'Life::A', 'prefix': 'hw:', 'properties_target': 'image'},
        {'name': 'Life::B'},
    ]
    return [
        new(space, **FULL, resource_type_associations=types),
        new(space, 409),
        get(200, at(space)),
        get(200, at(space), MEMBER),
        get(200, at(space) + '?resource_type=Life::A'),
        get(200, at(space) + '?resource_type=Life::B'),
        get(200, at(space) + '?resource_type=none'),
        get(200, at(space) + '?resource_type='),
        get(500, at(space) + '?color=red', ours=('unknown-parameter', 200)),
        get(500, at(space) + '?visibility=public', ours=('unknown-parameter', 200)),
        get(400, at(space) + '?visibility=secret'),
        get(200, at(space, 'resource_types')),
        get(200, at(space, 'objects')),
        get(200, at(space, 'objects', 'big')),
        get(200, at(space, 'objects', 'bare')),
        get(200, at(space, 'tags')),
        get(200, at(space, 'tags', 'a')),
        get(200, at(space, 'properties')),
        *(get(200, at(space, 'properties', name)) for name in FULL['properties']),
        get(200, at(space, 'properties', 'hw:rich') + '?resource_type=Life::A'),
        get(404, at(space, 'properties', 'rich') + '?resource_type=Life::A'),
        get(404, at(space, 'properties', 'rich') + '?resource_type=Life::B'),
        get(404, at(space, 'properties', 'rich') + '?resource_type=none'),
        get(200, at(space, 'properties', 'rich') + '?resource_type='),
        get(500, at(space, 'properties', 'rich') + '?x=y', ours=('unknown-parameter', 200)),
        get(200, NAMESPACES + '?resource_types=Life::A,Life::B'),
        put(200, at(space), {'namespace': 'lived', 'visibility': 'public', 'tags': []}),
        get(404, at(space)),
        get(200, at('lived')),
        delete(204, at('lived', 'resource_types', 'Life::B')),
        delete(404, at('lived', 'resource_types', 'Life::B')),
        get(200, at('lived', 'resource_types')),
        delete(204, at('lived', 'objects', 'bare')),
        delete(204, at('lived', 'properties', 'none')),
        delete(204, at('lived', 'tags', 'a')),
        get(200, at('lived')),
        delete(204, at('lived', 'objects')),
        delete(204, at('lived', 'properties')),
        delete(204, at('lived', 'tags')),
        get(200, at('lived')),
        new('lived-2', **FULL),
        delete(204, at('lived-2')),
        get(404, at('lived-2')),
        delete(404, at('lived-2')),
        delete(204, at('lived')),
    ]


def namespaces() -> list[Row]:
    bad = (
        {}, {'namespace': 5}, {'namespace': 'x' * 81}, {'namespace': 'n', 'display_name': None},
        {'namespace': 'n', 'display_name': 'x' * 81}, {'namespace': 'n', 'color': 'red'},
        {'namespace': 'n', 'description': 'x' * 501}, {'namespace': 'n', 'visibility': 'shared'},
        {'namespace': 'n', 'protected': 'yes'}, {'namespace': 'n', 'owner': 'x' * 256},
        {'namespace': 'n', 'owner': None}, {'namespace': 'n', 'tags': None},
        {'namespace': 'n', 'objects': {}}, {'namespace': 'n', 'properties': []},
        {'namespace': 'n', 'objects': [{'name': 'o', 'required': ['a', 'a']}]},
        {'namespace': 'n', 'objects': [{'name': 'o', 'properties': {'p': {}}}]},
        {'namespace': 'n', 'properties': {'p': {'type': 'string'}}},
        {'namespace': 'n', 'properties': {'p': {'type': None, 'title': 'T'}}},
        {'namespace': 'n', 'resource_type_associations': [{'name': 5}]},
        {'namespace': '\U0001f600'},
    )  # fmt: skip
    errors = (
        {'resource_type_associations': [{}]},
        {'resource_type_associations': [{'name': 'A', 'color': 'red'}]},
        {'tags': [{}]},
        {'tags': [{'name': 'x', 'color': 'red'}]},
        {'objects': [{}]},
        {'objects': [{'name': 'o', 'color': 'red'}]},
        {'properties': {'p': {**PROPERTY, 'color': 'red'}}},
        {'properties': {'p': {**PROPERTY, 'enum': [1]}}},
        {'properties': {'p': {**PROPERTY, 'items': {}}}},
        {'properties': {'p': {**PROPERTY, 'required': ['a']}}},
    )
    rows = [post(400, NAMESPACES, body) for body in bad]
    rows += [new('n', 500, **fields, ours=('body-of-a-namespace', 400)) for fields in errors]
    rows += [
        post(403, NAMESPACES, {'namespace': 'n', name: 'x'})
        for name in ('self', 'schema', 'created_at', 'updated_at')
    ]
    rows += [
        post(500, NAMESPACES, [], ours=('metadef-body-not-object', 400)),
        post(400, NAMESPACES, 'text'),
        post(400, NAMESPACES, ''),
        new('once', resource_type_associations=[{'name': 'Twice'}]),
        new('twice', 409, tags=[{'name': 'x'}, {'name': 'x'}]),
        new('twice', 409, objects=[{'name': 'x'}, {'name': 'x'}]),
        new('twice', 409, resource_type_associations=[{'name': 'Twice'}, {'name': 'Twice'}]),
        get(404, at('twice')),
        new('longer', tags=[{'name': 'x' * 81}], ours=('long-name-within', 400)),
        new('longest', objects=[{'name': 'x' * 81}], ours=('long-name-within', 400)),
        new('', ours=('name-in-no-path', 400)),
        new('a/b', ours=('name-in-no-path', 400)),
        new('line\nfeed', 0, ours=('line-feed-in-location', 201)),
        new('white space', ours=('location-quoted', 201), apart='Location'),
        get(200, at('white%20space')),
        new('empty', tags=[], objects=[], properties={}, resource_type_associations=[]),
        get(200, at('empty')),
        put(200, at('empty'), {'namespace': 'empty', 'description': 'd', 'owner': 'beta'}),
        get(200, at('empty')),
        put(500, at('empty'), [], ours=('metadef-body-not-object', 400)),
        put(400, at('empty'), {}),
        put(403, at('empty'), {'namespace': 'empty', 'self': 'x'}),
        put(409, at('empty'), {'namespace': 'white space'}),
        put(404, at('nowhere'), {'namespace': 'empty'}),
        put(400, at('nowhere'), {'namespace': 5}),
        new('strict', protected=True, tags=[{'name': 't'}], objects=[{'name': 'o'}],
            properties={'p': PROPERTY}, resource_type_associations=[{'name': 'Strict'}]),
        delete(403, at('strict')),
        *(delete(403, at('strict', part)) for part in ('tags', 'objects', 'properties')),
        *(delete(403, at('strict', *part)) for part in
          (('tags', 't'), ('objects', 'o'), ('properties', 'p'), ('resource_types', 'Strict'))),
        *(delete(404, at('strict', *part)) for part in
          (('tags', 'x'), ('objects', 'x'), ('properties', 'x'), ('resource_types', 'x'))),
        get(200, at('strict')),
        post(201, at('strict', 'tags', 'more')),
        put(200, at('strict'), {'namespace': 'strict', 'protected': False}),
        delete(204, at('strict')),
    ]  # fmt: skip
    return rows


def definitions() -> list[Row]:
    """Objects, properties and types, one by one."""
    space = 'definitions'
    objects, properties, types = (
        at(space, part) for part in ('objects', 'properties', 'resource_types')
    )

    def prop(status: int = 201, **fields: Any) -> Row:
        mark = {name: fields.pop(name) for name in ('ours',) if name in fields}
        prop.number += 1  # type: ignore[attr-defined]
        name = f'p{prop.number}'  # type: ignore[attr-defined]
        return post(status, properties, {**PROPERTY, 'name': name, **fields}, **mark)

    prop.number = 0  # type: ignore[attr-defined]
    wrong = {'ours': ('property-not-valid', 400)}
    return [
        new(space),
        *(prop(default=value) for value in (1.5, True, None, [1], {}, 'text', 0)),
        prop(minimum=1.7, maximum=-5),
        prop(minimum=10**30),
        prop(maxLength=1.0),
        prop(enum=[None]),
        prop(operators=[], pattern='(', title='', description='x' * 3000),
        prop(name='with/slash'),
        prop(400, minimum='1'),
        prop(400, maxLength=-1),
        prop(400, enum='a'),
        prop(400, items={'type': None}),
        prop(400, color='red'),
        prop(400, confidential=True),
        prop(400, readonly='x'),
        prop(400, type='bogus'),
        prop(400, name='x' * 81),
        prop(400, default='é'),
        prop(403, created_at='x'),
        prop(500, enum=[1], **wrong),
        prop(500, enum=['a', True], **wrong),
        prop(500, items={}, **wrong),
        prop(500, items={'type': 'string', 'color': 'red'}, **wrong),
        prop(500, items={'type': 'string', 'enum': [1]}, **wrong),
        prop(500, required=['a'], **wrong),
        post(400, properties, PROPERTY),
        post(500, properties, [], ours=('metadef-body-not-object', 400)),
        post(400, properties, ''),
        post(404, at('nowhere', 'properties'), {**PROPERTY, 'name': 'x'}),
        post(400, at('nowhere', 'properties'), PROPERTY),
        get(200, properties),
        get(200, properties + '?limit=1&x=y'),
        put(200, at(space, 'properties', 'p1'), {**PROPERTY, 'name': 'p100'}),
        get(200, at(space, 'properties', 'p100')),
        put(500, at(space, 'properties', 'p100'), {**PROPERTY, 'name': 'p2'},
            ours=('rename-to-another', 409)),
        put(404, at(space, 'properties', 'p1'), {**PROPERTY, 'name': 'p2'}),
        post(409, properties, {**PROPERTY, 'name': 'p2'}),
        post(201, objects, {'name': 'a', 'required': [], 'properties': {}}),
        post(409, objects, {'name': 'a'}),
        post(201, objects, {'name': 'b', 'required': ['p'], 'properties': {'p' * 200: PROPERTY}}),
        post(201, objects, {'name': 'c', 'description': 'x' * 3000, 'required': ['']}),
        post(201, objects, {'name': 'd', 'required': ['a,b']}, ours=('comma-in-required', 400)),
        delete(204, at(space, 'objects', 'd'), ours=('comma-in-required', 404)),
        get(200, objects),
        post(400, objects, {}),
        post(400, objects, {'name': 'x' * 81}),
        post(400, objects, {'name': 'e', 'required': None}),
        post(400, objects, {'name': 'e', 'description': None}),
        post(400, objects, {'name': 'e', 'color': 'red'}),
        post(400, objects, {'name': 'e', 'properties': {'p': {'type': 'string'}}}),
        post(400, objects, {'name': 'e', 'properties': {'p': {**PROPERTY, 'color': 'red'}}}),
        post(403, objects, {'name': 'e', 'self': 'x'}),
        post(500, objects, {'name': 'e', 'properties': {'p': {**PROPERTY, 'enum': [1]}}}, **wrong),
        post(500, objects, [], ours=('metadef-body-not-object', 400)),
        put(200, at(space, 'objects', 'a'), {'name': 'z', 'description': 'd'}),
        get(200, at(space, 'objects', 'z')),
        put(500, at(space, 'objects', 'z'), {'name': 'b'}, ours=('rename-to-another', 409)),
        put(500, at(space, 'objects', 'z'),
            {'name': 'z', 'properties': {'p': {**PROPERTY, 'x': 1}}}, **wrong),
        put(404, at(space, 'objects', 'a'), {'name': 'z'}),
        put(400, at(space, 'objects', 'z'), {}),
        get(200, objects + '?limit=1&marker=nothing&sort_key=bogus&color=red'),
        *(get(400, objects + query) for query in
          ('?limit=0', '?limit=x', '?sort_dir=x', '?visibility=x')),
        post(201, types, {'name': 'Definitions::A', 'prefix': 'x_'}),
        post(201, types, {'name': 'Definitions::B', 'prefix': '', 'properties_target': 't'}),
        post(409, types, {'name': 'Definitions::A'}),
        post(400, types, {}),
        post(400, types, {'name': 'x' * 81}),
        post(400, types, {'name': 'C', 'prefix': None}),
        post(400, types, {'name': 'C', 'prefix': 'x' * 81}),
        post(400, types, {'name': 'C', 'color': 'red'}),
        post(403, types, {'name': 'C', 'created_at': 'x'}),
        post(500, types, [], ours=('metadef-body-not-object', 400)),
        get(200, types),
        delete(204, at(space, 'resource_types', 'Definitions::A')),
        delete(204, at(space)),
    ]  # fmt: skip


def tags() -> list[Row]:
    space = 'tags'
    tags = at(space, 'tags')

    def several(*names: str) -> dict[str, Any]:
        return {'tags': [{'name': name} for name in names]}

    def queries(status: int, *found: str) -> list[Row]:
        return [get(status, tags + query) for query in found]

    return [
        new(space),
        post(201, at(space, 'tags', 'one')),
        post(409, at(space, 'tags', 'one')),
        post(400, at(space, 'tags', 'x' * 81)),
        post(400, at(space, 'tags', 'two'), {'name': 'two'}),
        get(200, at(space, 'tags', 'one')),
        put(200, at(space, 'tags', 'one'), {'name': 'uno'}),
        put(404, at(space, 'tags', 'one'), {'name': 'uno'}),
        put(400, at(space, 'tags', 'uno'), {}),
        put(400, at(space, 'tags', 'uno'), {'name': None}),
        put(400, at(space, 'tags', 'uno'), {'name': 'x' * 81}),
        put(403, at(space, 'tags', 'uno'), {'name': 'x', 'created_at': 'x'}),
        put(500, at(space, 'tags', 'uno'), [], ours=('metadef-body-not-object', 400)),
        post(201, tags, several('a', 'c', 'b')),
        put(409, at(space, 'tags', 'a'), {'name': 'b'}),
        get(404, at(space, 'tags', 'uno')),
        *queries(200, '', '?limit=1', '?limit=0', '?limit=', '?marker=c', '?marker=',
                 '?sort_dir=asc', '?sort_key=name&sort_dir=asc', '?sort_key=name',
                 '?sort_key=name&limit=2&marker=c',
                 '?sort_key=name&sort_dir=asc&marker=a', '?sort_key=id', '?color=red',
                 '?sort_key=updated_at'),
        *queries(400, '?limit=-1', '?limit=x', '?sort_dir=x', '?visibility=x'),
        *queries(404, '?marker=nothing'),
        get(500, tags + '?sort_key=bogus', ours=('metadef-sort-key', 400)),
        post(409, tags, several('d', 'c'), headers=APPEND),
        post(201, tags, several('d'), headers=APPEND),
        post(201, tags, several('e'), headers={'X-Openstack-Append': 'YES'}),
        get(200, tags),
        post(201, tags, several()),
        get(200, tags),
        post(409, tags, several('u', 'u')),
        get(200, tags),
        post(201, tags, several('f'), headers={'X-Openstack-Append': 'no'}),
        get(200, tags),
        *(post(400, tags, body) for body in
          ({'tags': None}, {'tags': 'x'}, {'tags': [{}]}, {'tags': [{'name': 'a', 'b': 1}]},
           {'tags': [{'name': 5}]}, {'tags': [], 'color': 'red'}, '')),
        post(403, tags, {'tags': [], 'created_at': 'x'}),
        post(500, tags, [], ours=('metadef-body-not-object', 400)),
        post(500, tags, {}, ours=('no-tags', 400)),
        post(201, tags, several('x' * 81), ours=('long-name-within', 400)),
        post(404, at('nowhere', 'tags'), several('a')),
        delete(204, at(space)),
    ]  # fmt: skip


def lists() -> list[Row]:
    rows = [
        new(f'list-{name}', visibility=visibility, owner=owner, display_name=shown,
            resource_type_associations=[{'name': 'List', 'prefix': name}, {'name': f'L::{name}'}])
        for name, visibility, owner, shown in (
            ('a', 'public', 'alpha', 'Z'), ('b', 'private', 'alpha', 'Y'),
            ('c', 'private', 'beta', 'X'), ('d', 'public', 'beta', 'X'),
            ('e', 'public', 'alpha', 'Q'),
        )
    ]  # fmt: skip

    def queries(status: int, *found: str, **more: Any) -> list[Row]:
        base = NAMESPACES + '?resource_types=List'
        return [get(status, base + query, **more) for query in found]

    return [
        *rows,
        *queries(200, '', '&limit=2', '&limit=2&marker=list-d', '&limit=0', '&limit=99999999999999',
                 '&marker=list-a', '&visibility=public', '&visibility=private', '&color=red',
                 '&owner=beta', '&sort=namespace:asc'),
        *(row for key in ('namespace', 'display_name', 'owner', 'visibility', 'protected', 'id',
                          'created_at', 'updated_at', 'description')
          for row in queries(200, f'&sort_key={key}&sort_dir=asc', f'&sort_key={key}&limit=3')),
        *queries(200, '&sort_key=display_name&limit=1&marker=list-c',
                 '&sort_key=namespace&sort_dir=asc&limit=2&marker=list-b'),
        *queries(200, '', '&visibility=private', '&sort_key=namespace&limit=1', who=MEMBER),
        *queries(200, '', who=READER),
        *queries(200, '', '&visibility=private', who=OTHER),
        *queries(404, '', who=NO_ROLE),
        *queries(400, '&limit=-1', '&sort_dir=up', '&sort_dir=', '&visibility=x'),
        *queries(404, '&marker=nothing', '&marker='),
        *queries(403, '&marker=list-c', who=MEMBER, ours=('marker-of-others', 404)),
        *queries(500, '&limit=x', '&limit=', ours=('metadef-limit', 400)),
        *queries(500, '&sort_key=bogus', '&sort_key=', ours=('metadef-sort-key', 400)),
        *queries(200, '&visibility=', ours=('empty-visibility', 400)),
        get(200, NAMESPACES + '?resource_types=L::a,L::c'),
        get(200, NAMESPACES + '?resource_types=nothing'),
        Row(200, ADMIN, 'GET', NAMESPACES + '?resource_types=List', 'x',
            ours=('body-on-metadefs', 400)),
        get(200, TYPES, MEMBER),
        get(404, TYPES, NO_ROLE),
        get(401, TYPES, NOBODY),
        *(delete(204, at(f'list-{name}')) for name in 'abcde'),
        get(200, TYPES),
    ]  # fmt: skip


def people() -> list[Row]:
    """Everything by everybody: own, another's, and a public namespace."""
    inside: dict[str, Any] = {
        'tags': [{'name': 't'}],
        'objects': [{'name': 'o'}],
        'properties': {'p': PROPERTY},
        'resource_type_associations': [{'name': 'People', 'prefix': 'x_'}],
    }
    spaces = (
        ('own', 'alpha', 'private'),
        ('foreign', 'beta', 'private'),
        ('open', 'beta', 'public'),
    )
    rows = [
        new(f'people-{name}', owner=owner, visibility=visibility, **inside)
        for name, owner, visibility in spaces
    ]
    reads = ('', '/tags', '/tags/t', '/objects', '/objects/o', '/properties', '/properties/p',
             '/resource_types', '/properties/x_p?resource_type=People')  # fmt: skip
    writes: tuple[tuple[str, str, Any], ...] = (
        ('PUT', '', {'namespace': 'x'}), ('DELETE', '', None), ('POST', '/tags/q', None),
        ('POST', '/tags', {'tags': [{'name': 'z'}]}), ('PUT', '/tags/t', {'name': 't'}),
        ('DELETE', '/tags/t', None), ('DELETE', '/tags', None), ('POST', '/objects', {'name': 'q'}),
        ('PUT', '/objects/o', {'name': 'o'}), ('DELETE', '/objects/o', None),
        ('DELETE', '/objects', None), ('POST', '/properties', {**PROPERTY, 'name': 'q'}),
        ('PUT', '/properties/p', {**PROPERTY, 'name': 'p'}), ('DELETE', '/properties/p', None),
        ('DELETE', '/properties', None), ('POST', '/resource_types', {'name': 'q'}),
        ('DELETE', '/resource_types/People', None), ('DELETE', '/tags/nothing', None),
    )  # fmt: skip
    for who, seen in (
        (MEMBER, {'own', 'open'}),
        (READER, {'own', 'open'}),
        (OTHER, {'foreign', 'open'}),
        (NO_ROLE, set()),
        (ADMIN, {'own', 'foreign', 'open'}),
    ):
        for name, *_ in spaces:
            place = at(f'people-{name}')
            rows += [get(200 if name in seen else 404, place + path, who) for path in reads]
            rows.append(get(404, place + '/tags/nothing', who))
            if who is not ADMIN:
                status = 403 if name in seen else 404
                rows += [Row(status, who, verb, place + path, body) for verb, path, body in writes]
        if who is not ADMIN:
            rows.append(new('people-new', 404 if who is NO_ROLE else 403, who))
    rows += [get(401, at('people-open'), NOBODY), new('people-new', 401, NOBODY)]
    return [*rows, *(delete(204, at(f'people-{name}')) for name, *_ in spaces)]


def edges() -> list[Row]:
    """Methods, bodies where none belong, paths."""
    space = 'edges'
    paths = ('', '/tags', '/tags/t', '/objects', '/objects/o', '/properties', '/properties/p',
             '/resource_types', '/resource_types/r')  # fmt: skip
    rows = [new(space)]
    rows += [
        Row(405, ADMIN, verb, at(space) + path) for path in paths for verb in ('PATCH', 'HEAD')
    ]
    rows += [Row(405, ADMIN, 'PUT', NAMESPACES), Row(405, ADMIN, 'POST', TYPES)]
    return [
        *rows,
        get(404, '/v2/metadefs'),
        get(404, at(space, 'nothing')),
        get(404, at(space, 'tags', 'a%2Fb')),
        post(404, at(space, 'tags', 'a%2Fb')),
        post(201, at(space, 'tags', '%C3%A9'), ours=('metadef-beyond-ascii', 201), apart='body'),
        delete(204, at(space, 'tags', '%C3%A9')),
        Row(400, ADMIN, 'DELETE', at(space), 'x'),
        Row(400, ADMIN, 'GET', at(space), 'x'),
        Row(400, ADMIN, 'DELETE', at(space, 'tags'), 'x'),
        Row(500, ADMIN, 'DELETE', at(space, 'tags'), {}, ours=('body-on-metadefs', 400)),
        delete(204, at(space)),
    ]


GROUPS = {
    'metadef schemas': schemas(),
    'metadef life': life(),
    'metadef namespaces': namespaces(),
    'metadef definitions': definitions(),
    'metadef tags': tags(),
    'metadef lists': lists(),
    'metadef people': people(),
    'metadef edges': edges(),
}
