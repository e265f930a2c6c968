# SPDX-License-Identifier: Apache-2.0
"""Filters of OpenStack's libraries in an operator's Paste file, in real processes."""

from __future__ import annotations

import ast
import os
import re

import pytest
import requests
from osprofiler import _utils

from tests.servers import processes

#: As pycadf has it for Glance.
AUDIT_MAP = """
[DEFAULT]
target_endpoint_type = image

[path_keywords]
detail = None
file = None
images = image
members = member
tags = tag

[service_endpoints]
image = service/storage/image
"""

CATALOG = (
    '[{"type": "image", "name": "glance", "endpoints": [{"id": "an-endpoint", '
    '"internalURL": "http://127.0.0.1", "publicURL": "http://127.0.0.1", '
    '"adminURL": "http://127.0.0.1"}]}]'
)

MORE = """
[oslo_messaging_notifications]
driver = noop
[audit_middleware_notifications]
driver = log
[profiler]
enabled = true
trace_sqlalchemy = true
hmac_keys = a key of ours
connection_string = messaging://
"""


@pytest.fixture(scope='module', params=['api', 'uwsgi'])
def server(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    (directory / 'audit_map.conf').write_text(AUDIT_MAP)
    paste = directory / 'filters-paste.ini'
    paste.write_text(
        processes.PASTE.read_text()
        .replace('trusted-context rootapp', 'audit trusted-context rootapp')
        .replace('/etc/glance/api_audit_map.conf', f'{directory}/audit_map.conf')
        .replace('[filter:audit]\n', '[filter:audit]\nignore_req_list = HEAD\n')
    )
    made = processes.settings(directory, default='transport_url = fake://', paste=paste, more=MORE)
    with processes.SERVERS[request.param](made) as server:
        yield server
        assert 'Traceback' not in server.text()


def events(server, kind):
    """The payloads of the audit's events that were written to the log."""
    found = []
    for line in server.lines(f'audit.http.{kind}'):
        match = re.search(r'\{.*\}', line)
        text = re.sub(r'\b(true|false|null)\b', lambda word: WORDS[word[0]], match[0])
        found.append(ast.literal_eval(text))
    return found


WORDS = {'true': 'True', 'false': 'False', 'null': 'None'}


def headers(**more):
    return {
        **processes.identity('alpha'),
        'X-Service-Catalog': CATALOG,
        'X-User-Name': 'somebody',
        **more,
    }


def trace():
    base = '6a2e1b9c-0000-4000-8000-000000000001'
    data, mac = _utils.signed_pack({'base_id': base, 'parent_id': base}, 'a key of ours')
    return {'X-Trace-Info': data.decode(), 'X-Trace-HMAC': mac}


def test_audit_has_each_request_and_its_outcome(server):
    made = requests.post(
        f'{server.url}/v2/images',
        json={'disk_format': 'raw', 'container_format': 'bare'},
        headers=headers(),
        timeout=60,
    )
    assert made.status_code == 201, made.text
    path = f'/v2/images/{made.json()["id"]}'
    refused = requests.delete(
        server.url + path, headers=headers(**{'X-Roles': 'reader'}), timeout=60
    )
    assert refused.status_code == 403
    requests.head(f'{server.url}{path}/file', headers=headers(), timeout=60)
    asked = [event['payload'] for event in events(server, 'request')]
    answered = [event['payload'] for event in events(server, 'response')]
    assert [event['action'] for event in asked[-2:]] == ['create', 'delete']
    create, delete = answered[-2:]
    assert create['outcome'] == 'success' and create['reason']['reasonCode'] == '201'
    assert delete['outcome'] == 'failure' and delete['reason']['reasonCode'] == '403'
    assert delete['requestPath'] == path
    assert delete['target']['name'] == 'glance'
    initiator = delete['initiator']
    assert (initiator['id'], initiator['project_id']) == ('user-of-alpha', 'alpha')


def test_data_goes_through_all_of_them(server):
    """Traced and audited, in chunks, by whatever way the server sends files."""
    data = os.urandom(3_000_000)
    body = {'disk_format': 'raw', 'container_format': 'bare'}
    made = requests.post(f'{server.url}/v2/images', json=body, headers=headers(), timeout=60)
    url = f'{server.url}/v2/images/{made.json()["id"]}/file'
    octets = headers(**trace(), **{'Content-Type': 'application/octet-stream'})
    pieces = (data[at : at + 70_000] for at in range(0, len(data), 70_000))
    assert requests.put(url, data=pieces, headers=octets, timeout=60).status_code == 204
    for more in ({}, trace()):
        assert requests.get(url, headers=headers(**more), timeout=60).content == data
    part = requests.get(url, headers=headers(**trace(), Range='bytes=7-99'), timeout=60)
    assert (part.status_code, part.content) == (206, data[7:100])


def test_a_forged_trace_changes_nothing(server):
    forged = {**trace(), 'X-Trace-HMAC': '0' * 40}
    path = '/v2/schemas/image'
    assert requests.get(server.url + path, headers=headers(**forged), timeout=60).status_code == 200
