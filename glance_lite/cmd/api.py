# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-api``: the service as a server of its own."""

from __future__ import annotations

# Replaces blocking parts of the standard library, so it comes before all others.
import glance_lite.server.eventlet as green  # isort: skip

import sys
from collections.abc import Sequence

from oslo_config import cfg

from glance_lite import conf as configuration
from glance_lite import deploy, logs
from glance_lite.errors import ConfigurationError
from glance_lite.server import generation, tls
from glance_lite.server.master import Master, stay
from glance_lite.server.worker import Worker
from glance_lite.service import Service


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the exit code."""
    conf = cfg.CONF
    inheritance = generation.inherited()
    configuration.register(conf)
    logs.register(conf)
    try:
        configuration.parse(
            conf,
            sys.argv[1:] if arguments is None else arguments,
            prog='glance-lite-api',
            description='Serves the Image API. SIGTERM stops it when running requests are '
            'done; SIGHUP reads the whole configuration anew and drops no request.',
        )
        logs.setup(conf)
        service = Service(conf)
        app = deploy.load_app(service)
        deploy.refuse_open_local(conf, service)
        tls.context(conf)
        if generation.is_check():
            green.meet_the_hub()
            service.start()
            return 0
    except ConfigurationError as ex:
        print(f'glance-lite-api: {ex}', file=sys.stderr)
        return 1 if inheritance is None else stay(inheritance, str(ex))
    green.leave_the_hub()
    try:
        return Master(conf, Worker(conf, service, app).run, inheritance).run()
    except ConfigurationError as ex:
        print(f'glance-lite-api: {ex}', file=sys.stderr)
        return 1


if __name__ == '__main__':
    sys.exit(main())
