# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document: served, valid, and about all there is."""

from __future__ import annotations

import re

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from glance_lite.api import described, openapi
from glance_lite.api.routes import TABLE


@pytest.fixture
def document(app):
    answer = app.get('/openapi.json', project=None)
    assert answer.status == 200 and answer.headers['content-type'] == 'application/json'
    return answer.json


def test_it_is_valid_openapi(document):
    assert document['openapi'] == '3.1.0'
    OpenAPIV31SpecValidator(document).validate()


def test_it_says_where_it_was_reached(make_app):
    assert make_app().get('/openapi.json').json['servers'] == [{'url': 'http://image.example:9292'}]
    public = make_app(default='public_endpoint = https://public.example/image/')
    assert public.get('/openapi.json').json['servers'] == [{'url': 'https://public.example/image'}]


def test_it_is_the_same_without_the_filter_of_versions(make_app, tmp_path):
    """Where a Paste file has only the application at the root."""
    app = make_app()
    file = tmp_path / 'paste.ini'
    file.write_text(
        '[app:glance-api-bare]\npaste.app_factory = glance_lite.api.versions:versions_factory\n'
    )
    bare = make_app(flavor='bare', paste=file)
    assert bare.get('/openapi.json').json == app.get('/openapi.json').json


def test_every_route_is_in_it_and_nothing_else(document):
    there = {
        (path, method.upper())
        for path, item in document['paths'].items()
        for method in item
        if method != 'parameters'
    }
    routes = {('/v2' + path, method) for path, method, *_ in TABLE}
    assert there == routes | {(path, 'GET') for path in openapi.OUTSIDE}


@pytest.mark.parametrize(('path', 'method', 'family', 'name', 'body'), TABLE)
def test_each_route_says_what_it_takes_and_answers(document, path, method, family, name, body):
    item = document['paths']['/v2' + path]
    operation = item[method.lower()]
    said = described.handler(family, name)
    assert bool(operation.get('requestBody')) == body, 'a body is described where one is read'
    named = {one['name'] for one in item.get('parameters', ())}
    assert named == set(re.findall(r'{(\w+)}', path))
    wanted = {*said.answers, *said.refusals, *openapi.ANYBODY}
    assert set(operation['responses']) == {str(status) for status in wanted}
    for answer in said.answers.values():
        assert answer.schema is None or method == 'HEAD' or answer.kind
    assert operation['summary'] and operation['operationId']


def test_operation_ids_differ(document):
    ids = [
        operation['operationId']
        for path, item in document['paths'].items()
        if path.startswith('/v2')
        for method, operation in item.items()
        if method != 'parameters'
    ]
    assert len(set(ids)) == len(ids) == len(TABLE)


def test_the_operators_properties_are_those_of_a_new_image(make_app, tmp_path):
    (tmp_path / 'schema-image.json').write_text(
        '{"properties": {"os_distro": {"type": "string", "enum": ["debian"]}}, '
        '"required": ["os_distro"]}'
    )
    document = make_app().get('/openapi.json').json
    new = document['components']['schemas']['NewImage']
    assert new['required'] == ['os_distro']
    assert new['properties']['os_distro']['enum'] == ['debian']
    # What is there may be older than the file.
    assert 'os_distro' not in document['components']['schemas']['Image']['properties']
