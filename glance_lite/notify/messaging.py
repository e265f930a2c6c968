# SPDX-License-Identifier: Apache-2.0
"""The notifier that has all that oslo.messaging has: its transports and its drivers.

oslo.messaging's own `Notifier` logs what it could not send and forgets it. Here the transport is
called directly, once and without its endless retries, so that a failure is seen.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from glance_lite.errors import ConfigurationError
from glance_lite.notify.driver import NotifierDriver
from glance_lite.notify.routing import Routing, read_routing

if TYPE_CHECKING:
    from glance_lite.notify.events import Notice

LOG = logging.getLogger(__name__)

GROUP = 'oslo_messaging_notifications'

#: Format of a message, by the driver's name.
VERSIONS = {'messaging': 1.0, 'messagingv2': 2.0}

#: The driver that only says which others get an event.
ROUTING = 'routing'

#: Most seconds that the end of a worker waits for connections to be closed.
CLOSING = 1.0

Send = Callable[[dict[str, Any]], None]


def configured(conf: cfg.ConfigOpts) -> tuple[list[str], str]:
    """``driver`` and ``routing_config`` of oslo.messaging's group.

    They are registered by name here, because oslo.messaging is heavy and most installations have
    no bus.
    """
    old = [cfg.DeprecatedOpt('notification_driver', group='DEFAULT')]
    reader = cfg.ConfigOpts()
    reader.register_opts(
        [cfg.MultiStrOpt('driver', default=[], deprecated_opts=old), cfg.StrOpt('routing_config')],
        group=GROUP,
    )
    dirs = [path for path in (conf.config_dir or []) if path]
    reader([], default_config_files=conf.config_file or [], default_config_dirs=dirs)
    names = [name for name in reader[GROUP].driver if name not in ('', 'noop')]
    return list(dict.fromkeys(names)), reader[GROUP].routing_config or ''


class MessagingNotifier(NotifierDriver):
    """What ``[oslo_messaging_notifications]`` says, on oslo.messaging."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__(conf)
        self._names, file = configured(conf)
        if not self._names:
            raise ConfigurationError(f'[{GROUP}] driver: it names no driver')
        self._routing: Routing | None = None
        if ROUTING in self._names:
            self._routing = read_routing(file)
            self._names.remove(ROUTING)
        self._transport: Any = None
        self._senders: dict[str, Send] = {}

    def start(self) -> None:
        import oslo_messaging  # heavy, and only for those who have a bus

        # As in Glance, the exchange is called after the service, where control_exchange is unset.
        oslo_messaging.set_transport_defaults('glance')
        self._open()

    def stop(self) -> None:
        closing = self._close()
        if closing is not None:
            closing.join(CLOSING)

    def send(self, notice: Notice) -> None:
        names = self._names
        if self._routing is not None:
            chosen = self._routing.drivers(notice.event, notice.priority)
            names = [*names, *(name for name in sorted(chosen) if name not in names)]
        if self._transport is None:
            self._open()
        try:
            for name in names:
                self._senders[name](dict(notice.message))
        except Exception:
            # With the connection as it is, the next attempt might go on for ever.
            self._close()
            raise

    # --- oslo.messaging

    def _open(self) -> None:
        """A new transport; it connects with the first message. `ConfigurationError`."""
        import oslo_messaging

        try:
            self._transport = oslo_messaging.get_notification_transport(self.conf)
        except Exception as ex:
            # Not its text: that has the url, and so the password.
            raise ConfigurationError(
                f'[{GROUP}] transport_url: oslo.messaging cannot use it: {type(ex).__name__}'
            ) from None
        known = set(self._names) | (self._routing.names if self._routing else set())
        self._senders = {name: self._sender(name) for name in known}

    def _sender(self, name: str) -> Send:
        if name in VERSIONS:
            return functools.partial(self._publish, VERSIONS[name])
        return _others(self.conf, name, self._transport)

    def _publish(self, version: float, message: dict[str, Any]) -> None:
        """Over the transport, to each topic; with RabbitMQ, until the broker has confirmed it."""
        import oslo_messaging

        for topic in self.conf[GROUP].topics:
            target = oslo_messaging.Target(topic=f'{topic}.{message["priority"].lower()}')
            # What is sent is changed on the way. Nothing of the caller goes with it.
            self._transport._send_notification(target, {}, dict(message), version, retry=0)

    def _close(self) -> threading.Thread | None:
        """Give the transport up. A broker that does not answer holds up nobody but this thread."""
        transport, self._transport = self._transport, None
        if transport is None:
            return None
        closing = threading.Thread(target=_clean_up, args=(transport,), daemon=True)
        closing.start()
        return closing


def _clean_up(transport: Any) -> None:
    with contextlib.suppress(Exception):
        transport.cleanup()


def _others(conf: cfg.ConfigOpts, name: str, transport: Any) -> Send:
    """A driver of oslo.messaging's own, or of somebody else's. `ConfigurationError`."""
    from stevedore import driver

    try:
        made = driver.DriverManager(
            'oslo.messaging.notify.drivers',
            name,
            invoke_on_load=True,
            invoke_args=[conf],
            invoke_kwds={'topics': conf[GROUP].topics, 'transport': transport},
        ).driver
    except Exception as ex:
        raise ConfigurationError(
            f'[{GROUP}] driver: {name} cannot be loaded: {type(ex).__name__}'
        ) from ex

    def send(message: dict[str, Any]) -> None:
        made.notify({}, message, message['priority'], 0)

    return send
