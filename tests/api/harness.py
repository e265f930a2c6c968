# SPDX-License-Identifier: Apache-2.0
"""The whole application in process: Paste pipeline, chain, SQLite and file stores.

`App.request` sends a request as somebody and gives an `Answer`; identity goes through the flavor
``trusted-auth``.
"""

from __future__ import annotations

import dataclasses
import io
import json
import pathlib
from typing import Any

from glance_lite import conf as configuration
from glance_lite import deploy
from glance_lite.db import admin
from glance_lite.service import Service

ROOT = pathlib.Path(__file__).resolve().parents[2]
PASTE = ROOT / 'etc' / 'glance-api-paste.ini'

V21 = 'application/openstack-images-v2.1-json-patch'
V20 = 'application/openstack-images-v2.0-json-patch'
OCTETS = 'application/octet-stream'

TWO_STORES = """
enabled_backends = fast:file,cheap:file
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {directory}/fast
[cheap]
filesystem_store_datadir = {directory}/cheap
store_description = slow and cheap
"""
ONE_STORE = """
[glance_store]
stores = file
default_store = file
filesystem_store_datadir = {directory}/images
"""


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class App:
    """One service on a directory of its own."""

    def __init__(
        self,
        directory: pathlib.Path,
        url: str | None = None,
        default: str = '',
        stores: str = TWO_STORES,
        more: str = '',
        flavor: str = 'trusted-auth',
        paste: pathlib.Path = PASTE,
    ) -> None:
        self.directory = directory
        for name in ('fast', 'cheap', 'images'):
            (directory / name).mkdir(exist_ok=True)
        file = directory / 'glance-api.conf'
        file.write_text(
            f'[DEFAULT]\n{default}\n{stores.format(directory=directory)}\n'
            f'[database]\nconnection = {url or f"sqlite:///{directory}/glance.sqlite"}\n'
            f'[paste_deploy]\nflavor = {flavor}\nconfig_file = {paste}\n'
            f'[oslo_policy]\npolicy_file = {directory}/policy.yaml\n{more}\n'
        )
        self.conf = configuration.parse(configuration.new(), ['--config-file', str(file)])
        if url is None:
            admin.sync(self.conf)
        self.service = Service(self.conf)
        self.wsgi = deploy.load_app(self.service)
        self.service.start()

    def close(self) -> None:
        self.service.stop()

    def environ(
        self,
        method: str,
        path: str,
        body: Any = None,
        project: str | None = 'alpha',
        roles: str = 'member,reader',
        headers: dict[str, str] | None = None,
        kind: str | None = None,
    ) -> dict[str, Any]:
        path, _, query = path.partition('?')
        if isinstance(body, (dict, list)):
            body, kind = json.dumps(body).encode(), kind or 'application/json'
        data = body.encode() if isinstance(body, str) else body
        environ = {
            'REQUEST_METHOD': method,
            'SCRIPT_NAME': '',
            # WSGI carries bytes as latin-1.
            'PATH_INFO': path.encode().decode('latin-1'),
            'QUERY_STRING': query,
            'SERVER_NAME': 'image.example',
            'SERVER_PORT': '9292',
            'HTTP_HOST': 'image.example:9292',
            'SERVER_PROTOCOL': 'HTTP/1.1',
            'REMOTE_ADDR': '127.0.0.1',
            'wsgi.version': (1, 0),
            'wsgi.url_scheme': 'http',
            'wsgi.input': io.BytesIO(data or b''),
            'wsgi.errors': io.StringIO(),
            'wsgi.multithread': True,
            'wsgi.multiprocess': True,
            'wsgi.run_once': False,
        }
        if data is not None:
            environ['CONTENT_LENGTH'] = str(len(data))
        if kind is not None:
            environ['CONTENT_TYPE'] = kind
        if project is not None:
            environ['HTTP_X_IDENTITY_STATUS'] = 'Confirmed'
            environ['HTTP_X_PROJECT_ID'] = project
            environ['HTTP_X_USER_ID'] = 'user-of-' + project
            environ['HTTP_X_ROLES'] = roles
        for name, value in (headers or {}).items():
            key = name.upper().replace('-', '_')
            environ[key if key == 'CONTENT_LENGTH' else 'HTTP_' + key] = value
        return environ

    def request(self, method: str, path: str, body: Any = None, **kwargs: Any) -> Answer:
        return self.send(self.environ(method, path, body, **kwargs))

    def send(self, environ: dict[str, Any]) -> Answer:
        seen: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            for pair in headers:
                assert all(isinstance(part, str) for part in pair), pair
            seen[:] = [int(status[:3]), {name.lower(): value for name, value in headers}]

        answer = self.wsgi(environ, start_response)
        try:
            body = b''.join(answer)
        finally:
            close = getattr(answer, 'close', None)
            if close:
                close()
        return Answer(seen[0], seen[1], body)

    # --- the usual

    def get(self, path: str, **kwargs: Any) -> Answer:
        return self.request('GET', path, **kwargs)

    def create(self, **fields: Any) -> dict[str, Any]:
        kwargs = {name: fields.pop(name) for name in ('project', 'roles') if name in fields}
        answer = self.request('POST', '/v2/images', fields, **kwargs)
        assert answer.status == 201, answer
        return answer.json

    def patch(self, image_id: str, *steps: dict[str, Any], kind: str = V21, **kw: Any) -> Answer:
        return self.request('PATCH', f'/v2/images/{image_id}', list(steps), kind=kind, **kw)

    def put(self, image_id: str, data: bytes, **kwargs: Any) -> Answer:
        kwargs.setdefault('kind', OCTETS)
        return self.request('PUT', f'/v2/images/{image_id}/file', data, **kwargs)

    def active(self, data: bytes = b'data', **fields: Any) -> dict[str, Any]:
        """An image with data."""
        who = {name: fields[name] for name in ('project', 'roles') if name in fields}
        image = self.create(**{'disk_format': 'raw', 'container_format': 'bare', **fields})
        answer = self.put(image['id'], data, **who)
        assert answer.status == 204, answer
        return self.get(f'/v2/images/{image["id"]}', **who).json


ADMIN = {'roles': 'admin,member,reader', 'project': 'operators'}
BETA = {'project': 'beta'}
