# SPDX-License-Identifier: Apache-2.0
"""Schemathesis over the OpenAPI document, in process, as several identities.

Whatever is sent, valid or not, nothing is answered that the document does not describe, and no
5xx. Each example has an image or a namespace of its own in some state, so it does not depend on
those before it.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as of_openapi

from glance_lite.api import described, openapi
from glance_lite.api.routes import TABLE
from glance_lite.api.v2.patch import V20, V21
from tests.api.harness import ADMIN, OCTETS, App
from tests.sizes import FULL, full

#: Requests in all.
REQUESTS = full(500, 5000)

CHECKS = [
    checks.not_a_server_error,
    of_openapi.status_code_conformance,
    of_openapi.content_type_conformance,
    of_openapi.response_headers_conformance,
    of_openapi.response_schema_conformance,
    of_openapi.allow_header_conformance,
]

#: (project, roles): ordinary ones of two projects, a reader, an administrator, a service, none
PEOPLE: tuple[tuple[str | None, str], ...] = (
    ('alpha', 'member,reader'), ('beta', 'member,reader'), ('alpha', 'reader'),
    ('operators', 'admin,member,reader'), ('nova', 'service'), (None, ''),
)  # fmt: skip

#: States that the image of an example may be in; None: the id is whatever was generated.
STATES = (
    'queued', 'staged', 'active', 'shared', 'public', 'deactivated', 'protected', 'deleted', None,
)  # fmt: skip

ACCEPTS = (None, 'application/json', 'text/html', 'text/plain', '*/*', 'garbage')

#: What a body is said to be; None: what it is.
KINDS = (None, None, None, 'application/json', 'text/plain', '')

#: Two stores for data, and two whose data is registered; the guard lets nothing out.
STORES = """
enabled_backends = fast:file,cheap:file,web:http,ram:memory
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {directory}/fast
[cheap]
filesystem_store_datadir = {directory}/cheap
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
"""
SHOWN = """
show_multiple_locations = true
show_image_direct_url = true
image_cache_dir = {directory}/cache
worker_self_reference_url = http://image-1.example:9292
enabled_import_methods = [glance-direct,web-download,copy-image]
"""

#: What is in each namespace: (part of its path, name).
ITEMS = {'objects': 'o', 'properties': 'p', 'tags': 't', 'resource_types': 'R'}
PROPERTY = {'title': 'T', 'type': 'string'}
WITHIN = {
    'objects': [{'name': 'o', 'required': ['q'], 'properties': {'q': PROPERTY}}],
    'properties': {'p': {**PROPERTY, 'items': {'type': 'string', 'enum': ['a']}, 'default': 1}},
    'tags': [{'name': 't'}],
    'resource_type_associations': [{'name': 'R', 'prefix': 'r:'}],
}

#: Half of the examples break the schema.
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


for _kind in (V20, V21):
    schemathesis.serializer.alias(_kind, 'application/json')


URLS = st.sampled_from([
    'memory://ram/data', 'memory://ram/nothing', 'memory://', 'http://127.0.0.1/', 'http://[::1',
    'http://169.254.169.254/latest', 'http://user:secret@10.0.0.1:80/', 'http://0x7f.1/', 'https:',
    'http://localhost:99999/', 'file:///etc/passwd', 'glance://x', 'cinder://ram/x', 'x' * 5000,
    'http://127.0.0.1/\0', 'http://127.0.0.1/\r\nHost: x', '',
])  # fmt: skip
DIGESTS = st.fixed_dictionaries(
    {},
    optional={
        'checksum': st.sampled_from(['0' * 32, 'x', 'g' * 32]),
        'os_hash_algo': st.sampled_from(['sha512', 'md5', 'sha1', 'crc', '']),
        'os_hash_value': st.sampled_from(['0' * 128, '0' * 32, 'é', 'z' * 128]),
    },
)
METADATA = st.dictionaries(
    st.sampled_from(['store', 'backend', 'color', '']),
    st.sampled_from(['fast', 'ram', 'nowhere', 5, None, {'a': ['b']}]),
    max_size=2,
)
NEW = st.fixed_dictionaries(
    {'url': URLS, 'metadata': METADATA}, optional={'validation_data': DIGESTS}
)
STEPS = st.lists(
    st.fixed_dictionaries(
        {
            'op': st.sampled_from(['add', 'replace', 'remove']),
            'path': st.sampled_from(
                ['/locations', '/locations/-', '/locations/0', '/locations/7', '/locations/x',
                 '/locations/0/url', '/disk_format', '/name']
            ),
            'value': st.one_of(NEW, st.lists(NEW, max_size=2), st.sampled_from(['raw', None, 5])),
        }
    ),
    max_size=4,
)  # fmt: skip
#: One field of several may be of a wrong kind.
IMPORTS = st.fixed_dictionaries(
    {
        'method': st.one_of(
            st.fixed_dictionaries(
                {
                    'name': st.sampled_from(
                        ['glance-direct', 'web-download', 'copy-image', 'glance-download', 'no', 5]
                    )
                },
                optional={'uri': URLS, 'glance_region': st.sampled_from(['x', None])},
            ),
            st.sampled_from(['glance-direct', None, {}]),
        )
    },
    optional={
        'stores': st.sampled_from(
            [['fast'], ['fast', 'cheap'], ['web'], ['nowhere'], [], ['fast', 'fast'], [5], 'fast']
        ),
        'all_stores': st.sampled_from([True, False, 'yes']),
        'all_stores_must_succeed': st.sampled_from([True, False, None]),
    },
)
#: Bodies that a schema does not lead to, of those with something behind it.
BODIES = {
    'POST /v2/images/{image_id}/locations': ('application/json', NEW),
    'POST /v2/images/{image_id}/import': ('application/json', IMPORTS),
    'PATCH /v2/images/{image_id}': (V21, STEPS),
}


@dataclasses.dataclass
class World:
    app: App
    operations: dict[str, Any]
    #: what the requests were answered
    sent: list[int] = dataclasses.field(default_factory=list)
    numbers: Any = dataclasses.field(default_factory=itertools.count)

    def image(self, state: str) -> str:
        """The id of a new image of alpha in a state."""
        app = self.app
        fields: dict[str, Any] = {'disk_format': 'raw', 'container_format': 'bare'}
        fields |= {'protected': True} if state == 'protected' else {}
        if state == 'queued':
            return str(app.create(color='red', tags=['a'], **fields)['id'])
        if state == 'staged':
            image_id = str(app.create(**fields)['id'])
            app.request('PUT', f'/v2/images/{image_id}/stage', b'staged', kind=OCTETS)
            return image_id
        if state == 'public':
            who = {'project': 'operators', 'roles': ADMIN['roles'], 'owner': 'alpha'}
            return str(app.create(visibility='public', **who, **fields)['id'])
        image_id = str(app.active(b'some data', **fields)['id'])
        link = f'/v2/images/{image_id}'
        if state == 'shared':
            app.request('POST', link + '/members', {'member': 'beta'})
        elif state == 'deactivated':
            app.request('POST', link + '/actions/deactivate')
        elif state == 'deleted':
            app.request('DELETE', link)
        return image_id

    def namespace(self, state: str) -> str:
        """The name of a new namespace of alpha in a state."""
        name = f'space{next(self.numbers)}'
        body = {
            'namespace': name,
            'owner': 'alpha',
            'visibility': 'public' if state in ('public', 'shared') else 'private',
            'protected': state == 'protected',
            **WITHIN,
        }
        path = '/v2/metadefs/namespaces'
        assert self.app.request('POST', path, body, **ADMIN).status == 201
        if state == 'deleted':
            assert self.app.request('DELETE', f'{path}/{name}', **ADMIN).status == 204
        return name

    def task(self) -> str:
        body = {'type': 'import', 'input': {'import_from': 'http://a.example/b'}}
        return str(self.app.request('POST', '/v2/tasks', body, **ADMIN).json['id'])


@functools.cache
def shares() -> dict[str, int]:
    """Every operation -> its requests. Most of what is interesting has a body or a query."""
    found = {}
    for path, method, family, name, _ in TABLE:
        said = described.handler(family, name)
        found[f'{method} /v2{path}'] = 3 if said.body or said.query else 1
    # Schemathesis leaves out the document itself.
    found |= {f'GET {path}': 1 for path in openapi.OUTSIDE if path != openapi.PATH}
    whole = sum(found.values())
    return {label: math.ceil(REQUESTS * share / whole) for label, share in found.items()}


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp('schemathesis')
    app = App(
        directory,
        default=SHOWN.format(directory=directory),
        stores=STORES,
        flavor='trusted-auth+cachemanagement',
    )
    app.service.gateway.stores['ram'].driver._held['data'] = b'some data', 0.0
    schema = schemathesis.openapi.from_wsgi('/openapi.json', app.wsgi)
    found = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        found[operation.label] = operation
    yield World(app, found)
    app.close()


def headers(who: tuple[str | None, str], accept: str | None, kind: str | None) -> dict[str, str]:
    project, roles = who
    found = {} if accept is None else {'Accept': accept}
    if kind is not None:
        found['Content-Type'] = kind
    if project is not None:
        found |= {
            'X-Identity-Status': 'Confirmed', 'X-Project-Id': project, 'X-Roles': roles,
            'X-User-Id': f'user-of-{project}',
        }  # fmt: skip
    return found


@pytest.mark.parametrize('label', shares())
def test_nothing_is_answered_that_is_not_described(world, label):
    operation = world.operations[label]
    sent = len(world.sent)

    @settings(
        max_examples=shares()[label],
        deadline=None,
        database=None,
        derandomize=not FULL,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=st.one_of([operation.as_strategy(generation_mode=mode) for mode in MODES]),
        who=st.sampled_from(PEOPLE),
        state=st.sampled_from(STATES),
        accept=st.sampled_from(ACCEPTS),
        member=st.sampled_from(['beta', 'gamma', None]),
        kind=st.sampled_from(KINDS if operation.body else (None,)),
        body=st.one_of(st.none(), BODIES[label][1]) if label in BODIES else st.none(),
    )
    def run(case, who, state, accept, member, kind, body):
        if body is not None:
            case.body, case.media_type = body, BODIES[label][0]
        one(world, case, headers(who, accept, kind), state, member)

    run()
    statuses = world.sent[sent:]
    assert len(statuses) >= shares()[label]
    # Some dozen requests without a body may all meet the same answer by chance; more may not.
    if shares()[label] > 100 and label.split()[1].startswith('/v2'):
        assert len(set(statuses)) > 1, statuses


def one(world, case, sent, state, member):
    parameters = dict(case.path_parameters or {})
    if state is not None and 'image_id' in parameters:
        parameters['image_id'] = world.image(state)
    if member is not None and 'member_id' in parameters:
        parameters['member_id'] = member
    if member is not None and 'task_id' in parameters:
        parameters['task_id'] = world.task()
    if member is not None and 'store_id' in parameters:
        parameters['store_id'] = 'fast'
    if state is not None and 'namespace' in parameters:
        parameters['namespace'] = world.namespace(state)
    if member is not None and 'item' in parameters:
        parameters['item'] = ITEMS[case.path.split('/')[5]]
    case.path_parameters = parameters
    response = case.call(headers=sent)
    world.sent.append(response.status_code)
    case.validate_response(response, checks=CHECKS)
    assert b'Traceback' not in response.content
