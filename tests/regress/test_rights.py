# SPDX-License-Identifier: Apache-2.0
"""Defects that the table of rights and the random sequences have found."""

from __future__ import annotations

import pytest

from tests.api.harness import ADMIN, App


@pytest.fixture
def app(tmp_path):
    app = App(tmp_path)
    yield app
    app.close()


def test_only_an_administrator_sets_the_owner(app):
    """Even to what it is: clients see the same refusal as with Glance."""
    image = app.create()
    step = {'op': 'replace', 'path': '/owner', 'value': 'alpha'}
    assert app.patch(image['id'], step).status == 403
    assert app.patch(image['id'], step, **ADMIN).status == 200


def test_nobody_sees_what_nobody_owns(tmp_path):
    """A service without identities, whose policy file opens it, can be worked with."""
    rules = ('add_image', 'get_image', 'get_images', 'upload_image', 'download_image')
    (tmp_path / 'policy.yaml').write_text(''.join(f'"{rule}": ""\n' for rule in rules))
    app = App(tmp_path, flavor='')
    try:
        made = app.request(
            'POST', '/v2/images', {'disk_format': 'raw', 'container_format': 'bare'}, project=None
        )
        assert (made.status, made.json['owner']) == (201, None)
        path = f'/v2/images/{made.json["id"]}'
        assert app.get(path, project=None).status == 200
        assert app.put(made.json['id'], b'data', project=None).status == 204
        assert app.get(path + '/file', project=None).body == b'data'
    finally:
        app.close()
