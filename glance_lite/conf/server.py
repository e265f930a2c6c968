# SPDX-License-Identifier: Apache-2.0
"""The stand-alone server. Glance had these options until it lost its own server."""

from __future__ import annotations

from oslo_config import cfg

OPTIONS: dict[str, list[cfg.Opt]] = {
    'DEFAULT': [
        cfg.HostAddressOpt('bind_host', default='0.0.0.0', help='Address to listen on.'),
        cfg.PortOpt('bind_port', default=9292, help='Port to listen on.'),
        cfg.IntOpt('backlog', default=4096, min=1, help='Connections waiting to be accepted.'),
        cfg.IntOpt(
            'workers',
            min=0,
            help='Processes that serve, watched by one more. 0 and 1 mean one; the number of '
            'processors, at most 8, when not set.',
        ),
        cfg.IntOpt(
            'client_socket_timeout',
            default=900,
            min=0,
            help='Seconds a connection may be silent before it is closed; 0 is for ever. The '
            'header of a request, once begun, must come within this time and within 60 seconds.',
        ),
        cfg.BoolOpt('http_keepalive', default=True, help='Keep connections open after an answer.'),
        cfg.IntOpt(
            'tcp_keepidle',
            default=600,
            min=1,
            help='Seconds of silence after which TCP asks whether the peer is still there.',
        ),
        cfg.IntOpt(
            'max_header_line',
            default=16384,
            min=1024,
            help='Longest request line or header, in bytes. Tokens with large catalogs need more.',
        ),
        cfg.IntOpt(
            'graceful_shutdown_timeout',
            default=60,
            min=0,
            help='Seconds that running requests have to end after SIGTERM; 0 is for ever.',
        ),
        cfg.IntOpt(
            'worker_timeout',
            default=60,
            min=0,
            help='Seconds after which a worker that does nothing any more is ended and replaced; '
            '0 is never.',
        ),
        cfg.StrOpt('cert_file', help='Certificate (PEM) to serve HTTPS with. Plain HTTP without.'),
        cfg.StrOpt('key_file', help='Private key (PEM) of the certificate, if not in cert_file.'),
        cfg.StrOpt(
            'ca_file',
            help='Authorities (PEM) of which clients must have a certificate. None is asked for '
            'without.',
        ),
    ],
    'wsgi': [
        cfg.IntOpt(
            'task_pool_threads', default=16, min=1, help='Threads for background tasks per worker.'
        ),
        cfg.StrOpt('python_interpreter', help='Interpreter for external helpers under uWSGI.'),
    ],
}
