# SPDX-License-Identifier: Apache-2.0
"""The contract of notifiers, which carry events to those who want to know, and two small ones.

A notifier is an entry point of ``glance_lite.notifiers``, switched on by ``[notifier] drivers``.
"""

from __future__ import annotations

import abc
import json
import logging

from oslo_config import cfg
from oslo_utils import strutils

from glance_lite.notify.events import Notice


class NotifierDriver(abc.ABC):
    """One way out. Any thread may use it, but one at a time."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Read the configuration, without any I/O. `ConfigurationError` in one sentence."""
        self.conf = conf

    def start(self) -> None:  # noqa: B027 (there may be nothing to open)
        """Open what must be opened in each worker process, after fork. `ConfigurationError`.

        Those that are to be told may be away: that is for `send` to find out.
        """

    @abc.abstractmethod
    def send(self, notice: Notice) -> None:
        """Deliver it; whoever returns has seen it arrive.

        An exception, whatever it is, means that it did not: it comes again later, and nothing goes
        out before it. The same one may come twice, with the same ``message_id``.
        """

    def stop(self) -> None:  # noqa: B027
        """Close what `start` opened, at once, whoever may have stopped answering."""


class LogNotifier(NotifierDriver):
    """Writes events into the log, where oslo.messaging's driver ``log`` does."""

    def send(self, notice: Notice) -> None:
        logger = logging.getLogger(f'oslo.messaging.notification.{notice.event}')
        level = logging.ERROR if notice.priority == 'ERROR' else logging.INFO
        # Values of properties that are called password, and the like, are no business of a log.
        logger.log(level, '%s', json.dumps(strutils.mask_dict_password(dict(notice.message))))


class NoopNotifier(NotifierDriver):
    """Tells nobody."""

    def send(self, notice: Notice) -> None:
        pass
