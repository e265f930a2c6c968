# SPDX-License-Identifier: Apache-2.0
"""A real Barbican 23 under uWSGI, behind the Keystone of `tests.backends.keystone`: one per run.

It keeps secrets in SQLite, encrypted by its own software plug-in. Who uses it is who has a token::

    vault = barbican.vault()
    alice = keystone.cloud().region().user('alice')
    secret = vault.store_certificate(alice.token(), der)
    ...vault.settings() goes into the configuration of the Image service...
"""

from __future__ import annotations

import base64
import dataclasses
import os
import pathlib
import signal
from typing import Any

import requests

from tests.backends import databases, keystone

#: the virtual environment that has Barbican
HOME = 'GLANCE_LITE_BARBICAN'

CONFIGURATION = """
[DEFAULT]
host_href = http://127.0.0.1:{port}
db_auto_create = true
use_stderr = true
[database]
connection = sqlite:///{directory}/barbican.sqlite
[secretstore]
enabled_secretstore_plugins = store_crypto
[crypto]
enabled_crypto_plugins = simple_crypto
[simple_crypto_plugin]
kek = {key}
{authtoken}
"""

PASTE = """
[composite:main]
use = egg:Paste#urlmap
/: versions
/v1: secrets

[pipeline:versions]
pipeline = microversion versionapp

[pipeline:secrets]
pipeline = authtoken context microversion apiapp

[app:versionapp]
paste.app_factory = barbican.api.app:create_version_app

[app:apiapp]
paste.app_factory = barbican.api.app:create_main_app

[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory

[filter:context]
paste.filter_factory = barbican.api.middleware.context:ContextMiddleware.factory

[filter:microversion]
paste.filter_factory = barbican.api.middleware.microversion:MicroversionMiddleware.factory
"""

#: Barbican's own entry point reads one fixed path.
ENTRY = """
from paste import deploy
application = deploy.loadapp('config:{directory}/paste.ini')
"""


def home() -> pathlib.Path:
    """The virtual environment of Barbican; skips, or fails where peers are demanded."""
    path = pathlib.Path(os.environ.get(HOME) or keystone.ROOT / '.cache' / 'barbican')
    there = (path / 'bin' / 'barbican-manage').exists()
    keystone.require(None if there else f'Barbican is not installed in {HOME} or .cache/barbican')
    return path


def _start(base: pathlib.Path) -> dict[str, Any]:
    # Its configuration is looked for in ~/.barbican.
    directory = base / 'barbican'
    (directory / '.barbican').mkdir(parents=True)
    port = databases.free_port()
    (directory / '.barbican' / 'barbican.conf').write_text(
        CONFIGURATION.format(
            port=port,
            directory=directory,
            key=base64.urlsafe_b64encode(os.urandom(32)).decode(),
            authtoken=keystone.cloud().region().authtoken(service_type='key-manager'),
        )
    )
    (directory / 'paste.ini').write_text(PASTE)
    (directory / 'entry.py').write_text(ENTRY.format(directory=directory))
    command = [
        str(home() / 'bin' / 'uwsgi'),
        '--http-socket', '127.0.0.1:@PORT@',
        '--wsgi-file', f'{directory}/entry.py',
        '--env', f'HOME={directory}',
        '--virtualenv', str(home()),
        '--py-sys-executable', str(home() / 'bin' / 'python'),
        # One at a time: with SQLite it answers 500 when two write at once (PostgreSQL: always).
        '--processes', '1', '--threads', '1', '--enable-threads', '--master', '--die-on-term',
        '--lazy-apps', '--need-app', '--buffer-size', '65535', '--disable-logging',
        # It closes every connection, and does not say so by itself.
        '--add-header', 'Connection: close',
    ]  # fmt: skip

    def ready(server: dict[str, Any]) -> None:
        requests.get(f'http://127.0.0.1:{server["port"]}/', timeout=30)

    return databases.watch(base, 'barbican', signal.SIGTERM, command, ready, port)


def vault() -> Vault:
    """The running Barbican."""
    home()
    keystone.cloud()
    server = databases.shared('barbican', _start)
    return Vault(f'http://127.0.0.1:{server["port"]}')


@dataclasses.dataclass(frozen=True)
class Vault:
    """A Barbican, and how to keep secrets in it."""

    url: str

    def settings(self, url: str | None = None) -> str:
        """What castellan is told of it; `url` leads to it another way."""
        cloud = keystone.cloud()
        return (
            f'[key_manager]\nbackend = barbican\n'
            f'[barbican]\nbarbican_endpoint = {url or self.url}\nauth_endpoint = {cloud.url}\n'
        )

    def join(self, region: keystone.Region) -> None:
        """Have the catalog of a region lead to it."""
        identity = region.cloud.admin.identity
        service = identity.find_service('barbican') or identity.create_service(
            name='barbican', type='key-manager'
        )
        region.add(service.id, self.url)

    def store(self, token: str, **secret: str) -> str:
        """Keep a secret, with Barbican's own names of what it is; its id."""
        answer = self._send('POST', '', token, json=secret)
        assert answer.status_code == 201, answer.text
        return str(answer.json()['secret_ref']).rpartition('/')[2]

    def store_certificate(self, token: str, pem: bytes) -> str:
        """Keep a certificate; its id."""
        return self.store(
            token,
            secret_type='certificate',
            payload=base64.b64encode(pem).decode(),
            payload_content_type='application/octet-stream',
            payload_content_encoding='base64',
        )

    def has(self, token: str, secret: str) -> bool:
        answer = self._send('GET', secret, token)
        assert answer.status_code in (200, 404), answer.text
        return answer.status_code == 200

    def _send(self, method: str, secret: str, token: str, **kwargs: Any) -> requests.Response:
        headers = {'X-Auth-Token': token, 'Accept': 'application/json'}
        url = f'{self.url}/v1/secrets/{secret}'.rstrip('/')
        return requests.request(method, url, headers=headers, timeout=60, **kwargs)
