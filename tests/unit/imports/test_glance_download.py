# SPDX-License-Identifier: Apache-2.0
"""``glance-download`` from a real service, with a real Keystone between."""

from __future__ import annotations

import hashlib
import json
import random

import pytest
import requests

from glance_lite import conf as configuration
from glance_lite.context import RequestContext
from glance_lite.errors import Forbidden, Gone, Invalid, LimitExceeded, NotFound
from glance_lite.guarded import Guard
from glance_lite.imports.glance_download import GlanceDownload
from glance_lite.imports.values import Job
from glance_lite.testing.layers import make_image
from tests.backends import keystone
from tests.servers import processes
from tests.unit.imports.work import FileWork

pytestmark = pytest.mark.peer

DATA = random.Random(13).randbytes(300_000)
IMAGE = make_image('an-id').replace(status='queued', size=None, locations=())
FIELDS = {
    'disk_format': 'raw', 'container_format': 'bare', 'hw_disk_bus': 'virtio',
    'trait:HW_CPU_X86_AVX': 'required', 'os_distro': 'debian', 'other': 'stays there',
}  # fmt: skip


class There:
    """A service in a region of its own, and its people."""

    def __init__(self, region, url):
        self.region = region
        self.url = url
        self.alice = region.user('alice')
        self.bob = region.user('bob')

    def upload(self, who, data=DATA, **more):
        headers = {'X-Auth-Token': who.token()}
        body = {**FIELDS, **more}
        made = requests.post(f'{self.url}/v2/images', json=body, headers=headers, timeout=60)
        made.raise_for_status()
        image_id = made.json()['id']
        if data is not None:
            url = f'{self.url}/v2/images/{image_id}/file'
            headers['Content-Type'] = 'application/octet-stream'
            requests.put(url, data=data, headers=headers, timeout=60).raise_for_status()
        return image_id


@pytest.fixture(scope='module')
def there(tmp_path_factory):
    cloud = keystone.cloud()
    region = cloud.region()
    directory = tmp_path_factory.mktemp('there')
    made = processes.settings(directory, flavor='keystone', more=region.authtoken())
    with processes.api(made) as server:
        region.serves(server.url)
        yield There(region, server.url)


@pytest.fixture
def method(there, tmp_path):
    file = tmp_path / 'glance-api.conf'
    file.write_text(there.region.authtoken())
    conf = configuration.parse(configuration.new(), ['--config-file', str(file)])
    return GlanceDownload('glance-download', conf, Guard())


def context(account, token=None, roles=('member', 'reader')):
    return RequestContext(
        user_id=account.user_id, project_id=account.project_id, roles=roles,
        auth_token=token or account.token(),
    )  # fmt: skip


def asked(there, image_id, **more):
    return {'glance_region': there.region.name, 'glance_image_id': image_id, **more}


def job(method, there, account, image_id, **more):
    """As the request leaves it in the database."""
    fields = method.validate(asked(there, image_id, **more), IMAGE)
    ctx = context(account)
    fields = method.accept(ctx, fields, IMAGE)
    kept = json.dumps(dict(fields))
    assert ctx.auth_token not in kept
    return Job(1, 'a-task', IMAGE, 'glance-download', json.loads(kept))


@pytest.fixture
def work(tmp_path):
    return FileWork(tmp_path / 'staged')


def trusts(there, account):
    admin = there.region.cloud.admin
    url = f'{there.region.cloud.url}/OS-TRUST/trusts?trustor_user_id={account.user_id}'
    headers = {'X-Auth-Token': account.token()}
    assert admin is not None
    return requests.get(url, headers=headers, timeout=60).json()['trusts']


def test_an_image_of_another_region(there, method, work):
    image_id = there.upload(there.alice)
    wanted = job(method, there, there.alice, image_id)
    assert [one['id'] for one in trusts(there, there.alice)] == [wanted.fields['trust_id']]
    outcome = method.fetch(wanted, work)
    assert work.path.read_bytes() == DATA
    assert outcome.file is None
    assert outcome.fields == {'disk_format': 'raw', 'container_format': 'bare'}
    assert outcome.properties == {
        name: FIELDS[name] for name in ('hw_disk_bus', 'trait:HW_CPU_X86_AVX', 'os_distro')
    }
    # What was lent has been given back, and a second time nothing needs it.
    assert trusts(there, there.alice) == []
    again = FileWork(work.path, note=work.note)
    assert method.fetch(wanted, again) == outcome


def test_whoever_asks_gets_what_they_may_have(there, method, work):
    image_id = there.upload(there.alice)
    with pytest.raises(Invalid, match='no such image there'):
        method.fetch(job(method, there, there.bob, image_id), work)
    assert not work.path.exists() or not work.path.read_bytes()


def test_a_trust_that_was_taken_back(there, method, work):
    wanted = job(method, there, there.alice, there.upload(there.alice))
    url = f'{there.region.cloud.url}/OS-TRUST/trusts/{wanted.fields["trust_id"]}'
    headers = {'X-Auth-Token': there.alice.token()}
    assert requests.delete(url, headers=headers, timeout=60).status_code == 204
    with pytest.raises(Forbidden, match='taken back'):
        method.fetch(wanted, work)


def test_a_token_that_cannot_lend(there, method):
    ctx = context(there.alice, token='garbage')
    fields = method.validate(asked(there, there.upload(there.alice, None)), IMAGE)
    with pytest.raises(Forbidden, match='lend'):
        method.accept(ctx, fields, IMAGE)
    with pytest.raises(Forbidden, match='lend'):
        # A role that the user does not have.
        method.accept(context(there.alice, roles=('admin',)), fields, IMAGE)
    with pytest.raises(Forbidden, match='known to Keystone'):
        method.accept(RequestContext(user_id='u', project_id='p'), fields, IMAGE)


def test_images_that_are_not_ready(there, method, work):
    with pytest.raises(Invalid, match='must be active, and is queued'):
        method.fetch(job(method, there, there.alice, there.upload(there.alice, None)), work)


def test_a_region_that_is_none(there, method, work):
    image_id = there.upload(there.alice)
    wanted = job(method, there, there.alice, image_id, glance_region='nowhere')
    with pytest.raises(NotFound, match='no image service in that region'):
        method.fetch(wanted, work)


def test_limits_and_ends(there, method, work, tmp_path):
    image_id = there.upload(there.alice)
    with pytest.raises(LimitExceeded):
        method.fetch(job(method, there, there.alice, image_id), FileWork(work.path, most=1000))
    with pytest.raises(Gone):
        method.fetch(job(method, there, there.alice, image_id), FileWork(work.path, cut=0))


def test_what_was_fetched_is_verified(there, method, work):
    """By the digest that the other service has of it."""
    image_id = there.upload(there.alice)
    headers = {'X-Auth-Token': there.alice.token()}
    image = requests.get(f'{there.url}/v2/images/{image_id}', headers=headers, timeout=60).json()
    assert image['os_hash_value'] == hashlib.sha512(DATA).hexdigest()
    wrong = FileWork(work.path, note={'mark': json.dumps([len(DATA), '', len(DATA)])})
    work.path.write_bytes(bytes(len(DATA)))
    with pytest.raises(Invalid, match='another sha512 digest'):
        method.fetch(job(method, there, there.alice, image_id), wrong)


@pytest.mark.parametrize(
    'more',
    [
        {'glance_region': None}, {'glance_region': ''}, {'glance_region': 5},
        {'glance_image_id': None}, {'glance_image_id': 'x'}, {'glance_image_id': []},
        {'glance_service_interface': None}, {'glance_service_interface': []},
    ],
)  # fmt: skip
def test_requests_that_make_no_sense(there, method, more):
    fields = {**asked(there, '7d5a6b9c-0000-4000-8000-000000000000'), **more}
    with pytest.raises(Invalid):
        method.validate(fields, IMAGE)
