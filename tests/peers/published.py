# SPDX-License-Identifier: Apache-2.0
"""A driver of the published glance_store, in a process of its environment, as Glance uses it.

::

    with Published('s3', {'s3_store_host': ...}) as theirs:
        url = theirs.add('name', b'data')
        assert theirs.get(url) == b'data' and theirs.size(url) == 4
        theirs.delete(url)
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
from typing import Any

from tests.peers import glance33

#: One store, alone or as one of several. Each line is a request.
PROGRAM = """
import base64, io, json, sys
import glance_store
from oslo_config import cfg
kind, options, several = json.loads(sys.argv[1])
conf = cfg.CONF
group = 'theirs' if several else 'glance_store'
if several:
    conf.register_opts([cfg.DictOpt('enabled_backends')])
    conf.set_override('enabled_backends', {'theirs': kind})
    glance_store.register_store_opts(conf)
else:
    glance_store.register_opts(conf)
conf([], default_config_files=[], default_config_dirs=[])
if several:
    conf.set_override('default_backend', 'theirs', group='glance_store')
else:
    conf.set_override('stores', [kind], group='glance_store')
for name, value in options.items():
    conf.set_override(name, value, group=group)
(glance_store.create_multi_stores if several else glance_store.create_stores)(conf)

def add(name, data, scheme):
    data = base64.b64decode(data)
    if several:
        add = glance_store.add_with_multihash
        return add(conf, name, io.BytesIO(data), len(data), 'theirs', 'sha256')[0]
    add = glance_store.add_to_backend_with_multihash
    return add(conf, name, io.BytesIO(data), len(data), 'sha256', scheme)[0]

def get(url):
    found = glance_store.get(url, 'theirs') if several else glance_store.get_from_backend(url)
    return base64.b64encode(b''.join(found[0])).decode()

def size(url):
    if several:
        return glance_store.get_size_from_uri_and_backend(url, 'theirs')
    return glance_store.get_size_from_backend(url)

def delete(url):
    if several:
        glance_store.delete(url, 'theirs')
    else:
        glance_store.delete_from_backend(url)

print('READY', flush=True)
for line in sys.stdin:
    verb, *arguments = json.loads(line)
    try:
        answer = {'is': globals()[verb](*arguments)}
    except Exception as ex:
        answer = {'error': type(ex).__name__}
    print(json.dumps(answer), flush=True)
"""


class Refused(Exception):
    """What glance_store raised, by the name of the class."""


class Published:
    """The driver while the block runs."""

    def __init__(self, kind: str, options: dict[str, Any], several: bool = True) -> None:
        """`kind` is the type of the store; `several`: ``enabled_backends``, or ``stores``."""
        self._command = json.dumps([kind, options, several])

    def __enter__(self) -> Published:
        python = glance33.home() / 'bin' / 'python'
        # What requests takes for more than what it was told.
        bundles = ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE')
        self._process = subprocess.Popen(
            [python, '-W', 'ignore', '-c', PROGRAM, self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if name not in bundles},
        )
        assert self._process.stdin and self._process.stdout
        self._in, self._out = self._process.stdin, self._process.stdout
        assert self._out.readline() == 'READY\n'
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._in.close()
        self._process.wait(30)
        self._out.close()

    def _ask(self, *request: Any) -> Any:
        self._in.write(json.dumps(request) + '\n')
        self._in.flush()
        answer = json.loads(self._out.readline())
        if 'error' in answer:
            raise Refused(answer['error'])
        return answer['is']

    def add(self, name: str, data: bytes, scheme: str = '') -> str:
        """The url; a single store is found by a `scheme` of its driver."""
        return str(self._ask('add', name, base64.b64encode(data).decode(), scheme))

    def get(self, url: str) -> bytes:
        return base64.b64decode(self._ask('get', url))

    def size(self, url: str) -> int:
        return int(self._ask('size', url))

    def delete(self, url: str) -> None:
        self._ask('delete', url)
