# SPDX-License-Identifier: Apache-2.0
"""A real RabbitMQ: one per test run, and brokers of a test's own that it may stop and kill.

`broker` gives the url of the shared one for ``transport_url``; whoever uses it takes topics of its
own. `Listener` hears what comes for a topic, whatever the priority::

    url = rabbitmq.broker()
    with rabbitmq.Listener(url, topic) as heard:
        ...
        heard.wait(3)
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import shutil
import signal
import socket
import tempfile
import threading
import time
import uuid
from typing import Any

import kombu
import pytest

from tests.backends import databases

PROGRAM = '/usr/lib/rabbitmq/bin/rabbitmq-server'
USER, PASSWORD = 'glance', 'glancepw'

CONFIGURATION = """
listeners.tcp.1 = 127.0.0.1:{port}
loopback_users = none
default_user = {user}
default_pass = {password}
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.absolute = 512MB
log.console = true
log.console.level = warning
log.file = false
"""

#: one scheduler that does not spin: this machine has other work
ERLANG = '+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none'


#: seconds that a start may take: five when nothing else runs, and much more on a busy machine
STARTING = 300


def require() -> None:
    """Skip the test, or fail it where peers are demanded, without RabbitMQ."""
    if os.path.exists(PROGRAM):
        return
    reason = 'RabbitMQ is not installed (apt-get install rabbitmq-server)'
    if os.environ.get(databases.REQUIRE) == '1':
        pytest.fail(reason)
    pytest.skip(reason)


def broker() -> str:
    """``transport_url`` of the broker of this test run."""
    require()
    return _url(databases.shared('rabbitmq', lambda base: _start(base, None))['port'])


def topic() -> str:
    """One that nobody else has."""
    return f'notifications_{uuid.uuid4().hex[:12]}'


def _url(port: int) -> str:
    return f'rabbit://{USER}:{PASSWORD}@127.0.0.1:{port}/'


def _start(base: pathlib.Path, port: int | None) -> dict[str, Any]:
    home = base / 'rabbitmq'
    home.mkdir(exist_ok=True)
    (home / 'plugins').write_text('[].')
    # The port mapper would be started by the broker, and outlive it.
    mapper = databases.watch(
        base, 'epmd', signal.SIGTERM, [_find('epmd'), '-address', '127.0.0.1', '-port', '@PORT@'],
        lambda server: _connect(server['port']), None,
    )  # fmt: skip
    settings = {
        'HOME': home,
        'RABBITMQ_NODENAME': f'test{os.getpid()}x{uuid.uuid4().hex[:6]}@localhost',
        'RABBITMQ_CONFIG_FILE': home / 'rabbitmq.conf',
        'RABBITMQ_MNESIA_BASE': home / 'mnesia',
        'RABBITMQ_LOG_BASE': home / 'log',
        'RABBITMQ_ENABLED_PLUGINS_FILE': home / 'plugins',
        'RABBITMQ_PID_FILE': home / 'pid',
        'RABBITMQ_DIST_PORT': databases.free_port(),
        'RABBITMQ_SERVER_START_ARGS': '-kernel inet_dist_use_interface {127,0,0,1}',
        'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS': ERLANG,
        'ERL_EPMD_PORT': mapper['port'],
        'ERL_EPMD_ADDRESS': '127.0.0.1',
    }
    name = home / 'nodename'
    if name.exists():  # its data are kept under its name
        settings['RABBITMQ_NODENAME'] = name.read_text()
    name.write_text(settings['RABBITMQ_NODENAME'])
    given = port or databases.free_port()
    (home / 'rabbitmq.conf').write_text(
        CONFIGURATION.format(port=given, user=USER, password=PASSWORD)
    )
    command = ['env', *(f'{key}={value}' for key, value in settings.items()), PROGRAM]
    started = databases.watch(
        base, 'rabbitmq', signal.SIGTERM, command, functools.partial(_ready, home), given, STARTING
    )
    return {**started, 'server_pid': int((home / 'pid').read_text())}


def _find(program: str) -> str:
    return shutil.which(program, path=os.environ.get('PATH', '') + ':/usr/bin') or program


def _connect(port: int) -> None:
    socket.create_connection(('127.0.0.1', port), 5).close()


def _ready(home: pathlib.Path, server: dict[str, Any]) -> None:
    with kombu.Connection(_amqp(_url(server['port'])), connect_timeout=5) as connection:
        connection.connect()
    int((home / 'pid').read_text())


def _amqp(url: str) -> str:
    """kombu's name for it, and its name for the virtual host ``/``."""
    return url.replace('rabbit://', 'amqp://') + '/'


class Alone:
    """A broker of a test's own, which it may stop, kill, freeze and start again on its port."""

    def __enter__(self) -> Alone:
        require()
        self._base = pathlib.Path(tempfile.mkdtemp(prefix='glance-lite-mq-'))
        (self._base / 'owner').write_text(str(os.getpid()))
        self._server = _start(self._base, None)
        self.url = _url(self._server['port'])
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.thaw()
        self.stop()
        shutil.rmtree(self._base, ignore_errors=True)

    def revive(self) -> None:
        """As it was made, whatever a test has done to it."""
        with contextlib.suppress(ProcessLookupError):
            self.thaw()
        if not (self._base / 'rabbitmq.keep').exists():
            self.start()

    def stop(self) -> None:
        """It ends as it likes to, and connections are closed."""
        self._end('rabbitmq', 'epmd')

    def kill(self) -> None:
        """It is gone in the middle of whatever it does."""
        os.kill(self._server['server_pid'], signal.SIGKILL)
        self._end('rabbitmq', 'epmd')

    def _end(self, *names: str) -> None:
        for name in names:
            (self._base / f'{name}.keep').unlink(missing_ok=True)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(int((self._base / f'{name}.pid').read_text()), 0)

    def freeze(self) -> None:
        """It stops answering, and nobody is told."""
        os.kill(self._server['server_pid'], signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._server['server_pid'], signal.SIGCONT)

    def start(self) -> None:
        """It is there again, with what it had promised to keep."""
        self._server = _start(self._base, self._server['port'])


@dataclasses.dataclass(frozen=True)
class Heard:
    """A notification as it came: where, and what was in it."""

    #: routing key: topic and priority
    key: str
    message: dict[str, Any]

    @property
    def event(self) -> str:
        return str(self.message['event_type'])

    @property
    def payload(self) -> Any:
        return self.message['payload']


class Listener:
    """Hears all that is sent to a topic, in the order in which it comes; reconnects."""

    def __init__(
        self, url: str, topic: str, exchange: str = 'glance', durable: bool = False
    ) -> None:
        """`durable`: what is not yet heard outlives the broker, as with amqp_durable_queues."""
        self._url = _amqp(url)
        self._durable = durable
        exchange_ = kombu.Exchange(exchange, 'topic', durable=durable)
        keys = [f'{topic}.{priority}' for priority in ('info', 'error', 'warn')]
        bindings = [kombu.binding(exchange_, routing_key=key) for key in keys]
        self._queue = kombu.Queue(f'ear_{uuid.uuid4().hex}', bindings=bindings, durable=durable)
        self._ended = threading.Event()
        self._listening = threading.Event()
        #: in the order in which they came, the same one perhaps more than once
        self.all: list[Heard] = []

    def __enter__(self) -> Listener:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._listening.wait(60), 'there is no broker to listen to'
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with kombu.Connection(self._url, connect_timeout=5) as connection:
                    self._listen(connection)
            except Exception:
                time.sleep(0.1)

    def _listen(self, connection: kombu.Connection) -> None:
        with connection.Consumer([self._queue], callbacks=[self._take], accept=['json']):
            self._listening.set()
            while not self._ended.is_set():
                with contextlib.suppress(socket.timeout):
                    connection.drain_events(timeout=0.2)

    def _take(self, body: Any, message: Any) -> None:
        found = json.loads(body) if isinstance(body, str) else body
        if 'oslo.message' in found:  # the envelope of messagingv2
            found = json.loads(found['oslo.message'])
        self.all.append(Heard(message.delivery_info['routing_key'], found))
        message.ack()

    # --- what came

    def once(self) -> list[Heard]:
        """What came, without what came again."""
        seen: dict[str, Heard] = {}
        for heard in list(self.all):
            seen.setdefault(heard.message['message_id'], heard)
        return list(seen.values())

    def events(self) -> list[str]:
        return [heard.event for heard in self.once()]

    def wait(self, count: int, seconds: float = 60) -> list[Heard]:
        """So many, within some time."""
        deadline = time.monotonic() + seconds
        while len(self.once()) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        found = self.once()
        assert len(found) >= count, f'{count} events awaited, and {self.events()} came'
        return found

    def settle(self, seconds: float = 1.0) -> list[Heard]:
        """All, when nothing has come for so many seconds."""
        count = -1
        while count != len(self.all):
            count = len(self.all)
            time.sleep(seconds)
        return self.once()
