# SPDX-License-Identifier: Apache-2.0
"""Staging and imports asked of a Glance 33 and of glance-lite: same answers, same images."""

from __future__ import annotations

import contextlib
import time
import uuid

import pytest

from tests.peers import glance33, lite
from tests.peers.lite import ADMIN, MEMBER, NOBODY, OTHER, READER

OCTETS = 'application/octet-stream'
DATA = b'what is imported' * 4096

SETTINGS = """
enabled_import_methods = [glance-direct,copy-image]
enabled_backends = fast:file,cheap:file
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {directory}/fast
[cheap]
filesystem_store_datadir = {directory}/cheap
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {directory}/tasks
"""


@pytest.fixture(scope='module')
def services(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        found = []
        for name, peer in (('glance', glance33), ('lite', lite)):
            directory = tmp_path_factory.mktemp(name)
            for store in ('fast', 'cheap', 'staging', 'tasks'):
                (directory / store).mkdir()
            stores = SETTINGS.format(directory=directory)
            url = f'sqlite:///{directory}/glance.sqlite'
            more = () if peer is glance33 else (1,)
            peer.manage(peer.write_settings(directory, url, stores, *more), 'db', 'sync')
            base = stack.enter_context(peer.running(directory, url, stores))
            found.append(Told(lite.Client(base)))
        yield found


class Told:
    """A service and what it has answered."""

    def __init__(self, client):
        self.client = client
        self.answers = []

    def __call__(self, who, method, path, *args, **kwargs):
        answer = self.client.send(who, method, f'/v2{path}', *args, **kwargs)
        self.answers.append(answer.status_code)
        return answer

    def create(self, **fields):
        fields = {'disk_format': 'raw', 'container_format': 'bare', **fields}
        image_id = str(uuid.uuid4())
        self(MEMBER, 'POST', '/images', {'id': image_id, **fields})
        return image_id

    def stage(self, image_id, who=MEMBER, kind=OCTETS):
        return self(who, 'PUT', f'/images/{image_id}/stage', DATA, kind)

    def ask(self, image_id, method='glance-direct', who=MEMBER, headers=None, **fields):
        body = {'method': {'name': method}, **fields}
        return self(who, 'POST', f'/images/{image_id}/import', body, headers=headers)

    def show(self, image_id):
        return self.client.send(ADMIN, 'GET', f'/v2/images/{image_id}').json()

    def ended(self, image_id):
        """The image when nothing is done to it any more, as far as it is the same on both."""
        deadline = time.monotonic() + 60
        while 'os_glance_import_task' in self.show(image_id):
            assert time.monotonic() < deadline, self.show(image_id)
            time.sleep(0.2)
        image = self.show(image_id)
        for name in ('id', 'self', 'file', 'created_at', 'updated_at'):
            del image[name]
        image['stores'] = sorted(image['stores'].split(',')) if 'stores' in image else None
        # Glance does not look what it is; here the size of the disk is known.
        image.pop('virtual_size')
        self.answers.append(image)
        return image


def into_one_store(told):
    image_id = told.create()
    told.stage(image_id)
    told.answers.append(told.show(image_id)['status'])
    told.ask(image_id)
    told.ended(image_id)
    told(MEMBER, 'GET', f'/images/{image_id}/file')
    tasks = told(MEMBER, 'GET', f'/images/{image_id}/tasks').json()['tasks']
    told.answers += [(task['type'], task['status'], task['result'] is None) for task in tasks]


def into_two_stores(told):
    image_id = told.create()
    told.stage(image_id)
    told.ask(image_id, stores=['fast', 'cheap'])
    told.ended(image_id)
    image_id = told.create()
    told.stage(image_id)
    told.ask(image_id, all_stores=True, all_stores_must_succeed=False)
    told.ended(image_id)


def a_header_for_the_store(told):
    image_id = told.create()
    told.stage(image_id)
    headers = {'x-image-meta-store': 'cheap'}
    told.ask(image_id, headers=headers, stores=['fast'])
    told.ask(image_id, headers=headers, all_stores=True)
    told.ask(image_id, headers={'x-image-meta-store': 'nowhere'})
    told.ask(image_id, stores=['nowhere'])
    told.ask(image_id, headers=headers)
    told.ended(image_id)


def copies(told):
    image_id = told.create()
    told.ask(image_id, 'copy-image', ADMIN)
    told(MEMBER, 'PUT', f'/images/{image_id}/file', DATA, OCTETS)
    told.ask(image_id, 'copy-image', ADMIN, stores=['fast'])
    told.ask(image_id, 'copy-image', MEMBER, stores=['cheap'])
    told.ask(image_id, 'copy-image', ADMIN, stores=['cheap'])
    told.ended(image_id)
    told.ask(image_id, 'copy-image', ADMIN, all_stores=True)
    told.ended(image_id)
    told.ask(image_id)


def statuses(told):
    image_id = told.create()
    told.ask(image_id)
    told.stage(image_id, kind='application/json')
    told.stage(image_id)
    told.stage(image_id)
    told(MEMBER, 'PUT', f'/images/{image_id}/file', DATA, OCTETS)
    told.ask(image_id)
    told.ended(image_id)
    told.ask(image_id)
    told.stage(image_id)
    told(MEMBER, 'DELETE', f'/images/{image_id}')
    told.ask(image_id)
    told.stage(image_id)
    bare = told(MEMBER, 'POST', '/images', {'name': 'no formats'}).json()['id']
    told.stage(bare)
    told.ask(bare)
    told(MEMBER, 'DELETE', f'/images/{bare}')


def people(told):
    image_id = told.create()
    for who in (OTHER, NOBODY, READER):
        told.stage(image_id, who)
    told.stage(image_id)
    for who in (OTHER, NOBODY, READER):
        told.ask(image_id, who=who)
    told.ask(image_id, who=ADMIN)
    told.ended(image_id)


def bodies(told):
    image_id = told.create()
    told.stage(image_id)
    direct = {'name': 'glance-direct'}
    for body in (
        {},
        {'method': {}},
        {'method': {'name': 'no-such'}},
        {'method': {'name': 'web-download'}},
        {'method': direct, 'all_stores': 'yes'},
        {'method': direct, 'all_stores_must_succeed': 'no'},
        {'method': direct, 'all_stores': 1},
        {'method': direct, 'stores': ['fast'], 'all_stores': True},
        {'method': direct, 'stores': ['nowhere']},
    ):
        told(MEMBER, 'POST', f'/images/{image_id}/import', body)
    told.answers.append(told.show(image_id)['status'])


CASES = (
    into_one_store, into_two_stores, a_header_for_the_store, copies, statuses, people, bodies,
)  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.__name__)
def test_same_imports(services, case):
    found = []
    for told in services:
        told.answers.clear()
        case(told)
        found.append(list(told.answers))
    glance, ours = found
    assert ours == glance
