# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

ORIGIN = 'https://dashboard.example'


@pytest.fixture
def configured(make_app):
    return make_app(more=f'[cors]\nallowed_origin = {ORIGIN}')


def test_a_page_of_an_allowed_origin(configured):
    answer = configured.get('/v2/images', headers={'Origin': ORIGIN})
    assert answer.headers['access-control-allow-origin'] == ORIGIN
    assert 'X-Subject-Token' in answer.headers['access-control-expose-headers']


@pytest.mark.parametrize('headers', [{}, {'Origin': 'https://evil.example'}])
def test_everybody_else(configured, headers):
    answer = configured.get('/v2/images', headers=headers)
    assert answer.status == 200
    assert 'access-control-allow-origin' not in answer.headers


def test_a_question_beforehand(configured):
    headers = {'Origin': ORIGIN, 'Access-Control-Request-Method': 'PATCH'}
    answer = configured.request('OPTIONS', '/v2/images', project=None, headers=headers)
    assert answer.status == 200
    assert 'PATCH' in answer.headers['access-control-allow-methods']


def test_nobody_is_allowed_by_default(app):
    answer = app.get('/v2/images', headers={'Origin': ORIGIN})
    assert 'access-control-allow-origin' not in answer.headers
    assert app.request('OPTIONS', '/v2/images').status == 200  # as in Glance


def test_proxy_headers_are_ignored_by_default(app):
    headers = {'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'evil.example'}
    assert b'evil' not in app.get('/', headers=headers).body
