# SPDX-License-Identifier: Apache-2.0
"""The table of `test_locations`: requests about locations, as `tests.peers.rows` has them."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from typing import Any

from tests.peers.comparison import Row, ident
from tests.peers.lite import ADMIN, MEMBER, NOBODY, OTHER, READER, V20, Client, Who
from tests.peers.rows import BARE, IMAGES, add, get, patch, path, post, put, remove, replace

#: what lies at the url ``/data``, and at ``/twin``
DATA = b'0123456789' * 100
SHA512 = hashlib.sha512(DATA).hexdigest()
SHA256 = hashlib.sha256(DATA).hexdigest()
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()

SERVICE = Who('services', 'service')


@dataclasses.dataclass(frozen=True)
class Until:
    """Wait until an image has its hash and nothing is done in the background any more."""

    path: str

    def wait(self, client: Client) -> None:
        deadline = time.monotonic() + 60
        while not self._is_over(client.send(ADMIN, 'GET', self.path).json()):
            assert time.monotonic() < deadline, f'{client.url}{self.path} is not ready'
            time.sleep(0.2)

    @staticmethod
    def _is_over(image: dict[str, Any]) -> bool:
        hashed = image['status'] == 'active' and image['os_hash_value']
        return bool(hashed) and 'os_glance_import_task' not in image


def at(url: str, **more: Any) -> dict[str, Any]:
    return {'url': url, 'metadata': {}, **more}


def said(value: str = SHA512, algorithm: str = 'sha512', **more: Any) -> dict[str, Any]:
    return {'os_hash_algo': algorithm, 'os_hash_value': value, **more}


def patches(web: str) -> list[Any]:
    a, b, c, d, e, f, g, h = (ident('patches', n) for n in range(8))
    data, twin, other = f'{web}/data', f'{web}/twin', f'{web}/other'
    end = '/locations/-'
    rows: list[Any] = [
        post(201, {'id': a, **BARE}),
        get(200, path(a)),
        patch(403, a, replace('/locations', [])),
        patch(403, a, add(end, at(data)), who=READER),
        patch(404, a, add(end, at(data)), who=OTHER),
        patch(401, a, add(end, at(data)), who=NOBODY),
        # paths
        patch(400, a, add('/locations', [at(data)])),
        patch(400, a, add('/locations/x', at(data))),
        patch(400, a, add('/locations/0/0', at(data))),
        patch(400, a, replace('/locations/0', at(data))),
        patch(400, a, remove('/locations')),
        # values
        patch(400, a, add(end, 'text')),
        patch(400, a, add(end, [at(data)])),
        patch(400, a, add(end, {'url': data})),
        patch(400, a, add(end, {'metadata': {}})),
        patch(400, a, add(end, {'url': data, 'metadata': 'text'})),
        patch(400, a, add(end, {'url': 5, 'metadata': {}})),
        patch(400, a, add(end, at('x' * 256))),
        patch(400, a, replace('/locations', 'text')),
        patch(400, a, replace('/locations', at(data))),
        # what nobody may name, and what is not there
        patch(400, a, add(end, at('file:///etc/passwd'))),
        patch(400, a, add(end, at('file:///etc/passwd')), who=ADMIN),
        patch(400, a, add(end, at('filesystem:///etc/passwd'))),
        patch(400, a, add(end, at('swift+config://ref/container/object'))),
        patch(400, a, add(end, at('gopher://127.0.0.1/'))),
        patch(400, a, add(end, at(''))),
        patch(400, a, add(end, at(f'{web}/nothing'))),
        patch(400, a, add(end, at(f'{web}/empty'))),
        patch(400, a, add(end, at('http://127.0.0.1:1/'))),
        patch(400, a, add(end, at('http://169.254.169.254/latest/meta-data'))),
        patch(409, a, remove('/locations/0'), who=ADMIN),
        patch(403, a, remove('/locations/0')),
        get(200, path(a)),
        # the first one makes it active
        patch(200, a, add(end, at(data, metadata={'rack': '7'}))),
        get(200, path(a)),
        get(404, path(a), OTHER),
        get(200, path(a, '/file')),
        get(200, f'{IMAGES}?id={a}'),
        put(409, a, b'data'),
        patch(400, a, add(end, at(data, metadata={'rack': '7'}))),
        patch(200, a, add(end, at(twin))),
        patch(200, a, add(end, at(other)), ours=('other-size', 400)),
    ]  # fmt: skip
    rows += [
        post(201, {'id': b, **BARE}),
        patch(200, b, replace('/locations', [at(data), at(twin)])),
        get(200, path(b)),
        patch(400, b, replace('/locations', [at(data)])),
        patch(200, b, replace('/locations', [at(data, metadata={'a': 'b'}), at(twin)])),
        get(200, path(b)),
        patch(403, b, remove('/locations/0')),
        patch(400, b, remove('/locations/5'), who=ADMIN),
        patch(400, b, remove('/locations/x'), who=ADMIN),
        patch(200, b, remove('/locations/0'), who=ADMIN),
        get(200, path(b)),
        patch(403, b, remove('/locations/0'), who=ADMIN),
        Row(204, MEMBER, 'POST', path(b, '/actions/deactivate')),
        patch(409, b, add(end, at(data)), who=ADMIN),
        get(200, path(b)),
        get(200, path(b), ADMIN),
        Row(204, MEMBER, 'DELETE', path(b)),
        get(404, path(b)),
        # formats are needed
        post(201, {'id': c}),
        patch(400, c, add(end, at(data))),
        patch(200, c, add('/disk_format', 'raw'), add('/container_format', 'bare'),
              add(end, at(data)), add('/name', 'together')),
        get(200, path(c)),
        # the older media type
        post(201, {'id': d, **BARE}),
        patch(200, d, {'add': end, 'value': at(data)}, kind=V20),
        get(200, path(d)),
        # not at creation
        post(403, {'id': e, 'locations': [at(data)], **BARE}),
        post(403, {'id': e, 'locations': [], **BARE}),
        # digests
        post(201, {'id': f, **BARE}),
        patch(409, f, add(end, at(data, validation_data=said('xyz')))),
        patch(409, f, add(end, at(data, validation_data=said('ab')))),
        patch(409, f, add(end, at(data, validation_data=said(SHA256, 'sha256')))),
        patch(409, f, add(end, at(data, validation_data=said(checksum='z' * 32)))),
        patch(400, f, add(end, at(data, validation_data=said(checksum='short')))),
        patch(400, f, add(end, at(data, validation_data={'os_hash_algo': 'sha512'}))),
        patch(400, f, add(end, at(data, validation_data=said(extra='x')))),
        patch(409, f, replace('/locations', [
            at(data, validation_data=said()), at(twin, validation_data=said('0' * 128))])),
        patch(200, f, add(end, at(data, validation_data=said(checksum=MD5))),
              ours=('validation-in-answer', 200), apart='body'),
        get(200, path(f)),
        patch(409, f, add(end, at(twin, validation_data=said('0' * 128)))),
        patch(200, f, add(end, at(twin, validation_data=said())),
              ours=('validation-in-answer', 200), apart='body'),
        get(200, path(f)),
        get(200, path(f, '/file')),
        # metadata
        post(201, {'id': g, **BARE}),
        patch(200, g, add(end, at(data, metadata={'a': {'b': ['c']}, 'store': 'nowhere'}))),
        patch(500, g, add(end, at(twin, metadata={'a': 5})), ours=('metadata-not-text', 400)),
        patch(200, g, add('/locations/1', at(twin))),
        # how many
        post(201, {'id': h, **BARE}),
        patch(413, h, replace('/locations', [at(f'{data}?{n}') for n in range(11)])),
        patch(200, h, replace('/locations', [at(f'{data}?{n}') for n in range(10)])),
        patch(413, h, add(end, at(f'{data}?10'))),
        get(200, path(h)),
    ]  # fmt: skip
    return rows


def registration(web: str) -> list[Any]:
    a, b, c, d, e, f = (ident('registration', n) for n in range(6))
    data = f'{web}/data'

    def register(status: int, image_id: str, body: Any, who: Who = MEMBER, **more: Any) -> Row:
        return Row(status, who, 'POST', path(image_id, '/locations'), body, **more)

    rows: list[Any] = [
        post(201, {'id': a, **BARE}),
        get(403, path(a, '/locations')),
        get(403, path(a, '/locations'), READER),
        get(404, path(a, '/locations'), OTHER),
        get(404, path(a, '/locations'), SERVICE),
        get(401, path(a, '/locations'), NOBODY),
        get(200, path(a, '/locations'), ADMIN),
        # bodies
        register(400, a, {}),
        register(400, a, []),
        register(400, a, {'url': 5}),
        register(400, a, {'url': None}),
        register(400, a, {'url': data, 'validation_data': None}),
        register(400, a, {'url': data, 'validation_data': []}),
        register(400, a, {'url': data, 'validation_data': said('xyz')}),
        register(400, a, {'url': data, 'validation_data': said('ab')}),
        register(400, a, {'url': data, 'validation_data': said('ab', 'sha3')}),
        register(400, a, {'url': data, 'validation_data': said(checksum=MD5)}),
        register(400, a, {'url': data, 'validation_data': {'os_hash_value': SHA512}}),
        register(400, a, {'url': data, 'validation_data': {'os_hash_algo': 'sha512'}}),
        # people
        register(403, a, {'url': data}, READER),
        register(404, a, {'url': data}, OTHER),
        register(401, a, {'url': data}, NOBODY),
        register(403, a, {'url': 'file:///etc/passwd'}),
        register(403, a, {'url': 'rbd://pool/image/snap'}),
        register(403, a, {'url': ''}, ours=('empty-url', 400)),
        register(400, a, {'url': 'http://169.254.169.254/latest'}),
        register(400, a, {'url': 'http://127.0.0.1:1/'}),
        register(404, ident('registration', 99), {'url': data}),
        get(200, path(a)),
        # it works
        register(202, a, {'url': data, 'ignored': 5}),
        Until(path(a)),
        get(200, path(a)),
        get(200, path(a, '/locations'), ADMIN),
        get(200, path(a, '/file')),
        register(409, a, {'url': data}),
        # with what it must be
        post(201, {'id': b, **BARE}),
        register(202, b, {'url': data, 'validation_data': said()}),
        Until(path(b)),
        get(200, path(b)),
        post(201, {'id': c, **BARE}),
        register(202, c, {'url': data, 'validation_data': said(SHA256, 'sha256')}),
        Until(path(c)),
        get(200, path(c)),
        # public images are seen by services
        post(201, {'id': d, 'visibility': 'public', 'owner': 'alpha', **BARE}, ADMIN),
        register(202, d, {'url': data}, ADMIN),
        Until(path(d)),
        get(200, path(d)),
        get(200, path(d, '/locations'), SERVICE),
        get(403, path(d, '/locations'), OTHER),
        Row(204, ADMIN, 'POST', path(d, '/actions/deactivate')),
        get(200, path(d, '/locations'), SERVICE),
        Row(204, ADMIN, 'DELETE', path(d)),
        # upload has its data already
        post(201, {'id': e, **BARE}),
        put(204, e, b'data'),
        register(409, e, {'url': data}),
        post(201, {'id': f, 'visibility': 'public', 'owner': 'alpha', **BARE}, ADMIN),
        register(202, f, {'url': 'file:///etc/passwd'}, SERVICE, ours=('hopeless-url', 400)),
    ]  # fmt: skip
    return rows


GROUPS = {group.__name__: group for group in (patches, registration)}
