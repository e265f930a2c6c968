# SPDX-License-Identifier: Apache-2.0
"""The table of `test_auth`: what callers may do where no policy is in the way.

The policy file lets everybody do everything, so that what is refused is refused by what the
service holds to whatever the policy says; and its administrators have a role of their own.
"""

from __future__ import annotations

from typing import Any

from tests.peers.comparison import Row, ident
from tests.peers.lite import MEMBER, NOBODY, OTHER, Who
from tests.peers.rows import BARE, IMAGES, add, get, patch, path, post, put, remove, replace

RULES = (
    'get_images', 'get_image', 'add_image', 'modify_image', 'delete_image', 'publicize_image',
    'communitize_image', 'upload_image', 'download_image', 'get_members', 'get_member',
    'add_member', 'modify_member', 'delete_member', 'deactivate', 'reactivate',
    'get_image_location', 'set_image_location', 'delete_image_location', 'add_image_location',
    'fetch_image_location', 'get_task', 'get_tasks', 'add_task', 'tasks_api_access',
)  # fmt: skip
POLICY = '"context_is_admin": "role:ops"\n' + ''.join(f'"{rule}": ""\n' for rule in RULES)

OPS = Who('operators', 'ops')
#: An administrator elsewhere, and nobody here.
ADMIN = Who('operators', 'admin,member,reader')
#: A member whom a service helps with a token of its own.
HELPED = {'X-Service-Identity-Status': 'Confirmed', 'X-Service-Roles': 'service'}
#: Nobody may name data of this kind but services.
ELSEWHERE = {'url': 'rbd://a/b/c/d'}


def owners() -> list[Any]:
    a, b, c, d, e, f = (ident('owners', n) for n in range(6))
    return [
        post(201, {'id': a, 'owner': 'beta', **BARE}, OPS),
        get(200, path(a), OTHER),
        get(404, path(a), MEMBER),
        get(404, path(a), ADMIN),
        # refused, and not there afterwards
        post(403, {'id': e, 'owner': 'beta', **BARE}, ADMIN),
        get(200, path(e), OTHER, ours=('planted', 404)),
        post(403, {'id': f, 'owner': 'beta', **BARE}),
        get(200, path(f), OTHER, ours=('planted', 404)),
        post(201, {'id': b, 'owner': 'alpha', **BARE}),
        # what is nobody's is seen by all
        post(201, {'id': c, 'owner': None, **BARE}, OPS),
        get(200, path(c), MEMBER),
        patch(403, c, replace('/name', 'x')),
        Row(404, MEMBER, 'DELETE', path(c), ours=('foreign-delete', 403)),
        post(201, {'id': d, 'owner': None, **BARE}, ours=('made-by-nobody', 403)),
        patch(403, b, replace('/owner', 'beta')),
        patch(403, b, replace('/owner', 'alpha')),
        patch(403, b, remove('/owner')),
        patch(404, b, replace('/owner', 'beta'), who=ADMIN),
        patch(404, b, replace('/owner', 'beta'), who=OTHER),
        patch(200, b, replace('/owner', 'beta'), who=OPS),
        get(404, path(b)),
        get(200, path(b), OTHER),
        patch(404, b, replace('/name', 'x')),
        patch(200, b, replace('/owner', None), who=OPS),
        patch(403, b, replace('/name', 'x'), who=OTHER),
    ]


def administrators() -> list[Any]:
    a, b = (ident('administrators', n) for n in range(2))
    rows = [
        post(201, {'id': a, 'visibility': 'private', **BARE}),
        put(204, a, b'data'),
        post(201, {'id': b, 'visibility': 'private', 'protected': True, **BARE}),
    ]
    for roles, status in (('ops', 200), ('OPS', 200), ('Ops,reader', 200), ('admin', 404)):
        rows.append(get(status, path(a), Who('operators', roles)))
    return [
        *rows,
        patch(200, a, replace('/name', 'new'), who=OPS),
        patch(404, a, replace('/name', 'new'), who=ADMIN),
        Row(204, OPS, 'POST', path(a, '/actions/deactivate')),
        get(403, path(a, '/file')),
        get(200, path(a, '/file'), OPS),
        Row(204, OPS, 'POST', path(a, '/actions/reactivate')),
        get(200, path(a, '/file')),
        patch(403, a, add('/os_glance_x', 'y'), who=OPS),
        Row(403, OPS, 'DELETE', path(b)),
        Row(404, ADMIN, 'DELETE', path(a)),
        Row(204, OPS, 'DELETE', path(a)),
    ]


def anonymous() -> list[Any]:
    """Reads what all may see, and changes nothing, whatever policy says."""
    a, b, c, d, e = (ident('anonymous', n) for n in range(5))
    seen = {'community': (a, 200), 'public': (b, 200), 'shared': (c, 404), 'private': (d, 404)}
    rows: list[Any] = []
    for visibility, (image, status) in seen.items():
        rows += [
            post(201, {'id': image, 'visibility': visibility, 'tags': ['t'], 'p': 'v', **BARE}),
            put(204, image, b'data'),
            get(status, path(image), NOBODY),
            get(status, path(image, '/file'), NOBODY),
            get(403 if status == 200 else 404, path(image, '/members'), NOBODY),
        ]
    rows.append(get(200, IMAGES + '?sort=name', NOBODY))
    member = {'member': 'beta'}
    for image in (a, b, d):
        rows += [
            patch(403, image, replace('/p', 'w'), who=NOBODY),
            patch(403, image, replace('/owner', 'x'), who=NOBODY),
            Row(403, NOBODY, 'DELETE', path(image)),
            Row(403, NOBODY, 'PUT', path(image, '/tags/u')),
            Row(403, NOBODY, 'DELETE', path(image, '/tags/t')),
            Row(403, NOBODY, 'POST', path(image, '/actions/deactivate')),
            Row(403, NOBODY, 'POST', path(image, '/actions/reactivate')),
            put(403, image, b'more', who=NOBODY),
            Row(403, NOBODY, 'POST', path(image, '/members'), member),
            Row(403, NOBODY, 'PUT', path(image, '/members/beta'), {'status': 'accepted'}),
            Row(403, NOBODY, 'DELETE', path(image, '/members/beta')),
            Row(
                409 if image != d else 404,
                NOBODY,
                'POST',
                path(image, '/locations'),
                {'url': 'http://a.example/'},
                ours=('anonymous-writes', 403),
            ),
            Row(403, NOBODY, 'DELETE', f'/v2/stores/fast/{image}'),
        ]
    return [
        *rows,
        post(403, {'id': e, **BARE}, NOBODY),
        *(get(200, path(image), MEMBER) for image in (a, b, c, d)),
    ]


def foreign() -> list[Any]:
    """Who may see an image need not be who may change it."""
    rows: list[Any] = []
    images = [ident('foreign', n) for n in range(6)]
    shared, taken, public, community, queued, asked = images
    for image, visibility in zip(
        images, ('shared', 'shared', 'public', 'community', 'public', 'shared'), strict=True
    ):
        body = {'id': image, 'visibility': visibility, 'tags': ['t'], 'p': 'v', **BARE}
        rows.append(post(201, body))
        if image not in (queued, asked):
            rows.append(put(204, image, b'data'))
        if visibility == 'shared':
            rows.append(Row(200, MEMBER, 'POST', path(image, '/members'), {'member': 'beta'}))
    accepted = {'status': 'accepted'}
    rows.append(Row(200, OTHER, 'PUT', path(taken, '/members/beta'), accepted))
    for image in (shared, taken, public, community):
        for who in (OTHER, ADMIN) if image in (public, community) else (OTHER,):
            rows += [
                get(200, path(image, '/file'), who),
                patch(403, image, replace('/name', 'mine'), who=who),
                patch(403, image, replace('/p', 'w'), who=who),
                patch(403, image, replace('/visibility', 'private'), who=who),
                patch(403, image, replace('/owner', 'beta'), who=who),
                patch(403, image, replace('/protected', False), who=who),
                Row(403, who, 'PUT', path(image, '/tags/mine')),
                Row(403, who, 'DELETE', path(image, '/tags/t')),
                Row(403, who, 'POST', path(image, '/actions/deactivate')),
                Row(403, who, 'DELETE', f'/v2/stores/fast/{image}'),
            ]
        rows += [
            Row(404, OTHER, 'DELETE', path(image), ours=('foreign-delete', 403)),
            # Glance has removed the data all the same.
            get(204, path(image, '/file'), ours=('foreign-delete', 200)),
        ]
    for image in (queued, asked):
        rows += [
            put(403, image, b'mine', who=OTHER),
            Row(404, OTHER, 'DELETE', path(image), ours=('foreign-delete', 403)),
            get(200, path(image)),
        ]
    return rows


def sharing() -> list[Any]:
    a = ident('sharing', 0)
    members = path(a, '/members')
    gamma = Who('gamma')

    def status(code: int, member: str, who: Who, value: str = 'accepted') -> Row:
        return Row(code, who, 'PUT', f'{members}/{member}', {'status': value})

    return [
        post(201, {'id': a, 'visibility': 'shared', **BARE}),
        put(204, a, b'data'),
        Row(404, OTHER, 'POST', members, {'member': 'beta'}),
        Row(404, ADMIN, 'POST', members, {'member': 'operators'}),
        Row(200, MEMBER, 'POST', members, {'member': 'beta'}),
        Row(200, OPS, 'POST', members, {'member': 'gamma'}),
        # only policy says that these are the owner's business
        Row(200, OTHER, 'POST', members, {'member': 'delta'}),
        Row(404, OTHER, 'DELETE', f'{members}/gamma'),
        # and this a member's
        status(200, 'beta', MEMBER),
        status(404, 'gamma', OTHER),
        status(404, 'gamma', ADMIN),
        status(200, 'beta', OTHER),
        status(200, 'gamma', OPS),
        status(200, 'gamma', gamma, 'rejected'),
        get(200, members, OTHER),
        get(200, members, MEMBER),
        Row(204, MEMBER, 'DELETE', f'{members}/beta'),
        get(404, path(a), OTHER),
        status(404, 'beta', OTHER),
    ]


def services() -> list[Any]:
    """Whose own token has the role, or comes beside a user's."""
    a, b, c = (ident('services', n) for n in range(3))
    service, odd = Who('services', 'service'), Who('services', 'Service')
    rows: list[Any] = [
        post(201, {'id': image, 'visibility': visibility, **BARE})
        for image, visibility in ((a, 'shared'), (b, 'public'), (c, 'public'))
    ]
    helpers: tuple[tuple[dict[str, str], Any], ...] = (
        ({**HELPED, 'X-Service-Roles': 'reader'}, 403),
        ({'X-Service-Roles': 'reader, service'}, 202),
    )
    past = ('hopeless-url', 400)
    return [
        *rows,
        put(204, b, b'data'),
        Row(404, service, 'POST', path(a, '/locations'), ELSEWHERE),
        Row(403, MEMBER, 'POST', path(a, '/locations'), ELSEWHERE),
        *(
            Row(
                status,
                MEMBER,
                'POST',
                path(a, '/locations'),
                ELSEWHERE,
                headers=headers,
                ours=past if status == 202 else None,
            )
            for headers, status in helpers
        ),
        Row(202, odd, 'POST', path(c, '/locations'), ELSEWHERE, ours=past),
        # each with a directory of its own
        get(200, path(b, '/locations'), service, apart='body'),
        get(200, path(b, '/locations'), MEMBER, headers=HELPED, apart='body'),
        get(404, path(a, '/locations'), service),
        get(404, path(a, '/locations'), OTHER, headers=HELPED),
        get(404, path(a), OTHER, headers=HELPED),
        patch(404, a, replace('/name', 'x'), who=OTHER, headers=HELPED),
        Row(404, OTHER, 'DELETE', path(a), headers=HELPED),
    ]


GROUPS = {
    group.__name__: group
    for group in (owners, administrators, anonymous, foreign, sharing, services)
}
