# SPDX-License-Identifier: Apache-2.0
"""The table of `test_operator`: what the files in ``operator/`` allow, row by row.

The rows on properties are asked twice: with the protections written by roles, and by policy rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.peers.comparison import Row, Sql, ident
from tests.peers.lite import ADMIN, MEMBER, NOBODY, OTHER, READER, V20, Who
from tests.peers.rows import BARE, IMAGES, add, get, patch, path, post, put, remove, replace

Rows = list[Row | Sql]

BILLING = Who('alpha', 'member,reader,billing')
LICENSING = Who('alpha', 'member,reader,licensing')
AUDITOR = Who('alpha', 'member,reader,image_auditor')
LOOKER = Who('alpha', 'image_auditor')
PUBLISHER = Who('alpha', 'member,reader,publisher')
OPERATIONS = Who('alpha', 'member,reader,operations')
SERVICE = Who('services', 'service')
PEOPLE = {
    'admin': ADMIN,
    'member': MEMBER,
    'reader': READER,
    'billing': BILLING,
    'licensing': LICENSING,
    'auditor': AUDITOR,
    'publisher': PUBLISHER,
    'operations': OPERATIONS,
    'other': OTHER,
}

#: Every kind of property that the protections tell apart, and some that only look so.
PROPERTIES = (
    'x_billing_code', 'x_licence_kind', 'x_owner_note', 'x_report_1', 'x_serial', 'x_stage',
    'net_internal', 'x_unknown', 'colour', 'X_BILLING_CODE', 'my_x_billing_', 'x_serial_2',
)  # fmt: skip


def image(group: str, number: int, **fields: Any) -> tuple[str, Row]:
    """An image of alpha, and the row that makes it."""
    found = ident(group, number)
    fields = {'id': found, 'owner': 'alpha', 'visibility': 'shared', **BARE, **fields}
    return found, post(201, fields, ADMIN)


def cells(text: str, mark: str) -> list[tuple[str, str, int, dict[str, Any]]]:
    """(what, person, status of Glance, how the row differs) of a table as it is written.

    A cell is a status, or ``GLANCE!OURS`` where glance-lite differs on purpose, under `mark`.
    """
    head, *lines = (line.split() for line in text.strip().splitlines())
    found = []
    for what, *statuses in lines:
        for person, cell in zip(head[1:], statuses, strict=True):
            status, _, ours = cell.partition('!')
            more = {'ours': (mark, int(ours))} if ours else {}
            found.append((what, person, int(status), more))
    return found


# --- properties: one at a time


CREATE = """
property        admin  member  reader  billing  licensing  auditor  publisher  operations  other
x_billing_code  201    403     403     201      403        403      403        403         403
x_licence_kind  201    403     403     403      201        403      403        403         403
x_owner_note    201    201     403     201      201        201      201        201         201
x_report_1      201    201     403     201      201        201      201        201         201
x_serial        201    201     403     201      201        201      201        201         201
x_stage         201    403     403     403      403        403      201        403         403
net_internal    201    403     403     403      403        403      403        403         403
x_unknown       403    403     403     403      403        403      403        403         403
colour          201    201     403     201      201        201      201        201         201
X_BILLING_CODE  201    201     403     201      201        201      201        201         201
my_x_billing_   201    201     403     201      201        201      201        201         201
x_serial_2      403    403     403     403      403        403      403        403         403
"""

CHANGE = """
property          admin  member   reader  billing  licensing  publisher  other  operations
x_billing_code:r  200    409      403     200      409        409        404    403
x_billing_code:a  200    403      403     200      403        403        404    403
x_billing_code:d  200    409      403     403      409        409        404    403
x_licence_kind:r  200    403      403     403      200        403        404    403
x_licence_kind:a  200    403      403     403      200        403        404    403
x_licence_kind:d  403    403      403     403      403        403        404    403
x_owner_note:r    200    200      403     200      200        200        404    200
x_owner_note:a    200    200      403     200      200        200        404    200
x_owner_note:d    200    200      403     200      200        200        404    200
x_report_1:r      200    409      403     409      409        409        404    200
x_report_1:a      200    500!403  403     500!403  500!403    500!403    404    200
x_report_1:d      200    409      403     409      409        409        404    200
x_serial:r        403    403      403     403      403        403        404    403
x_serial:a        403    403      403     403      403        403        404    403
x_serial:d        403    403      403     403      403        403        404    403
x_stage:r         200    403      403     403      403        200        404    403
x_stage:a         200    403      403     403      403        200        404    403
x_stage:d         200    403      403     403      403        200        404    403
net_internal:r    200    409      403     409      409        409        404    409
net_internal:a    200    403      403     403      403        403        404    403
net_internal:d    200    409      403     409      409        409        404    409
colour:r          200    200      403     200      200        200        404    200
colour:a          200    200      403     200      200        200        404    200
colour:d          200    200      403     200      200        200        404    200
"""

#: What is done to the property of an image, by the letter behind it in `CHANGE`.
STEPS = {'r': replace, 'd': lambda name, value: remove(name), 'a': add}


def create() -> Rows:
    """Somebody makes an image with one property."""
    return [
        post(status, {'id': ident('create', number), name: 'v'}, PEOPLE[person], **more)
        for number, (name, person, status, more) in enumerate(cells(CREATE, ''))
    ]


def change() -> Rows:
    """Somebody replaces, adds and removes the one property of an image of alpha, in this order."""
    rows: Rows = []
    for what, person, status, more in cells(CHANGE, 'hidden-exists'):
        name, _, letter = what.partition(':')
        found, made = image(f'change-{person}-{name}', 0, **{name: 'v'})
        if letter == 'r':
            rows.append(made)
        step = STEPS[letter]('/' + name, letter)
        rows.append(patch(status, found, step, who=PEOPLE[person], **more))
    return rows


# --- properties: stories


def shown() -> Rows:
    """What everybody sees of one image, alone, in a list, and by a filter on each property."""
    values = {name: f'v {name}' for name in PROPERTIES if name not in UNMATCHED}
    found, made = image('shown', 1, name='shown', visibility='public', **values)
    rows: Rows = [made]
    for who in (*PEOPLE.values(), SERVICE, LOOKER):
        rows.append(get(200 if who is not SERVICE else 404, path(found), who))
        rows.append(get(200 if who is not SERVICE else 403, f'{IMAGES}?name=shown', who))
    for name, value in values.items():
        hidden = name in HIDDEN
        where = f'{IMAGES}?name=shown&{name}={value}'
        apart = {'ours': ('filter-on-hidden', 200), 'apart': 'body'} if hidden else {}
        rows.append(get(200, where, MEMBER, **apart))
        rows.append(get(200, where, ADMIN))
        rows.append(get(200, f'{IMAGES}?name=shown&{name}=wrong', MEMBER))
    return rows


#: What `MEMBER` does not see of the image of `shown`.
HIDDEN = ('x_billing_code', 'x_report_1', 'net_internal')
UNMATCHED = ('x_unknown', 'x_serial_2')


def patches() -> Rows:
    """Several steps in one patch, and what of them is kept."""
    a, made_a = image('patches', 1, x_owner_note='1', x_licence_kind='2', colour='red')
    b, made_b = image('patches', 2, colour='red')
    c, made_c = image('patches', 3)
    return [
        made_a,
        made_b,
        made_c,
        patch(200, a, replace('/x_owner_note', '3'), replace('/colour', 'blue'), add('/a', '1')),
        # One step that is refused, and nothing is kept.
        patch(403, a, replace('/colour', 'green'), replace('/x_licence_kind', 'x')),
        patch(403, a, replace('/name', 'x'), add('/x_billing_code', 'x')),
        patch(409, a, replace('/name', 'x'), remove('/x_billing_code')),
        patch(403, a, remove('/colour'), remove('/x_licence_kind')),
        patch(403, a, add('/x_unknown', 'x')),
        patch(409, a, replace('/x_unknown', 'x')),
        patch(403, a, add('/x_unknown', 'x'), who=ADMIN),
        patch(409, a, remove('/x_unknown'), who=ADMIN),
        get(200, path(a), ADMIN),
        # What was put there in the same patch.
        patch(403, c, add('/x_serial', '1'), replace('/x_serial', '2'),
              ours=('new-in-the-same-patch', 200)),
        patch(200, b, add('/x_owner_note', '1'), replace('/x_owner_note', '2')),
        patch(200, b, add('/x_owner_other', '1'), remove('/x_owner_other')),
        # Older kinds of patches, and tags.
        patch(403, b, {'add': '/x_billing_code', 'value': 'x'}, kind=V20),
        patch(409, b, {'replace': '/x_billing_code', 'value': 'x'}, kind=V20),
        patch(409, b, {'remove': '/x_billing_code'}, kind=V20),
        patch(200, b, replace('/tags', ['a'])),
        # Other cases of letters are other names.
        patch(200, b, add('/X_LICENCE_KIND', 'x')),
        patch(403, b, add('/x_licence_KIND', 'x')),
        patch(200, b, add('/COLOUR', 'x')),
        patch(403, b, add('/net_internal', 'x')),
        patch(200, b, add('/net_internal_', 'x')),
        patch(403, b, add('/os_glance_x', 'x')),
        patch(403, b, add('/os_glance_x', 'x'), who=ADMIN),
    ]  # fmt: skip


def survivors() -> Rows:
    """What others cannot see is there after they have changed what they see."""
    found: dict[str, str] = {}
    rows: Rows = []
    for number, name in enumerate(('patch', 'tag', 'untag', 'upload', 'deactivate', 'member')):
        found[name], made = image(
            'survivors', number, x_billing_code='1', net_internal='2', tags=['old']
        )
        rows.append(made)
    rows += [
        patch(200, found['patch'], replace('/name', 'new')),
        Row(204, MEMBER, 'PUT', path(found['tag'], '/tags/new')),
        Row(204, MEMBER, 'DELETE', path(found['untag'], '/tags/old')),
        put(204, found['upload'], b'data'),
        put(204, found['deactivate'], b'data', ADMIN),
        Row(204, OPERATIONS, 'POST', path(found['deactivate'], '/actions/deactivate')),
        Row(200, PUBLISHER, 'POST', path(found['member'], '/members'), {'member': 'beta'}),
        get(200, path(found['member'], '/members')),
        get(200, path(found['member']), OTHER),
        Row(200, OTHER, 'PUT', path(found['member'], '/members/beta'), {'status': 'accepted'}),
        get(200, f'{IMAGES}?visibility=shared', OTHER),
    ]
    lost = {'ours': ('hidden-survives', 200), 'apart': 'body'}
    rows += [
        get(200, path(where), ADMIN, **(lost if name in LOSING else {}))
        for name, where in found.items()
    ]
    return rows


#: What loses an image what the caller does not see, in Glance.
LOSING = ('patch', 'tag', 'untag', 'upload', 'deactivate')


def services() -> Rows:
    """A service that asks on behalf of a user."""
    found, made = image('services', 1, net_internal='1', x_billing_code='2', colour='by services')
    roles = {'X-Service-Identity-Status': 'Confirmed', 'X-Service-Roles': 'service'}
    billing = {**roles, 'X-Service-Roles': 'billing'}
    return [
        made,
        get(200, path(found), headers=roles),
        get(200, path(found), headers=billing),
        get(200, path(found), READER, headers=roles),
        get(200, f'{IMAGES}?colour=by+services', headers=roles),
        patch(403, found, remove('/x_billing_code'), headers=billing),
        patch(403, found, replace('/net_internal', '3'), headers=roles),
        patch(200, found, replace('/x_billing_code', '3'), headers=billing),
        get(403, path(found, '/locations')),
        # The roles of the service become those of the user, wherever rules are asked afterwards.
        get(200, path(found, '/locations'), headers=roles, ours=('roles-of-services', 403)),
        get(200, path(found), ADMIN, ours=('hidden-survives', 200), apart='body'),
    ]


def rules_of_nothing() -> Rows:
    """Rules in the protections are asked about nothing: with a target they are never true."""
    found, made = image('rules', 1, x_project_a='1')
    return [
        made,
        get(200, path(found)),
        get(200, path(found), ADMIN),
        post(403, {'x_project_b': '1'}),
        post(403, {'x_project_b': '1'}, PUBLISHER),
        patch(409, found, replace('/x_project_a', '2')),
        patch(403, found, add('/x_project_b', '2')),
        # The rule for reading is not true of administrators either.
        patch(409, found, replace('/x_project_a', '2'), who=ADMIN),
        patch(409, found, remove('/x_project_a'), who=ADMIN),
    ]


# --- policy


def seen() -> Rows:
    """Images of each visibility, and who finds them."""
    rows: Rows = []
    for number, visibility in enumerate(('private', 'shared', 'public', 'community')):
        found, made = image('seen', number, visibility=visibility, name=f'seen {visibility}')
        if visibility == 'community':
            made = post(
                201, {'id': found, 'owner': 'alpha', 'visibility': 'private', **BARE}, ADMIN
            )
            rows += [made, Sql("UPDATE images SET visibility = 'community' WHERE id = ?", (found,))]
        else:
            rows.append(made)
        for person in ('admin', 'member', 'reader', 'auditor', 'operations'):
            rows.append(get(200, path(found), PEOPLE[person]))
        rows.append(get(200 if visibility in ('public', 'community') else 404, path(found), OTHER))
        rows.append(get(200, path(found), LOOKER))
        rows.append(get(404, path(found), Who('alpha', 'member')))
        rows.append(get(404, path(found), SERVICE))
    rows += [
        get(200, IMAGES + '?name=seen+private', who)
        for who in (ADMIN, MEMBER, READER, LOOKER, OPERATIONS, OTHER)
    ]
    rows += [get(403, IMAGES, Who('alpha', 'member')), get(401, IMAGES, NOBODY)]
    return rows


def changed() -> Rows:
    """Who changes, publishes and deletes which images."""
    plain = [ident('changed', n) for n in range(20)]
    rows: Rows = [image('changed', n)[1] for n in range(8)]
    rows += [image('changed', n, x_stage='golden')[1] for n in range(8, 14)]
    rows += [image('changed', n, visibility='public')[1] for n in range(14, 17)]
    for who, statuses in (
        (MEMBER, (200, 403)), (READER, (403, 403)), (PUBLISHER, (200, 200)), (ADMIN, (200, 200)),
        (LOOKER, (403, 403)), (OPERATIONS, (200, 200)), (OTHER, (404, 404)),
    ):  # fmt: skip
        rows.append(patch(statuses[0], plain[0], replace('/name', 'new'), who=who))
        rows.append(patch(statuses[1], plain[8], replace('/name', 'new'), who=who))
        rows.append(
            Row(204 if statuses[1] == 200 else statuses[1], who, 'PUT', path(plain[8], '/tags/t'))
        )
    for who, status in ((MEMBER, 200), (OTHER, 403), (READER, 403)):
        rows.append(patch(status, plain[14], replace('/name', 'new'), who=who))
    for visibility, statuses in {
        'public': (403, 403, 200, 403, 200),
        'community': (403, 403, 403, 403, 403),
        'private': (200, 403, 200, 200, 200),
    }.items():
        for who, status in zip(
            (MEMBER, READER, PUBLISHER, OPERATIONS, ADMIN), statuses, strict=True
        ):
            rows.append(patch(status, plain[1], replace('/visibility', visibility), who=who))
            body = {'id': ident(f'changed-{visibility}', len(rows)), 'visibility': visibility}
            rows.append(post(status if status != 200 else 201, body, who))
    for who, number, status in (
        (READER, 2, 403), (LOOKER, 2, 403), (OTHER, 2, 404), (MEMBER, 2, 204), (OPERATIONS, 3, 204),
        (PUBLISHER, 4, 204), (ADMIN, 5, 204), (MEMBER, 9, 403), (PUBLISHER, 9, 403),
        (OPERATIONS, 9, 403), (ADMIN, 9, 204), (OTHER, 14, 403), (MEMBER, 14, 204),
        (NOBODY, 15, 401),
    ):  # fmt: skip
        rows.append(Row(status, who, 'DELETE', path(plain[number])))
    return rows


def data() -> Rows:
    """Who stores and who takes away what."""
    a, made_a = image('data', 1)
    b, made_b = image('data', 2, visibility='public', os_class='restricted')
    c, made_c = image('data', 3, disk_format='iso')
    d, made_d = image('data', 4, visibility='public')
    rows: Rows = [
        made_a, made_b, made_c, made_d,
        put(403, a, b'x', READER), put(403, a, b'x', LOOKER), put(404, a, b'x', OTHER),
        put(204, a, b'plain'), put(204, b, b'restricted'), put(403, c, b'x'),
        put(403, c, b'x', PUBLISHER), put(204, d, b'public'),
        get(204, path(c, '/file')),
    ]  # fmt: skip
    for found, statuses in (
        (a, (200, 200, 403, 403, 403, 200, 404)),
        (b, (200, 200, 403, 200, 403, 200, 403)),
        (d, (200, 200, 403, 403, 403, 200, 200)),
    ):
        people = (ADMIN, MEMBER, READER, AUDITOR, LOOKER, OPERATIONS, OTHER)
        rows += [
            get(status, path(found, '/file'), who)
            for who, status in zip(people, statuses, strict=True)
        ]
    for action in ('deactivate', 'reactivate'):
        for who, status in (
            (MEMBER, 403), (READER, 403), (PUBLISHER, 403), (OTHER, 403), (OPERATIONS, 204),
            (ADMIN, 204),
        ):  # fmt: skip
            rows.append(Row(status, who, 'POST', path(d, f'/actions/{action}')))
            rows.append(get(200, path(d), who))
    return rows


def members() -> Rows:
    """Who shares images, and who sees with whom."""
    found, made = image('members', 1)
    where = path(found, '/members')
    rows: Rows = [made]
    for who, status in ((MEMBER, 403), (READER, 403), (AUDITOR, 403), (OPERATIONS, 403),
                        (OTHER, 404), (PUBLISHER, 200)):  # fmt: skip
        rows.append(Row(status, who, 'POST', where, {'member': 'beta'}))
    rows.append(Row(200, ADMIN, 'POST', where, {'member': 'gamma'}))
    for who in (ADMIN, MEMBER, READER, LOOKER, OPERATIONS, OTHER):
        rows.append(get(200, where, who))
        rows.append(get(200, f'{where}/beta', who))
        rows.append(get(404 if who is OTHER else 200, f'{where}/gamma', who))
    auditor = Who('beta', 'member,reader,image_auditor')
    accepted = {'status': 'accepted'}
    rows += [
        Row(403, MEMBER, 'PUT', f'{where}/beta', accepted),
        Row(403, auditor, 'PUT', f'{where}/beta', accepted),
        Row(403, Who('beta', 'reader'), 'PUT', f'{where}/beta', accepted),
        Row(200, OTHER, 'PUT', f'{where}/beta', accepted),
        get(403, path(found, '/file'), auditor),
        get(204, path(found, '/file'), OTHER),
        Row(403, MEMBER, 'DELETE', f'{where}/gamma'),
        Row(403, OTHER, 'DELETE', f'{where}/beta'),
        Row(204, OPERATIONS, 'DELETE', f'{where}/gamma'),
        Row(204, PUBLISHER, 'DELETE', f'{where}/beta'),
        get(404, path(found), OTHER),
    ]
    return rows


def rest() -> Rows:
    """Tasks, stores, and namespaces of metadata definitions."""
    spaces = '/v2/metadefs/namespaces'
    auditor = Who('alpha', 'member,reader,operations,image_auditor')
    rows: Rows = [
        get(status, '/v2/tasks', who)
        for who, status in (
            (ADMIN, 200), (OPERATIONS, 200), (auditor, 403), (MEMBER, 403), (PUBLISHER, 403),
        )
    ]  # fmt: skip
    rows += [
        get(status, '/v2/info/stores/detail', who)
        for who, status in ((ADMIN, 200), (OPERATIONS, 200), (SERVICE, 200), (MEMBER, 403))
    ]
    for who, status in ((MEMBER, 403), (ADMIN, 403), (PUBLISHER, 201), (OPERATIONS, 403)):
        rows.append(Row(status, who, 'POST', spaces, {'namespace': 'ours', 'owner': who.project}))
    for who, status in ((MEMBER, 200), (READER, 200), (LOOKER, 404), (OTHER, 404), (ADMIN, 200)):
        rows.append(get(status, f'{spaces}/ours', who))
        rows.append(get(404 if who is LOOKER else 200, spaces, who))
    for who, status in ((OTHER, 404), (PUBLISHER, 403), (MEMBER, 403), (OPERATIONS, 204)):
        rows.append(Row(status, who, 'DELETE', f'{spaces}/ours'))
    return rows


PROPERTY_GROUPS = ('create', 'change', 'shown', 'patches', 'survivors', 'services')
POLICY_GROUPS = ('seen', 'changed', 'data', 'members', 'rest')
#: What is asked with the protections in each format. The policy files are the same in both.
BY_FORMAT: dict[str, Sequence[str]] = {
    'roles': (*PROPERTY_GROUPS, *POLICY_GROUPS),
    'policies': (*PROPERTY_GROUPS, 'rules_of_nothing'),
}
GROUPS: dict[str, Rows] = {
    group.__name__: group()
    for group in (
        create, change, shown, patches, survivors, services, rules_of_nothing,
        seen, changed, data, members, rest,
    )
}  # fmt: skip
