# SPDX-License-Identifier: Apache-2.0
"""``glance-lite-worker``: does what outlives a request, and serves nobody."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Sequence

from oslo_config import cfg

from glance_lite import conf as configuration
from glance_lite import logs, memory
from glance_lite.errors import ConfigurationError
from glance_lite.service import Service

LOG = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Work until told to stop; the exit code.

    SIGTERM ends it at once: what it was at is noted, and others carry on with it.
    """
    conf = cfg.CONF
    configuration.register(conf)
    logs.register(conf)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        configuration.parse(
            conf,
            sys.argv[1:] if arguments is None else arguments,
            prog='glance-lite-worker',
            description='Does imports and looks after images, whichever process was asked for it. '
            'SIGTERM stops it at once; others carry on with what it was doing.',
        )
        logs.setup(conf)
        memory.stay_small()
        service = Service(conf)
        service.start()
    except ConfigurationError as ex:
        print(f'glance-lite-worker: {ex}', file=sys.stderr)
        return 1
    service.start_background(imports=True)
    LOG.info('Working')
    stopped.wait()
    service.stop()
    return 0


if __name__ == '__main__':
    sys.exit(main())
