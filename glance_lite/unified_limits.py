# SPDX-License-Identifier: Apache-2.0
"""Limits that an operator registers in Keystone, by oslo.limit.

oslo.limit reads its options, group ``oslo_limit``, from the configuration that commands parse
into, and keeps one connection to Keystone for the process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from glance_lite.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)

#: Limits by name; -1 is none.
Limits = Mapping[str, int]

NAMES = ('image_size_total', 'image_stage_total', 'image_count_total', 'image_count_uploading')

#: Seconds for which an answer of Keystone is good.
FRESH = 10.0
#: Seconds after a failure during which Keystone is not asked again, and clients should wait.
PAUSE = 2
#: Seconds that Keystone has for an answer, where ``[oslo_limit] timeout`` says nothing.
TIMEOUT = 10
#: Most projects whose limits are kept.
MOST = 10_000


class UnifiedLimits:
    """The limits of projects, as Keystone has told them within the last `FRESH` seconds."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Asks nothing yet. Raises `ConfigurationError`."""
        # PERF: it brings the whole of openstacksdk along.
        from keystoneauth1 import loading
        from oslo_limit import limit

        limit.opts.register_opts(conf)
        loading.register_auth_conf_options(conf, 'oslo_limit')
        loading.register_session_conf_options(conf, 'oslo_limit')
        conf.set_default('timeout', TIMEOUT, group='oslo_limit')
        options = conf.oslo_limit
        if not options.auth_type:
            raise ConfigurationError(
                '[oslo_limit] auth_type: with use_keystone_limits it must say how the service '
                'is known to Keystone'
            )
        if not (
            options.endpoint_id or options.endpoint_service_name or options.endpoint_service_type
        ):
            raise ConfigurationError(
                '[oslo_limit] endpoint_id: with use_keystone_limits it must name the endpoint '
                'of the Image service, for which limits are registered'
            )
        self._make: Any = limit.Enforcer
        # One asks at a time; the others wait for the answer.
        self._lock = threading.Lock()
        self._enforcer: Any = None
        self._failed = float('-inf')
        #: project -> until when, and what
        self._known: dict[str | None, tuple[float, Limits]] = {}
        self._registered: tuple[float, dict[str, int]] = (float('-inf'), {})

    def of(self, project: str | None) -> Limits:
        """All of `NAMES`. `Unavailable`: Keystone does not say."""
        found = self._known.get(project)
        if found is not None and time.monotonic() < found[0]:
            return found[1]
        with self._lock:
            found = self._known.get(project)
            now = time.monotonic()
            if found is not None and now < found[0]:
                return found[1]
            if now < self._failed + PAUSE:
                raise _unavailable()
            limits = self._ask(project)
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[project] = (now + FRESH, limits)
            return limits

    def _ask(self, project: str | None) -> Limits:
        from keystoneauth1.exceptions import ClientException
        from openstack.exceptions import SDKException
        from oslo_limit.exception import SessionInitError

        try:
            if self._enforcer is None:
                self._enforcer = self._make(lambda project, names: {}, cache=False)
            registered = self._default()
            own = {} if project is None else dict(self._enforcer.get_project_limits(project, None))
        # The last ones are how it says what is wrong with its options, or with an answer.
        except (
            ClientException, SDKException, SessionInitError,
            LookupError, TypeError, ValueError, RuntimeError,
        ) as ex:  # fmt: skip
            self._enforcer = None
            self._failed = time.monotonic()
            LOG.error('Limits cannot be had from Keystone: %s: %s', type(ex).__name__, ex)
            raise _unavailable() from ex
        return MappingProxyType({name: own.get(name, registered.get(name, 0)) for name in NAMES})

    def _default(self) -> dict[str, int]:
        """What is registered for projects that have no limits of their own."""
        until, limits = self._registered
        if time.monotonic() >= until:
            limits = dict(self._enforcer.get_registered_limits(None))
            missing = [name for name in NAMES if name not in limits]
            if missing:
                LOG.warning('Not registered in Keystone, so 0: %s', ', '.join(missing))
            self._registered = (time.monotonic() + FRESH, limits)
        return limits


def _unavailable() -> Unavailable:
    return Unavailable('The limits of the project cannot be looked up now', retry_after=PAUSE)
