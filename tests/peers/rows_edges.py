# SPDX-License-Identifier: Apache-2.0
"""More rows of `test_differential`: tasks, what is switched off, edges."""

from __future__ import annotations

from typing import Any

from tests.peers.comparison import OCTETS, Row, Sql, ident
from tests.peers.lite import ADMIN, MEMBER, NOBODY, OTHER, READER, V20, Who
from tests.peers.rows import BARE, JSON, Rows, everybody, get, path, post

TASKS = '/v2/tasks'
CACHE = '/v2/cache'
HTTP = {'import_from': 'http://8.8.8.8:80/a', 'import_from_format': 'raw', 'image_properties': {}}


def task(number: int, image_id: str | None, **more: Any) -> Rows:
    """A task in both databases, as an import would have left it."""
    task_id = ident('task', number)
    values = {
        'id': task_id, 'type': 'api_image_import', 'status': 'processing', 'owner': 'tasker',
        'expires_at': None, 'created_at': f'2020-01-{number:02d} 10:00:00.123456',
        'updated_at': '2020-02-02 10:00:00.500000', 'deleted_at': None, 'deleted': 0,
        'image_id': image_id, 'request_id': 'req-1', 'user_id': 'somebody',
    }  # fmt: skip
    given = {'input': '{"a": {"b": [1, "c"]}}', 'result': None, 'message': ''}
    given.update({name: more.pop(name) for name in list(more) if name in given})
    values.update(more)
    return [
        Sql(
            f'INSERT INTO tasks ({", ".join(values)}) VALUES ({", ".join("?" * len(values))})',
            tuple(values.values()),
        ),
        Sql(
            'INSERT INTO task_info (task_id, input, result, message) VALUES (?, ?, ?, ?)',
            (task_id, *given.values()),
        ),
    ]


def tasks() -> Rows:
    """Tasks that are there: listed, shown, hidden."""
    image_id = ident('tasks', 0)
    tasker = Who('tasker')
    ids = [ident('task', number) for number in range(10)]
    rows: Rows = [
        post(201, {'id': image_id, 'visibility': 'public', 'owner': 'tasker'}, ADMIN),
        *task(1, image_id),
        *task(2, image_id, owner='beta', type='import', status='pending', user_id=None),
        *task(3, image_id, expires_at='2020-03-01 00:00:00.000000', status='failure'),
        *task(4, image_id, expires_at='2099-03-01 00:00:00.250000', status='success',
              result='{"x": 1}', message=None),
        *task(5, None, type='location_import', request_id=None, message='It was not to be'),
        *task(6, ident('tasks', 9), status='failure', expires_at='2098-03-01 00:00:00.000000'),
    ]  # fmt: skip
    there = path(image_id, '/tasks')
    rows += everybody('GET', there, (200, 200, 200, 200, 401))
    rows += [get(200, there, tasker), get(200, there, Who('tasker', 'reader'))]
    rows += [get(404, path('nothing', '/tasks')), get(200, there + '?limit=x')]
    rows += [Row(404, MEMBER, 'POST', there, {}, ours=('wrong-method-of-tasks', 405))]
    rows += everybody('GET', TASKS, (200, 403, 403, 403, 401))
    rows += everybody('GET', f'{TASKS}/{ids[1]}', (200, 403, 403, 403, 401))
    rows += [get(200, f'{TASKS}/{ids[number]}', ADMIN) for number in (2, 4, 5, 6)]
    rows += [
        get(200, f'{TASKS}/{ids[3]}', ADMIN, ours=('expired-task', 404)),
        get(404, f'{TASKS}/{ids[9]}', ADMIN),
        get(404, f'{TASKS}/x', ADMIN),
        get(404, f'{TASKS}/{"x" * 300}', ADMIN),
        get(404, f'{TASKS}/', ADMIN),
    ]
    queries = (
        '', 'limit=0', 'limit=1', 'limit=2', 'limit=5000', f'limit=2&marker={ids[5]}',
        f'marker={ids[1]}', f'marker={ids[4]}&limit=2&sort_dir=asc', 'sort_dir=asc',
        'sort_key=type', 'sort_key=type&sort_dir=asc&limit=2', 'sort_key=status',
        'sort_key=owner', 'sort_key=created_at', 'sort_key=updated_at&sort_dir=asc',
        'sort_key=expires_at', 'sort_key=expires_at&sort_dir=asc', 'sort_key=image_id&limit=3',
        'sort_key=request_id', 'sort_key=user_id&sort_dir=asc',
        f'sort_key=type&marker={ids[4]}&limit=2',
        'status=pending', 'status=success', 'status=', 'type=import', 'type=', 'owner=tasker',
        'owner=nobody', 'foo=bar', f'image_id={image_id}', 'image_id=x', f'id={ids[4]}',
        'request_id=req-1', 'user_id=somebody', 'name=x', 'message=x', 'sort=type',
        'limit=1&foo=%C3%A9', 'deleted=false',
    )  # fmt: skip
    rows += [get(200, f'{TASKS}?{query}' if query else TASKS, ADMIN) for query in queries]
    bad = (
        'limit=-1', 'limit=x', 'limit=', 'marker=nothing', 'marker=', f'marker={ids[9]}',
        'sort_key=nothing', 'sort_key=', 'sort_key=message', 'sort_key=input', 'sort_dir=up',
        'sort_dir=', 'status=nothing', 'type=nothing', 'type=import&type=nothing', 'marker=%00',
    )  # fmt: skip
    rows += [get(400, f'{TASKS}?{query}', ADMIN) for query in bad]
    rows += [
        get(200, f'{TASKS}?sort_key=id', ADMIN, ours=('tasks-by-id', 200), apart='body'),
        get(
            200,
            f'{TASKS}?sort_key=expires_at&marker={ids[6]}&limit=1',
            ADMIN,
            ours=('marker-with-null', 200),
            apart='body',
        ),
        get(400, f'{TASKS}?type=location_import', ADMIN, ours=('task-type-filter', 200)),
        get(500, f'{TASKS}?sort_key=info', ADMIN, ours=('task-columns', 400)),
        get(500, f'{TASKS}?sort_key=metadata', ADMIN, ours=('task-columns', 400)),
        get(200, f'{TASKS}?sort_key=deleted', ADMIN, ours=('task-columns', 400)),
        get(500, f'{TASKS}?info=x', ADMIN, ours=('task-columns', 200)),
        get(200, f'{TASKS}?created_at=x', ADMIN, ours=('task-columns', 200), apart='body'),
        get(403, f'{TASKS}?limit=x'),
        get(
            200,
            f'{TASKS}?limit=1&limit=2',
            ADMIN,
            ours=('repeated-in-links', 200),
            apart='body',
        ),
    ]
    return rows


def new_tasks() -> Rows:
    """Tasks that are asked for."""

    def new(status: int, body: Any, who: Who = ADMIN, **more: Any) -> Row:
        return Row(status, who, 'POST', TASKS, body, **more)

    def made(kind: str, given: Any, **more: Any) -> Row:
        """Nobody carries it out here, so it has failed already, and has an end."""
        body = {'type': kind, 'input': given, **more}
        return new(201, body, ours=('task-not-done', 201), apart='body')

    one = ident('new tasks', 0)
    return [
        *everybody('POST', TASKS, (400, 403, 403, 403, 401), {}),
        *everybody('POST', TASKS, (400, 403, 403, 403, 401), [], JSON),
        *everybody('POST', TASKS, (400, 403, 403, 403, 401), '{', JSON),
        *everybody('DELETE', f'{TASKS}/{one}', (405, 403, 403, 403, 401)),
        new(400, ''),
        new(400, 'null', kind=JSON),
        new(400, {'type': 'import'}),
        new(400, {'type': 'import', 'input': {}}),
        new(400, {'type': 'import', 'input': None}),
        new(400, {'type': 'import', 'input': 5}),
        new(400, {'type': 'import', 'input': []}),
        new(400, {'type': 'import', 'input': HTTP, 'x': 1}),
        new(400, {'type': 'import', 'input': HTTP, 'id': 'abc'}),
        new(400, {'type': 'import', 'input': HTTP, 'self': 5}),
        new(400, {'type': 'nothing', 'input': HTTP}),
        new(400, {'type': 5, 'input': HTTP}),
        made('import', {'import_from': 'http://8.8.8.8/a'}),
        new(400, {'type': 'import', 'input': {**HTTP, 'import_from': 'a'}}),
        new(400, {'type': 'import', 'input': {**HTTP, 'import_from': 'file:///etc/passwd'}}),
        new(400, {'type': 'import', 'input': {**HTTP, 'import_from': 'swift://a/b'}}),
        new(
            500,
            {'type': 'import', 'input': {**HTTP, 'import_from': 5}},
            ours=('import-from-not-text', 400),
        ),
        new(500, {'type': 'location_import', 'input': None}, ours=('task-input-null', 400)),
        new(
            400,
            {'type': 'import', 'input': {**HTTP, 'import_from': 'http://127.0.0.1/a'}},
            ours=('task-not-filtered', 201),
        ),
        made('import', HTTP),
        made('location_import', {}),
        made('api_image_import', {'x': [1, None, 'a']}),
        made('location_import', {}, id=one, status='success', owner='beta', result={},
             message='x', created_at='x', image_id='x'),
        get(404, f'{TASKS}/{one}', ADMIN),
        Row(405, ADMIN, 'DELETE', TASKS),
        Row(405, ADMIN, 'PUT', TASKS, {}),
        Row(405, ADMIN, 'PATCH', f'{TASKS}/x', {}),
        Row(405, ADMIN, 'PUT', f'{TASKS}/x', {}),
        Row(405, MEMBER, 'PUT', f'{TASKS}/x', {}),
        Row(405, ADMIN, 'DELETE', f'{TASKS}/x'),
        Row(500, ADMIN, 'DELETE', f'{TASKS}/x', {'a': 1}, ours=('body-of-a-delete', 400)),
    ]  # fmt: skip


def refusals() -> Rows:
    """What both have switched off: imports and the cache."""
    image_id, nothing = ident('refusals', 0), ident('refusals', 1)
    stage, imports = path(image_id, '/stage'), path(image_id, '/import')
    direct = {'method': {'name': 'glance-direct'}}
    rows: Rows = [post(201, {'id': image_id, **BARE})]
    rows += everybody('PUT', stage, (404, 404, 404, 404, 401), b'abc', OCTETS)
    rows += everybody('POST', imports, (400, 400, 400, 400, 401), direct)
    rows += [
        Row(404, MEMBER, 'PUT', stage, b'abc', JSON),
        Row(404, MEMBER, 'PUT', path(nothing, '/stage'), b'abc', OCTETS),
        Row(404, MEMBER, 'PUT', stage, b'abc', OCTETS, {'x-openstack-image-size': 'x'}),
        Row(405, MEMBER, 'GET', stage),
        Row(405, MEMBER, 'DELETE', stage),
        Row(405, MEMBER, 'GET', imports),
        Row(405, MEMBER, 'PUT', imports, {}),
        Row(400, MEMBER, 'POST', path(nothing, '/import'), direct),
        get(200, '/v2/info/import'),
        get(401, '/v2/info/import', NOBODY),
        get(200, path(image_id)),
    ]
    bodies: tuple[Any, ...] = (
        {}, '', '{', 'null', {'method': {}}, {'method': {'name': 'nothing'}},
        {'method': {'name': 5}}, {'method': {'name': 'copy-image'}},
        {'method': {'name': 'web-download'}}, {**direct, 'all_stores': 5},
        {**direct, 'all_stores_must_succeed': 'x'}, {**direct, 'stores': ['fast']},
        {**direct, 'stores': None}, {**direct, 'stores': 'fast'},
        {'method': {'name': 'web-download', 'uri': 'http://8.8.8.8/a'}},
    )  # fmt: skip
    rows += [Row(400, MEMBER, 'POST', imports, body, JSON) for body in bodies]
    rows += [
        Row(500, MEMBER, 'POST', imports, body, JSON, ours=('body-of-an-import', 400))
        for body in ([], {'method': 5}, {'method': []}, {'method': None})
    ]
    gone: dict[str, Any] = {'ours': ('cache-of-an-unknown-image', 404)}
    for method, where in (
        ('GET', ''), ('DELETE', ''), ('PUT', f'/{image_id}'), ('DELETE', f'/{image_id}'),
        ('GET', f'/nodes/{image_id}'), ('POST', '/clean'), ('POST', '/prune'),
    ):  # fmt: skip
        for status, who in ((404, ADMIN), (403, MEMBER), (403, READER), (401, NOBODY)):
            rows.append(Row(status, who, method, CACHE + where))
    for who in (ADMIN, MEMBER):
        rows += [
            Row(404, who, 'PUT', f'{CACHE}/{nothing}'),
            Row(500, who, 'DELETE', f'{CACHE}/{nothing}', **gone),
        ]
    rows += [
        Row(404, OTHER, 'PUT', f'{CACHE}/{image_id}'),
        Row(500, OTHER, 'DELETE', f'{CACHE}/{image_id}', **gone),
        Row(403, OTHER, 'GET', f'{CACHE}/nodes/{image_id}'),
    ]
    rows += [
        Row(405, who, method, CACHE + where)
        for who in (ADMIN, MEMBER)
        for method, where in (
            ('POST', ''), ('PUT', ''), ('GET', f'/{image_id}'), ('POST', '/nodes/x'),
            ('GET', '/clean'), ('GET', '/prune'),
        )
    ]  # fmt: skip
    rows += [
        Row(500, ADMIN, method, CACHE + where, {}, ours=('body-for-the-cache', 400))
        for method, where in (('DELETE', ''), ('PUT', f'/{image_id}'), ('POST', '/clean'))
    ]
    rows += everybody('GET', '/v2/info/usage', (200, 200, 200, 200, 401))
    rows += [get(404, '/v2/info'), get(404, '/v2/cached_images', ADMIN)]
    rows += [Row(404, MEMBER, 'POST', '/v2/info/usage', {}, ours=('wrong-method-of-usage', 405))]
    rows += [get(200, '/v2/schemas/task'), get(200, '/v2/schemas/tasks')]
    return rows


def negotiation() -> Rows:
    """Paths, methods and headers that no client of good manners sends."""
    image_id = ident('negotiation', 0)
    rows: Rows = [post(201, {'id': image_id})]
    for accept in (
        None, 'text/plain', '*/*', 'application/json', 'text/html', 'application/json, text/html',
        '*/*;q=0.1, application/json', 'application/*', 'garbage', '', 'application/json;q=0',
        'text/plain, application/json', 'text/*', 'image/png', 'application/json; charset=utf-8',
        'application/xml', 'APPLICATION/JSON', 'application/json;q=0.5, text/plain;q=0.9', ',',
        'text/html;q=0.1, application/json',
    ):  # fmt: skip
        headers = {} if accept is None else {'Accept': accept}
        rows += [
            get(404, path('nothing'), headers=headers),
            Row(405, MEMBER, 'PUT', '/v2/images', {}, headers=headers),
            Row(400, MEMBER, 'POST', '/v2/images', '{', headers=headers),
            get(401, '/v2/images', NOBODY, headers=headers),
            get(200, path(image_id), headers=headers),
        ]
    rows += [
        Row(405, MEMBER, 'HEAD', '/v2/images'),
        Row(405, MEMBER, 'HEAD', path(image_id)),
        Row(405, MEMBER, 'HEAD', '/v2/schemas/image'),
        Row(405, MEMBER, 'TRACE', '/v2/images'),
        Row(405, MEMBER, 'FOO', '/v2/images'),
        Row(300, NOBODY, 'HEAD', '/'),
        Row(200, NOBODY, 'HEAD', '/versions'),
        Row(200, NOBODY, 'PUT', '/versions', {}),
        Row(300, NOBODY, 'DELETE', '/'),
        get(200, '/versions/x', NOBODY),
        get(404, '/v2.17/'),
        get(302, '/v2.17'),
        get(302, '/v2?x=1'),
        get(401, '/v2', NOBODY, ours=('redirect-for-all', 302)),
        get(401, '/v2.0', NOBODY, ours=('redirect-for-all', 302)),
        Row(401, NOBODY, 'POST', '/v2', {}, ours=('redirect-for-all', 302)),
        get(300, '/v2.', NOBODY),
        get(300, '/v2.99', NOBODY),
        get(300, '/v2.0.1/images', NOBODY),
        get(300, '/V2/images'),
        get(300, '/v1/images'),
        get(200, '//v2/images?limit=0'),
        get(200, '/v2//images?limit=0'),
        get(404, '/v2.1/schemas/image/'),
        get(404, '/v2/images//x'),
        get(400, '/v2/images?%ff'),
        get(200, '/versions', headers={'Host': 'other.example:1234'}),
        get(302, '/v2', headers={'Host': 'other.example:1234'}),
        Row(204, NOBODY, 'HEAD', '/healthcheck'),
        get(200, '/healthcheck/x', NOBODY),
        Row(400, MEMBER, 'DELETE', path('nothing'), {'a': 1}),
        Row(400, MEMBER, 'PUT', path('nothing', '/tags/x'), {'a': 1}),
        Row(400, MEMBER, 'GET', '/v2/schemas/image', {'a': 1}),
        Row(404, MEMBER, 'GET', '/v2/nothing', {'a': 1}),
        Row(415, MEMBER, 'PATCH', path('nothing'), '[]', 'application/json-patch+json'),
        Row(415, MEMBER, 'PATCH', path('nothing'), '[]', 'text/plain; charset=garbage'),
        Row(415, MEMBER, 'PATCH', path('nothing'), '[]', V20.upper() + 'x'),
    ]
    return rows


def cors() -> Rows:
    """What a browser asks: no origin is allowed, so nothing is granted."""
    origin = {'Origin': 'http://a.example'}
    asked = {**origin, 'Access-Control-Request-Method': 'GET'}
    return [
        Row(200, NOBODY, 'OPTIONS', '/v2/images', headers=asked),
        Row(200, MEMBER, 'OPTIONS', '/v2/images', headers=origin),
        Row(200, MEMBER, 'OPTIONS', path('x')),
        Row(200, NOBODY, 'OPTIONS', '/'),
        get(200, '/v2/images?limit=0', headers=origin),
        get(401, '/v2/images?limit=0', NOBODY, headers=origin),
    ]


#: Of the services of `configured`.
DEFAULT = 'image_cache_dir = {directory}/cache\n'
SECTIONS = """
[oslo_middleware]
enable_proxy_headers_parsing = true
"""


def proxied() -> Rows:
    """What a proxy says of the address by which it was reached."""
    rows: Rows = []
    for number, headers in enumerate(
        (
            {'X-Forwarded-Proto': 'https'},
            {'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'images.example'},
            {'X-Forwarded-Host': 'images.example:8443', 'X-Forwarded-Prefix': '/image'},
            {'X-Forwarded-Prefix': '/image'},
            {'X-Forwarded-For': '192.0.2.1', 'X-Forwarded-Proto': 'http'},
            {'Forwarded': 'for=192.0.2.1;proto=https;host=forwarded.example'},
            {'Forwarded': 'proto=https, proto=http', 'X-Forwarded-Host': 'images.example'},
            {'Host': 'other.example:1234'},
        )
    ):
        prefix = 'X-Forwarded-Prefix' in headers
        located: dict[str, Any] = (
            {'ours': ('prefix-in-location', 201), 'apart': 'Location'} if prefix else {}
        )
        rows += [
            get(200, '/versions', NOBODY, headers=headers),
            get(300, '/', headers=headers),
            get(302, '/v2', headers=headers),
            post(201, {'id': ident('proxied', number)}, headers=headers, **located),
            get(200, path(ident('proxied', number)), headers=headers),
        ]
    return rows


GROUPS: dict[str, Rows] = {
    group.__name__: group() for group in (tasks, new_tasks, refusals, negotiation, cors)
}

#: The rows for the services of `configured`.
CONFIGURED: dict[str, Rows] = {'proxied': proxied()}
