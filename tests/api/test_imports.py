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


def break_store(app, name):
    """From now on nothing can be written to it, not even by root."""
    directory = app.directory / name
    directory.rmdir()
    directory.write_text('no directory')


def test_all_or_nothing(app):
    image_id = create(app)
    stage(app, image_id)
    break_store(app, 'cheap')
    ask(app, image_id, stores=['fast', 'cheap'], all_stores_must_succeed=True)
    work(app)
    image = show(app, image_id)
    assert image['status'] == 'queued'
    assert image['os_glance_failed_import'] == 'cheap'
    assert image['os_glance_importing_to_stores'] == ''
    assert 'cheap' in image['os_glance_failed_upload']
    assert 'os_glance_import_task' not in image
    assert image['size'] is image['checksum'] is image['os_hash_value'] is None
    assert image['stores' if 'stores' in image else 'tags'] == []
    assert list((app.directory / 'fast').iterdir()) == []
    assert staged(app) == []
    (task,) = tasks(app, image_id)
    assert task['status'] == 'failure' and 'cheap' in task['message']
    # And once more, to where it can be.
    assert stage(app, image_id).status == 204
    assert ask(app, image_id).status == 202
    work(app)
    assert show(app, image_id)['status'] == 'active'


def test_one_store_is_enough_if_that_was_said(app):
    image_id = create(app)
    stage(app, image_id)
    break_store(app, 'fast')
    ask(app, image_id, all_stores=True, all_stores_must_succeed=False)
    work(app)
    image = show(app, image_id)
    assert (image['status'], image['stores']) == ('active', 'cheap')
    assert image['os_glance_failed_import'] == 'fast'
    assert staged(app) == []
    (task,) = tasks(app, image_id)
    assert task['status'] == 'success' and 'fast' in task['message']


def test_a_copy_that_fails_leaves_the_image_active(app):
    image_id = create(app)
    app.request('PUT', f'/v2/images/{image_id}/file', DATA, kind=OCTETS)
    break_store(app, 'cheap')
    ask(app, image_id, 'copy-image', stores=['cheap'], roles='admin,member')
    work(app)
    image = show(app, image_id)
    assert (image['status'], image['stores']) == ('active', 'fast')
    assert image['os_glance_failed_import'] == 'cheap'
    assert 'os_glance_import_task' not in image
    assert app.request('GET', f'/v2/images/{image_id}/file').body == DATA


@pytest.mark.parametrize('workers', [1, 2])
def test_in_parallel(make_app, workers):
    app = make_app(stores=STORES, more=f'[image_import_opts]\nmax_parallel_stores = {workers}')
    image_id = create(app)
    stage(app, image_id)
    ask(app, image_id, all_stores=True)
    work(app)
    image = show(app, image_id)
    assert image['status'] == 'active'
    assert sorted(image['stores'].split(',')) == ['cheap', 'fast']
    for store in ('fast', 'cheap'):
        path = f'/v2/images/{image_id}/file?prefer={store}'
        assert app.request('GET', path, roles='admin').body == DATA


def test_content_is_looked_at(app):
    image_id = create(app, disk_format='qcow2')
    assert stage(app, image_id).status == 204
    ask(app, image_id)
    work(app)
    image = show(app, image_id)
    assert image['status'] == 'queued'
    assert 'qcow2' in image['os_glance_failed_upload']
    assert staged(app) == []


def test_statuses(app):
    image_id = create(app)
    assert ask(app, image_id).status == 409  # not staged
    assert ask(app, image_id, 'copy-image', roles='admin,member').status == 409
    stage(app, image_id)
    assert stage(app, image_id).status == 409
    ask(app, image_id)
    assert ask(app, image_id).status == 409
    work(app)
    assert ask(app, image_id).status == 409
    other = app.request('POST', '/v2/images', {'name': 'no formats'}).json['id']
    stage(app, other)
    assert ask(app, other).status == 409


@pytest.mark.parametrize(
    'body',
    [
        [],
        {},
        {'method': None},
        {'method': {}},
        {'method': {'name': 7}},
        {'method': {'name': 'no-such'}},
        {'method': {'name': 'glance-direct'}, 'all_stores': 'yes'},
        {'method': {'name': 'glance-direct'}, 'all_stores_must_succeed': 'no'},
        {'method': {'name': 'glance-direct'}, 'stores': 'fast'},
        {'method': {'name': 'glance-direct'}, 'stores': ['fast'], 'all_stores': True},
        {'method': {'name': 'glance-direct'}, 'stores': []},
    ],
)
def test_bodies_that_are_refused(app, body):
    image_id = create(app)
    stage(app, image_id)
    assert app.request('POST', f'/v2/images/{image_id}/import', body).status == 400
    assert show(app, image_id)['status'] == 'uploading'


def test_unknown_and_read_only_stores(make_app):
    stores = STORES.replace('cheap:file', 'cheap:file,web:http') + '[web]\n'
    app = make_app(stores=stores)
    image_id = create(app)
    stage(app, image_id)
    assert ask(app, image_id, stores=['nowhere']).status == 409
    assert ask(app, image_id, stores=['web']).status == 409
    assert ask(app, image_id, headers={'X-Image-Meta-Store': 'nowhere'}).status == 409
    assert ask(app, image_id, stores=['os_glance_staging_store']).status == 409
    ask(app, image_id, all_stores=True)
    work(app)
    assert show(app, image_id)['stores'] == 'fast,cheap'


def test_the_header_names_a_store(app):
    image_id = create(app)
    stage(app, image_id)
    headers = {'X-Image-Meta-Store': 'cheap'}
    assert ask(app, image_id, stores=['fast'], headers=headers).status == 400
    assert ask(app, image_id, headers=headers).status == 202
    work(app)
    assert show(app, image_id)['stores'] == 'cheap'


def test_who_may_import(app):
    image_id = create(app)
    others = {'project': 'beta'}
    assert ask(app, image_id, **others).status == 404
    assert stage(app, image_id, **others).status == 404
    public = create(app)
    app.request(
        'PATCH',
        f'/v2/images/{public}',
        '[{"op": "replace", "path": "/visibility", "value": "public"}]',
        kind='application/openstack-images-v2.1-json-patch',
        roles='admin,member',
    )
    assert ask(app, public, **others).status == 403
    assert ask(app, public, 'copy-image', **others).status == 403
    assert stage(app, public, **others).status == 403
    assert ask(app, public, project='alpha', roles='reader').status == 403


def test_progress(app, monkeypatch):
    """What a task tells while a copy is written."""
    from glance_lite.layers import jobs

    monkeypatch.setattr(jobs, 'TELL', 0.0)
    image_id = create(app)
    stage(app, image_id)
    ask(app, image_id, stores=['fast', 'cheap'])
    seen = []
    database = app.service.layers[-1]
    tell = type(database).tell_job

    def told(self, ctx, claim, progress):
        tell(self, ctx, claim, progress)
        seen.append(tasks(app, image_id)[0])

    monkeypatch.setattr(database, 'tell_job', lambda *args: told(database, *args))
    for layer in app.service.layers:
        if hasattr(getattr(layer, 'next', None), 'tell_job'):
            vars(layer.next)['tell_job'] = database.tell_job
    work(app)
    percents = [task['result']['percent'] for task in seen]
    assert percents == sorted(percents) and percents[0] == 0 and percents[-1] >= 50
    assert all(task['status'] == 'processing' for task in seen)
    assert seen[-1]['message'].startswith(f'{percents[-1]} percent: ')


def test_a_stale_lock_of_glance_is_taken_over(app):
    """Its task is not there any more."""
    import sqlalchemy as sa

    from glance_lite.db import tables

    image_id = create(app)
    stage(app, image_id)
    database = app.service.layers[-1].database

    def lock(connection):
        now = sa.func.current_timestamp()
        connection.execute(
            sa.insert(tables.image_properties).values(
                image_id=image_id, name='os_glance_import_task', value='f' * 36,
                created_at=now, updated_at=now, deleted=False,
            )
        )  # fmt: skip

    database.write(lock)
    assert ask(app, image_id).status == 202
    work(app)
    assert show(app, image_id)['status'] == 'active'


def test_what_somebody_staged_elsewhere(make_app, tmp_path):
    """Nobody is at that address: 504, as in Glance."""
    import shutil

    app = make_app(stores=STORES, default='worker_self_reference_url = http://127.0.0.1:1')
    image_id = create(app)
    stage(app, image_id)
    assert 'os_glance_stage_host' not in show(app, image_id)
    shutil.move(tmp_path / 'staging' / image_id, tmp_path / 'moved')
    app.close()
    other = make_app(
        stores=STORES,
        url=f'sqlite:///{tmp_path}/glance.sqlite',
        default='worker_self_reference_url = http://127.0.0.1:2',
    )
    assert ask(other, image_id).status == 504
    # The directory is shared after all.
    shutil.move(tmp_path / 'moved', tmp_path / 'staging' / image_id)
    assert ask(other, image_id).status == 202
    work(other)
    assert show(other, image_id)['status'] == 'active'


def test_staged_data_of_an_image_that_a_glance_has_deleted(app):
    """It writes its own tables only."""
    import sqlalchemy as sa

    from glance_lite.context import service_context
    from glance_lite.db import tables

    image_id = create(app)
    stage(app, image_id)
    kept = create(app)
    stage(app, kept)
    inner, database = app.service.chain.inner, app.service.layers[-1].database
    gone = sa.update(tables.images).where(tables.images.c.id == image_id)
    database.write(
        lambda connection: connection.execute(gone.values(status='deleted', deleted=True))
    )
    ctx = service_context()
    for found in inner.find_abandoned(ctx, -1.0):
        inner.clean_up(ctx, found)
    assert staged(app) == [kept]
    rows = sa.select(tables.operations.c.image_id)
    assert database.read(lambda connection: connection.execute(rows).scalars().all()) == [kept]


def test_what_is_left_in_the_staging_area(app):
    """By whomever: after an hour it goes, unless an image may need it."""
    import os
    import uuid

    from glance_lite.context import service_context

    image_id, queued = create(app), create(app)
    stage(app, image_id)
    names = [image_id, str(uuid.uuid4()), f'{queued}-7.fetch', f'{uuid.uuid4()}-8.fetch', 'a note']
    fresh = f'{uuid.uuid4()}-9.fetch'
    for name in (*names, fresh):
        path = app.directory / 'staging' / name
        path.touch()
        if name != fresh:
            os.utime(path, (1e9, 1e9))
    app.service.chain.inner.clean_staging(service_context())
    assert staged(app) == sorted((image_id, 'a note', fresh))
