# SPDX-License-Identifier: Apache-2.0
"""A real vSphere API: govmomi's simulator of a vCenter, built once from Debian's library.

It has datacenter DC0 with datastores LocalDS_0 and LocalDS_1, serves HTTPS with an authority of
its own, and what a test does to it is done at once::

    with vcsim.running(tmp_path) as server:
        server.control('expire')                 # all sessions end
        server.control('password', to='other')   # nobody gets in any more
        server.control('free', datastore='LocalDS_0', bytes='1000')
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import pathlib
import resource
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator

import pytest
import requests

from tests.backends import databases, web

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILT = ROOT / '.cache' / 'vcsim'
SOURCES = ROOT / 'tests' / 'backends' / 'vcsim'
LIBRARY = '/usr/share/gocode/src/github.com/vmware/govmomi'
USER, PASSWORD = 'glance', 'glancepw'
DATACENTER, DATASTORES = 'DC0', ('LocalDS_0', 'LocalDS_1')


def require() -> None:
    """Skip the test, or fail it where peers are demanded, without the simulator."""
    if _is_built() or (os.path.isdir(LIBRARY) and shutil.which('go')):
        return
    reason = 'vcsim cannot be built (apt-get install golang-go golang-github-vmware-govmomi-dev)'
    if os.environ.get(databases.REQUIRE) == '1':
        pytest.fail(reason)
    pytest.skip(reason)


def _stamp() -> str:
    digest = hashlib.sha256()
    for path in sorted(SOURCES.rglob('*.go')):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _is_built() -> bool:
    stamp = BUILT / 'stamp'
    return stamp.exists() and stamp.read_text() == _stamp()


def build() -> None:
    """Program and WSDL, unless they are there; one process builds, the others wait."""
    BUILT.mkdir(parents=True, exist_ok=True)
    with open(BUILT / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_built():
            return
        settings = {
            'GOPATH': '/usr/share/gocode',
            'GO111MODULE': 'off',
            'GOPROXY': 'off',
            'GOFLAGS': '',
            'GOCACHE': str(BUILT / 'gocache'),
            'CGO_ENABLED': '0',
        }
        environment = {**os.environ, **settings}
        for name, source in (('vcsim', 'main.go'), ('wsdl', 'wsdl/main.go')):
            command = ['go', 'build', '-o', str(BUILT / name), str(SOURCES / source)]
            subprocess.run(command, env=environment, check=True, cwd=SOURCES)
        with open(BUILT / 'vimService.wsdl', 'wb') as out:
            subprocess.run([str(BUILT / 'wsdl')], stdout=out, check=True)
        shutil.rmtree(BUILT / 'gocache', ignore_errors=True)
        (BUILT / 'stamp').write_text(_stamp())


@dataclasses.dataclass(frozen=True)
class Vcsim:
    """A simulator that runs."""

    host: str
    port: int
    directory: pathlib.Path
    pid: int

    @property
    def ca(self) -> str:
        """Path of the certificate of its authority."""
        return str(self.directory / 'ca.pem')

    @property
    def thumbprint(self) -> str:
        """Of its own certificate, by SHA-1."""
        pem = (self.directory / 'server.pem').read_text()
        return hashlib.sha1(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()

    def control(self, what: str, **arguments: str) -> None:
        url = f'https://localhost:{self.port}/control/{what}'
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(url, params=arguments, verify=self.ca, timeout=10)
        answer.raise_for_status()

    def files(self) -> set[str]:
        """What is on the datastores, by path; directories end in a slash."""
        return {
            f'{path.relative_to(top)}/' if path.is_dir() else str(path.relative_to(top))
            for top in (self.directory / 'tmp').iterdir()
            for path in top.rglob('*')
        }

    def freeze(self) -> None:
        """It stops answering, and nobody is told."""
        os.kill(self.pid, signal.SIGSTOP)
        # On a busy machine its other threads go on until one has taken the signal.
        stat = pathlib.Path(f'/proc/{self.pid}/stat')
        while stat.read_text().rpartition(')')[2].split()[0] != 'T':
            time.sleep(0.01)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@contextlib.contextmanager
def running(
    directory: pathlib.Path, host: str = '127.0.0.1', port: int = 0, most: int | None = None
) -> Iterator[Vcsim]:
    """A simulator while the block runs; `most`: bytes that a file of its may have."""
    require()
    build()
    directory.mkdir(exist_ok=True)
    (directory / 'tmp').mkdir()
    web.make_certificates(directory, f'IP:{host}')
    port = port or databases.free_port()
    command = [
        str(BUILT / 'vcsim'), '-l', f'{host}:{port}', '-username', USER, '-password', PASSWORD,
        '-tlscert', str(directory / 'server.pem'), '-tlskey', str(directory / 'server.key'),
        '-ds', str(len(DATASTORES)), '-wsdl', str(BUILT / 'vimService.wsdl'),
    ]  # fmt: skip
    with open(directory / 'output', 'ab') as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, start_new_session=True,
            # Datastores are directories under it.
            env={**os.environ, 'TMPDIR': str(directory / 'tmp')},
            preexec_fn=None if most is None else lambda: _limit(most),
        )  # fmt: skip
    server = Vcsim(host, port, directory, process.pid)
    try:
        deadline = time.monotonic() + 60
        while 'READY' not in (directory / 'output').read_text():
            assert process.poll() is None, (directory / 'output').read_text()
            assert time.monotonic() < deadline, 'vcsim does not start'
            time.sleep(0.05)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.thaw()
            process.terminate()
        process.wait(20)


def _limit(most: int) -> None:
    # A write beyond it fails, instead of ending the process.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
