# SPDX-License-Identifier: Apache-2.0
"""The service under random sequences, and what must be true of each of its answers."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable
from typing import Any

import jsonschema

from tests.api.harness import OCTETS, V21, Answer, App
from tests.matrix.seeds import Seeds
from tests.sequences.model import Image, Who

MARK = re.compile(r'mark[0-9]+x')
UUID = re.compile(r'[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}')
IMAGE = re.compile(r'/v2/images(/[^/]*)?')
MEMBER = re.compile(r'/v2/images/[^/]*/members(/[^/]*)?')


class Service:
    """The whole application in process."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.app = App(directory, default='allow_anonymous_access = true')
        self.seeds = Seeds(directory / 'glance.sqlite', directory)
        self._schemas = {
            name: jsonschema.Draft4Validator(self.app.get(f'/v2/schemas/{name}').json)
            for name in ('image', 'images', 'member', 'members')
        }
        #: requests that were checked
        self.count = 0

    def close(self) -> None:
        self.seeds.close()
        self.app.close()

    def stored(self) -> set[str]:
        """Every file in the stores, as store/name."""
        return {
            f'{store}/{file.name}'
            for store in ('fast', 'cheap')
            for file in (self.app.directory / store).iterdir()
        }

    def send(self, who: Who, method: str, path: str, body: Any = None) -> Answer:
        headers = {}
        kind = None
        if isinstance(body, bytes):
            kind = OCTETS
        elif isinstance(body, list):
            kind = V21
        if who.project is not None:
            headers = {
                'X-Identity-Status': 'Confirmed',
                'X-Project-Id': who.project,
                'X-User-Id': 'user-of-' + who.project,
                'X-Roles': who.roles,
            }
        self.count += 1
        return self.app.request(method, path, body, project=None, headers=headers, kind=kind)

    def check_form(self, method: str, path: str, answer: Answer) -> None:
        """No fault of the service, and a body that its schema describes."""
        assert answer.status < 500, answer
        assert b'Traceback' not in answer.body
        if answer.status == 204:
            assert not answer.body
        if answer.status not in (200, 201) or '/file' in path:
            return
        path = path.partition('?')[0]
        if found := IMAGE.fullmatch(path):
            kind = 'image' if found[1] or method == 'POST' else 'images'
        else:
            found = MEMBER.fullmatch(path)
            assert found, path
            kind = 'member' if found[1] or method == 'POST' else 'members'
        self._schemas[kind].validate(answer.json)

    @staticmethod
    def check_secrets(sent: str, answer: Answer, seen: Iterable[Image]) -> None:
        """Nothing of an image that the caller does not see, but what the caller has sent."""
        text = answer.body.decode(errors='replace') + ' '.join(
            value for name, value in answer.headers.items() if name != 'x-openstack-request-id'
        )
        images = list(seen)
        for pattern, known in (
            (MARK, {image.mark for image in images}),
            (UUID, {image.id for image in images}),
        ):
            told = set(pattern.findall(text)) - set(pattern.findall(sent)) - known
            assert not told, f'{told} is none of the business of who asked: {text[:500]}'


def check_image(who: Who, body: dict[str, Any], image: Image) -> None:
    """An image in an answer is the one that was made.

    In which stores the data of a deactivated image is, administrators only are told.
    """
    told = image.data is not None and (who.admin or image.status != 'deactivated')
    expected: dict[str, Any] = {
        'id': image.id,
        'name': image.name,
        'owner': image.owner,
        'visibility': image.visibility,
        'protected': image.protected,
        'os_hidden': image.hidden,
        'status': image.status,
        'size': None if image.data is None else len(image.data),
        **image.properties,
    }
    assert {name: body.get(name) for name in expected} == expected
    assert sorted(body['tags']) == sorted(image.tags)
    assert body.get('stores') == ('fast' if told else None)
    assert body.keys() == {*BODY, *(['stores'] if told else ()), *image.properties}


BODY = (
    'id', 'name', 'owner', 'visibility', 'protected', 'os_hidden', 'status', 'size',
    'virtual_size', 'disk_format', 'container_format', 'checksum', 'os_hash_algo',
    'os_hash_value', 'min_ram', 'min_disk', 'created_at', 'updated_at', 'tags', 'self', 'file',
    'schema',
)  # fmt: skip
