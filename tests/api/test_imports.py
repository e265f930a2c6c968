# SPDX-License-Identifier: Apache-2.0
"""Staging and imports: what a client is answered, and what becomes of its image."""

from __future__ import annotations

import pytest

from tests.api.harness import OCTETS, ONE_STORE, TWO_STORES

DATA = b'some data to import' * 1000

STAGING = '[os_glance_staging_store]\nfilesystem_store_datadir = {directory}/staging\n'
STORES = TWO_STORES + STAGING


@pytest.fixture
def app(make_app):
    return make_app(stores=STORES)


def create(app, **fields):
    fields = {'disk_format': 'raw', 'container_format': 'bare', **fields}
    return app.request('POST', '/v2/images', fields).json['id']


def stage(app, image_id, data=DATA, **kwargs):
    return app.request('PUT', f'/v2/images/{image_id}/stage', data, kind=OCTETS, **kwargs)


def ask(app, image_id, method='glance-direct', **fields):
    headers = fields.pop('headers', None)
    who = {name: fields.pop(name) for name in ('project', 'roles') if name in fields}
    body = {'method': {'name': method}, **fields}
    path = f'/v2/images/{image_id}/import'
    return app.request('POST', path, body, headers=headers, **who)


def work(app):
    return app.service.jobs.run()


def show(app, image_id):
    return app.request('GET', f'/v2/images/{image_id}').json


def tasks(app, image_id):
    return app.request('GET', f'/v2/images/{image_id}/tasks').json['tasks']


def staged(app):
    directory = app.directory / 'staging'
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def test_glance_direct(app):
    image_id = create(app)
    assert stage(app, image_id).status == 204
    assert show(app, image_id)['status'] == 'uploading'
    assert show(app, image_id)['size'] == len(DATA)
    assert staged(app) == [image_id]
    answer = ask(app, image_id, stores=['fast', 'cheap'])
    assert (answer.status, answer.body) == (202, b'')
    image = show(app, image_id)
    assert image['status'] == 'importing'
    assert image['os_glance_importing_to_stores'] == 'cheap,fast'
    (task,) = tasks(app, image_id)
    assert (task['type'], task['status']) == ('api_image_import', 'pending')
    assert image['os_glance_import_task'] == task['id']
    assert work(app) == 1
    image = show(app, image_id)
    assert image['status'] == 'active'
    assert image['stores'] == 'fast,cheap'
    assert image['size'] == len(DATA)
    assert image['os_glance_importing_to_stores'] == image['os_glance_failed_import'] == ''
    assert 'os_glance_import_task' not in image
    assert app.request('GET', f'/v2/images/{image_id}/file').body == DATA
    (task,) = tasks(app, image_id)
    assert (task['status'], task['result']) == ('success', {'image_id': image_id})
    assert staged(app) == []


def test_single_store(make_app, tmp_path):
    app = make_app(stores=ONE_STORE, default=f'node_staging_uri = file://{tmp_path}/staging')
    image_id = create(app)
    stage(app, image_id)
    assert ask(app, image_id, all_stores_must_succeed=False).status == 202
    work(app)
    image = show(app, image_id)
    assert image['status'] == 'active'
    assert staged(app) == []


def test_copy_image(app):
    image_id = create(app)
    app.request('PUT', f'/v2/images/{image_id}/file', DATA, kind=OCTETS)
    admin = {'roles': 'admin,member,reader'}
    assert ask(app, image_id, 'copy-image', stores=['cheap'], **admin).status == 202
    assert show(app, image_id)['status'] == 'active'
    work(app)
    assert show(app, image_id)['stores'] == 'fast,cheap'
    assert ask(app, image_id, 'copy-image', stores=['cheap'], **admin).status == 400
    assert ask(app, image_id, 'copy-image', all_stores=True, **admin).status == 202
    assert work(app) == 0


def test_a_deleted_image_leaves_nothing(app):
    image_id = create(app)
    stage(app, image_id)
    assert app.request('DELETE', f'/v2/images/{image_id}').status == 204
    assert staged(app) == []
    image_id = create(app)
    stage(app, image_id)
    ask(app, image_id)
    assert app.request('DELETE', f'/v2/images/{image_id}').status == 204
    assert staged(app) == []
    assert work(app) == 0
