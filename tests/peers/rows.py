# SPDX-License-Identifier: Apache-2.0
"""The table of `test_differential`: stories of requests, with the statuses both services answer."""

from __future__ import annotations

import json
from typing import Any

from tests.peers.comparison import OCTETS, Row, Sql, ident
from tests.peers.lite import ADMIN, MEMBER, NOBODY, OTHER, READER, V20, V21, Who

Rows = list[Row | Sql]
IMAGES = '/v2/images'
JSON = 'application/json'
BARE = {'disk_format': 'raw', 'container_format': 'bare'}


def path(image_id: str, rest: str = '') -> str:
    return f'{IMAGES}/{image_id}{rest}'


def post(status: int, body: Any, who: Who = MEMBER, **more: Any) -> Row:
    return Row(status, who, 'POST', IMAGES, body, **more)


def get(status: int, where: str, who: Who = MEMBER, **more: Any) -> Row:
    return Row(status, who, 'GET', where, **more)


def put(status: int, image_id: str, data: Any, who: Who = MEMBER, **more: Any) -> Row:
    more.setdefault('kind', OCTETS)
    return Row(status, who, 'PUT', path(image_id, '/file'), data, **more)


def patch(
    status: int, image_id: str, *steps: Any, who: Who = MEMBER, kind: str | None = V21, **more: Any
) -> Row:
    return Row(status, who, 'PATCH', path(image_id), json.dumps(list(steps)), kind, **more)


def add(name: str, value: Any) -> dict[str, Any]:
    return {'op': 'add', 'path': name, 'value': value}


def replace(name: str, value: Any) -> dict[str, Any]:
    return {'op': 'replace', 'path': name, 'value': value}


def remove(name: str) -> dict[str, Any]:
    return {'op': 'remove', 'path': name}


def everybody(
    method: str, where: str, statuses: tuple[int, int, int, int, int], *rest: Any
) -> Rows:
    """The same request by admin, member, reader, another project and nobody."""
    people = (ADMIN, MEMBER, READER, OTHER, NOBODY)
    return [
        Row(status, who, method, where, *rest) for status, who in zip(statuses, people, strict=True)
    ]


def create() -> Rows:
    def new(number: int, **fields: Any) -> dict[str, Any]:
        return {'id': ident('create', number), **fields}

    wrong_types = (
        {'name': 1}, {'name': 'x' * 256}, {'visibility': 'secret'}, {'protected': 'yes'},
        {'os_hidden': 'yes'}, {'min_ram': -1}, {'min_ram': '5'}, {'min_disk': 1.5},
        {'disk_format': 'floppy'}, {'container_format': 'tin'}, {'tags': 'a'}, {'tags': [1]},
        {'tags': ['x' * 256]}, {'owner': 5}, {'color': 5}, {'color': None}, {'color': ['a']},
        {'color': {'a': 'b'}}, {'id': 'abc'}, {'id': 5}, {'x' * 256: 'a'},
    )  # fmt: skip
    read_only = {
        'status': 'active', 'size': 5, 'virtual_size': 5, 'checksum': 'x', 'created_at': 'x',
        'updated_at': 'x', 'self': 'x', 'file': 'x', 'schema': 'x', 'direct_url': 'x',
        'stores': 'x', 'location': 'x', 'deleted': 'x', 'deleted_at': 'x',
    }  # fmt: skip
    rows: Rows = [
        post(201, new(1)),
        post(409, new(1)),
        post(409, new(1), OTHER),
        post(201, new(2, name='full', visibility='private', protected=True, os_hidden=True,
                      min_ram=1, min_disk=2, tags=['b', 'a', 'b'], color='red', **BARE)),
        post(201, new(3, name=None, disk_format=None, container_format=None)),
        post(201, new(4, visibility='community')),
        post(403, new(5, visibility='public')),
        post(201, new(5, visibility='public'), ADMIN),
        post(201, new(6, owner='beta'), ADMIN),
        post(403, new(7, owner='beta')),
        post(201, new(7, owner='alpha')),
        post(403, new(8), READER),
        post(401, new(8), NOBODY),
        post(201, new(8, name='', tags=[], **{'hw:x/y~z': 'é', 'empty': ''})),
        post(201, new(9, name='x' * 255, **{'p' * 255: 'v' * 2000})),
        post(403, new(10, os_glance_x='a')),
        post(500, [1], ours=('body-not-object', 400)),
        post(400, '"text"', kind=JSON),
        post(400, '{"name": ', kind=JSON),
        post(400, '', kind=JSON),
        post(400, b'\xff\xfe', kind=JSON),
        post(201, json.dumps(new(11)), kind='text/plain'),
        post(201, new(13, min_ram=2**31 - 1)),
        post(400, new(14, min_ram=2**31)),
        post(413, new(15, tags=[f't{n}' for n in range(129)])),
        post(413, new(15, **{f'p{n}': 'v' for n in range(129)})),
        post(201, new(15, tags=[f't{n}' for n in range(128)],
                      **{f'p{n}': 'v' for n in range(128)})),
        post(403, new(16, locations=[{'url': 'file:///etc/passwd', 'metadata': {}}])),
        post(500, {'id': ident('create', 17) + '\n'}, ours=('line-feed-in-id', 400)),
        post(201, new(18, min_ram=1.0), ours=('whole-fraction', 400)),
        post(201, new(19, min_disk=1e3), ours=('whole-fraction', 400)),
        # What is wrong with them is not looked for.
        post(400, {'tags': [5] * 5001}, ours=('very-many', 413)),
        post(400, {f'p{n}': 5 for n in range(5001)}, ours=('very-many', 413)),
    ]  # fmt: skip
    rows += [post(400, fields) for fields in wrong_types]
    rows += [post(403, {name: value}) for name, value in read_only.items()]
    rows += [
        post(201, new(100 + n, disk_format=kind))
        for n, kind in enumerate(
            ('ami', 'ari', 'aki', 'vhd', 'vhdx', 'vmdk', 'raw', 'qcow2', 'vdi', 'iso', 'ploop')
        )
    ]
    rows += [
        post(201, new(200 + n, container_format=kind))
        for n, kind in enumerate(
            ('ami', 'ari', 'aki', 'bare', 'ovf', 'ova', 'docker', 'compressed')
        )
    ]
    return rows


def show() -> Rows:
    ids = {
        name: ident('show', n)
        for n, name in enumerate(('private', 'shared', 'community', 'public'))
    }
    rows: Rows = [
        post(201, {'id': value, 'visibility': name, 'owner': 'alpha', 'p': 'v', **BARE}, ADMIN)
        for name, value in ids.items()
    ]
    for name, statuses in {
        'private': (200, 200, 200, 404, 401),
        'shared': (200, 200, 200, 404, 401),
        'community': (200, 200, 200, 200, 401),
        'public': (200, 200, 200, 200, 401),
    }.items():
        rows += everybody('GET', path(ids[name]), statuses)
    rows += [
        Row(204, MEMBER, 'DELETE', path(ids['private'])),
        get(404, path(ids['private'])),
        get(404, path(ids['private']), ADMIN),
        Row(404, MEMBER, 'DELETE', path(ids['private'])),
        post(409, {'id': ids['private']}),
        get(404, path('nothing')),
        get(404, path('nothing'), headers={'Accept': 'application/json'}),
        get(404, path('nothing'), headers={'Accept': '*/*'}),
        get(404, path('nothing'), headers={'Accept': 'text/html'}),
        get(404, path('nothing'), headers={'Accept': 'text/plain'}),
        get(404, path('x' * 300)),
        get(404, path('%20')),
        get(404, path('%00'), ours=('nul-in-path', 400)),
        get(0, path('%ff'), ours=('path-not-utf-8', 400)),
        get(0, path('%ff', '/file'), ours=('path-not-utf-8', 400)),
        get(404, path(ids['public'].upper())),
        get(404, path(ids['public'], '/nothing')),
        get(404, '/v2/nothing'),
        get(401, '/v2/nothing', NOBODY),
        get(404, IMAGES + '/'),
        Row(405, MEMBER, 'PUT', path(ids['public']), {}),
        Row(405, MEMBER, 'POST', path(ids['public']), {}),
        Row(405, MEMBER, 'DELETE', IMAGES),
        Row(405, MEMBER, 'PUT', IMAGES, {}),
        Row(405, MEMBER, 'PATCH', IMAGES, []),
        Row(
            405,
            MEMBER,
            'POST',
            path(ids['public'], '/file'),
            ours=('head-of-file', 405),
            apart='Allow',
        ),
        Row(405, MEMBER, 'GET', path(ids['public'], '/tags/a')),
        Row(405, MEMBER, 'GET', path(ids['public'], '/actions/deactivate')),
        Row(405, MEMBER, 'DELETE', path(ids['public'], '/members')),
        Row(405, MEMBER, 'POST', path(ids['public'], '/members/x'), {}),
        Row(405, MEMBER, 'POST', '/v2/info/stores', {}),
        Row(405, MEMBER, 'POST', '/v2/schemas/image', {}),
    ]
    return rows


def delete() -> Rows:
    a, b, c = (ident('delete', n) for n in range(3))
    return [
        post(201, {'id': a, **BARE}),
        post(201, {'id': b, 'protected': True}),
        post(201, {'id': c, 'visibility': 'community'}),
        Row(403, READER, 'DELETE', path(a)),
        Row(404, OTHER, 'DELETE', path(a)),
        Row(401, NOBODY, 'DELETE', path(a)),
        Row(403, MEMBER, 'DELETE', path(b)),
        Row(403, ADMIN, 'DELETE', path(b)),
        Row(403, OTHER, 'DELETE', path(c)),
        put(204, a, b'data'),
        Row(204, MEMBER, 'DELETE', path(a)),
        get(404, path(a, '/file')),
        put(404, a, b'data'),
        patch(404, a, replace('/name', 'x')),
        Row(404, MEMBER, 'PUT', path(a, '/tags/t')),
        get(404, path(a, '/members')),
        Row(404, MEMBER, 'POST', path(a, '/members'), {'member': 'beta'}),
        Row(404, MEMBER, 'POST', path(a, '/actions/deactivate')),
        patch(200, b, replace('/protected', False)),
        Row(204, ADMIN, 'DELETE', path(b)),
        Row(204, ADMIN, 'DELETE', path(c)),
        Row(404, MEMBER, 'DELETE', path('nothing')),
    ]


def changes() -> Rows:
    a, b, c = (ident('changes', n) for n in range(3))
    read_only = (
        'id', 'status', 'size', 'checksum', 'created_at', 'updated_at', 'virtual_size',
        'os_hash_algo', 'os_hash_value', 'self', 'file', 'schema', 'direct_url', 'location',
        'deleted', 'deleted_at',
    )  # fmt: skip
    base = ('name', 'visibility', 'protected', 'tags', 'owner', 'min_ram', 'min_disk', 'os_hidden')
    rows: Rows = [
        post(201, {'id': a, 'color': 'red', 'x/y': '1', 'x~y': '2'}),
        post(201, {'id': b, 'visibility': 'community'}),
        patch(200, a),
        patch(200, a, replace('/name', 'new')),
        patch(200, a, replace('/name', None)),
        patch(200, a, add('/name', 'added')),
        patch(200, a, replace('/min_ram', 5), replace('/min_disk', 6)),
        patch(400, a, replace('/min_ram', -1)),
        patch(400, a, replace('/min_ram', 2**31)),
        patch(400, a, replace('/min_ram', 'x')),
        patch(400, a, replace('/name', 5)),
        patch(400, a, replace('/name', 'x' * 256)),
        patch(400, a, replace('/protected', 'yes')),
        patch(200, a, replace('/os_hidden', True)),
        patch(200, a, replace('/os_hidden', False)),
        patch(200, a, replace('/tags', ['a', 'b', 'a'])),
        patch(200, a, add('/tags', ['c'])),
        patch(400, a, replace('/tags', 'a')),
        patch(400, a, add('/tags/-', 'a')),
        patch(413, a, replace('/tags', [f't{n}' for n in range(129)])),
        patch(200, a, replace('/disk_format', 'raw'), replace('/container_format', 'bare')),
        patch(400, a, replace('/disk_format', 'floppy')),
        patch(200, a, replace('/visibility', 'private')),
        patch(200, a, replace('/visibility', 'community')),
        patch(403, a, replace('/visibility', 'public')),
        patch(200, a, replace('/visibility', 'public'), who=ADMIN),
        patch(400, a, replace('/visibility', 'secret')),
        patch(200, a, replace('/visibility', 'shared')),
        patch(403, a, replace('/owner', 'beta')),
        patch(200, a, replace('/owner', 'gamma'), who=ADMIN),
        patch(404, a, replace('/name', 'x')),
        patch(200, a, replace('/owner', 'alpha'), who=ADMIN),
        # properties
        patch(200, a, add('/shape', 'round')),
        patch(200, a, add('/shape', 'square')),
        patch(200, a, replace('/shape', 'flat')),
        patch(409, a, replace('/nothing', 'x')),
        patch(409, a, remove('/nothing')),
        patch(200, a, remove('/shape')),
        patch(409, a, remove('/shape')),
        patch(200, a, add('/shape', 'again')),
        patch(200, a, replace('/x~1y', '3'), replace('/x~0y', '4')),
        patch(400, a, add('/x~2y', '3')),
        patch(400, a, add('/x/y', '3')),
        patch(400, a, add('nothing', '3')),
        patch(400, a, add('', '3')),
        patch(400, a, add('/number', 5)),
        patch(400, a, add('/none', None)),
        patch(403, a, add('/os_glance_x', 'x')),
        patch(400, a, {'op': 'test', 'path': '/name', 'value': 'x'}),
        patch(400, a, {'op': 'move', 'from': '/name', 'path': '/x'}),
        patch(400, a, {'op': 'copy', 'from': '/name', 'path': '/x'}),
        patch(400, a, {'op': 'add', 'path': '/x'}),
        patch(400, a, {'op': 'add', 'value': 'x'}),
        patch(400, a, {'path': '/x', 'value': 'x'}),
        patch(500, a, {'op': 'add', 'path': 5, 'value': 'x'}, ours=('path-not-text', 400)),
        patch(400, a, 'text'),
        patch(200, a, add('/one', '1'), replace('/one', '2'), remove('/one')),
        patch(409, a, add('/one', '1'), remove('/one'), remove('/one')),
        patch(200, a, remove('/color'), add('/color', 'blue')),
        patch(413, a, *[add(f'/p{n}', 'v') for n in range(129)]),
        patch(409, a, remove('/nothing'), *[add('/p', 'v')] * 1000, ours=('many-steps', 400)),
        patch(400, a, replace('/tags', [5] * 5001), ours=('very-many', 413)),
        patch(200, a, replace('/min_ram', 5.0), ours=('whole-fraction', 400)),
        patch(403, a, add('/locations/-', {'url': 'http://x/', 'metadata': {}})),
        patch(403, a, replace('/locations', [])),
        # whole bodies and their kinds
        Row(400, MEMBER, 'PATCH', path(a), '{}', V21),
        Row(400, MEMBER, 'PATCH', path(a), '[', V21),
        Row(400, MEMBER, 'PATCH', path(a), '', V21),
        patch(415, a, replace('/name', 'x'), kind=JSON),
        patch(415, a, replace('/name', 'x'), kind=OCTETS),
        patch(415, a, replace('/name', 'x'), kind=None),
        patch(200, a, replace('/name', 'charset'), kind=V21 + '; charset=utf-8'),
        # the older kind
        patch(200, a, {'add': '/old', 'value': '1'}, kind=V20),
        patch(409, a, {'add': '/old', 'value': '2'}, kind=V20),
        patch(200, a, {'replace': '/old', 'value': '3'}, kind=V20),
        patch(409, a, {'replace': '/nothing', 'value': '3'}, kind=V20),
        patch(200, a, {'remove': '/old'}, kind=V20),
        patch(409, a, {'remove': '/old'}, kind=V20),
        patch(200, a, {'replace': '/name', 'value': 'old kind'}, kind=V20),
        patch(400, a, {'add': '/x', 'replace': '/y', 'value': '3'}, kind=V20),
        patch(400, a, {'value': '3'}, kind=V20),
        patch(400, a, add('/x', '3'), kind=V20),
        # who may
        patch(403, a, replace('/name', 'x'), who=READER),
        patch(404, a, replace('/name', 'x'), who=OTHER),
        patch(401, a, replace('/name', 'x'), who=NOBODY),
        patch(403, b, replace('/name', 'x'), who=OTHER),
        patch(200, b, replace('/name', 'x'), who=ADMIN),
        patch(404, c, replace('/name', 'x')),
        get(200, path(a)),
        # with data, the formats are fixed
        put(204, a, b'data'),
        patch(403, a, replace('/disk_format', 'qcow2')),
        patch(403, a, replace('/container_format', 'ovf')),
        patch(200, a, replace('/name', 'with data')),
        get(200, path(a)),
    ]
    rows += [patch(403, a, replace(f'/{name}', 'x')) for name in read_only]
    rows.append(patch(409, a, replace('/stores', 'x'), ours=('stores-read-only', 403)))
    rows += [patch(403, a, remove(f'/{name}')) for name in base]
    return rows


def tags() -> Rows:
    a = ident('tags', 0)
    c = ident('tags', 1)
    return [
        post(201, {'id': a, 'tags': ['one']}),
        post(201, {'id': c, 'visibility': 'community'}),
        Row(204, MEMBER, 'PUT', path(a, '/tags/two')),
        Row(204, MEMBER, 'PUT', path(a, '/tags/two')),
        Row(204, MEMBER, 'PUT', path(a, '/tags/a%20b')),
        Row(204, MEMBER, 'PUT', path(a, '/tags/' + 'x' * 255)),
        Row(400, MEMBER, 'PUT', path(a, '/tags/' + 'x' * 256)),
        get(200, path(a)),
        Row(204, MEMBER, 'DELETE', path(a, '/tags/one')),
        Row(404, MEMBER, 'DELETE', path(a, '/tags/one')),
        Row(403, READER, 'PUT', path(a, '/tags/x')),
        Row(404, OTHER, 'PUT', path(a, '/tags/x')),
        Row(401, NOBODY, 'PUT', path(a, '/tags/x')),
        Row(403, OTHER, 'PUT', path(c, '/tags/x')),
        Row(403, OTHER, 'DELETE', path(c, '/tags/x')),
        Row(204, ADMIN, 'PUT', path(a, '/tags/x')),
        Row(404, MEMBER, 'PUT', path('nothing', '/tags/x')),
        Row(404, MEMBER, 'PUT', path(a, '/tags/')),
        get(200, path(a)),
        Row(204, MEMBER, 'PUT', path(a, '/tags/%C3%A9')),
        get(200, path(a), ours=('tag-beyond-ascii', 200), apart='body'),
        Row(204, MEMBER, 'DELETE', path(a, '/tags/%C3%A9')),
        get(200, path(a)),
        patch(200, a, replace('/tags', [f't{n}' for n in range(128)])),
        Row(413, MEMBER, 'PUT', path(a, '/tags/more')),
        Row(204, MEMBER, 'PUT', path(a, '/tags/t5')),
    ]


def members() -> Rows:
    shared, private, community = (ident('members', n) for n in range(3))
    beta = Who('beta')
    beta_reader = Who('beta', 'reader')
    there = path(shared, '/members')
    return [
        post(201, {'id': shared}),
        post(201, {'id': private, 'visibility': 'private'}),
        post(201, {'id': community, 'visibility': 'community'}),
        get(200, there),
        Row(200, MEMBER, 'POST', there, {'member': 'beta'}),
        Row(409, MEMBER, 'POST', there, {'member': 'beta'}),
        Row(403, MEMBER, 'POST', path(private, '/members'), {'member': 'beta'}),
        Row(403, MEMBER, 'POST', path(community, '/members'), {'member': 'beta'}),
        Row(400, MEMBER, 'POST', there, {}),
        Row(400, MEMBER, 'POST', there, {'member': ''}),
        Row(400, MEMBER, 'POST', there, []),
        Row(400, MEMBER, 'POST', there, '{', JSON),
        Row(403, READER, 'POST', there, {'member': 'delta'}),
        Row(403, beta, 'POST', there, {'member': 'delta'}),
        Row(404, Who('gamma'), 'POST', there, {'member': 'delta'}),
        Row(401, NOBODY, 'POST', there, {'member': 'delta'}),
        Row(200, ADMIN, 'POST', there, {'member': 'delta'}),
        *everybody('GET', there, (200, 200, 200, 200, 401)),
        get(404, there, Who('gamma')),
        get(200, there + '/beta'),
        get(200, there + '/beta', beta),
        get(404, there + '/delta', beta),
        get(404, there + '/beta', Who('gamma')),
        get(404, there + '/nobody'),
        get(404, path(private, '/members'), beta),
        get(403, path(private, '/members')),
        get(200, path(shared), beta),
        get(200, path(shared), beta_reader),
        Row(403, MEMBER, 'PUT', there + '/beta', {'status': 'accepted'}),
        Row(403, beta_reader, 'PUT', there + '/beta', {'status': 'accepted'}),
        Row(200, beta, 'PUT', there + '/beta', {'status': 'accepted'}),
        Row(200, beta, 'PUT', there + '/beta', {'status': 'rejected'}),
        Row(200, beta, 'PUT', there + '/beta', {'status': 'pending'}),
        Row(400, beta, 'PUT', there + '/beta', {'status': 'maybe'}),
        Row(403, MEMBER, 'PUT', there + '/beta', {'status': 'maybe'}, ours=('status-first', 400)),
        Row(404, beta, 'PUT', there + '/nobody', {'status': 'maybe'}, ours=('status-first', 400)),
        Row(
            404,
            Who('gamma'),
            'PUT',
            there + '/beta',
            {'status': 'maybe'},
            ours=('status-first', 400),
        ),
        Row(400, beta, 'PUT', there + '/beta', {}),
        Row(400, beta, 'PUT', there + '/beta', []),
        Row(404, beta, 'PUT', there + '/delta', {'status': 'accepted'}),
        Row(200, ADMIN, 'PUT', there + '/delta', {'status': 'accepted'}),
        Row(401, NOBODY, 'PUT', there + '/beta', {'status': 'accepted'}),
        Row(403, beta, 'DELETE', there + '/beta'),
        Row(403, READER, 'DELETE', there + '/beta'),
        Row(404, MEMBER, 'DELETE', there + '/nobody'),
        Row(404, Who('gamma'), 'DELETE', there + '/beta'),
        Row(401, NOBODY, 'DELETE', there + '/beta'),
        Row(403, beta, 'DELETE', path(shared)),
        patch(403, shared, replace('/name', 'x'), who=beta),
        Row(204, MEMBER, 'DELETE', there + '/beta'),
        get(404, path(shared), beta),
        Row(200, MEMBER, 'POST', there, {'member': 'beta'}),
        get(200, there),
        patch(200, shared, replace('/visibility', 'private')),
        get(404, path(shared), beta),
        Row(403, MEMBER, 'DELETE', there + '/beta'),
        get(403, there),
        patch(200, shared, replace('/visibility', 'shared')),
        Row(204, MEMBER, 'DELETE', there + '/delta'),
        Row(200, MEMBER, 'POST', there, {'member': 5}, ours=('member-not-text', 400)),
        Row(200, MEMBER, 'POST', there, {'member': 'x' * 256}, ours=('long-member', 400)),
    ]


def actions() -> Rows:
    a, b = (ident('actions', n) for n in range(2))
    off, on = path(a, '/actions/deactivate'), path(a, '/actions/reactivate')
    return [
        post(201, {'id': a, **BARE}),
        post(201, {'id': b, 'visibility': 'community'}),
        Row(403, MEMBER, 'POST', off),
        Row(403, MEMBER, 'POST', on),
        put(204, a, b'data'),
        Row(403, READER, 'POST', off),
        Row(404, OTHER, 'POST', off),
        Row(401, NOBODY, 'POST', off),
        Row(204, MEMBER, 'POST', off),
        Row(204, MEMBER, 'POST', off),
        get(200, path(a), ADMIN),
        get(403, path(a, '/file')),
        get(200, path(a, '/file'), ADMIN),
        put(409, a, b'data'),
        Row(403, READER, 'POST', on),
        Row(404, OTHER, 'POST', on),
        Row(204, MEMBER, 'POST', on),
        Row(204, MEMBER, 'POST', on),
        get(200, path(a, '/file')),
        Row(403, OTHER, 'POST', path(b, '/actions/deactivate')),
        Row(404, MEMBER, 'POST', path('nothing', '/actions/deactivate')),
        Row(404, MEMBER, 'POST', path(a, '/actions/explode')),
        Row(400, MEMBER, 'POST', off, {'a': 'b'}),
        Row(204, ADMIN, 'POST', off),
        Row(204, MEMBER, 'DELETE', path(a)),
    ]


def data() -> Rows:
    ids = [ident('data', n) for n in range(30)]
    a, b, c, d, e, f, g, h, i, j, k, m, n = ids[:13]
    letters = bytes(range(97, 123))
    file = path(a, '/file')

    no_md5: dict[str, Any] = {'ours': ('md5-of-a-part', 206), 'apart': 'Content-MD5'}
    size: dict[str, Any] = {'ours': ('size-in-416', 416), 'apart': 'Content-Range'}

    def ranged(status: int, value: str, **more: Any) -> Row:
        return get(status, file, headers={'Range': value}, **more)

    def old_ranged(status: int, value: str, **more: Any) -> Row:
        return get(status, file, headers={'Content-Range': value}, **more)

    return [
        *[post(201, {'id': one, **BARE}) for one in (a, b, c, d, e, i, j, k, m)],
        post(201, {'id': f}),
        post(201, {'id': g, 'disk_format': 'raw'}),
        post(201, {'id': h, 'visibility': 'community', **BARE}),
        post(201, {'id': n, 'disk_format': 'qcow2', 'container_format': 'bare'}),
        get(204, file),
        put(415, a, letters, kind=JSON),
        put(415, a, letters, kind=None),
        put(403, a, letters, READER),
        put(404, a, letters, OTHER),
        put(401, a, letters, NOBODY),
        put(403, h, letters, OTHER),
        put(404, 'nothing', letters),
        put(204, a, letters),
        put(409, a, letters),
        get(200, path(a)),
        *everybody('GET', file, (200, 200, 403, 404, 401)),
        put(204, h, letters),
        get(200, path(h, '/file'), OTHER),
        put(204, b, (b'abc', b'def', b'x' * 100_000)),
        get(200, path(b)),
        get(200, path(b, '/file')),
        put(204, c, b''),
        get(200, path(c)),
        get(200, path(c, '/file')),
        put(204, d, letters, headers={'x-image-meta-store': 'cheap'}),
        get(200, path(d)),
        put(400, e, letters, headers={'x-image-meta-store': 'nothing'}),
        get(200, path(e)),
        put(400, e, letters, headers={'x-openstack-image-size': '25'}),
        put(400, e, letters, headers={'x-openstack-image-size': 'x'}),
        put(400, e, letters, headers={'x-openstack-image-size': '-1'}),
        get(200, path(e)),
        put(204, e, letters, headers={'x-openstack-image-size': '26'}),
        put(204, i, letters, kind=OCTETS + '; charset=x'),
        get(200, path(f)),
        put(204, j, (b'abc', b'def'), headers={'x-openstack-image-size': '6'}),
        put(400, k, (b'abc', b'def'), headers={'x-openstack-image-size': '7'}),
        ranged(206, 'bytes=0-0', **no_md5),
        ranged(206, 'bytes=5-9', **no_md5),
        ranged(206, 'bytes=5-', **no_md5),
        ranged(206, 'bytes=-5', **no_md5),
        ranged(206, 'bytes=0-25', **no_md5),
        ranged(206, 'bytes=0-100', **no_md5),
        ranged(206, 'bytes=-100', **no_md5),
        ranged(416, 'bytes=26-', **size),
        ranged(416, 'bytes=100-200', **size),
        ranged(400, 'bytes=0-1,3-4'),
        ranged(206, 'bytes=-0', ours=('last-zero-bytes', 416)),
        old_ranged(206, 'bytes 5-9/*', **no_md5),
        old_ranged(206, 'bytes 5-9/26', **no_md5),
        old_ranged(416, 'bytes 26-30/*', **size),
        get(200, file + '?prefer=cheap'),
        get(200, file + '?prefer=fast,cheap'),
        get(400, file + '?prefer=nothing'),
        get(404, path('nothing', '/file')),
        get(200, path(a), headers={'Range': 'bytes=0-1'}),
        # stores
        get(200, '/v2/info/stores'),
        get(200, '/v2/info/stores', READER),
        get(401, '/v2/info/stores', NOBODY),
        *everybody('GET', '/v2/info/stores/detail', (200, 403, 403, 403, 401)),
        Row(403, MEMBER, 'DELETE', f'/v2/stores/fast/{a}'),
        Row(403, ADMIN, 'DELETE', f'/v2/stores/fast/{a}'),
        Row(409, ADMIN, 'DELETE', f'/v2/stores/nothing/{a}'),
        Row(404, ADMIN, 'DELETE', '/v2/stores/fast/nothing'),
        Row(409, ADMIN, 'DELETE', f'/v2/stores/fast/{m}'),
        Row(404, OTHER, 'DELETE', f'/v2/stores/fast/{a}'),
        Row(401, NOBODY, 'DELETE', f'/v2/stores/fast/{a}'),
        # content that is not what it says
        put(415, n, letters),
        Row(204, MEMBER, 'DELETE', path(n)),
    ]


def documents() -> Rows:
    schemas = [f'/v2/schemas/{name}' for name in ('image', 'images', 'member', 'members')]
    return [
        *[get(200, one) for one in schemas],
        get(200, schemas[0], READER),
        get(401, schemas[0], NOBODY),
        get(404, '/v2/schemas/nothing'),
        get(404, '/v2/schemas'),
        get(300, '/', NOBODY),
        get(200, '/versions', NOBODY),
        get(200, '/versions/', NOBODY),
        get(200, '/versions'),
        get(300, '/v3'),
        get(300, '/v1'),
        get(300, '/nothing'),
        get(300, '/images'),
        get(300, '/v2.99/images'),
        get(200, '/v2.0/images?limit=0'),
        get(200, '/v2.17/images?limit=0'),
        get(200, '/images?limit=0', headers={'Accept': 'application/vnd.openstack.images-v2.5'}),
        get(300, '/images?limit=0', headers={'Accept': 'application/vnd.openstack.images-v9'}),
        get(302, '/v2'),
        get(404, '/v2/'),
        Row(300, NOBODY, 'POST', '/', {}),
        Row(200, NOBODY, 'POST', '/versions', {}),
        get(200, '/healthcheck', NOBODY),
    ]


def lists() -> Rows:
    """One project's images with times in 2020, listed in every way."""
    lister = Who('listing')
    reader = Who('listing', 'reader')
    guest = Who('guest')
    ids = [ident('lists', n) for n in range(12)]
    fields: list[dict[str, Any]] = [
        {'name': 'apple', 'tags': ['fruit', 'red'], 'color': 'red', **BARE},
        {'name': 'banana', 'tags': ['fruit'], 'color': 'yellow', **BARE},
        {'name': 'cherry, black', 'tags': ['fruit', 'black'], 'min_ram': 512, **BARE},
        {'name': 'Apple', 'visibility': 'private', 'color': 'red', 'shape': 'round', **BARE},
        {'name': 'date', 'visibility': 'community', 'disk_format': 'qcow2',
         'container_format': 'ovf'},
        {'name': 'elder', 'protected': True, 'min_disk': 7},
        {'name': 'fig', 'os_hidden': True, 'visibility': 'public'},
        {'name': 'grape', 'visibility': 'public', 'color': ''},
        {'name': None, 'disk_format': 'iso'},
        {'name': 'äpfel', 'shape': '50%'},
        {'name': 'under_score', 'shape': '50x'},
        {'name': 'apple', 'color': 'in:red'},
    ]  # fmt: skip
    rows: Rows = [
        post(201, {'id': one, 'owner': 'listing', **values}, ADMIN)
        for one, values in zip(ids, fields, strict=True)
    ]
    rows += [
        put(204, ids[0], b'a', lister),
        put(204, ids[1], b'bb', lister),
        put(204, ids[2], b'ccc', lister, headers={'x-image-meta-store': 'cheap'}),
        put(204, ids[3], b'', lister),
        *[Row(200, lister, 'POST', path(ids[n], '/members'), {'member': 'guest'})
          for n in (0, 1, 2, 5)],
        Row(200, guest, 'PUT', path(ids[0], '/members/guest'), {'status': 'accepted'}),
        Row(200, guest, 'PUT', path(ids[1], '/members/guest'), {'status': 'rejected'}),
        post(201, {'id': ident('lists', 100), 'name': 'gone'}, lister),
        Row(204, lister, 'DELETE', path(ident('lists', 100))),
    ]  # fmt: skip
    # Some were made at the same moment: the id decides then.
    for n, one in enumerate(ids):
        times = (f'2020-01-0{1 + n // 2} 10:00:00.00000{n % 2 * (n > 5)}',
                 f'2020-02-{20 - n:02d} 11:30:00.000000')  # fmt: skip
        rows.append(
            Sql('UPDATE images SET created_at = ?, updated_at = ? WHERE id = ?', (*times, one))
        )
    queries = (
        '', 'limit=3', 'limit=0', 'limit=1000', 'limit=5000', f'limit=3&marker={ids[5]}',
        f'marker={ids[11]}&limit=2', f'marker={ids[4]}&sort=name:asc&limit=4',
        f'marker={ids[8]}&sort=name:asc', f'marker={ids[8]}&sort=name:desc',
        f'marker={ids[0]}&sort=size:desc',
        'sort=name', 'sort=name:asc', 'sort=name:desc', 'sort=name:asc,created_at:desc',
        'sort=size:asc', 'sort=size:desc,name:asc', 'sort=status:asc,id:desc', 'sort=id:asc',
        'sort=disk_format:asc', 'sort=container_format:desc', 'sort=updated_at:asc',
        'sort=created_at:asc', 'sort_key=name', 'sort_key=name&sort_dir=asc', 'sort_dir=asc',

         'sort_key=size&sort_dir=asc&limit=2',
        'name=apple', 'name=APPLE', 'name=nothing', 'name=', 'name=in:apple,banana',
        'name=in:%22cherry,%20black%22,fig', 'name=in:', 'name=cherry,%20black',
        'name=eq:apple', 'name=%C3%A4pfel', 'name=under%25',
        f'id={ids[0]}', f'id=in:{ids[0]},{ids[4]}', f'id={ids[0].upper()}', 'id=x',
        'status=active', 'status=in:active,deactivated', 'status=queued', 'status=deactivated',
        'status=nonsense', 'disk_format=raw', 'disk_format=in:raw,iso', 'container_format=bare',
        'container_format=in:bare,ovf', 'size_min=2', 'size_max=2', 'size_min=1&size_max=2',
        'size_min=0', 'min_ram_min=1', 'min_disk_max=6', 'min_ram=512', 'min_disk=7', 'size=1',
        'visibility=public', 'visibility=private', 'visibility=shared', 'visibility=community',
        'visibility=all', 'owner=listing', 'owner=beta', 'owner=',
        'checksum=0cc175b9c0f1b6a831c399e269772661', 'checksum=x', 'os_hash_algo=sha512',
        'os_hash_value=x', 'protected=true', 'protected=false',
        'os_hidden=true', 'os_hidden=false', 'os_hidden=True', 'tag=fruit',
        'tag=nothing', 'tag=', 'tag=fruit&name=banana', 'color=red', 'color=', 'shape=50%25',
        'shape=round&color=red', 'color=in:red', 'nothing=x', 'color=RED',
        'member_status=all', 'member_status=pending', 'member_status=rejected',
        'member_status=accepted', 'visibility=shared&member_status=all',
        'created_at=2020-01-02T10:00:00Z', 'created_at=eq:2020-01-02T10:00:00Z',
        'created_at=gt:2020-01-02T10:00:00Z', 'created_at=gte:2020-01-02T10:00:00Z',
        'created_at=lt:2020-01-02T10:00:00Z', 'created_at=lte:2020-01-02T10:00:00Z',
        'created_at=neq:2020-01-02T10:00:00Z', 'created_at=gt:2020-01-02T12:00:00%2B02:00',
        'created_at=gt:2020-01-02', 'created_at=gt:2020-01-02T10:00',
        'updated_at=gte:2020-02-15T11:30:00Z', 'updated_at=lt:2020-02-15T11:30:00.5Z',
        'visibility=private&owner=listing', 'name=apple&status=active&tag=red&color=red',
        'limit=2&tag=fruit&sort=name:asc', 'limit=2&name=in:apple,banana',
        'self=x', 'file=x', 'schema=x', 'stores=fast', 'created_at=gt:2020-01-03T10:00:00Z&limit=2',
        'virtual_size_min=1', 'limit=2&color=r%C3%A9d%20%26x', 'owner=listing&visibility=all',
        'deleted=true', 'is_public=true', 'tags=fruit',
    )  # fmt: skip
    bad = (
        'limit=-1', 'limit=x', 'limit=', 'limit=1.5', 'marker=nothing', 'marker=',
        f'marker={ident("lists", 100)}', 'sort=nothing', 'sort=name:up', 'sort=',
        'sort=name&sort_key=size', 'sort=name&sort_dir=asc', 'sort_key=nothing', 'sort_key=',
        'sort_dir=up', 'sort_key=name&sort_dir=asc&sort_dir=desc', 'size_min=x',
        'size_min=', 'visibility=secret', 'member_status=maybe', 'member_status=',
        'created_at=yesterday', 'created_at=gt:x', 'created_at=foo:2020-01-01T00:00:00Z',
        'changes-since=2020-01-01T00:00:00Z', 'name=neq:apple', 'name=gt:apple',
        'name=in:%22open', 'os_hidden=maybe', 'sort=name:asc:x',
        'sort=color',
    )  # fmt: skip
    rows += [get(200, f'{IMAGES}?{query}' if query else IMAGES, lister) for query in queries]
    rows += [get(400, f'{IMAGES}?{query}', lister) for query in bad]
    for who in (reader, guest, OTHER):
        rows += [
            get(200, f'{IMAGES}?{query}', who)
            for query in ('limit=100', 'visibility=all', 'visibility=shared', 'visibility=private',
                          'visibility=community', 'visibility=public', 'member_status=all',
                          'visibility=shared&member_status=pending', 'owner=listing',
                          'visibility=shared&member_status=rejected', 'member_status=pending',
                          'visibility=shared&member_status=all', 'os_hidden=true', 'tag=fruit',
                          'visibility=community&owner=listing', 'sort=name:asc&limit=2')
        ]  # fmt: skip
    rows += [
        get(200, f'{IMAGES}?owner=listing&{query}', ADMIN)
        for query in ('', 'visibility=private', 'visibility=shared', 'visibility=all',
                      'os_hidden=true', 'member_status=all', 'name=apple', 'limit=2')
    ]  # fmt: skip
    repeated = (
        'sort_key=name&sort_key=size&sort_dir=asc&sort_dir=desc',
        'sort_key=name&sort_key=size&sort_dir=desc', 'tag=fruit&tag=red', 'name=apple&name=banana',
    )  # fmt: skip
    rows += [
        get(200, f'{IMAGES}?{query}', lister, ours=('repeated-in-links', 200), apart='body')
        for query in repeated
    ]
    rows += [
        get(200, f'{IMAGES}?size_max=-1', lister),
        get(200, f'{IMAGES}?sort=name,name', lister),
        get(
            200,
            f'{IMAGES}?marker={ids[5]}&sort=size:asc',
            lister,
            ours=('marker-with-null', 200),
            apart='body',
        ),
        get(400, f'{IMAGES}?protected=True', lister),
        Row(204, lister, 'POST', path(ids[1], '/actions/deactivate')),
        get(200, f'{IMAGES}?status=deactivated', ADMIN),
        get(200, f'{IMAGES}?status=in:active,deactivated&sort=name:asc', ADMIN),
        get(400, f'{IMAGES}?x=%ff', lister),
        get(400, f'{IMAGES}?protected=', lister),
        get(500, f'{IMAGES}?properties=x', lister, ours=('filter-named-properties', 200)),
        get(200, f'{IMAGES}?visibility=', lister, ours=('empty-visibility', 400)),
        get(
            500,
            IMAGES,
            lister,
            headers={'X-OpenStack-Request-ID': 'x' * 65},
            ours=('long-request-id', 200),
        ),
    ]
    rows += [get(401, IMAGES, NOBODY), get(200, IMAGES, ADMIN), get(403, IMAGES, Who('x', ''))]
    return rows


def edges() -> Rows:
    """Where glance-lite once answered otherwise."""
    capitals, plain, data, shared = (ident('edges', number) for number in range(4))
    capitals = capitals.upper()
    rows: Rows = [
        post(201, {'id': capitals, **BARE}),
        get(200, path(capitals)),
        put(204, capitals, b'data'),
        post(400, {'status': 'x'}),
        post(400, {'size': 'x'}),
        post(400, {'virtual_size': 'x'}),
        post(403, {'size': 5}),
        post(201, {'os_hash_algo': 'x'}, ours=('hash-at-creation', 403)),
        post(201, {'id': plain}),
        put(400, plain, b'data'),
        patch(200, plain, add('/disk_format', 'raw')),
        put(400, plain, b'data'),
        post(201, {'id': data, **BARE}),
        put(204, data, b'0123456789'),
    ]
    rows += [
        get(416, path(data, '/file'), headers={name: value})
        for name, value in (
            ('Range', 'bytes=9-5'), ('Range', 'lines=0-1'), ('Range', 'bytes=a-b'),
            ('Content-Range', 'bytes 9-5/*'),
        )
    ]  # fmt: skip
    rows += [
        Row(403, ADMIN, 'DELETE', f'/v2/stores/cheap/{data}'),
        Row(204, MEMBER, 'POST', path(data, '/actions/deactivate')),
        get(200, path(data)),
        get(200, path(data), ADMIN),
        get(200, f'{IMAGES}?status=deactivated&id={data}'),
        patch(200, data, add('/name', 'x')),
        post(201, {'id': shared}),
        Row(404, MEMBER, 'PUT', path(shared, '/members/nobody'), '{"status": "accepted"}', JSON),
        Row(404, MEMBER, 'DELETE', path(shared, '/members/nobody')),
        Row(404, ADMIN, 'PUT', path(shared, '/members/nobody'), '{"status": "accepted"}', JSON),
        # A route ends with the path or before a line feed at its end.
        get(200, path(shared + '%0A')),
        get(404, path(shared + '%0A', '/file')),
        get(404, path(shared + '%0A', '/members')),
        Row(404, MEMBER, 'PUT', path(shared + '%0A', '/tags/x')),
        Row(204, MEMBER, 'DELETE', path(shared + '%0A')),
        get(404, path(shared)),
    ]
    return rows


GROUPS: dict[str, Rows] = {
    group.__name__: group()
    for group in (
        lists,
        create,
        show,
        delete,
        changes,
        tags,
        members,
        actions,
        data,
        edges,
        documents,
    )
}
