# SPDX-License-Identifier: Apache-2.0
"""What is asked of an image: each operation of the API, in each variant that rights tell apart.

``<image>``, ``<me>`` (the caller's project), ``<owner>`` and ``<visibility>`` (of the image)
stand for what they say. ``<image>`` is the id of the one task and the name of the one namespace,
too.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from tests.matrix.people import ANOTHER, PROJECTS, Person

V21 = 'application/openstack-images-v2.1-json-patch'
OCTETS = 'application/octet-stream'

VISIBILITIES = ('private', 'shared', 'community', 'public')
#: For what has nothing to do with an image.
NONE = ('-',)
#: Those of a namespace.
TWO = ('private', 'public')

IMAGE = '/v2/images/<image>'
MEMBERS = IMAGE + '/members'
LOCATIONS = IMAGE + '/locations'
TASKS = '/v2/tasks'
NAMESPACES = '/v2/metadefs/namespaces'
NAMESPACE = NAMESPACES + '/<image>'

#: Nothing answers there: whoever has the right to name it gets 400.
NOWHERE = 'http://127.0.0.1:1/data'

#: start of the path of a list -> (its name in the answer, what its items are known by)
LISTS = {
    '/v2/images?': ('images', 'id'),
    TASKS + '?': ('tasks', 'id'),
    NAMESPACES + '?': ('namespaces', 'namespace'),
}


@dataclasses.dataclass(frozen=True)
class Operation:
    """One request. `image` is the state the image is in before; see `seeds.STATES`."""

    name: str
    method: str
    path: str
    body: Any = None
    kind: str | None = None
    image: str = 'active'
    visibilities: tuple[str, ...] = VISIBILITIES

    @property
    def lists(self) -> tuple[str, str] | None:
        """Of `LISTS`, where the answer is a list and the question is if the image is in it."""
        return next((LISTS[one] for one in LISTS if self.path.startswith(one)), None)

    def request(
        self, who: Person, image_id: str, visibility: str
    ) -> tuple[str, str, bytes | None, str | None]:
        """(method, path, body, content type)."""
        words = {
            '<image>': image_id,
            '<me>': who.project or 'nobody',
            '<owner>': PROJECTS['owner'],
            '<visibility>': visibility,
        }
        path, body = self.path, self.body
        text = body if isinstance(body, str) else json.dumps(body)
        for word, value in words.items():
            path, text = path.replace(word, value), text.replace(word, value)
        kind = self.kind or (None if body is None else 'application/json')
        return self.method, path, None if body is None else text.encode(), kind


def _patch(name: str, *steps: tuple[str, str, Any], image: str = 'active') -> Operation:
    body = [
        {'op': op, 'path': path} if op == 'remove' else {'op': op, 'path': path, 'value': value}
        for op, path, value in steps
    ]
    return Operation(f'patch {name}', 'PATCH', IMAGE, body, V21, image)


def _reads() -> list[Operation]:
    queries = {
        '': 'limit=100',
        'by id': 'id=<image>',
        'of owner': 'owner=<owner>',
        'all': 'visibility=all',
        'its visibility': 'visibility=<visibility>',
        'shared, pending': 'visibility=shared&member_status=pending',
        'shared, rejected': 'visibility=shared&member_status=rejected',
        'shared, any status': 'visibility=shared&member_status=all',
        'pending': 'member_status=pending',
        'any status': 'member_status=all',
        'by property': 'color=red',
        'by tag': 'tag=tagged',
    }
    lists = [
        Operation(f'list {name}'.strip(), 'GET', '/v2/images?' + query)
        for name, query in queries.items()
    ]
    return [
        Operation('show', 'GET', IMAGE),
        Operation('show, queued', 'GET', IMAGE, image='queued'),
        Operation('show, deactivated', 'GET', IMAGE, image='deactivated'),
        Operation('show, hidden', 'GET', IMAGE, image='hidden'),
        *lists,
        Operation('list, hidden', 'GET', '/v2/images?limit=100', image='hidden'),
        Operation('list hidden, hidden', 'GET', '/v2/images?os_hidden=true', image='hidden'),
        Operation('list all hidden, hidden', 'GET', '/v2/images?visibility=all&os_hidden=true',
                  image='hidden'),
        Operation('list, deactivated', 'GET', '/v2/images?limit=100', image='deactivated'),
        # In the list after an image is never the image itself; the question is the status.
        Operation('list after it', 'GET', '/v2/images?marker=<image>'),
        Operation('download', 'GET', IMAGE + '/file'),
        Operation('download, queued', 'GET', IMAGE + '/file', image='queued'),
        Operation('download, deactivated', 'GET', IMAGE + '/file', image='deactivated'),
        Operation('download from a store', 'GET', IMAGE + '/file?prefer=fast'),
    ]  # fmt: skip


def _writes() -> list[Operation]:
    return [
        Operation('create', 'POST', '/v2/images', {'visibility': '<visibility>'}),
        Operation('create for me', 'POST', '/v2/images',
                  {'visibility': '<visibility>', 'owner': '<me>'}),
        Operation('create for the owner', 'POST', '/v2/images',
                  {'visibility': '<visibility>', 'owner': '<owner>'}),
        Operation('create, plain', 'POST', '/v2/images', {}, visibilities=NONE),
        Operation('create for nobody', 'POST', '/v2/images', {'owner': None}, visibilities=NONE),
        Operation('create with its id', 'POST', '/v2/images', {'id': '<image>'}),
        _patch('nothing'),
        _patch('name', ('replace', '/name', 'new')),
        _patch('name, queued', ('replace', '/name', 'new'), image='queued'),
        _patch('name, deactivated', ('replace', '/name', 'new'), image='deactivated'),
        _patch('protected', ('replace', '/protected', True)),
        _patch('unprotected', ('replace', '/protected', False), image='protected'),
        _patch('os_hidden', ('replace', '/os_hidden', True)),
        _patch('min_ram', ('replace', '/min_ram', 5)),
        _patch('disk_format', ('replace', '/disk_format', 'qcow2')),
        _patch('disk_format, queued', ('replace', '/disk_format', 'qcow2'), image='queued'),
        _patch('tags', ('replace', '/tags', ['new'])),
        _patch('status', ('replace', '/status', 'queued')),
        _patch('a new property', ('add', '/shape', 'round')),
        _patch('a property', ('replace', '/color', 'blue')),
        _patch('a property away', ('remove', '/color', None)),
        _patch('a property that is not there', ('replace', '/nothing', 'x')),
        _patch('owner to me', ('replace', '/owner', '<me>')),
        _patch('owner to the owner', ('replace', '/owner', '<owner>')),
        _patch('owner to another', ('replace', '/owner', ANOTHER)),
        _patch('owner to nobody', ('replace', '/owner', None)),
        *(_patch(f'to {one}', ('replace', '/visibility', one)) for one in VISIBILITIES),
        _patch('to public and another', ('replace', '/visibility', 'public'),
               ('replace', '/owner', ANOTHER)),
        Operation('delete', 'DELETE', IMAGE),
        Operation('delete, queued', 'DELETE', IMAGE, image='queued'),
        Operation('delete, deactivated', 'DELETE', IMAGE, image='deactivated'),
        Operation('delete, protected', 'DELETE', IMAGE, image='protected'),
        Operation('upload, queued', 'PUT', IMAGE + '/file', 'data', OCTETS, image='queued'),
        Operation('upload', 'PUT', IMAGE + '/file', 'data', OCTETS),
        Operation('tag', 'PUT', IMAGE + '/tags/new'),
        Operation('tag away', 'DELETE', IMAGE + '/tags/tagged'),
        Operation('tag away that is not there', 'DELETE', IMAGE + '/tags/nothing'),
        Operation('deactivate', 'POST', IMAGE + '/actions/deactivate'),
        Operation('deactivate, queued', 'POST', IMAGE + '/actions/deactivate', image='queued'),
        Operation('deactivate, deactivated', 'POST', IMAGE + '/actions/deactivate',
                  image='deactivated'),
        Operation('reactivate', 'POST', IMAGE + '/actions/reactivate', image='deactivated'),
        Operation('reactivate, active', 'POST', IMAGE + '/actions/reactivate'),
        Operation('delete from its store', 'DELETE', '/v2/stores/fast/<image>', image='two copies'),
        Operation('delete from its only store', 'DELETE', '/v2/stores/fast/<image>'),
        Operation('delete from a store it is not in', 'DELETE', '/v2/stores/cheap/<image>'),
        Operation('delete from no store', 'DELETE', '/v2/stores/nothing/<image>'),
    ]  # fmt: skip


def _members() -> list[Operation]:
    status = {'status': 'accepted'}
    return [
        Operation('members', 'GET', MEMBERS),
        Operation('member: me', 'GET', MEMBERS + '/<me>'),
        Operation('member: another', 'GET', f'{MEMBERS}/{ANOTHER}'),
        Operation('member: no such', 'GET', MEMBERS + '/nothing'),
        Operation('member new', 'POST', MEMBERS, {'member': 'new'}),
        Operation('member new: me', 'POST', MEMBERS, {'member': '<me>'}),
        Operation('member new: another', 'POST', MEMBERS, {'member': ANOTHER}),
        Operation('member new: the owner', 'POST', MEMBERS, {'member': '<owner>'}),
        Operation('member accepts: me', 'PUT', MEMBERS + '/<me>', status),
        Operation('member accepts: another', 'PUT', f'{MEMBERS}/{ANOTHER}', status),
        Operation('member accepts: no such', 'PUT', MEMBERS + '/nothing', status),
        Operation('member rejects: me', 'PUT', MEMBERS + '/<me>', {'status': 'rejected'}),
        Operation('member away: me', 'DELETE', MEMBERS + '/<me>'),
        Operation('member away: another', 'DELETE', f'{MEMBERS}/{ANOTHER}'),
        Operation('member away: no such', 'DELETE', MEMBERS + '/nothing'),
    ]  # fmt: skip


def _of_nobody() -> list[Operation]:
    """Images without an owner: what an administrator or a service without projects makes."""
    file, nobody = IMAGE + '/file', 'of nobody'
    return [
        Operation('show, of nobody', 'GET', IMAGE, image=nobody),
        Operation('list, of nobody', 'GET', '/v2/images?limit=100', image=nobody),
        Operation('list all, of nobody', 'GET', '/v2/images?visibility=all', image=nobody),
        Operation('list after it, of nobody', 'GET', '/v2/images?marker=<image>', image=nobody),
        Operation('download, of nobody', 'GET', file, image=nobody),
        Operation('upload, of nobody', 'PUT', file, 'data', OCTETS, nobody + ', queued'),
        _patch('name, of nobody', ('replace', '/name', 'new'), image=nobody),
        _patch('owner to me, of nobody', ('replace', '/owner', '<me>'), image=nobody),
        Operation('delete, of nobody', 'DELETE', IMAGE, image=nobody),
        Operation('members, of nobody', 'GET', MEMBERS, image=nobody),
        Operation('member new, of nobody', 'POST', MEMBERS, {'member': 'new'}, image=nobody),
    ]


def _locations() -> list[Operation]:
    """With ``show_multiple_locations``."""
    there = {'url': NOWHERE, 'metadata': {}}
    return [
        Operation('locations', 'GET', LOCATIONS),
        Operation('locations, queued', 'GET', LOCATIONS, image='queued'),
        Operation('locations, deactivated', 'GET', LOCATIONS, image='deactivated'),
        Operation('register', 'POST', LOCATIONS, {'url': NOWHERE}, image='queued'),
        Operation('register, active', 'POST', LOCATIONS, {'url': NOWHERE}),
        Operation('register, of nobody', 'POST', LOCATIONS, {'url': NOWHERE},
                  image='of nobody, queued'),
        Operation('register, another scheme', 'POST', LOCATIONS, {'url': 'rbd://a/b/c/d'},
                  image='queued'),
        _patch('a location, queued', ('add', '/locations/-', there), image='queued'),
        _patch('a location', ('add', '/locations/-', there)),
        _patch('a location, deactivated', ('add', '/locations/-', there), image='deactivated'),
        _patch('all locations, queued', ('replace', '/locations', [there]), image='queued'),
        _patch('no locations, queued', ('replace', '/locations', []), image='queued'),
        _patch('no locations', ('replace', '/locations', [])),
        _patch('a location away', ('remove', '/locations/0', None), image='two copies'),
        _patch('the location away', ('remove', '/locations/0', None)),
        _patch('a location away that is not there', ('remove', '/locations/7', None)),
    ]  # fmt: skip


def _imports() -> list[Operation]:
    """None is begun: what is asked for cannot be done, which only those are told who may ask."""
    stage, ask, nobody = IMAGE + '/stage', IMAGE + '/import', 'of nobody, queued'
    direct = {'method': {'name': 'glance-direct'}}
    # Its data is there already.
    copy = {'method': {'name': 'copy-image'}, 'stores': ['fast']}
    return [
        Operation('stage, queued', 'PUT', stage, 'data', OCTETS, image='queued'),
        Operation('stage', 'PUT', stage, 'data', OCTETS),
        Operation('stage, deactivated', 'PUT', stage, 'data', OCTETS, image='deactivated'),
        Operation('stage, of nobody', 'PUT', stage, 'data', OCTETS, image=nobody),
        Operation('import, queued', 'POST', ask, direct, image='queued'),
        Operation('import', 'POST', ask, direct),
        Operation('import, of nobody', 'POST', ask, direct, image=nobody),
        Operation('import, no such method', 'POST', ask, {'method': {'name': 'no'}},
                  image='queued'),
        Operation('import to a store that is not there', 'POST', ask,
                  {**direct, 'stores': ['nothing']}, image='queued'),
        Operation('copy', 'POST', ask, copy),
        Operation('copy, queued', 'POST', ask, copy, image='queued'),
        Operation('copy, deactivated', 'POST', ask, copy, image='deactivated'),
    ]  # fmt: skip


def _cache() -> list[Operation]:
    """With ``image_cache_dir``, on a host that has nothing in its cache."""
    cache = '/v2/cache'
    one = cache + '/<image>'
    return [
        Operation('cache', 'GET', cache, visibilities=NONE),
        Operation('cache cleared', 'DELETE', cache, visibilities=NONE),
        Operation('cache cleaned', 'POST', cache + '/clean', visibilities=NONE),
        Operation('cache pruned', 'POST', cache + '/prune', visibilities=NONE),
        Operation('cached', 'PUT', one, visibilities=TWO),
        Operation('cached, queued', 'PUT', one, image='queued', visibilities=TWO),
        Operation('cached, deactivated', 'PUT', one, image='deactivated', visibilities=TWO),
        Operation('out of the cache', 'DELETE', one, visibilities=TWO),
        Operation('where it is cached', 'GET', cache + '/nodes/<image>', visibilities=TWO),
    ]


def _tasks() -> list[Operation]:
    new = {'type': 'location_import', 'input': {}}
    return [
        Operation('tasks', 'GET', TASKS + '?limit=100', image='task', visibilities=NONE),
        Operation('task', 'GET', TASKS + '/<image>', image='task', visibilities=NONE),
        Operation('task new', 'POST', TASKS, new, visibilities=NONE),
        Operation('task new, not valid', 'POST', TASKS, {}, visibilities=NONE),
        Operation('task away', 'DELETE', TASKS + '/<image>', image='task', visibilities=NONE),
        Operation('tasks of the image', 'GET', IMAGE + '/tasks', image='task'),
    ]


#: part of a namespace -> (name of one that is there, body of a new one)
PARTS: dict[str, tuple[str, dict[str, Any]]] = {
    'objects': ('thing', {'name': 'new'}),
    'properties': ('trait', {'name': 'new', 'title': 'New', 'type': 'string'}),
    'tags': ('label', {'tags': [{'name': 'new'}]}),
    'resource_types': ('Kind', {'name': 'New'}),
}


def _metadefs() -> list[Operation]:
    """The namespace and what is in it; its owner is that of the image."""

    def one(name: str, method: str, path: str, body: Any = None) -> Operation:
        return Operation(name, method, path, body, image='namespace', visibilities=TWO)

    def new(name: str, **more: str) -> Operation:
        body = {'namespace': 'new', 'visibility': '<visibility>', **more}
        return one(name, 'POST', NAMESPACES, body)

    found = [
        Operation('resource types', 'GET', '/v2/metadefs/resource_types', image='namespace',
                  visibilities=NONE),
        one('namespaces', 'GET', NAMESPACES + '?limit=100'),
        one('namespaces of its visibility', 'GET', NAMESPACES + '?visibility=<visibility>'),
        one('namespaces by resource type', 'GET', NAMESPACES + '?resource_types=Kind'),
        one('namespaces after it', 'GET', NAMESPACES + '?marker=<image>'),
        one('namespace', 'GET', NAMESPACE),
        new('namespace new'),
        new('namespace new, for me', owner='<me>'),
        new('namespace new, for the owner', owner='<owner>'),
        new('namespace new, of its name', namespace='<image>'),
        one('namespace changed', 'PUT', NAMESPACE, {'namespace': '<image>', 'description': 'new'}),
        one('namespace to another', 'PUT', NAMESPACE, {'namespace': '<image>', 'owner': ANOTHER}),
        one('namespace to public', 'PUT', NAMESPACE,
            {'namespace': '<image>', 'visibility': 'public'}),
        one('namespace away', 'DELETE', NAMESPACE),
    ]  # fmt: skip
    for part, (item, body) in PARTS.items():
        all_of_them, of_them = f'{NAMESPACE}/{part}', f'{NAMESPACE}/{part}/{item}'
        found += [
            one(f'metadef {part}', 'GET', all_of_them),
            one(f'metadef {part}, new', 'POST', all_of_them, body),
            one(f'metadef {part}, one away', 'DELETE', of_them),
            one(f'metadef {part}, nothing away', 'DELETE', all_of_them + '/nothing'),
        ]
        if part == 'resource_types':
            continue
        change = {'title': 'T', 'type': 'string'} if part == 'properties' else {}
        found += [
            one(f'metadef {part}, one', 'GET', of_them),
            one(f'metadef {part}, nothing', 'GET', all_of_them + '/nothing'),
            one(f'metadef {part}, one changed', 'PUT', of_them, {'name': 'changed', **change}),
            one(f'metadef {part}, all away', 'DELETE', all_of_them),
        ]
    return [*found, one('metadef tags, one new', 'POST', f'{NAMESPACE}/tags/new')]


def _service() -> list[Operation]:
    paths = (
        '/v2/info/stores', '/v2/info/stores/detail', '/v2/info/import', '/v2/info/usage',
        '/v2/schemas/image', '/v2/schemas/images', '/v2/schemas/member', '/v2/schemas/members',
        '/v2/schemas/task', '/v2/schemas/tasks', '/v2/schemas/metadefs/namespace',
        '/v2/schemas/metadefs/namespaces',
    )  # fmt: skip
    return [Operation(path[4:], 'GET', path, visibilities=NONE) for path in paths]


OPERATIONS = {
    one.name: one
    for one in (
        *_reads(), *_writes(), *_members(), *_of_nobody(), *_service(), *_locations(), *_tasks(),
        *_imports(), *_cache(), *_metadefs(),
    )
}  # fmt: skip
