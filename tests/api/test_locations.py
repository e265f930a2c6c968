# SPDX-License-Identifier: Apache-2.0
"""Locations over the whole application, with data behind a real nginx and in a memory store."""

from __future__ import annotations

import hashlib
import json
import logging
import threading

import pytest
import sqlalchemy as sa

from glance_lite.context import service_context
from glance_lite.db import tables
from glance_lite.layers import registration
from tests.api.harness import ADMIN, BETA, V21
from tests.backends import web as servers

DATA = bytes(range(256)) * 5000
SHA1 = hashlib.sha1(DATA, usedforsecurity=False).hexdigest()
SHA512 = hashlib.sha512(DATA).hexdigest()
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
BARE = {'disk_format': 'raw', 'container_format': 'bare'}
SERVICE = {'project': 'services', 'roles': 'service'}

STORES = """
enabled_backends = fast:file,ram:memory,web:http
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {{directory}}/fast
[fetching]
allowed_networks = 127.0.0.0/8
[import_filtering_opts]
allowed_ports = [{port}]
"""


@pytest.fixture(scope='module')
def web(tmp_path_factory):
    with servers.running(tmp_path_factory.mktemp('web')) as web:
        web.put('data', DATA)
        web.put('other', DATA[:-1])
        yield web


@pytest.fixture
def make(make_app, web):
    def made(default='show_multiple_locations = true', **kwargs):
        kwargs.setdefault('stores', STORES.format(port=web.ports[0]))
        return make_app(default=default, **kwargs)

    return made


@pytest.fixture
def quick(monkeypatch):
    """Looks for a delete with every chunk, and tries again at once."""
    monkeypatch.setattr(registration, 'LOOK', 0.0)
    monkeypatch.setattr(registration, 'PAUSE', 0.01)


def step(url, **more):
    return {'op': 'add', 'path': '/locations/-', 'value': {'url': url, 'metadata': {}, **more}}


def register(app, image_id, url, validation=None, **who):
    body = {'url': url} | ({'validation_data': validation} if validation else {})
    return app.request('POST', f'/v2/images/{image_id}/locations', body, **who)


def show(app, image_id, **who):
    return app.get(f'/v2/images/{image_id}', **(who or ADMIN)).json


def rows(app, table):
    layer = next(layer for layer in app.service.layers if layer.name == 'db')
    with layer.database.engine.connect() as connection:
        return connection.execute(sa.select(table)).fetchall()


def in_ram(app, name='thing', data=DATA):
    """Data that somebody has put in the memory store, past us; its url."""
    driver = app.service.gateway.stores['ram'].driver
    driver._held[name] = data, 0.0
    return f'memory://ram/{name}'


# --- what is shown


def test_nothing_is_shown_unless_configured(make, web):
    app = make('')
    image = app.create(**BARE)
    assert register(app, image['id'], web.http + '/data').status == 202
    app.service.importer.run()
    shown = show(app, image['id'])
    assert shown['status'] == 'active'
    assert not {'locations', 'direct_url'} & shown.keys()
    assert app.patch(image['id'], step(web.http + '/data'), **ADMIN).status == 403


@pytest.mark.parametrize(
    ('strategy', 'more', 'first'),
    [
        ('', '[ram]\nweight = 5', 'ram'),
        ('', '', 'web'),
        ('location_strategy = location_order', '[ram]\nweight = 5', 'web'),
        (
            'location_strategy = store_type',
            '[store_type_location_strategy]\nstore_type_preference = rbd, memory, http',
            'ram',
        ),
    ],
)
def test_locations_are_shown_and_counted_in_the_order_of_the_strategy(
    make, web, strategy, more, first
):
    app = make(
        f'show_image_direct_url = true\nshow_multiple_locations = true\n{strategy}', more=more
    )
    image = app.create(**BARE)
    ram = in_ram(app)
    steps = [step(web.http + '/data'), step(ram)]
    assert app.patch(image['id'], *steps, **ADMIN).status == 200
    urls = {'web': web.http + '/data', 'ram': ram}
    order = sorted(urls, key=lambda store: store != first)
    for shown in (show(app, image['id'], project='alpha'), *app.get('/v2/images').json['images']):
        assert shown['direct_url'] == urls[first]
        assert [one['url'] for one in shown['locations']] == [urls[store] for store in order]
        assert shown['stores'] == ','.join(order)
    service = {'project': 'services', 'roles': 'service,admin'}
    told = app.get(f'/v2/images/{image["id"]}/locations', **service).json
    assert [one['url'] for one in told] == [urls[store] for store in order]
    # A position in a patch is one in this list.
    taken = {'op': 'remove', 'path': '/locations/0'}
    assert app.patch(image['id'], taken, **ADMIN).status == 200
    assert show(app, image['id'])['direct_url'] == urls[order[1]]


def test_a_rule_of_the_operators_own_hides_locations(make, web, tmp_path):
    (tmp_path / 'policy.yaml').write_text('"get_image_location": "role:admin"\n')
    app = make('show_image_direct_url = true\nshow_multiple_locations = true')
    image = app.create(**BARE)
    assert app.patch(image['id'], step(web.http + '/data')).status == 200
    seen = show(app, image['id'], project='alpha')
    assert seen['locations'] == [] and 'direct_url' not in seen
    (listed,) = app.get('/v2/images').json['images']
    assert listed['locations'] == []
    assert len(show(app, image['id'])['locations']) == 1


def test_locations_of_a_public_image_are_seen_as_in_glance(make, web):
    """Services clone public images with the tokens of users."""
    app = make('show_image_direct_url = true')
    image = app.create(visibility='public', owner='alpha', **BARE, **ADMIN)
    register(app, image['id'], web.http + '/data', **ADMIN)
    app.service.importer.run()
    assert show(app, image['id'], **BETA)['direct_url'] == web.http + '/data'


# --- patches


def test_of_a_location_that_is_removed_the_bytes_go(make, web):
    app = make()
    image = app.active(DATA)
    ram = in_ram(app)
    assert app.patch(image['id'], step(ram), **ADMIN).status == 200
    assert len(list((app.directory / 'fast').iterdir())) == 1
    gone = {'op': 'remove', 'path': '/locations/0'}
    answer = app.patch(image['id'], gone, **ADMIN)
    assert [one['url'] for one in answer.json['locations']] == [ram]
    assert list((app.directory / 'fast').iterdir()) == []
    assert rows(app, tables.operations) == []
    assert app.get(f'/v2/images/{image["id"]}/file').body == DATA


def test_of_a_web_server_nothing_is_removed(make, web):
    app = make()
    image = app.active(DATA)
    assert app.patch(image['id'], step(web.http + '/data')).status == 200
    answer = app.patch(image['id'], {'op': 'remove', 'path': '/locations/1'}, **ADMIN)
    assert answer.status == 200 and len(answer.json['locations']) == 1
    assert app.request('DELETE', f'/v2/images/{image["id"]}').status == 204
    assert rows(app, tables.operations) == []
    assert (web.directory / 'files' / 'data').read_bytes() == DATA


def test_everything_of_a_patch_or_nothing(make, web):
    app = make()
    image = app.create(**BARE)
    before = show(app, image['id'])
    steps = [{'op': 'add', 'path': '/name', 'value': 'new'}, step(web.http + '/nothing')]
    assert app.patch(image['id'], *steps).status == 400
    assert show(app, image['id']) == before
    steps[1] = step(web.http + '/data')
    answer = app.patch(image['id'], *steps, {'op': 'add', 'path': '/color', 'value': 'red'})
    assert answer.json['name'] == 'new' and answer.json['color'] == 'red'
    assert (answer.json['status'], answer.json['size']) == ('active', len(DATA))


def test_steps_work_one_after_another(make, web):
    app = make()
    image = app.active(DATA)
    ram = in_ram(app)
    steps = [step(ram), {'op': 'remove', 'path': '/locations/0'}]
    answer = app.patch(image['id'], *steps, **ADMIN)
    assert [one['url'] for one in answer.json['locations']] == [ram]
    assert list((app.directory / 'fast').iterdir()) == []


def test_data_of_another_size_is_no_location_of_this_image(make, web):
    app = make()
    image = app.active(DATA)
    assert app.patch(image['id'], step(web.http + '/other')).status == 400


def test_nobody_names_data_of_another_project(make, web):
    """Stores name data by image: who could register it could read and delete it."""
    app = make()
    theirs = app.create(visibility='private', **BARE, **BETA)['id']
    url = in_ram(app, theirs)
    mine = app.create(**BARE)['id']
    assert app.patch(mine, step(url)).status == 403
    assert app.patch(mine, step(in_ram(app, mine))).status == 200
    assert app.request('DELETE', f'/v2/images/{mine}').status == 204
    assert theirs in app.service.gateway.stores['ram'].driver._held


def test_rules_of_patches(make, web, tmp_path):
    (tmp_path / 'policy.yaml').write_text(
        '"set_image_location": "role:placer"\n"modify_image": "role:editor"\n'
    )
    app = make()
    image = app.create(**BARE)
    place, edit = {'roles': 'reader,placer'}, {'roles': 'reader,editor'}
    name = {'op': 'add', 'path': '/name', 'value': 'new'}
    assert app.patch(image['id'], step(web.http + '/data'), **edit).status == 403
    assert app.patch(image['id'], step(web.http + '/data'), name, **place).status == 403
    assert app.patch(image['id'], step(web.http + '/data'), **place).status == 200


def test_room_in_a_project(make, web):
    app = make(f'show_multiple_locations = true\nuser_storage_quota = {len(DATA) * 2}')
    image = app.create(**BARE)
    assert app.patch(image['id'], step(web.http + '/data')).status == 200
    assert app.patch(image['id'], step(in_ram(app))).status == 200
    assert app.patch(image['id'], step(in_ram(app, 'third'))).status == 413
    another = app.create(**BARE)['id']
    assert register(app, another, web.http + '/data').status == 202
    app.service.importer.run()
    shown = show(app, another)
    assert shown['status'] == 'queued' and 'bytes left' in shown['os_glance_failed_upload']


@pytest.mark.parametrize(
    'value',
    [
        {'url': 'http://x/', 'metadata': {'a': 5}}, {'url': 'http://x/', 'metadata': {'a': None}},
        {'url': 'http://x/', 'metadata': {'a': [[{'b': 1.5}]]}}, {'url': '\x00', 'metadata': {}},
        {'url': 'http://127.0.0.1\\@x/', 'metadata': {}}, {'url': 'http://[', 'metadata': {}},
        {'url': 'memory://other/thing', 'metadata': {}}, {'url': ':', 'metadata': {}},
        {'url': 'FILE:///etc/passwd', 'metadata': {}}, {'url': 'http:x', 'metadata': {}},
        {'url': ' http://127.0.0.1/', 'metadata': {}}, {'url': 'http://user@/', 'metadata': {}},
    ],
)  # fmt: skip
def test_hostile_values(make, value):
    app = make()
    image = app.create(**BARE)
    for path in ('/locations/-', '/locations/0', f'/locations/{"9" * 30}', '/locations/-1'):
        answer = app.patch(image['id'], {'op': 'add', 'path': path, 'value': value}, **ADMIN)
        assert answer.status == 400, (path, answer)
    assert app.patch(image['id'], {'op': 'replace', 'path': '/locations', 'value': [value]}).status == 400  # noqa: E501  # fmt: skip
    assert register(app, image['id'], value['url'], **ADMIN).status in (400, 403)


def test_thousands_of_locations_are_not_asked_for(make, web):
    app = make('show_multiple_locations = true\nimage_location_quota = -1')
    image = app.create(**BARE)
    many = [{'url': f'{web.http}/data?n{n}', 'metadata': {}} for n in range(101)]
    before = web.requests().count('data?n')
    change = {'op': 'replace', 'path': '/locations', 'value': many}
    assert app.patch(image['id'], change).status == 413
    assert web.requests().count('data?n') == before


def test_two_patches_at_once(make, web):
    app = make()
    image = app.active(DATA)
    urls = [in_ram(app, f'copy{n}') for n in range(8)]
    statuses = []

    def add(url):
        statuses.append(app.patch(image['id'], step(url), **ADMIN).status)

    threads = [threading.Thread(target=add, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 409}
    assert len(show(app, image['id'])['locations']) == 1 + statuses.count(200)


# --- registration


def test_registration_and_hash(make, web):
    app = make()
    image = app.create(**BARE)
    assert register(app, image['id'], web.http + '/data').status == 202
    assert show(app, image['id'])['status'] == 'importing'
    assert app.put(image['id'], b'data').status == 409
    assert register(app, image['id'], web.http + '/data').status == 409
    assert app.service.importer.run() == 1
    shown = show(app, image['id'])
    assert (shown['status'], shown['size']) == ('active', len(DATA))
    assert (shown['checksum'], shown['os_hash_algo']) == (MD5, 'sha512')
    assert shown['os_hash_value'] == SHA512
    assert app.get(f'/v2/images/{image["id"]}/file').body == DATA
    (task,) = rows(app, tables.tasks)
    assert (task.type, task.status, task.image_id) == ('location_import', 'success', image['id'])
    assert task.expires_at is not None
    assert rows(app, tables.operations) == []


def test_a_site_may_do_without_md5(make, web):
    app = make('show_multiple_locations = true\ncompute_checksum = false')
    image = app.create(**BARE)
    register(app, image['id'], web.http + '/data')
    app.service.importer.run()
    shown = show(app, image['id'])
    assert (shown['checksum'], shown['os_hash_value']) == (None, SHA512)


def test_services_read_locations(make, web):
    app = make()
    image = app.create(visibility='public', owner='alpha', **BARE, **ADMIN)
    url = in_ram(app)
    assert register(app, image['id'], url, **SERVICE).status == 202
    app.service.importer.run()
    found = app.get(f'/v2/images/{image["id"]}/locations', **SERVICE)
    assert found.json == [{'url': url, 'metadata': {'store': 'ram'}}]
    assert app.get(f'/v2/images/{image["id"]}/locations').status == 403


def test_a_service_beside_a_user_may_name_any_store(make):
    app = make()
    image = app.create(**BARE)
    url = in_ram(app)
    assert register(app, image['id'], url).status == 403
    helped = {'X-Service-Roles': 'service', 'X-Service-Identity-Status': 'Confirmed'}
    assert register(app, image['id'], url, headers=helped).status == 202


def test_without_a_web_store_users_register_nothing(make_app):
    app = make_app()
    image = app.create(**BARE)
    assert register(app, image['id'], 'http://8.8.8.8/x').status == 403
    assert register(app, image['id'], 'http://8.8.8.8/x', **ADMIN).status == 403


@pytest.mark.parametrize('said', [SHA512, SHA512.upper()])
def test_validation_data_that_is_right(make, web, said):
    app = make()
    image = app.create(**BARE)
    validation = {'os_hash_algo': 'sha512', 'os_hash_value': said}
    assert register(app, image['id'], web.http + '/data', validation).status == 202
    app.service.importer.run()
    shown = show(app, image['id'])
    assert (shown['status'], shown['os_hash_value']) == ('active', SHA512)


@pytest.mark.parametrize('said', [{'os_hash_algo': 'sha512'}, {'os_hash_value': SHA512}])
def test_half_of_validation_data(make, web, said):
    app = make()
    image = app.create(**BARE)
    assert register(app, image['id'], web.http + '/data', said).status == 400
    assert show(app, image['id'])['status'] == 'queued'
    assert rows(app, tables.tasks) == []


@pytest.mark.parametrize(
    ('validation', 'status', 'algorithm'),
    [
        (None, 'active', 'sha512'),
        ({'os_hash_algo': 'sha1', 'os_hash_value': SHA1}, 'importing', 'sha1'),
    ],
)
def test_what_it_is_hashed_with_is_shown_at_once(
    make, web, monkeypatch, validation, status, algorithm
):
    app = make()
    image = app.create(**BARE)
    assert register(app, image['id'], web.http + '/data', validation).status == 202
    seen = []
    real = registration.Registration._read

    def read(*args):
        seen.append(show(app, image['id']))
        return real(*args)

    monkeypatch.setattr(registration.Registration, '_read', read)
    app.service.importer.run()
    (shown,) = seen
    assert (shown['status'], shown['os_hash_algo']) == (status, algorithm)
    assert shown['os_hash_value'] is None
    after = show(app, image['id'])
    assert (after['status'], after['os_hash_algo']) == ('active', algorithm)
    assert after['os_hash_value'] == hashlib.new(algorithm, DATA).hexdigest()


def test_validation_data_that_is_wrong(make, web):
    app = make()
    image = app.create(**BARE)
    validation = {'os_hash_algo': 'sha512', 'os_hash_value': '0' * 128}
    assert register(app, image['id'], web.http + '/data', validation).status == 202
    app.service.importer.run()
    shown = show(app, image['id'])
    assert (shown['status'], shown['size'], shown['checksum']) == ('queued', None, None)
    assert shown['locations'] == [] and shown['os_hash_value'] is None
    assert 'sha512' in shown['os_glance_failed_upload']
    (task,) = rows(app, tables.tasks)
    (info,) = rows(app, tables.task_info)
    assert task.status == 'failure' and 'sha512' in info.message
    # The owner may try again.
    assert register(app, image['id'], web.http + '/data').status == 202
    app.service.importer.run()
    assert 'os_glance_failed_upload' not in show(app, image['id'])


def test_what_was_registered_is_not_deleted_when_it_proves_wrong(make):
    app = make()
    image = app.create(visibility='public', owner='alpha', **BARE, **ADMIN)
    url = in_ram(app)
    validation = {'os_hash_algo': 'sha512', 'os_hash_value': '0' * 128}
    assert register(app, image['id'], url, validation, **SERVICE).status == 202
    app.service.importer.run()
    assert show(app, image['id'])['status'] == 'queued'
    assert app.service.gateway.stores['ram'].driver._held['thing'][0] == DATA


def test_validation_data_is_believed_where_nothing_is_hashed(make, web):
    app = make('show_multiple_locations = true\ndo_secure_hash = false')
    image = app.create(**BARE)
    validation = {'os_hash_algo': 'md5', 'os_hash_value': 'ab' * 16}
    register(app, image['id'], web.http + '/data', validation)
    bare = app.create(**BARE)
    register(app, bare['id'], web.http + '/data')
    before = web.requests().count('GET /data')
    assert app.service.importer.run() == 2
    assert web.requests().count('GET /data') == before
    shown = show(app, image['id'])
    assert (shown['status'], shown['os_hash_algo']) == ('active', 'md5')
    assert show(app, bare['id'])['status'] == 'active'
    assert show(app, bare['id'])['os_hash_value'] is None


def test_formats_are_needed(make, web):
    app = make()
    assert register(app, app.create()['id'], web.http + '/data').status == 400


def test_what_is_not_there_is_told_to_the_owner(make, web, quick):
    app = make()
    image = app.create(**BARE)
    assert register(app, image['id'], web.http + '/nothing').status == 202
    app.service.importer.run()
    shown = show(app, image['id'])
    assert shown['status'] == 'queued' and shown['os_glance_failed_upload']
    assert rows(app, tables.operations) == []


def test_credentials_are_told_to_nobody(make, web, caplog):
    caplog.set_level(logging.DEBUG)
    app = make('')
    image = app.create(**BARE)
    secret = web.http.replace('//', '//user:topsecret@')
    for url in ('/nothing?signature=sesame', '/secret/data'):
        answer = register(app, image['id'], secret + url)
        assert answer.status == 202 and not answer.body
        app.service.importer.run()
    refused = register(app, image['id'], 'http://user:topsecret@10.0.0.1/?signature=sesame')
    assert refused.status == 400
    (_, _, *_), (_, _, *_) = rows(app, tables.task_info)
    told = [json.dumps(show(app, image['id'])), refused.body.decode()]
    told += [str(row) for row in rows(app, tables.task_info)]
    told += [one.getMessage() for one in caplog.records if one.name.startswith('glance_lite')]
    assert 'topsecret' not in ' '.join(told) and 'sesame' not in ' '.join(told)


def test_a_delete_while_it_is_hashed(make, web, quick, monkeypatch):
    """The one who hashes finds out, stops and leaves nothing."""
    app = make()
    image = app.create(**BARE)
    register(app, image['id'], web.http + '/slow/data')
    hashing = threading.Event()
    real = registration.Registration._read

    def read(*args):
        hashing.set()
        return real(*args)

    monkeypatch.setattr(registration.Registration, '_read', read)
    worker = threading.Thread(target=app.service.importer.run)
    worker.start()
    assert hashing.wait(30)
    assert app.request('DELETE', f'/v2/images/{image["id"]}').status == 204
    worker.join(30)
    assert not worker.is_alive()
    assert rows(app, tables.operations) == []
    assert app.get(f'/v2/images/{image["id"]}').status == 404
    (task,) = rows(app, tables.tasks)
    assert task.status == 'failure'


def test_a_location_removed_before_it_is_hashed(make, web, monkeypatch):
    """The hash of nothing is no hash of the image."""
    app = make()
    image = app.create(**BARE)
    register(app, image['id'], web.http + '/data')
    real = registration.Registration._hash

    def hash_late(self, *args):
        steps = [step(in_ram(app)), {'op': 'remove', 'path': '/locations/0'}]
        assert app.patch(image['id'], *steps, **ADMIN).status == 200
        shown = next(layer for layer in app.service.layers if layer.name == 'db')
        found = shown.peek(service_context(), image['id'])
        return real(self, found, *args[1:])

    monkeypatch.setattr(registration.Registration, '_hash', hash_late)
    app.service.importer.run()
    shown = show(app, image['id'])
    assert (shown['status'], shown['os_hash_algo'], shown['os_hash_value']) == (
        'active', None, None,
    )  # fmt: skip
    (task,) = rows(app, tables.tasks)
    assert task.status == 'failure'


def test_a_project_does_not_hold_up_others(make, web):
    app = make()
    layer = next(layer for layer in app.service.layers if layer.name == 'db')
    for _ in range(4):
        register(app, app.create(**BARE)['id'], web.http + '/data')
    theirs = app.create(**BARE, **BETA)['id']
    register(app, theirs, web.http + '/data', **BETA)
    taken = [layer.take_import(service_context()) for _ in range(4)]
    assert [one is None for one in taken] == [False, False, False, True]
    assert taken[2].image_id == theirs


def test_what_replaces_a_location_can_be_removed_with_its_bytes(make, web):
    app = make()
    image = app.active(DATA)
    (there,) = show(app, image['id'])['locations']
    ram = in_ram(app)
    steps = [
        {'op': 'replace', 'path': '/locations', 'value': [{**there, 'metadata': {'a': 'b'}}]},
        step(ram),
        {'op': 'remove', 'path': '/locations/0'},
    ]
    answer = app.patch(image['id'], *steps, **ADMIN)
    assert [one['url'] for one in answer.json['locations']] == [ram]
    assert list((app.directory / 'fast').iterdir()) == []


def test_a_patch_that_succeeds_forgets_why_the_last_try_failed(make, web):
    app = make()
    image = app.create(**BARE)
    register(app, image['id'], web.http + '/nothing')
    app.service.importer.run()
    assert 'os_glance_failed_upload' in show(app, image['id'])
    assert app.patch(image['id'], step(web.http + '/data')).status == 200
    assert 'os_glance_failed_upload' not in show(app, image['id'])


def test_a_delete_before_it_is_hashed(make, web):
    app = make()
    image = app.create(**BARE)
    register(app, image['id'], web.http + '/data')
    assert app.request('DELETE', f'/v2/images/{image["id"]}').status == 204
    assert app.service.importer.run() == 0
    assert rows(app, tables.operations) == []


def test_many_wait_and_each_is_done_once(make, web):
    app = make()
    images = [app.create(**BARE)['id'] for _ in range(6)]
    for image in images:
        assert register(app, image, web.http + '/data').status == 202
    done = []
    threads = [
        threading.Thread(target=lambda: done.append(app.service.importer.run())) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    app.service.importer.run()
    assert {show(app, image)['os_hash_value'] for image in images} == {SHA512}
    assert [row.status for row in rows(app, tables.tasks)] == ['success'] * 6


def test_it_is_taken_up_by_the_background(make, web):
    app = make()
    image = app.create(**BARE)
    app.service.start_background()
    register(app, image['id'], web.http + '/data')
    event = threading.Event()
    for _ in range(300):
        if show(app, image['id'])['os_hash_value']:
            break
        event.wait(0.1)
    assert show(app, image['id'])['os_hash_value'] == SHA512


def test_a_patch_needs_its_media_type(make, web):
    app = make()
    image = app.create(**BARE)
    change = json.dumps([step(web.http + '/data')])
    path = f'/v2/images/{image["id"]}'
    assert app.request('PATCH', path, change, kind='application/json').status == 415
    assert app.request('PATCH', path, change, kind=V21).status == 200
