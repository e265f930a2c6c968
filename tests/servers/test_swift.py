# SPDX-License-Identifier: Apache-2.0
"""The whole service on a real Swift: one account for all, and an account for each project."""

from __future__ import annotations

import concurrent.futures
import threading
import time
import uuid

import pytest
import requests

from tests.backends import keystone, swift
from tests.servers import processes
from tests.servers.test_servers import Caller, noise

pytestmark = pytest.mark.peer

#: what the options for sizes count in; a segment
MB = 1000 * 1024
#: of bodies
OCTETS = {'Content-Type': 'application/octet-stream'}

ONE_ACCOUNT = """
enabled_backends = swift:swift
[glance_store]
default_backend = swift
[swift]
swift_store_config_file = {directory}/swift.conf
swift_store_container = {container}
swift_store_create_container_on_put = true
swift_store_large_object_size = 2
swift_store_large_object_chunk_size = 1
"""

REFERENCE = """
[ref1]
auth_version = 1
auth_address = {address}
user = {user}
key = {key}
"""

ACCOUNT_EACH = """
enabled_backends = swift:swift
[glance_store]
default_backend = swift
[swift]
swift_store_multi_tenant = true
swift_store_admin_tenants = {admins}
swift_store_auth_address = {cloud}
swift_store_user = {user}
swift_store_key = {key}
swift_store_region = {region}
swift_store_container = {container}
swift_store_create_container_on_put = true
swift_store_large_object_size = 2
swift_store_large_object_chunk_size = 1
"""


def new_container():
    return f'images{uuid.uuid4().hex[:12]}'


@pytest.fixture
def own():
    """A Swift to hurt."""
    with swift.Alone() as own:
        yield own


@pytest.fixture
def one_account(own, tmp_path):
    """Settings of a service, and how to see what is in its container."""
    container = new_container()
    user, key = next(iter(swift.TEMPAUTH.items()))
    reference = REFERENCE.format(address=own.server.auth_url, user=user, key=key)
    (tmp_path / 'swift.conf').write_text(reference)
    stores = ONE_ACCOUNT.format(directory=tmp_path, container=container)
    made = processes.settings(tmp_path, stores=stores)
    made.edit('workers = 2', 'workers = 1')
    return made, lambda: own.server.admin('GET', f'AUTH_test/{container}').text.split()


def test_one_account_for_all(own, one_account):
    made, objects = one_account
    data = noise(3 * MB + 7)
    with processes.api(made) as server:
        alpha = Caller(server.url, 'alpha')
        sized, streamed, empty, hung = (alpha.create() for _ in range(4))
        alpha.upload(sized, data)
        alpha.upload(streamed, iter([data[:10], data[10 : 2 * MB], data[2 * MB :]]))
        alpha.upload(empty, b'')
        for image_id, expected in ((sized, data), (streamed, data), (empty, b'')):
            alpha.check(image_id, expected)
        for first, last in ((5, 10), (MB - 3, 2 * MB + 3), (3 * MB, 3 * MB + 6)):
            wanted = {'Range': f'bytes={first}-{last}'}
            part = alpha('GET', f'/images/{sized}/file', 206, headers=wanted)
            assert part.content == data[first : last + 1]
        alpha('PUT', f'/images/{sized}/file', 409, data=b'other', headers=OCTETS)
        hangs(own, server, alpha, hung, data)
        is_gone(own, alpha, sized, data)
        for one in (sized, streamed, empty, hung):
            alpha('DELETE', f'/images/{one}', 204)
            alpha('GET', f'/images/{one}', 404)
        assert objects() == []
        log = server.text()
        assert 'Traceback' not in log
        assert not any(key in log for key in swift.TEMPAUTH.values())


def hangs(own, server, alpha, image_id, data):
    """Swift does not answer for a while: others are served, and who waits is served then."""
    reached, go_on = threading.Event(), threading.Event()

    def body():
        yield data[: 2 * MB]
        reached.set()
        go_on.wait(60)
        yield data[2 * MB :]

    def upload():
        Caller(server.url, 'alpha').upload(image_id, body())

    with concurrent.futures.ThreadPoolExecutor() as pool:
        uploading = pool.submit(upload)
        assert reached.wait(60)
        processes.until(lambda: alpha.show(image_id)['status'] == 'saving', 'it uploads')
        own.freeze()
        try:
            go_on.set()
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline:
                assert alpha.show(image_id)['status'] == 'saving'
        finally:
            own.thaw()
        uploading.result(60)
    alpha.check(image_id, data)


def is_gone(own, alpha, image_id, data):
    """Swift is stopped, and there again. The service goes on all the time."""
    own.stop()
    try:
        new = alpha.create()
        answer = alpha('PUT', f'/images/{new}/file', 503, data=data, headers=OCTETS)
        assert 'swift' in answer.text
        alpha('GET', f'/images/{image_id}/file', 503)
    finally:
        own.start()
    processes.until(lambda: alpha.show(new)['status'] == 'queued', 'it can be uploaded again')
    alpha.check(image_id, data)
    alpha.upload(new, data)
    alpha.check(new, data)
    alpha('DELETE', f'/images/{new}', 204)


class Somebody:
    """Of a project, with a token, for the Image service and for Swift."""

    def __init__(self, region, name):
        self.account = region.user(name, roles=('member', 'reader', swift.OPERATOR))
        self.id = self.account.project_id
        self.token = self.account.token()

    def caller(self, url):
        caller = Caller(url, None)
        caller._session.headers['X-Auth-Token'] = self.token
        return caller

    def head(self, url):
        return requests.head(url, headers={'X-Auth-Token': self.token}, timeout=60)


@pytest.fixture
def region():
    region = keystone.cloud().region()
    swift.serve(swift.swift('keystone'), region)
    return region


def test_an_account_for_each_project(region, tmp_path):
    """Swift itself lets the members in, and nobody else."""
    cloud, container = region.cloud, new_container()
    service = region.user('service', roles=(swift.OPERATOR,))
    swift.reseller(cloud, service)
    owner, member, other = (Somebody(region, name) for name in ('owner', 'member', 'other'))
    stores = ACCOUNT_EACH.format(
        cloud=cloud.url,
        user=f'{service.project}:{service.name}',
        key=keystone.PASSWORD,
        region=region.name,
        admins='some-project',
        container=container,
    )
    more = region.authtoken(memcached_servers=keystone.memcached())
    made = processes.settings(tmp_path, flavor='keystone', stores=stores, more=more)
    made.edit('workers = 2', 'workers = 1')
    data = noise(3 * MB + 7)
    with processes.api(made) as server:
        mine, theirs, not_theirs = (who.caller(server.url) for who in (owner, member, other))
        image, streamed = mine.create(), mine.create()
        mine.upload(image, data)
        mine.upload(streamed, iter([data[: 2 * MB], data[2 * MB :]]))
        mine.check(image, data)
        mine.check(streamed, data)
        url = f'{swift.swift("keystone").url}/v1/AUTH_{owner.id}/{container}_{image}'
        assert owner.head(f'{url}/{image}').headers['Content-Length'] == str(len(data))
        for who in (member, other):
            assert who.head(f'{url}/{image}').status_code == 403
        theirs('GET', f'/images/{image}/file', 404)

        mine('POST', f'/images/{image}/members', 200, json={'member': member.id})
        said = owner.head(url).headers
        assert said['X-Container-Read'] == f'{member.id}:*'
        assert said['X-Container-Write'] == 'some-project:*'
        theirs('PUT', f'/images/{image}/members/{member.id}', 200, json={'status': 'accepted'})
        theirs.check(image, data)
        wanted = {'Range': f'bytes={MB - 3}-{2 * MB + 3}'}
        part = theirs('GET', f'/images/{image}/file', 206, headers=wanted)
        assert part.content == data[MB - 3 : 2 * MB + 4]
        assert member.head(f'{url}/{image}').status_code == 200
        assert other.head(f'{url}/{image}').status_code == 403
        not_theirs('GET', f'/images/{image}/file', 404)

        mine('DELETE', f'/images/{image}/members/{member.id}', 204)
        assert member.head(f'{url}/{image}').status_code == 403
        assert 'X-Container-Read' not in owner.head(url).headers
        for one in (image, streamed):
            mine('DELETE', f'/images/{one}', 204)
            assert owner.head(url.replace(image, one)).status_code == 404
        log = server.text()
        assert 'Traceback' not in log
        for secret in (keystone.PASSWORD, owner.token, member.token, other.token):
            assert secret not in log
