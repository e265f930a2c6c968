# SPDX-License-Identifier: Apache-2.0
"""systemd's notifications, sd_notify(3): one datagram to the socket that NOTIFY_SOCKET names.

A library would be as long as this: oslo.service, which has one, is no dependency of ours.
"""

from __future__ import annotations

import _socket as socket
import contextlib
import os
import time


def tell(*lines: str) -> None:
    """Send lines such as ``READY=1``, where somebody listens. Never fails, never waits."""
    path = os.environ.get('NOTIFY_SOCKET')
    if not path:
        return
    address = '\0' + path[1:] if path.startswith('@') else path
    message = '\n'.join(lines).encode()
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with contextlib.suppress(OSError):
        sender.sendto(message, socket.MSG_DONTWAIT, address)
    sender.close()


def reloading() -> None:
    """Say that the configuration is being read; `ready` must follow."""
    tell('RELOADING=1', f'MONOTONIC_USEC={time.monotonic_ns() // 1000}')


def ready(status: str) -> None:
    tell('READY=1', f'STATUS={status}')


def stopping(seconds: float) -> None:
    """Say that the end may take so long."""
    tell('STOPPING=1', f'EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}')


def watched() -> float | None:
    """Seconds between two signs of life that systemd wants; None when it wants none."""
    if os.environ.get('WATCHDOG_PID', str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(os.environ['WATCHDOG_USEC']) / 2e6
    except (KeyError, ValueError):
        return None


def alive() -> None:
    """Give a sign of life, if systemd wants any."""
    if watched() is not None:
        tell('WATCHDOG=1')


def forget() -> None:
    """In a worker or a check: the master speaks for all."""
    for name in ('NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID'):
        os.environ.pop(name, None)
