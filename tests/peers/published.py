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
import base64, io, json, sys, types
import glance_store
from oslo_config import cfg
kind, options, several, caller = json.loads(sys.argv[1])
context = types.SimpleNamespace(**caller) if caller else None
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

def add(name, data, scheme, sized):
    data = base64.b64decode(data)
    size = len(data) if sized else 0
    if several:
        add = glance_store.add_with_multihash
        return add(conf, name, io.BytesIO(data), size, 'theirs', 'sha256', context=context)[0]
    add = glance_store.add_to_backend_with_multihash
    return add(conf, name, io.BytesIO(data), size, 'sha256', scheme, context=context)[0]

def get(url):
    if several:
        found = glance_store.get(url, 'theirs', context=context)
    else:
        found = glance_store.get_from_backend(url, context=context)
    return base64.b64encode(b''.join(found[0])).decode()

def size(url):
    if several:
        return glance_store.get_size_from_uri_and_backend(url, 'theirs', context=context)
    return glance_store.get_size_from_backend(url, context=context)

def delete(url):
    if several:
        glance_store.delete(url, 'theirs', context=context)
    else:
        glance_store.delete_from_backend(url, context=context)

def acl(url, public, projects):
    said = {'public': public, 'read_tenants': projects, 'context': context}
    if several:
        glance_store.set_acls_for_multi_store(url, 'theirs', **said)
    else:
        glance_store.set_acls(url, **said)

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

    def __init__(
        self,
        kind: str,
        options: dict[str, Any],
        several: bool = True,
        context: dict[str, Any] | None = None,
    ) -> None:
        """`kind` is the type of the store; `several`: ``enabled_backends``, or ``stores``.

        `context` has the attributes of the context of a request that a driver looks at.
        """
        self._command = json.dumps([kind, options, several, context])

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

    def add(self, name: str, data: bytes, scheme: str = '', sized: bool = True) -> str:
        """The url; a single store is found by a `scheme` of its driver.

        `sized`: it is told how much comes.
        """
        return str(self._ask('add', name, base64.b64encode(data).decode(), scheme, sized))

    def get(self, url: str) -> bytes:
        return base64.b64decode(self._ask('get', url))

    def size(self, url: str) -> int:
        return int(self._ask('size', url))

    def delete(self, url: str) -> None:
        self._ask('delete', url)

    def acl(self, url: str, public: bool, projects: list[str]) -> None:
        """What it does when the members, or the visibility, of an image change."""
        self._ask('acl', url, public, projects)
