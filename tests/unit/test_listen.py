# SPDX-License-Identifier: Apache-2.0
"""The socket that glance-lite-api listens on."""

from __future__ import annotations

import socket

import pytest
from oslo_config import cfg

from glance_lite.conf.server import OPTIONS
from glance_lite.server import master


@pytest.fixture
def listener():
    conf = cfg.ConfigOpts()
    conf.register_opts(OPTIONS['DEFAULT'])
    conf([], default_config_files=[], default_config_dirs=[])
    conf.set_override('bind_host', '127.0.0.1')
    conf.set_override('bind_port', 0)
    conf.set_override('tcp_keepidle', 77)
    made = master.listen(conf)
    yield made
    made.close()


def test_answers_do_not_wait_for_delayed_acknowledgements(listener):
    """And what else a connection has from the socket that it came by."""
    with socket.create_connection(listener.getsockname()):
        descriptor, _ = listener._accept()
        with socket.socket(fileno=descriptor) as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
