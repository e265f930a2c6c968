# SPDX-License-Identifier: Apache-2.0
"""The API of tasks, and what is switched off. What is equal to Glance is in tests/peers."""

from __future__ import annotations

import pytest

from tests.api.harness import ADMIN, BETA, OCTETS

TASKS = '/v2/tasks'
HTTP = {'import_from': 'http://a.example/b', 'import_from_format': 'raw', 'image_properties': {}}


def test_a_task_says_at_once_that_nobody_does_it(app):
    answer = app.request('POST', TASKS, {'type': 'import', 'input': HTTP}, **ADMIN)
    assert answer.status == 201
    task = answer.json
    assert task['status'] == 'failure' and 'carry' in task['message']
    assert answer.headers['location'] == f'http://image.example:9292{task["self"]}'
    assert app.get(task['self'], **ADMIN).json == task
    assert [one['id'] for one in app.get(TASKS, **ADMIN).json['tasks']] == [task['id']]


def test_tasks_are_for_whom_policy_lets_in(make_app, tmp_path):
    (tmp_path / 'policy.yaml').write_text('"tasks_api_access": "role:member"\n')
    app = make_app()
    task = app.request('POST', TASKS, {'type': 'import', 'input': HTTP}).json
    assert app.get(task['self']).status == 200
    assert app.get(task['self'], **BETA).status == 404
    assert app.get(TASKS, **BETA).json['tasks'] == []
    assert app.get(f'{TASKS}?marker={task["id"]}', **BETA).status == 400
    assert app.get(TASKS, roles='reader').status == 403


def test_time_to_live_is_hours(make_app):
    app = make_app(more='[task]\ntask_time_to_live = 0')
    task = app.request('POST', TASKS, {'type': 'import', 'input': HTTP}, **ADMIN).json
    assert app.get(task['self'], **ADMIN).status == 404


@pytest.mark.parametrize(
    'body', ['{"type": "import", "input": {"import_from": 1e999}}', '{"x": Infinity}', '[' * 2000]
)
def test_numbers_and_nesting_that_json_cannot_answer(app, body):
    assert app.request('POST', TASKS, body, **ADMIN).status == 400


def test_a_large_input_is_refused(app):
    body = {'type': 'location_import', 'input': {'a': 'x' * 70000}}
    assert app.request('POST', TASKS, body, **ADMIN).status == 413


def test_methods_that_are_switched_off_are_refused(make_app):
    app = make_app(default='enabled_import_methods = [copy-image]')
    image = app.create(disk_format='raw', container_format='bare')
    link = image['self']
    assert app.get('/v2/info/import').json['import-methods']['value'] == ['copy-image']
    assert app.request('PUT', link + '/stage', b'data', kind=OCTETS).status == 404
    for name in ('glance-direct', 'web-download', 'no-such-method'):
        body = {'method': {'name': name, 'uri': 'http://a.example/b'}}
        answer = app.request('POST', link + '/import', body)
        assert answer.status == 400 and name in answer.body.decode()
    assert app.get(link).json == image
    assert app.get(link + '/tasks').json == {'tasks': []}


def test_without_a_directory_there_is_no_cache(make_app):
    app = make_app(flavor='trusted-auth+cachemanagement')
    for method, path in (('GET', ''), ('DELETE', ''), ('POST', '/clean'), ('POST', '/prune')):
        assert app.request(method, '/v2/cache' + path, **ADMIN).status == 404
        assert app.request(method, '/v2/cache' + path).status == 403


def test_the_cache_asks_the_rule_of_each_request(make_app, tmp_path):
    (tmp_path / 'policy.yaml').write_text('"cache_list": "role:member"\n')
    app = make_app()
    assert app.get('/v2/cache').status == 404
    assert app.request('DELETE', '/v2/cache').status == 403


def test_expired_tasks_are_deleted_in_the_background(make_app):
    app = make_app(more='[task]\ntask_time_to_live = 0')
    for _ in range(2):
        app.request('POST', TASKS, {'type': 'import', 'input': HTTP}, **ADMIN)
    keeper = app.service.keeper
    assert 'duty expire_tasks' in [job.name for job in keeper.jobs]
    assert keeper.run('expire_tasks') == {'expired': 2}
    assert keeper.run('expire_tasks') == {'expired': 0}
